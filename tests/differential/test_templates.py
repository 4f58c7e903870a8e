"""Which objects can be created and loaded: swtpm answers random templates with the same codes."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from tests.differential.judge import HAS_SWTPM, Swtpm
from tests.keys import NO_SYMMETRIC, RSA_MODULUS, RSA_P, SEED, ecc_private
from tests.objects import STORAGE_ECC, creation, template
from tests.scenarios import Caller, Client, Reply
from vtpm.spec.algorithms import (
    TPMS_ECC_POINT,
    TPMS_SCHEME_ECDAA,
    TPMS_SCHEME_HASH,
    TPMS_SCHEME_XOR,
    TPMS_SENSITIVE_CREATE,
    TPMS_SYMCIPHER_PARMS,
    TPMT_ECC_SCHEME,
    TPMT_KDF_SCHEME,
    TPMT_KEYEDHASH_SCHEME,
    TPMT_RSA_SCHEME,
    TPMT_SYM_DEF_OBJECT,
)
from vtpm.spec.attributes import TPMA_OBJECT
from vtpm.spec.constants import TPM_ALG, TPM_ECC_CURVE, TPM_RH
from vtpm.spec.objects import (
    TPMS_ECC_PARMS,
    TPMS_KEYEDHASH_PARMS,
    TPMS_RSA_PARMS,
    TPMT_PUBLIC,
    TPMT_SENSITIVE,
)
from vtpm.state.profile import SWTPM_COMPATIBLE
from vtpm.wire.error import decode
from vtpm.wire.structure import marshal

A = TPM_ALG
HASHES = {A.SHA1: "sha1", A.SHA256: "sha256", A.SHA384: "sha384", A.SHA512: "sha512"}
FIRST_PARENT = 0x81000001
PARENTS: list[dict[str, bool]] = [
    {},
    {"fixedTPM": False, "fixedParent": False},
    {"fixedTPM": False, "fixedParent": False, "encryptedDuplication": True},
]
LIKELIHOODS = {
    "fixedTPM": 0.5,
    "fixedParent": 0.5,
    "sensitiveDataOrigin": 0.6,
    "restricted": 0.4,
    "decrypt": 0.5,
    "sign": 0.5,
    "encryptedDuplication": 0.1,
    "stClear": 0.1,
    "adminWithPolicy": 0.2,
}

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not HAS_SWTPM, reason="swtpm is not installed")]


class Dice:
    """Random parts of objects, more often possible ones than not."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.pick = self.random.choice

    def chance(self, likelihood: float) -> bool:
        """True so often."""
        return self.random.random() < likelihood

    def hash(self) -> TPMS_SCHEME_HASH:
        """The hash of a scheme."""
        return TPMS_SCHEME_HASH(self.pick(list(HASHES)))

    def symmetric(self) -> TPMT_SYM_DEF_OBJECT:
        """A symmetric algorithm."""
        alg = self.pick([A.NULL, A.AES, A.AES, A.CAMELLIA])
        if alg is A.NULL:
            return NO_SYMMETRIC
        mode = self.pick([A.CFB, A.CFB, A.CFB, A.CTR, A.NULL, A.CMAC])
        return TPMT_SYM_DEF_OBJECT(alg, self.pick([128, 128, 256]), mode)

    def attributes(self) -> TPMA_OBJECT:
        """Attributes; mostly fixedParent with fixedTPM only."""
        chosen = {name: self.chance(likelihood) for name, likelihood in LIKELIHOODS.items()}
        if self.chance(0.8):
            chosen["fixedParent"] = chosen["fixedTPM"]
        return TPMA_OBJECT(userWithAuth=True, noDA=True, **chosen)

    def ecc(self) -> TPMS_ECC_PARMS:
        """Parameters of an ECC key."""
        scheme = self.pick([A.NULL, A.NULL, A.ECDSA, A.ECDH, A.ECSCHNORR, A.ECDAA, A.SM2])
        details: Any = None if scheme is A.NULL else self.hash()
        if scheme is A.ECDAA:
            details = TPMS_SCHEME_ECDAA(A.SHA256, 1)
        kdf = self.pick([A.NULL] * 6 + [A.KDF1_SP800_56A])
        curve = self.pick([TPM_ECC_CURVE.NIST_P256, TPM_ECC_CURVE.NIST_P384])
        derivation = TPMT_KDF_SCHEME(kdf, None if kdf is A.NULL else self.hash())
        return TPMS_ECC_PARMS(self.symmetric(), TPMT_ECC_SCHEME(scheme, details), curve, derivation)

    def rsa(self) -> TPMS_RSA_PARMS:
        """Parameters of an RSA key."""
        scheme = self.pick([A.NULL, A.NULL, A.RSASSA, A.RSAPSS, A.RSAES, A.OAEP])
        details = None if scheme in (A.NULL, A.RSAES) else self.hash()
        exponent = self.pick([0, 0, 0, 65537, 3, 65539])
        return TPMS_RSA_PARMS(self.symmetric(), TPMT_RSA_SCHEME(scheme, details), 1024, exponent)

    def keyed_hash(self) -> TPMS_KEYEDHASH_PARMS:
        """Parameters of a keyed hash or of sealed data."""
        scheme = self.pick([A.NULL, A.NULL, A.HMAC, A.XOR])
        kdf = self.pick([A.KDF1_SP800_108, A.KDF1_SP800_108, A.KDF1_SP800_56A, A.MGF1])
        details: Any = {A.HMAC: self.hash(), A.XOR: TPMS_SCHEME_XOR(A.SHA256, kdf)}.get(scheme)
        return TPMS_KEYEDHASH_PARMS(TPMT_KEYEDHASH_SCHEME(scheme, details))

    def public(self) -> TPMT_PUBLIC:
        """A template."""
        makers: dict[TPM_ALG, Any] = {
            A.ECC: self.ecc,
            A.RSA: self.rsa,
            A.KEYEDHASH: self.keyed_hash,
            A.SYMCIPHER: lambda: TPMS_SYMCIPHER_PARMS(self.symmetric()),
        }
        kind = self.pick([A.ECC, A.ECC, A.KEYEDHASH, A.KEYEDHASH, A.SYMCIPHER, A.RSA])
        return TPMT_PUBLIC(
            type=kind,
            name_alg=self.pick([A.SHA256] * 6 + [A.SHA384, A.SHA1]),
            object_attributes=self.attributes(),
            auth_policy=self.pick([b"", b"", b"", bytes(32)]),
            parameters=makers[kind](),
            unique=TPMS_ECC_POINT(b"", b"") if kind is A.ECC else b"",
        )

    def data(self) -> bytes:
        """What the caller provides of a secret."""
        return self.pick([b"", b"", b"x", bytes(16), b"k" * 32, b"z" * 65, b"q" * 128])

    def auth(self) -> bytes:
        """An authValue."""
        return self.pick([b""] * 8 + [b"a" * 33, b"a" * 20 + bytes(20)])

    def external(self) -> tuple[TPMT_PUBLIC, TPMT_SENSITIVE]:
        """Two areas that may belong together."""
        public = self.public()
        public = replace(public, name_alg=self.pick([public.name_alg, A.NULL]))
        if self.chance(0.7):
            free = dict.fromkeys(["fixedTPM", "fixedParent", "restricted"], False)
            public = replace(public, object_attributes=public.object_attributes.but(**free))
        seed, unique, secret = b"", public.unique, b""
        if isinstance(public.parameters, TPMS_ECC_PARMS):
            key = ecc_private(public.parameters.curve_id)
            point = TPMS_ECC_POINT(key.public.x_octets, key.public.y_octets)
            unique = self.pick(
                [point, point, point, TPMS_ECC_POINT(b"", b""), TPMS_ECC_POINT(point.y, point.x)]
            )
            secret = self.pick([key.octets, key.octets, b"", bytes(32), b"\1"])
        elif isinstance(public.parameters, TPMS_RSA_PARMS):
            unique = self.pick([RSA_MODULUS.to_bytes(128, "big")] * 3 + [b"", b"\1" * 128])
            secret = self.pick([RSA_P.to_bytes(64, "big")] * 3 + [b"", b"\xff" * 64])
        else:
            seed = self.pick([SEED, SEED, b"", bytes(20)])
            secret = self.pick([b"k" * 16, b"k" * 32, b"", b"k" * 65])
            bound = hashlib.new(HASHES.get(public.name_alg, "sha256"), SEED + secret).digest()
            unique = self.pick([bound, bound, bound, b"", bytes(20)])
        public = replace(public, unique=unique)
        return public, TPMT_SENSITIVE(public.type, self.pick([b"", b"", b"a" * 33]), seed, secret)


class Pair:
    """swtpm and this TPM, with the same persistent parents."""

    def __init__(self) -> None:
        self.callers: tuple[Caller, Caller] = (Swtpm(), Client(profile=SWTPM_COMPATIBLE))
        for number, changes in enumerate(PARENTS):
            public = template(STORAGE_ECC)
            public = replace(public, object_attributes=public.object_attributes.but(**changes))
            for caller in self.callers:
                item = caller.create_primary(TPM_RH.OWNER, **creation(public)).object_handle
                caller.evict_control(TPM_RH.OWNER, item, persistent_handle=FIRST_PARENT + number)
                caller.flush_context(flush_handle=item)

    def both(self, verb: str, *handles: int, **given: Any) -> tuple[Reply, Reply]:
        """The responses to the same command; what was loaded is flushed."""
        replies = []
        for caller in self.callers:
            reply: Reply = getattr(caller, verb)(*handles, **given)
            if "object_handle" in reply.fields:
                caller.flush_context(flush_handle=reply.object_handle)
            replies.append(reply)
        return replies[0], replies[1]


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """The two TPMs."""
    pair = Pair()
    yield pair
    judge = pair.callers[0]
    assert isinstance(judge, Swtpm)
    judge.close()


def check(replies: tuple[Reply, Reply], public: TPMT_PUBLIC) -> None:
    """Both must answer with the same code."""
    theirs, ours = replies
    assert theirs.rc == ours.rc, f"{decode(theirs.rc)} and {decode(ours.rc)} for {marshal(public).hex()}"


@pytest.mark.parametrize("seed", range(300))
def test_create(pair: Pair, seed: int) -> None:
    """CreatePrimary, CreateLoaded and Create, and then Load."""
    dice = Dice(seed)
    public, data, auth = dice.public(), dice.data(), dice.auth()
    given = creation(public, data=data, auth=auth)
    parent = FIRST_PARENT + dice.pick(range(len(PARENTS)))

    check(pair.both("create_primary", dice.pick([TPM_RH.OWNER, TPM_RH.NULL]), **given), public)
    loaded = {"in_sensitive": TPMS_SENSITIVE_CREATE(auth, data), "in_public": marshal(public)}
    check(pair.both("create_loaded", dice.pick([parent, TPM_RH.OWNER]), **loaded), public)
    replies = pair.both("create", parent, **given)
    check(replies, public)
    if replies[0].rc == 0:
        for caller, reply in zip(pair.callers, replies, strict=True):
            blob = {"in_private": reply.out_private, "in_public": reply.out_public}
            item = caller.load(parent, **blob).object_handle
            caller.flush_context(flush_handle=item)


@pytest.mark.parametrize("seed", range(300))
def test_load_external(pair: Pair, seed: int) -> None:
    """LoadExternal of both areas, and of the public one."""
    dice = Dice(seed)
    public, sensitive = dice.external()
    hierarchy = dice.pick([TPM_RH.NULL, TPM_RH.NULL, TPM_RH.NULL, TPM_RH.OWNER])

    for private in (sensitive, None):
        given = {"in_private": private, "in_public": public, "hierarchy": hierarchy}
        check(pair.both("load_external", **given), public)
