"""
Response codes that Part 3 and the reference code name for a command, in the order of its checks.

The codes that the commands' own tests reach are not repeated here.
"""

import hmac
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.commands.nv_indices import INDEX, OWNED, SELF, define, public_of
from tests.commands.test_duplication import NO_INNER, STORAGE_AES, movable
from tests.commands.test_object_attributes import with_attributes
from tests.commands.test_rare_cases import KnownParent, external
from tests.keys import NO_SYMMETRIC, put_cipher, put_ecc, put_hmac, put_rsa, signing
from tests.keys import with_attributes as mark
from tests.objects import (
    SEALED,
    SIGN_ECC,
    SIGN_RSA,
    STORAGE_ECC,
    STORAGE_RSA,
    created,
    creation,
    handle_of,
    primary,
    sensitive_of,
    template,
)
from tests.scenarios import Client, Reply
from tests.sessions import CallerSession, start_session
from vtpm.commands import COMMANDS
from vtpm.spec.algorithms import (
    TPMS_ECC_POINT,
    TPMS_SCHEME_HASH,
    TPMS_SYMCIPHER_PARMS,
    TPMT_ECC_SCHEME,
    TPMT_KDF_SCHEME,
    TPMT_RSA_DECRYPT,
    TPMT_RSA_SCHEME,
    TPMT_SIGNATURE,
    TPMT_SYM_DEF_OBJECT,
)
from vtpm.spec.attributes import TPMA_NV, TPMA_SESSION
from vtpm.spec.constants import TPM_ALG, TPM_CAP, TPM_CC, TPM_EO, TPM_HT, TPM_RH, TPM_SE, TPM_ST
from vtpm.spec.nv import TPMT_NV_PUBLIC_2
from vtpm.spec.objects import TPMT_PUBLIC, TPMT_SENSITIVE
from vtpm.spec.structures import (
    TPMS_TAGGED_PROPERTY,
    TPMT_HA,
    TPMT_TK_AUTH,
    TPMT_TK_CREATION,
    TPMT_TK_HASHCHECK,
    TPMT_TK_VERIFIED,
)
from vtpm.state.object import Object
from vtpm.state.profile import PROFILES
from vtpm.wire.error import TPM_RC, TpmError
from vtpm.wire.structure import marshal

A = TPM_ALG
OWNER, NULL = TPM_RH.OWNER, TPM_RH.NULL
ECDAA = signing(A.ECDAA, count=1)
NO_TICKET = TPMT_TK_HASHCHECK(TPM_ST.HASHCHECK, NULL, b"")
SHA256 = TPMS_SCHEME_HASH(A.SHA256)
WEAK_TDES = b"\x01" * 16


def parameters(octets: str, **changes: Any) -> TPMT_PUBLIC:
    """A template with other parameters."""
    public = template(octets)
    return replace(public, parameters=replace(public.parameters, **changes))


def fill(tpm: Client) -> None:
    """Take every slot of transient objects."""
    while len(tpm.tpm.volatile.objects) < tpm.tpm.profile.transient_slots:
        put_hmac(tpm)


TDES = replace(
    template(STORAGE_AES),
    object_attributes=with_attributes(SIGN_ECC, decrypt=True, restricted=False).object_attributes.but(
        sensitiveDataOrigin=False
    ),
    parameters=TPMS_SYMCIPHER_PARMS(TPMT_SYM_DEF_OBJECT(A.TDES, 128, A.CFB)),
)

HMAC_SHA256 = template("0008000b 00040052 0000 0005 000b 0000")

TEMPLATES: dict[str, tuple[TPMT_PUBLIC, bytes, int]] = {
    "KDF": (parameters(SIGN_ECC, kdf=TPMT_KDF_SCHEME(A.KDF2, SHA256)), b"", TPM_RC.KDF.parameter(2)),
    "SCHEME of a signing key": (
        parameters(SIGN_RSA, scheme=TPMT_RSA_SCHEME(A.OAEP, SHA256)),
        b"",
        TPM_RC.SCHEME.parameter(2),
    ),
    "SCHEME of a storage key": (
        parameters(STORAGE_ECC, scheme=TPMT_ECC_SCHEME(A.ECDH, SHA256)),
        b"",
        TPM_RC.SCHEME.parameter(2),
    ),
    "SYMMETRIC of a storage key": (
        parameters(STORAGE_RSA, symmetric=NO_SYMMETRIC),
        b"",
        TPM_RC.SYMMETRIC.parameter(2),
    ),
    "SYMMETRIC of a signing key": (
        parameters(SIGN_ECC, symmetric=TPMT_SYM_DEF_OBJECT(A.AES, 128, A.CFB)),
        b"",
        TPM_RC.SYMMETRIC.parameter(2),
    ),
    "RANGE": (parameters(SIGN_RSA, exponent=3), b"", TPM_RC.RANGE),
    "SIZE of the policy": (replace(template(SIGN_ECC), auth_policy=bytes(31)), b"", TPM_RC.SIZE.parameter(2)),
    "SIZE of the data": (HMAC_SHA256, bytes(65), TPM_RC.SIZE),
    "KEY": (TDES, WEAK_TDES, TPM_RC.KEY),
    "KEY_SIZE": (TDES, bytes(15), TPM_RC.KEY_SIZE),
}


@pytest.mark.parametrize("name", TEMPLATES)
class TestCreation:
    """12.1, 12.9 and 24.1: the three commands that create judge a template alike"""

    def test_create_primary(self, tpm: Client, name: str) -> None:
        """24.1"""
        public, data, expected = TEMPLATES[name]

        assert tpm.create_primary(OWNER, **creation(public, data=data)).rc == expected

    def test_create(self, tpm: Client, name: str) -> None:
        """12.1"""
        public, data, expected = TEMPLATES[name]

        assert tpm.create(primary(tpm), **creation(public, data=data)).rc == expected

    def test_create_loaded(self, tpm: Client, name: str) -> None:
        """12.9"""
        public, data, expected = TEMPLATES[name]
        sensitive = creation(public, data=data)["in_sensitive"]

        reply = tpm.create_loaded(primary(tpm), in_sensitive=sensitive, in_public=marshal(public))

        assert reply.rc == expected


class TestSlots:
    """TPM_RC_OBJECT_MEMORY, before it is looked at what is wrong with the parameters"""

    def test_load(self, tpm: Client) -> None:
        """12.2"""
        parent = primary(tpm)
        blob = created(tpm, parent, SIGN_ECC) | {"in_private": b""}
        before = tpm.load(parent, **blob).rc
        fill(tpm)

        assert (before, tpm.load(parent, **blob).rc) == (TPM_RC.SIZE.parameter(1), TPM_RC.OBJECT_MEMORY)

    def test_create(self, tpm: Client) -> None:
        """12.1, though nothing is loaded; the type of the parent comes first."""
        parent = primary(tpm)
        fill(tpm)
        given = creation(SIGN_ECC, data=b"x")

        assert tpm.create(parent + 1, **given).rc == TPM_RC.TYPE.handle(1)
        assert tpm.create(parent, **given).rc == TPM_RC.OBJECT_MEMORY
        tpm.flush_context(flush_handle=parent + 1)
        assert tpm.create(parent, **given).rc == TPM_RC.ATTRIBUTES.parameter(2)

    def test_load_external(self, tpm: Client) -> None:
        """12.3"""
        public = tpm.read_public(primary(tpm)).out_public
        fill(tpm)

        assert tpm.load_external(in_private=None, in_public=public, hierarchy=NULL).rc == TPM_RC.OBJECT_MEMORY

    def test_create_loaded(self, tpm: Client) -> None:
        """12.9"""
        parent = primary(tpm)
        fill(tpm)
        given = creation(SIGN_ECC)

        reply = tpm.create_loaded(
            parent, in_sensitive=given["in_sensitive"], in_public=marshal(given["in_public"])
        )

        assert reply.rc == TPM_RC.OBJECT_MEMORY

    def test_mac_start(self, tpm: Client) -> None:
        """17.2"""
        key = put_hmac(tpm)
        fill(tpm)

        assert tpm.mac_start(key, auth=b"", in_scheme=A.SHA256).rc == TPM_RC.OBJECT_MEMORY


LOADED: dict[str, tuple[TPMT_PUBLIC, int]] = {
    "ATTRIBUTES": (with_attributes(SIGN_ECC, fixedTPM=True), TPM_RC.ATTRIBUTES.parameter(2)),
    "HASH": (
        replace(with_attributes(STORAGE_ECC, fixedTPM=False), name_alg=A.SHA384),
        TPM_RC.HASH.parameter(2),
    ),
    "KDF": (
        with_attributes(TEMPLATES["KDF"][0], fixedTPM=False),
        TPM_RC.KDF.parameter(2),
    ),
    "SCHEME": (
        with_attributes(TEMPLATES["SCHEME of a storage key"][0], fixedTPM=False),
        TPM_RC.SCHEME.parameter(2),
    ),
    "SYMMETRIC": (
        with_attributes(TEMPLATES["SYMMETRIC of a signing key"][0], fixedTPM=False),
        TPM_RC.SYMMETRIC.parameter(2),
    ),
    "KEY": (
        replace(with_attributes(SIGN_RSA, fixedTPM=False), unique=bytes(10)),
        TPM_RC.KEY.parameter(2),
    ),
    "TYPE": (
        replace(with_attributes(SEALED, fixedTPM=False), unique=bytes(32)),
        TPM_RC.TYPE.parameter(1),
    ),
}


@pytest.mark.parametrize("name", LOADED)
def test_load(tpm: Client, name: str) -> None:
    """12.2: what the owner of a parent's seed could make, is judged as if the TPM had not made it."""
    public, expected = LOADED[name]
    kind = A.ECC if name == "TYPE" else public.type
    area = marshal(TPMT_SENSITIVE(kind, b"", bytes(32), bytes(32)))

    assert KnownParent(tpm).load(public, len(area).to_bytes(2, "big") + area) == expected


IMPORTED: dict[str, tuple[TPMT_PUBLIC, int]] = {
    "KDF": (with_attributes(TEMPLATES["KDF"][0], fixedTPM=False, fixedParent=False), TPM_RC.KDF.parameter(2)),
    "SCHEME": (
        with_attributes(TEMPLATES["SCHEME of a storage key"][0], fixedTPM=False, fixedParent=False),
        TPM_RC.SCHEME.parameter(2),
    ),
    "SYMMETRIC": (
        with_attributes(TEMPLATES["SYMMETRIC of a signing key"][0], fixedTPM=False, fixedParent=False),
        TPM_RC.SYMMETRIC.parameter(2),
    ),
    "KEY": (
        replace(with_attributes(SIGN_RSA, fixedTPM=False, fixedParent=False), unique=bytes(10)),
        TPM_RC.KEY.parameter(2),
    ),
    "KEY_SIZE": (
        replace(with_attributes(SIGN_RSA, fixedTPM=False, fixedParent=False), unique=b"\xff" * 256),
        TPM_RC.KEY_SIZE.parameter(3),
    ),
}


class TestImport:
    """13.3"""

    def imported(self, tpm: Client, parent: int, public: TPMT_PUBLIC, seed: bytes = b"") -> int:
        """Import without an inner wrapper; gives the response code."""
        area = marshal(TPMT_SENSITIVE(public.type, b"", b"", bytes(32)))
        return tpm.import_object(
            parent,
            encryption_key=b"",
            object_public=public,
            duplicate=len(area).to_bytes(2, "big") + area,
            in_sym_seed=seed,
            symmetric_alg=NO_INNER,
        ).rc

    @pytest.mark.parametrize("name", IMPORTED)
    def test_public(self, tpm: Client, name: str) -> None:
        """Under a fixedTPM parent, the object is checked as Load would; objectPublic is the second."""
        public, expected = IMPORTED[name]

        assert self.imported(tpm, primary(tpm), public) == expected

    @pytest.mark.parametrize(
        ("parent", "seed", "expected"),
        [
            (STORAGE_ECC, b"\0\x01\x01\0\x01\x01", TPM_RC.ECC_POINT),
            (STORAGE_ECC, b"\0\x20", TPM_RC.INSUFFICIENT),
            (STORAGE_RSA, bytes(255), TPM_RC.SIZE),
            (STORAGE_RSA, b"\xff" * 256, TPM_RC.VALUE),
            (STORAGE_RSA, bytes(256), TPM_RC.VALUE),
        ],
    )
    def test_seed(self, tpm: Client, parent: str, seed: bytes, expected: TPM_RC) -> None:
        """What is wrong with inSymSeed, the fourth parameter."""
        assert self.imported(tpm, primary(tpm, parent), movable(SEALED), seed) == expected.parameter(4)


@pytest.mark.parametrize(
    ("key", "secret", "expected"),
    [
        (STORAGE_ECC, b"\0\x01\x01\0\x01\x01", TPM_RC.ECC_POINT),
        (STORAGE_ECC, b"\0\x20", TPM_RC.INSUFFICIENT),
        (STORAGE_RSA, bytes(255), TPM_RC.SIZE),
        (STORAGE_RSA, bytes(256), TPM_RC.VALUE),
    ],
)
def test_activate_credential(tpm: Client, key: str, secret: bytes, expected: TPM_RC) -> None:
    """12.5: what is wrong with the secret, the second parameter, comes before the blob."""
    handle = primary(tpm, key)

    reply = tpm.activate_credential(handle, handle, credential_blob=b"", secret=secret)

    assert reply.rc == expected.parameter(2)


Attest = Callable[[Client, int, Any], Reply]


def certify_creation(tpm: Client, key: int, scheme: Any) -> Reply:
    """CertifyCreation of a new primary object."""
    made = tpm.create_primary(OWNER, **creation(STORAGE_ECC))
    return tpm.certify_creation(
        key,
        handle_of(made),
        qualifying_data=b"",
        creation_hash=made.creation_hash,
        in_scheme=scheme,
        ticket=made.creation_ticket,
    )


def nv_certify(tpm: Client, key: int, scheme: Any) -> Reply:
    """NV_Certify of an Index that has been written."""
    define(tpm)
    tpm.nv_write(INDEX, INDEX, data=bytes(8), offset=0).check()
    return tpm.nv_certify(key, INDEX, INDEX, qualifying_data=b"", in_scheme=scheme, size=8, offset=0)


ATTESTATIONS: dict[str, tuple[int, Attest]] = {
    "Certify": (
        2,
        lambda tpm, key, scheme: tpm.certify(primary(tpm), key, qualifying_data=b"", in_scheme=scheme),
    ),
    "CertifyCreation": (1, certify_creation),
    "Quote": (
        1,
        lambda tpm, key, scheme: tpm.quote(key, qualifying_data=b"", in_scheme=scheme, pcr_select=()),
    ),
    "GetTime": (
        2,
        lambda tpm, key, scheme: tpm.get_time(TPM_RH.ENDORSEMENT, key, qualifying_data=b"", in_scheme=scheme),
    ),
    "GetCommandAuditDigest": (
        2,
        lambda tpm, key, scheme: tpm.get_command_audit_digest(
            TPM_RH.ENDORSEMENT, key, qualifying_data=b"", in_scheme=scheme
        ),
    ),
    "NV_Certify": (1, nv_certify),
}


@pytest.mark.parametrize("name", ATTESTATIONS)
class TestAttestations:
    """Clause 18 and 31.16"""

    def test_no_signing_key(self, tpm: Client, name: str) -> None:
        """TPM_RC_KEY at signHandle for a key that does not sign."""
        number, attest = ATTESTATIONS[name]

        assert attest(tpm, put_ecc(tpm, "decrypt"), signing(A.ECDSA)).rc == TPM_RC.KEY.handle(number)

    def test_commitment(self, tpm: Client, name: str) -> None:
        """TPM_RC_VALUE for a split scheme whose count was not committed to."""
        _, attest = ATTESTATIONS[name]

        assert attest(tpm, put_ecc(tpm, scheme=A.ECDAA), ECDAA).rc == TPM_RC.VALUE


def test_session_audit_commitment(tpm: Client) -> None:
    """18.5: TPM_RC_VALUE for a split scheme whose count was not committed to."""
    session = start_session(tpm)
    session.attributes, session.authorizes = TPMA_SESSION(continueSession=True, audit=True), False
    tpm.get_random(bytes_requested=1, sessions=[session]).check()

    reply = tpm.get_session_audit_digest(
        TPM_RH.ENDORSEMENT,
        put_ecc(tpm, scheme=A.ECDAA),
        session.handle,
        qualifying_data=b"",
        in_scheme=ECDAA,
    )

    assert reply.rc == TPM_RC.VALUE


def test_session_audit_key(tpm: Client) -> None:
    """18.5: TPM_RC_KEY at signHandle, before it is looked at whether the session audits."""
    session = start_session(tpm)

    reply = tpm.get_session_audit_digest(
        TPM_RH.ENDORSEMENT,
        put_ecc(tpm, "decrypt"),
        session.handle,
        qualifying_data=b"",
        in_scheme=signing(A.ECDSA),
    )

    assert reply.rc == TPM_RC.KEY.handle(2)


class TestPolicySecret:
    """23.4"""

    def secret(self, tpm: Client, session: int, **given: Any) -> Reply:
        """PolicySecret with the owner's authorization."""
        arguments = {"nonce_tpm": b"", "cp_hash_a": b"", "policy_ref": b"", "expiration": 0}
        return tpm.policy_secret(OWNER, session, **arguments | given)

    def test_size(self, tpm: Client) -> None:
        """CpHashA has the size of the session's digest."""
        session = start_session(tpm, TPM_SE.POLICY).handle

        assert self.secret(tpm, session, cp_hash_a=bytes(31)).rc == TPM_RC.SIZE.parameter(2)

    def test_other_cp_hash(self, tpm: Client) -> None:
        """There is one cpHash in a policy; TPM_RC_CPHASH for another, no change by it."""
        session = start_session(tpm, TPM_SE.POLICY).handle
        self.secret(tpm, session, cp_hash_a=bytes(32)).check()
        before = tpm.policy_get_digest(session).policy_digest

        assert self.secret(tpm, session, cp_hash_a=b"\x01" * 32).rc == TPM_RC.CPHASH
        assert tpm.policy_get_digest(session).policy_digest == before
        assert self.secret(tpm, session, cp_hash_a=bytes(32)).rc == TPM_RC.SUCCESS

    def test_expired(self, tpm: Client) -> None:
        """The expiration counts from the nonce; TPM_RC_EXPIRED afterwards."""
        session = start_session(tpm, TPM_SE.POLICY)
        tpm.wait(2500)

        rc = [
            self.secret(tpm, session.handle, nonce_tpm=session.nonce_tpm, expiration=seconds).rc
            for seconds in (2, -2, 3, -3)
        ]

        assert rc == [TPM_RC.EXPIRED.parameter(4)] * 2 + [TPM_RC.SUCCESS] * 2

    def test_ticket_with_another_cp_hash(self, tpm: Client) -> None:
        """23.5: PolicyTicket in a session that has another cpHash; TPM_RC_CPHASH."""
        first, second = (start_session(tpm, TPM_SE.POLICY).handle for _ in range(2))
        granted = self.secret(tpm, first, cp_hash_a=bytes(32), expiration=-100)
        self.secret(tpm, second, cp_hash_a=b"\x01" * 32).check()

        reply = tpm.policy_ticket(
            second,
            timeout=granted.timeout,
            cp_hash_a=bytes(32),
            policy_ref=b"",
            auth_name=OWNER.to_bytes(4, "big"),
            ticket=granted.policy_ticket,
        )

        assert reply.rc == TPM_RC.CPHASH


class TestNv:
    """Clause 31, and the policies of NV Indices"""

    def test_extend_authorization(self, tpm: Client) -> None:
        """31.9: the owner may not extend what only the authValue extends; TPM_RC_NV_AUTHORIZATION."""
        define(tpm, SELF.but(TPM_NT=4), 32)

        assert tpm.nv_extend(OWNER, INDEX, data=b"x").rc == TPM_RC.NV_AUTHORIZATION
        assert tpm.nv_extend(INDEX, INDEX, data=b"x").rc == TPM_RC.SUCCESS

    @pytest.mark.parametrize("name", ["policy_nv", "policy_authorize_nv"])
    def test_policy_of_a_locked_index(self, tpm: Client, name: str) -> None:
        """23.9 and 23.22: TPM_RC_NV_UNINITIALIZED, then TPM_RC_NV_LOCKED."""
        define(tpm, SELF.but(READ_STCLEAR=True))
        session = start_session(tpm, TPM_SE.POLICY).handle
        given: dict[str, Any] = {}
        if name == "policy_nv":
            given = {"operand_b": bytes(8), "offset": 0, "operation": TPM_EO.EQ}
        codes = [getattr(tpm, name)(INDEX, INDEX, session, **given).rc]
        tpm.nv_write(INDEX, INDEX, data=bytes(8), offset=0).check()
        tpm.nv_read_lock(INDEX, INDEX).check()

        codes.append(getattr(tpm, name)(INDEX, INDEX, session, **given).rc)

        assert codes == [TPM_RC.NV_UNINITIALIZED, TPM_RC.NV_LOCKED]

    @pytest.mark.parametrize(
        ("attributes", "size", "expected"),
        [
            (OWNED.but(WRITTEN=True), 8, TPM_RC.ATTRIBUTES.parameter(2)),
            (OWNED.but(PLATFORMCREATE=True), 8, TPM_RC.ATTRIBUTES.handle(1)),
            (TPMA_NV(OWNERREAD=True), 8, TPM_RC.ATTRIBUTES.parameter(2)),
            (OWNED, 2049, TPM_RC.SIZE.parameter(2)),
        ],
    )
    def test_define_space2(self, tpm: Client, attributes: TPMA_NV, size: int, expected: int) -> None:
        """31.17: the checks are those of NV_DefineSpace."""
        area = TPMT_NV_PUBLIC_2(TPM_HT.NV_INDEX, public_of(attributes, size))

        assert tpm.nv_define_space2(OWNER, auth=b"", public_info=area).rc == expected

    def test_define_space2_again(self, tpm: Client) -> None:
        """31.17: TPM_RC_NV_DEFINED."""
        area = TPMT_NV_PUBLIC_2(TPM_HT.NV_INDEX, public_of(OWNED))
        tpm.nv_define_space2(OWNER, auth=b"", public_info=area).check()

        assert tpm.nv_define_space2(OWNER, auth=b"", public_info=area).rc == TPM_RC.NV_DEFINED

    def test_define_space2_without_platform_nv(self, tpm: Client) -> None:
        """31.17: TPM_RC_HIERARCHY for the platform once phEnableNV is clear."""
        tpm.hierarchy_control(TPM_RH.PLATFORM, enable=TPM_RH.PLATFORM_NV, state=False).check()
        attributes = TPMA_NV(PPREAD=True, PPWRITE=True, PLATFORMCREATE=True)
        area = TPMT_NV_PUBLIC_2(TPM_HT.NV_INDEX, public_of(attributes))

        reply = tpm.nv_define_space2(TPM_RH.PLATFORM, auth=b"", public_info=area)

        assert reply.rc == TPM_RC.HIERARCHY.handle(1)

    def test_define_space2_space(self, tpm: Client) -> None:
        """31.17: TPM_RC_NV_SPACE once the memory is taken."""
        codes = set()
        for number in range(200):
            area = TPMT_NV_PUBLIC_2(TPM_HT.NV_INDEX, public_of(OWNED, 2048, handle=INDEX + number))
            codes.add(tpm.nv_define_space2(OWNER, auth=b"", public_info=area).rc)

        assert codes == {TPM_RC.SUCCESS, TPM_RC.NV_SPACE}


class TestPrimitives:
    """Clauses 14, 15 and 19"""

    def test_rsa_decrypt_scheme(self, tpm: Client) -> None:
        """14.3: TPM_RC_SCHEME at inScheme, before the size of the data is looked at."""
        key = put_rsa(tpm, "decrypt", A.OAEP, A.SHA256)

        reply = tpm.rsa_decrypt(key, cipher_text=b"", in_scheme=TPMT_RSA_DECRYPT(A.RSAES, None), label=b"")

        assert reply.rc == TPM_RC.SCHEME.parameter(2)

    def test_ecc_decrypt_scheme(self, tpm: Client) -> None:
        """14.9: TPM_RC_SCHEME at inScheme, before the point is looked at."""
        reply = tpm.ecc_decrypt(
            put_ecc(tpm, "decrypt"),
            c1=TPMS_ECC_POINT(b"\x01", b"\x01"),
            c2=b"",
            c3=b"",
            in_scheme=TPMT_KDF_SCHEME(A.NULL, None),
        )

        assert reply.rc == TPM_RC.SCHEME.parameter(4)

    @pytest.mark.parametrize("name", ["encrypt_decrypt", "encrypt_decrypt2"])
    def test_symmetric_key(self, tpm: Client, name: str) -> None:
        """15.2 and 15.3: TPM_RC_KEY for another type, TPM_RC_ATTRIBUTES for a restricted or one-way key."""
        run = getattr(tpm, name)
        given = {"mode": A.CFB, "iv_in": bytes(16), "in_data": b"x"}
        restricted, signs = put_cipher(tpm), put_cipher(tpm, attributes="sign")
        mark(tpm, restricted, restricted=True)

        assert run(put_hmac(tpm), decrypt=False, **given).rc == TPM_RC.KEY.handle(1)
        assert run(restricted, decrypt=False, **given).rc == TPM_RC.ATTRIBUTES.handle(1)
        assert run(signs, decrypt=True, **given).rc == TPM_RC.ATTRIBUTES.handle(1)
        assert run(signs, decrypt=False, **given).rc == TPM_RC.SUCCESS

    def test_commit_without_a_name(self, tpm: Client) -> None:
        """19.2: x of P2 is a digest by nameAlg; TPM_RC_HASH for a key without one, unless there is no P2."""
        handle = put_ecc(tpm, scheme=A.ECDAA)
        item = tpm.tpm.volatile.objects[handle]
        assert isinstance(item, Object)
        sensitive = replace(sensitive_of(tpm, handle), seed_value=b"")
        key = external(tpm, replace(item.public, name_alg=A.NULL), sensitive)
        p1 = TPMS_ECC_POINT(b"", b"")

        assert tpm.commit(key, p1=p1, s2=b"x", y2=b"\x01").rc == TPM_RC.HASH.handle(1)
        assert tpm.commit(key, p1=p1, s2=b"", y2=b"").rc == TPM_RC.SUCCESS

    def test_read_public_of_a_sequence(self, tpm: Client) -> None:
        """12.4: a sequence object has no public area; TPM_RC_SEQUENCE."""
        sequence = tpm.hash_sequence_start(auth=b"", hash_alg=A.SHA256).sequence_handle

        assert tpm.read_public(sequence).rc == TPM_RC.SEQUENCE


class TestTagsOfTickets:
    """Part 2, Tables 110 to 115: TPM_RC_TAG for whatever is no tag of the ticket, and names nothing else."""

    UNKNOWN = (b"\0\0", b"\x80\xdb", b"\xff\xff", b"\x80\x01")

    @staticmethod
    def codes(tpm: Client, tag: TPM_ST, call: Callable[[], Reply]) -> set[int]:
        """The codes that a command answers with each unknown tag in the place of the right one."""
        right, send = tag.to_bytes(2, "big") + NULL.to_bytes(4, "big"), tpm.send
        codes = set()
        for unknown in TestTagsOfTickets.UNKNOWN:

            def altered(request: bytes, locality: int = 0, unknown: bytes = unknown) -> bytes:
                assert request.count(right) == 1
                return send(request.replace(right, unknown + right[2:]), locality)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(tpm, "send", altered)
                codes.add(call().rc)
        return codes

    def test_sign(self, tpm: Client) -> None:
        """The validation of Sign"""
        key = put_ecc(tpm, "sign", A.ECDSA)
        given = {"digest": bytes(32), "in_scheme": signing(A.NULL), "validation": NO_TICKET}

        assert self.codes(tpm, TPM_ST.HASHCHECK, lambda: tpm.sign(key, **given)) == {TPM_RC.TAG.parameter(3)}

    def test_certify_creation(self, tpm: Client) -> None:
        """The creation ticket of CertifyCreation"""
        made = tpm.create_primary(OWNER, **creation(STORAGE_ECC))
        item = handle_of(made)
        given: dict[str, Any] = {
            "qualifying_data": b"",
            "creation_hash": made.creation_hash,
            "in_scheme": signing(A.NULL),
            "ticket": TPMT_TK_CREATION(TPM_ST.CREATION, NULL, b""),
        }

        codes = self.codes(tpm, TPM_ST.CREATION, lambda: tpm.certify_creation(NULL, item, **given))
        assert codes == {TPM_RC.TAG.parameter(4)}

    def test_policies(self, tpm: Client) -> None:
        """The tickets of PolicyTicket and PolicyAuthorize"""
        session = start_session(tpm, TPM_SE.POLICY).handle
        name = b"\0\x0b" + bytes(32)
        ticket = {
            "timeout": bytes(8),
            "cp_hash_a": b"",
            "policy_ref": b"",
            "auth_name": name,
            "ticket": TPMT_TK_AUTH(TPM_ST.AUTH_SIGNED, NULL, b""),
        }
        authorize = {
            "approved_policy": bytes(32),
            "policy_ref": b"",
            "key_sign": name,
            "check_ticket": TPMT_TK_VERIFIED(TPM_ST.VERIFIED, NULL, None, b""),
        }

        codes = self.codes(tpm, TPM_ST.AUTH_SIGNED, lambda: tpm.policy_ticket(session, **ticket))
        assert codes == {TPM_RC.TAG.parameter(5)}
        codes = self.codes(tpm, TPM_ST.VERIFIED, lambda: tpm.policy_authorize(session, **authorize))
        assert codes == {TPM_RC.TAG.parameter(4)}


def test_creation_ticket_of_another_tag(tpm: Client) -> None:
    """Part 2, 10.6.4: the tag of a creation ticket; TPM_RC_TAG."""
    made = tpm.create_primary(OWNER, **creation(STORAGE_ECC))
    ticket = TPMT_TK_CREATION(TPM_ST.HASHCHECK, OWNER, made.creation_ticket.digest)

    reply = tpm.certify_creation(
        NULL,
        handle_of(made),
        qualifying_data=b"",
        creation_hash=made.creation_hash,
        in_scheme=signing(A.ECDSA),
        ticket=ticket,
    )

    assert reply.rc == TPM_RC.TAG.parameter(4)


def test_mode_that_does_not_decrypt(tpm: Client) -> None:
    """Part 2, 12.2.3.4: a cipher key that decrypts has no MAC for its mode; TPM_RC_SCHEME."""
    public = parameters(STORAGE_AES, sym=TPMT_SYM_DEF_OBJECT(A.AES, 128, A.CMAC))

    assert tpm.create_primary(OWNER, **creation(public)).rc == TPM_RC.SCHEME.parameter(2)


class TestTimeOfTickets:
    """23.2.2 and 23.5: a ticket lasts as long as the session's nonce says, or until the next TPM Reset"""

    def granted(self, tpm: Client, *, with_nonce: bool) -> Reply:
        """A ticket for 100 seconds."""
        session = start_session(tpm, TPM_SE.POLICY)
        nonce = session.nonce_tpm if with_nonce else b""
        given = {"nonce_tpm": nonce, "cp_hash_a": b"", "policy_ref": b"", "expiration": -100}
        reply = tpm.policy_secret(OWNER, session.handle, **given)
        tpm.flush_context(flush_handle=session.handle).check()
        return reply

    def shown(
        self,
        tpm: Client,
        granted: Reply,
        timeout: bytes | None = None,
        name: bytes = OWNER.to_bytes(4, "big"),
    ) -> int:
        """PolicyTicket in a new session; gives the response code."""
        return tpm.policy_ticket(
            start_session(tpm, TPM_SE.POLICY).handle,
            timeout=granted.timeout if timeout is None else timeout,
            cp_hash_a=b"",
            policy_ref=b"",
            auth_name=name,
            ticket=granted.policy_ticket,
        ).rc

    @pytest.mark.parametrize("with_nonce", [True, False])
    def test_until_then(self, tpm: Client, *, with_nonce: bool) -> None:
        """The first bit of the timeout says whether a TPM Reset ends the ticket, and is protected."""
        tpm.wait(1000)
        granted = self.granted(tpm, with_nonce=with_nonce)
        other = bytes([granted.timeout[0] ^ 0x80]) + granted.timeout[1:]

        assert bool(granted.timeout[0] & 0x80) is not with_nonce
        assert self.shown(tpm, granted) == TPM_RC.SUCCESS
        assert self.shown(tpm, granted, other) == TPM_RC.TICKET.parameter(5)
        tpm.wait(101_000)
        assert self.shown(tpm, granted) == TPM_RC.EXPIRED.parameter(1)

    def test_of_a_sequence(self, tpm: Client) -> None:
        """What belongs to no hierarchy, as a sequence object, has tickets of the null hierarchy."""
        sequence = tpm.hash_sequence_start(auth=b"pw", hash_alg=A.SHA256).sequence_handle
        arguments: dict[str, Any] = {
            "nonce_tpm": b"",
            "cp_hash_a": b"",
            "policy_ref": b"",
            "expiration": -100,
        }
        session = start_session(tpm, TPM_SE.POLICY).handle

        granted = tpm.policy_secret(sequence, session, auths=[b"pw"], **arguments)

        assert granted.policy_ticket.hierarchy == NULL
        assert self.shown(tpm, granted) == TPM_RC.TICKET.parameter(5)
        assert self.shown(tpm, granted, name=b"") == TPM_RC.SUCCESS

    @pytest.mark.parametrize("timeout", [bytes(8), b"\x80" + bytes(7)])
    def test_no_end(self, tpm: Client, timeout: bytes) -> None:
        """A ticket has an end; one that is said to have none is no ticket of this TPM."""
        granted = self.granted(tpm, with_nonce=False)

        assert self.shown(tpm, granted, timeout) == TPM_RC.TICKET.parameter(5)

    @pytest.mark.parametrize("with_nonce", [True, False])
    def test_reset(self, tpm: Client, *, with_nonce: bool) -> None:
        """After a TPM Reset it is worthless in any case: Time has begun again."""
        granted = self.granted(tpm, with_nonce=with_nonce)
        tpm.power_cycle().check()

        assert self.shown(tpm, granted) == TPM_RC.TICKET.parameter(5)


def test_set_capability_of_anything(tpm: Client) -> None:
    """30.4: were there data that could be read, they would still name no capability that can be set."""
    with pytest.raises(TpmError) as refused:
        COMMANDS[TPM_CC.SetCapability].run(tpm.tpm, None, None)

    assert (refused.value.rc, refused.value.at) == (TPM_RC.VALUE, "set_capability_data")


class TestPcrPolicy:
    """Part 1, "PCR Groups"; 22.6: a PCR with a policy takes no authValue, one without has none to satisfy"""

    GROUP, OTHER = 20, 16

    def extend(self, tpm: Client, pcr: int, *sessions: CallerSession) -> int:
        """PCR_Extend from locality 2; gives the response code."""
        digests = (TPMT_HA(A.SHA256, bytes(32)),)
        return tpm.pcr_extend(pcr, digests=digests, sessions=sessions, locality=2).rc

    def asserting(self, tpm: Client) -> CallerSession:
        """A policy session that PolicyCommandCode has made fit for PCR_Extend."""
        session = start_session(tpm, TPM_SE.POLICY)
        tpm.policy_command_code(session.handle, code=TPM_CC.PCR_Extend).check()
        return session

    def test_without(self, tpm: Client) -> None:
        """TPM_RC_AUTH_UNAVAILABLE for a PCR of no group, TPM_RC_POLICY_FAIL for a group without a policy."""
        assert self.extend(tpm, self.OTHER, self.asserting(tpm)) == TPM_RC.AUTH_UNAVAILABLE
        assert self.extend(tpm, self.GROUP, self.asserting(tpm)) == TPM_RC.POLICY_FAIL.session(1)
        assert self.extend(tpm, self.GROUP) == TPM_RC.SUCCESS

    def test_with(self, tpm: Client) -> None:
        """The policy opens its group, a password no more (TPM_RC_AUTH_TYPE); other PCR are as before."""
        policy = tpm.policy_get_digest(self.asserting(tpm).handle).policy_digest
        tpm.pcr_set_auth_policy(
            TPM_RH.PLATFORM, auth_policy=policy, hash_alg=A.SHA256, pcr_num=self.GROUP
        ).check()

        assert self.extend(tpm, self.GROUP) == TPM_RC.AUTH_TYPE
        assert self.extend(tpm, self.GROUP, start_session(tpm, TPM_SE.POLICY)) == TPM_RC.POLICY_FAIL.session(
            1
        )
        assert self.extend(tpm, self.GROUP, self.asserting(tpm)) == TPM_RC.SUCCESS
        assert self.extend(tpm, self.OTHER) == TPM_RC.SUCCESS


@pytest.mark.parametrize(
    ("own", "expected"),
    [(A.NULL, TPM_RC.SUCCESS), (A.HMAC, TPM_RC.SIGNATURE.parameter(2))],
)
def test_hmac_of_another_hash(tpm: Client, own: TPM_ALG, expected: int) -> None:
    """20.2: a right HMAC, whose hash is not that of the key's scheme; TPM_RC_SIGNATURE."""
    key = put_hmac(tpm, b"secret", scheme=own, alg=None if own is A.NULL else A.SHA256)
    value = hmac.digest(b"secret", bytes(32), "sha1")

    reply = tpm.verify_signature(
        key, digest=bytes(32), signature=TPMT_SIGNATURE(A.HMAC, TPMT_HA(A.SHA1, value))
    )

    assert reply.rc == expected


@pytest.mark.parametrize("name", ["pc-client", "swtpm-compatible"])
def test_reported_properties(name: str) -> None:
    """Part 2, 6.13: what a profile says of the TPM takes the place of what this program says of itself."""
    profile = PROFILES[name]
    tpm = Client(profile=profile)
    assert profile.reported

    for tag, value in profile.reported:
        reply = tpm.get_capability(capability=TPM_CAP.TPM_PROPERTIES, property=tag, property_count=1)
        assert reply.capability_data.data == (TPMS_TAGGED_PROPERTY(tag, value),)
