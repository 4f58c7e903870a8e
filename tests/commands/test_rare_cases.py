"""What few callers meet: refusals and branches that need an object made for them, each with its clause."""

import hashlib
import hmac
from dataclasses import replace
from typing import Any

import pytest

from tests.commands.test_duplication import INNER, KEY, NO_INNER, STORAGE_AES, movable
from tests.commands.test_object_attributes import with_attributes
from tests.commands.test_object_loading import cipher
from tests.keys import (
    NO_KDF,
    NO_SYMMETRIC,
    attributes_of,
    public_area,
    put_ecc,
    put_rsa,
    signing,
)
from tests.objects import SEALED, SIGN_ECC, STORAGE_ECC, creation, handle_of, primary, sensitive_of, template
from tests.recorded import dealing
from tests.scenarios import Client, Password
from tests.sessions import kdf_a, start_session
from vtpm.commands.protection import SENSITIVE, sealed_inner, sealed_outer
from vtpm.spec.algorithms import (
    TPMS_ECC_POINT,
    TPMS_SCHEME_HASH,
    TPMS_SIGNATURE_ECC,
    TPMS_SYMCIPHER_PARMS,
    TPMT_ECC_SCHEME,
    TPMT_KDF_SCHEME,
    TPMT_RSA_DECRYPT,
    TPMT_SIGNATURE,
    TPMT_SYM_DEF_OBJECT,
)
from vtpm.spec.attributes import TPMA_NV
from vtpm.spec.constants import TPM_ALG, TPM_CAP, TPM_ECC_CURVE, TPM_RH, TPM_SE, TPM_ST
from vtpm.spec.nv import TPMS_NV_PUBLIC
from vtpm.spec.objects import TPMS_ECC_PARMS, TPMT_PUBLIC, TPMT_SENSITIVE
from vtpm.spec.structures import TPMT_TK_HASHCHECK
from vtpm.state.object import Object, name_of
from vtpm.state.profile import DEFAULT
from vtpm.wire.error import TPM_RC
from vtpm.wire.structure import marshal

A = TPM_ALG
P256 = TPM_ECC_CURVE.NIST_P256
NO_TICKET = TPMT_TK_HASHCHECK(TPM_ST.HASHCHECK, TPM_RH.NULL, b"")


def nameless_point(attributes: str) -> TPMT_PUBLIC:
    """An ECC key without a nameAlg, whose point nobody checks until it is used; it is on no curve."""
    parameters = TPMS_ECC_PARMS(NO_SYMMETRIC, TPMT_ECC_SCHEME(A.NULL, None), P256, NO_KDF)
    point = TPMS_ECC_POINT(bytes(31) + b"\x01", bytes(31) + b"\x01")
    return public_area(A.ECC, parameters, point, attributes_of(attributes), A.NULL)


def external(tpm: Client, public: TPMT_PUBLIC, sensitive: TPMT_SENSITIVE | None = None) -> int:
    """Load an object of nobody's."""
    return handle_of(tpm.load_external(in_private=sensitive, in_public=public, hierarchy=TPM_RH.NULL))


class TestAsymmetric:
    """Clause 14"""

    def test_signing_scheme_does_not_encrypt(self, tpm: Client) -> None:
        """14.2, Table 43: a key whose scheme only signs encrypts nothing."""
        key = put_rsa(tpm, "decrypt", A.RSASSA, A.SHA256)

        reply = tpm.rsa_encrypt(key, message=b"", in_scheme=TPMT_RSA_DECRYPT(A.NULL, None), label=b"")

        assert reply.rc == TPM_RC.SCHEME.parameter(2)

    def test_point_off_its_curve(self, tpm: Client) -> None:
        """14.4 and 14.8: TPM_RC_KEY for a public key that is no point."""
        key = external(tpm, nameless_point("sign decrypt"))
        scheme = TPMT_KDF_SCHEME(A.KDF2, TPMS_SCHEME_HASH(A.SHA256))

        assert tpm.ecdh_key_gen(key).rc == TPM_RC.KEY.handle(1)
        assert tpm.ecc_encrypt(key, plain_text=b"x", in_scheme=scheme).rc == TPM_RC.KEY.handle(1)

    def test_nameless_key_receives_no_salt(self, tpm: Client) -> None:
        """11.1: the salt's KDF takes the hash of the key's Name; TPM_RC_VALUE without one."""
        parameters = TPMS_ECC_PARMS(NO_SYMMETRIC, TPMT_ECC_SCHEME(A.NULL, None), P256, NO_KDF)
        key = put_ecc(tpm, "decrypt")
        item = tpm.tpm.volatile.objects[key]
        assert isinstance(item, Object)
        public = replace(item.public, name_alg=A.NULL, parameters=parameters)
        handle = external(tpm, public, replace(sensitive_of(tpm, key), seed_value=b""))

        reply = tpm.start_auth_session(
            handle,
            TPM_RH.NULL,
            nonce_caller=bytes(16),
            encrypted_salt=bytes(66),
            session_type=TPM_SE.HMAC,
            symmetric=NO_SYMMETRIC,
            auth_hash=A.SHA256,
        )

        assert reply.rc == TPM_RC.VALUE.parameter(2)


class TestSignature:
    """Clauses 20 and 23.3"""

    def test_ecdaa_is_not_verified(self, tpm: Client) -> None:
        """20.2: an anonymous signature cannot be checked with a key; TPM_RC_SCHEME."""
        body = TPMS_SIGNATURE_ECC(A.SHA256, b"\x01" * 32, b"\x01" * 32)

        reply = tpm.verify_signature(put_ecc(tpm), digest=bytes(32), signature=TPMT_SIGNATURE(A.ECDAA, body))

        assert reply.rc == TPM_RC.SCHEME.parameter(2)

    def test_ecdaa_without_a_commitment(self, tpm: Client) -> None:
        """20.5 and 19.2: a count for which nothing was committed; TPM_RC_VALUE."""
        key = put_ecc(tpm, scheme=A.ECDAA, curve=TPM_ECC_CURVE.BN_P256)

        reply = tpm.sign(key, digest=bytes(32), in_scheme=signing(A.ECDAA, count=1), validation=NO_TICKET)

        assert reply.rc == TPM_RC.VALUE

    def test_no_signature(self, tpm: Client) -> None:
        """23.3: a signature of no scheme has no hash to compute aHash with; TPM_RC_SCHEME."""
        session = start_session(tpm, TPM_SE.POLICY)

        reply = tpm.policy_signed(
            put_ecc(tpm),
            session.handle,
            nonce_tpm=b"",
            cp_hash_a=b"",
            policy_ref=b"",
            expiration=0,
            auth=TPMT_SIGNATURE(A.NULL, None),
        )

        assert reply.rc == TPM_RC.SCHEME.parameter(5)


class TestTemplates:
    """12.1, 24.1: what cannot be created"""

    def test_key_derivation_scheme(self, tpm: Client) -> None:
        """Part 2, 12.2.3.6: no key of this TPM has a KDF scheme of its own; TPM_RC_KDF."""
        public = template(SIGN_ECC)
        assert isinstance(public.parameters, TPMS_ECC_PARMS)
        kdf = TPMT_KDF_SCHEME(A.KDF2, TPMS_SCHEME_HASH(A.SHA256))
        public = replace(public, parameters=replace(public.parameters, kdf=kdf))

        reply = tpm.create_primary(TPM_RH.OWNER, **creation(public))

        assert reply.rc == TPM_RC.KDF.parameter(2)

    @pytest.mark.parametrize("attribute", ["firmwareLimited", "svnLimited"])
    def test_limited_from_above(self, tpm: Client, attribute: str) -> None:
        """Part 1, "Firmware-Limited Objects": the child of a parent that is not limited is not either."""
        reply = tpm.create(primary(tpm), **creation(with_attributes(SIGN_ECC, **{attribute: True})))

        assert reply.rc == TPM_RC.ATTRIBUTES.parameter(2)

    def test_weak_random_tdes_key(self, tpm: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        """Part 1, "TDES Key Generation": a key whose thirds are equal is not used; parity is made odd."""
        parent = primary(tpm)
        public = replace(
            template(STORAGE_AES),
            object_attributes=attributes_of("sensitiveDataOrigin decrypt sign"),
            parameters=TPMS_SYMCIPHER_PARMS(TPMT_SYM_DEF_OBJECT(A.TDES, 128, A.CFB)),
        )
        values = [bytes(16), bytes(range(16)), bytes(32), bytes(16)]
        monkeypatch.setattr(tpm.tpm, "random", dealing([value.hex() for value in values]))

        reply = tpm.create(parent, **creation(public))
        item = handle_of(tpm.load(parent, in_private=reply.out_private, in_public=reply.out_public))

        assert sensitive_of(tpm, item).sensitive == bytes.fromhex("010102020404070708080b0b0d0d0e0e")


class KnownParent:
    """A Storage Parent that is not fixedTPM, so that its caller may know its seed."""

    def __init__(self, tpm: Client, public: str = STORAGE_ECC) -> None:
        self.tpm = tpm
        self.handle = handle_of(
            tpm.create_primary(
                TPM_RH.OWNER, **creation(with_attributes(public, fixedTPM=False, fixedParent=False))
            )
        )
        item = tpm.tpm.volatile.objects[self.handle]
        assert isinstance(item, Object)
        self.item = item

    @property
    def seed(self) -> bytes:
        """The seed that protects its children."""
        return sensitive_of(self.tpm, self.handle).seed_value

    def load(self, public: TPMT_PUBLIC, octets: bytes) -> int:
        """Load an object from the octets inside its private area; gives the response code."""
        private = sealed_outer(self.item, name_of(public), self.seed, octets, bytes(16))
        return self.tpm.load(self.handle, in_private=private, in_public=public).rc


def sealed_data(sensitive: bytes = b"data") -> tuple[TPMT_PUBLIC, bytes]:
    """The two areas of sealed data, the sensitive one as TPM2B_SENSITIVE; other data do not belong to it."""
    unique = hashlib.sha256(bytes(32) + b"data").digest()
    public = replace(movable(SEALED), unique=unique)
    octets = marshal(TPMT_SENSITIVE(A.KEYEDHASH, b"", bytes(32), sensitive))
    return public, len(octets).to_bytes(2, "big") + octets


class TestPrivateAreas:
    """12.2 and 13.3: private areas made by somebody who knows the parent's seed"""

    def test_good(self, tpm: Client) -> None:
        """What the others begin with: such an area is loaded."""
        assert KnownParent(tpm).load(*sealed_data()) == TPM_RC.SUCCESS

    def test_iv(self, tpm: Client) -> None:
        """Part 1, "Symmetric Encryption": the IV is as long as a block; TPM_RC_VALUE."""
        known, (public, octets) = KnownParent(tpm), sealed_data()
        encrypted = b"\0\x08" + bytes(8) + octets
        key = kdf_a(A.SHA256, known.seed, b"INTEGRITY", b"", b"", 256)
        private = b"\0\x20" + hmac.digest(key, encrypted + name_of(public), "sha256") + encrypted

        reply = tpm.load(known.handle, in_private=private, in_public=public)

        assert reply.rc == TPM_RC.VALUE.parameter(1)

    @pytest.mark.parametrize(
        ("octets", "expected"),
        [
            (b"\0", TPM_RC.INSUFFICIENT.parameter(1)),
            (b"\0\x08", TPM_RC.SENSITIVE),
            (b"\0\x02\0\x08" + bytes(8), TPM_RC.SENSITIVE),
        ],
    )
    def test_no_sensitive_area(self, tpm: Client, octets: bytes, expected: int) -> None:
        """What is inside is no sensitive area, or not even its size."""
        public, _ = sealed_data()

        assert KnownParent(tpm).load(public, octets) == expected

    def test_seed_of_a_parent(self, tpm: Client) -> None:
        """12.2: the seed of a Storage Parent has at least half the size of its digest; TPM_RC_SIZE."""
        known = KnownParent(tpm)
        public = replace(
            known.item.public,
            object_attributes=known.item.public.object_attributes.but(fixedParent=False, fixedTPM=False),
        )
        area = sensitive_of(tpm, known.handle)
        for size, expected in ((15, TPM_RC.SIZE.parameter(1)), (16, TPM_RC.SUCCESS), (32, TPM_RC.SUCCESS)):
            octets = marshal(replace(area, seed_value=bytes(size)))
            assert known.load(public, len(octets).to_bytes(2, "big") + octets) == expected

    def test_import_under_a_movable_parent(self, tpm: Client) -> None:
        """13.3: what is imported is checked when it is loaded, unless the parent is fixedTPM."""
        public, octets = sealed_data(b"other")
        given: dict[str, Any] = {
            "encryption_key": b"",
            "object_public": public,
            "duplicate": octets,
            "in_sym_seed": b"",
            "symmetric_alg": NO_INNER,
        }
        movable_parent, fixed_parent = KnownParent(tpm).handle, primary(tpm)

        imported = tpm.import_object(movable_parent, **given)

        loaded = tpm.load(movable_parent, in_private=imported.out_private, in_public=public)
        assert (imported.rc, loaded.rc) == (TPM_RC.SUCCESS, TPM_RC.BINDING)
        assert tpm.import_object(fixed_parent, **given).rc == TPM_RC.BINDING

    def test_weak_key(self, tpm: Client) -> None:
        """12.2 and 13.3: a weak symmetric key; TPM_RC_KEY."""
        public, sensitive = cipher(b"\x01" * 16, A.TDES)
        octets = marshal(sensitive, SENSITIVE)
        given: dict[str, Any] = {"encryption_key": b"", "object_public": public, "duplicate": octets}

        imported = tpm.import_object(primary(tpm), **given, in_sym_seed=b"", symmetric_alg=NO_INNER)

        assert KnownParent(tpm).load(public, octets) == TPM_RC.KEY.parameter(1)
        assert imported.rc == TPM_RC.KEY.parameter(3)

    def test_inner_integrity(self, tpm: Client) -> None:
        """13.3: an inner wrapper of another object has another digest; TPM_RC_INTEGRITY."""
        public, octets = sealed_data()
        wrapped = {
            name: sealed_inner(INNER, KEY, public.name_alg, name, octets)
            for name in (name_of(public), name_of(movable(SEALED)))
        }

        codes = [
            tpm.import_object(
                primary(tpm),
                encryption_key=KEY,
                object_public=public,
                duplicate=duplicate,
                in_sym_seed=b"",
                symmetric_alg=INNER,
            ).rc
            for duplicate in wrapped.values()
        ]

        assert codes == [TPM_RC.SUCCESS, TPM_RC.INTEGRITY.parameter(3)]


class TestTickets:
    """23.2 and 23.5"""

    def test_ticket_without_a_nonce(self, tpm: Client) -> None:
        """A ticket that is not bound to a session's nonce says so, and serves another session."""
        first, second = start_session(tpm, TPM_SE.POLICY), start_session(tpm, TPM_SE.POLICY)
        granted = tpm.policy_secret(
            TPM_RH.OWNER, first.handle, nonce_tpm=b"", cp_hash_a=b"", policy_ref=b"", expiration=-100
        )

        reply = tpm.policy_ticket(
            second.handle,
            timeout=granted.timeout,
            cp_hash_a=b"",
            policy_ref=b"",
            auth_name=TPM_RH.OWNER.to_bytes(4, "big"),
            ticket=granted.policy_ticket,
        )

        assert granted.policy_ticket.tag is TPM_ST.AUTH_SECRET
        assert reply.rc == TPM_RC.SUCCESS
        digests = [tpm.policy_get_digest(session.handle).policy_digest for session in (first, second)]
        assert digests[0] == digests[1]


class TestHierarchies:
    """24.6"""

    def test_clear_leaves_the_platform_its_indices(self, tpm: Client) -> None:
        """Clear deletes the Indices of the owner, not those of the platform."""
        for handle, auth, made in ((0x01500001, TPM_RH.OWNER, False), (0x01400001, TPM_RH.PLATFORM, True)):
            attributes = TPMA_NV(
                AUTHREAD=True, AUTHWRITE=True, NO_DA=True, PLATFORMCREATE=made, POLICY_DELETE=False
            )
            public = TPMS_NV_PUBLIC(handle, A.SHA256, attributes, b"", 8)
            tpm.nv_define_space(auth, auth=b"", public_info=public).check()

        tpm.clear(TPM_RH.LOCKOUT).check()

        assert list(tpm.tpm.nv) == [0x01400001]
        assert tpm.nv_read_public(0x01400001).rc == TPM_RC.SUCCESS


class TestCapabilities:
    """Clause 30"""

    @pytest.mark.parametrize("capability", [TPM_CAP.PUB_KEYS, TPM_CAP.SPDM_SESSION_INFO])
    def test_kind_that_is_not_there(self, tpm: Client, capability: int) -> None:
        """Part 2, 6.12: a kind that this TPM does not have; TPM_RC_VALUE."""
        reply = tpm.get_capability(capability=capability, property=0, property_count=1)

        assert reply.rc == TPM_RC.VALUE.parameter(1)

    def test_disabled_parameters(self) -> None:
        """30.3: what the profile lacks cannot be read; TPM_RC_TYPE."""
        tpm = Client(profile=replace(DEFAULT, algorithms=DEFAULT.algorithms - {A.KEYEDHASH}))
        octets = bytes.fromhex("8001 00000010 0000018a 0008 0005 000b")

        assert int.from_bytes(tpm.send(octets)[6:], "big") == TPM_RC.TYPE.parameter(1)
        assert int.from_bytes(Client().send(octets)[6:], "big") == TPM_RC.SUCCESS


class TestSequences:
    """Part 1, "Hash, MAC, and Event Sequences": a sequence has an authValue and nothing else"""

    def test_no_policy(self, tpm: Client) -> None:
        """A policy session cannot authorize it; TPM_RC_AUTH_UNAVAILABLE."""
        sequence = tpm.hash_sequence_start(auth=b"", hash_alg=A.SHA256).sequence_handle
        session = start_session(tpm, TPM_SE.POLICY)

        reply = tpm.sequence_update(sequence, buffer=b"", sessions=[session])

        assert reply.rc == TPM_RC.AUTH_UNAVAILABLE
        item = tpm.tpm.volatile.objects[sequence]
        assert (item.auth_policy, item.policy_alg, item.name) == (b"", A.NULL, b"")

    def test_bound_session(self, tpm: Client) -> None:
        """An HMAC session bound to another entity authorizes it by the authValue of both."""
        sequence = tpm.hash_sequence_start(auth=b"pw", hash_alg=A.SHA256).sequence_handle

        assert tpm.sequence_update(sequence, buffer=b"x", sessions=[Password(b"pw")]).rc == TPM_RC.SUCCESS
        assert tpm.sequence_update(sequence, buffer=b"x", sessions=[Password(b"no")]).rc == (
            TPM_RC.BAD_AUTH.session(1)
        )
