"""Part 3, clause 18, and 31.16: attestation commands."""

import hashlib
from itertools import product
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils

from tests.keys import (
    NULL_SIGNATURE_SCHEME,
    RSA_MODULUS,
    put_cipher,
    put_ecc,
    put_hmac,
    put_rsa,
    signing,
)
from tests.libtpms import by_name, recorded_tpm
from tests.scenarios import Client, Reply, reply_of
from tests.sessions import CallerSession, kdf_a
from vtpm.commands import COMMANDS
from vtpm.commands.tickets import creation_ticket
from vtpm.crypto.curves import CURVES
from vtpm.crypto.ecc import combination, generator_of, point_of
from vtpm.spec.algorithms import TPMS_ECC_POINT, TPMT_SYM_DEF
from vtpm.spec.attributes import TPMA_NV, TPMA_SESSION
from vtpm.spec.constants import TPM_ALG, TPM_CC, TPM_ECC_CURVE, TPM_GENERATED_VALUE, TPM_NT, TPM_RH, TPM_ST
from vtpm.spec.nv import TPMS_NV_PUBLIC
from vtpm.spec.structures import TPMS_ATTEST, TPMS_PCR_SELECTION, TPMT_TK_CREATION
from vtpm.state.firmware import FIRMWARE_VERSION
from vtpm.state.object import Object
from vtpm.wire.error import TPM_RC
from vtpm.wire.structure import unmarshal

RECORDED = by_name("attestation.json", "Quote", "GetTime", "Certify", "NV_Certify")
PLAIN = {name: v for name, v in RECORDED.items() if "obfuscation_octets" not in v}

RSA_PUBLIC = rsa.RSAPublicNumbers(65537, RSA_MODULUS).public_key()
SHA256_PCR = (TPMS_PCR_SELECTION(TPM_ALG.SHA256, b"\x01\x00\x01"),)
RSASSA = signing(TPM_ALG.RSASSA)
NO_ENCRYPTION = TPMT_SYM_DEF(TPM_ALG.NULL, 0, TPM_ALG.NULL)
NONCE = b"nonce"
INDEX = 0x01500041


def attest_of(reply: Reply) -> Any:
    """The TPMS_ATTEST of a response."""
    assert reply.rc == TPM_RC.SUCCESS
    return unmarshal(TPMS_ATTEST, reply.attested)


def check_rsassa(reply: Reply) -> None:
    """The signature of a statement must be the RSA test key's."""
    assert reply.signature.sig_alg is TPM_ALG.RSASSA
    digest = hashlib.sha256(reply.attested).digest()
    scheme = utils.Prehashed(hashes.SHA256())
    RSA_PUBLIC.verify(reply.signature.signature.sig, digest, padding.PKCS1v15(), scheme)


def signer(tpm: Client, hierarchy: int = TPM_RH.ENDORSEMENT) -> int:
    """A restricted signing key."""
    return put_rsa(tpm, "sign restricted", TPM_ALG.RSASSA, TPM_ALG.SHA256, hierarchy=hierarchy)


def loaded(tpm: Client, handle: int) -> Object:
    """A loaded object."""
    item = tpm.tpm.volatile.objects[handle]
    assert isinstance(item, Object)
    return item


def define_index(tpm: Client, data: bytes, kind: TPM_NT = TPM_NT.ORDINARY, **attributes: bool) -> None:
    """An NV Index that everybody can read and write, with its first data."""
    given = TPMA_NV(
        AUTHREAD=True, AUTHWRITE=True, OWNERREAD=True, OWNERWRITE=True, TPM_NT=kind, NO_DA=True, **attributes
    )
    public = TPMS_NV_PUBLIC(INDEX, TPM_ALG.SHA256, given, b"", len(data))
    assert tpm.nv_define_space(TPM_RH.OWNER, auth=b"", public_info=public).rc == TPM_RC.SUCCESS
    if data:
        assert tpm.nv_write(INDEX, INDEX, data=data, offset=0).rc == TPM_RC.SUCCESS


class TestRecorded:
    """Statements of a TPM with the same proofs; the signing keys were others"""

    def prepare(self, tpm: Client, vector: dict[str, Any]) -> None:
        """Give the TPM the clock and the keys of the recording."""
        tpm.tpm.clock.clock = vector["clock"]
        tpm.tpm.permanent.reset_count = vector["plain_resetCount"]
        key = signer(tpm)
        loaded(tpm, key).qualified_name = bytes.fromhex(vector["qualified_signer"])
        attest: Any = unmarshal(TPMS_ATTEST, bytes.fromhex(vector["attest"]))
        tpm.tpm.clock.safe = attest.clock_info.safe
        other = loaded(tpm, put_hmac(tpm))
        if attest.type is TPM_ST.ATTEST_CERTIFY:
            other.name, other.qualified_name = attest.attested.name, attest.attested.qualified_name
        if attest.type is TPM_ST.ATTEST_CREATION:
            other.name = attest.attested.object_name
        if attest.type is TPM_ST.ATTEST_TIME:
            tpm.tpm.clock.time = attest.attested.time.time

    @pytest.mark.parametrize("name", PLAIN)
    def test_statement(self, name: str) -> None:
        """Every octet of the statement but for the firmware version; and our own signature of it."""
        tpm, vector = recorded_tpm(), RECORDED[name]
        if "Index" in name:
            define_index(tpm, bytes(range(16)))
            self.name_index(tpm, bytes.fromhex(vector["nv_name"]))
        self.prepare(tpm, vector)

        request = bytes.fromhex(vector["command"])
        reply = reply_of(COMMANDS[int.from_bytes(request[6:10], "big")], tpm.send(request))

        version = FIRMWARE_VERSION.to_bytes(8, "big").hex()
        expected = vector["attest"].replace(vector["plain_firmware"][2:], version)
        assert expected == reply.attested.hex()
        check_rsassa(reply)

    @staticmethod
    def name_index(tpm: Client, name: bytes) -> None:
        """Give the Index the recorded Name, by finding its attributes."""
        index = tpm.tpm.nv[INDEX]
        optional = ["OWNERREAD", "OWNERWRITE", "PPREAD", "PPWRITE", "NO_DA"]
        for chosen in product([False, True], repeat=len(optional)):
            given = dict(zip(optional, chosen, strict=True))
            index.set_attributes(TPMA_NV(AUTHREAD=True, AUTHWRITE=True, WRITTEN=True, **given))
            if index.name == name:
                return
        pytest.fail("no attributes give the recorded Name")


class TestStatement:
    """Part 3, 18.1"""

    def test_common_fields(self, tpm: Client) -> None:
        """Every statement says who signed, when and with which firmware, and holds the caller's data."""
        tpm.wait(12345)
        key = signer(tpm)

        reply = tpm.quote(key, qualifying_data=NONCE, in_scheme=NULL_SIGNATURE_SCHEME, pcr_select=())

        attest = attest_of(reply)
        assert (attest.magic, attest.type) == (TPM_GENERATED_VALUE, TPM_ST.ATTEST_QUOTE)
        assert (loaded(tpm, key).qualified_name, NONCE) == (attest.qualified_signer, attest.extra_data)
        assert (tpm.tpm.time_info().clock_info, FIRMWARE_VERSION) == (
            attest.clock_info,
            attest.firmware_version,
        )
        check_rsassa(reply)

    @pytest.mark.parametrize("hierarchy", [TPM_RH.OWNER, TPM_RH.NULL, TPM_RH.ENDORSEMENT, TPM_RH.PLATFORM])
    def test_obfuscation(self, tpm: Client, hierarchy: int) -> None:
        """Outside of endorsement and platform hierarchy, a key hides the counters and firmware version."""
        key = signer(tpm, hierarchy)
        reply = tpm.quote(key, qualifying_data=b"", in_scheme=NULL_SIGNATURE_SCHEME, pcr_select=())

        attest, plain = attest_of(reply), tpm.tpm.time_info().clock_info
        mask = bytes(16)
        if hierarchy in (TPM_RH.OWNER, TPM_RH.NULL):
            proof, name = tpm.tpm.owner.proof, loaded(tpm, key).qualified_name
            mask = kdf_a(TPM_ALG.SHA256, proof, b"OBFUSCATE", name, b"", 128)
        assert attest.firmware_version == (FIRMWARE_VERSION + int.from_bytes(mask[:8], "little")) % (1 << 64)
        restarts, resets = (int.from_bytes(mask[i : i + 4], "little") for i in (8, 12))
        assert attest.clock_info.reset_count == (plain.reset_count + resets) % (1 << 32)
        assert attest.clock_info.restart_count == (plain.restart_count + restarts) % (1 << 32)
        assert (plain.clock, plain.safe) == (attest.clock_info.clock, attest.clock_info.safe)

    def test_unsigned(self, tpm: Client) -> None:
        """Without a key there is a statement, obfuscated with the hash of contexts, and no signature."""
        reply = tpm.quote(TPM_RH.NULL, qualifying_data=NONCE, in_scheme=RSASSA, pcr_select=())

        attest = attest_of(reply)
        mask = kdf_a(
            TPM_ALG.SHA512, tpm.tpm.owner.proof, b"OBFUSCATE", TPM_RH.NULL.to_bytes(4, "big"), b"", 128
        )
        assert (reply.signature.sig_alg, reply.signature.signature) == (TPM_ALG.NULL, None)
        assert TPM_RH.NULL.to_bytes(4, "big") == attest.qualified_signer
        assert attest.extra_data == NONCE
        assert attest.firmware_version == (FIRMWARE_VERSION + int.from_bytes(mask[:8], "little")) % (1 << 64)

    def test_null_signer_needs_empty_password(self, tpm: Client) -> None:
        """TPM_RH_NULL is authorized with an empty authValue."""
        reply = tpm.quote(
            TPM_RH.NULL, qualifying_data=b"", in_scheme=RSASSA, pcr_select=(), auths=[b"something"]
        )

        assert TPM_RC.BAD_AUTH.session(1) == reply.rc

    @pytest.mark.parametrize("alg", [TPM_ALG.SHA1, TPM_ALG.SHA384])
    def test_scheme_of_caller(self, tpm: Client, alg: TPM_ALG) -> None:
        """A key without a scheme signs with the caller's."""
        key = put_ecc(tpm)
        scheme = signing(TPM_ALG.ECDSA, alg)
        reply = tpm.quote(key, qualifying_data=b"", in_scheme=scheme, pcr_select=())

        digest = hashlib.new(alg.name, reply.attested).digest()
        assert tpm.verify_signature(key, digest=digest, signature=reply.signature).rc == TPM_RC.SUCCESS

    @pytest.mark.parametrize("alg", [TPM_ALG.SHA256, TPM_ALG.SHA512])
    def test_hmac(self, tpm: Client, alg: TPM_ALG) -> None:
        """An HMAC key signs the digest of the statement."""
        key = put_hmac(tpm, scheme=TPM_ALG.HMAC, alg=alg)
        reply = tpm.quote(key, qualifying_data=b"", in_scheme=NULL_SIGNATURE_SCHEME, pcr_select=())

        digest = hashlib.new(alg.name, reply.attested).digest()
        assert tpm.verify_signature(key, digest=digest, signature=reply.signature).rc == TPM_RC.SUCCESS

    def test_errors(self, tpm: Client) -> None:
        """The key must be able to sign, and the scheme must fit it."""
        sequence = tpm.hash_sequence_start(auth=b"", hash_alg=TPM_ALG.SHA256).sequence_handle
        cases = [
            (put_rsa(tpm, "decrypt"), RSASSA, TPM_RC.KEY.handle(1)),
            (put_cipher(tpm), RSASSA, TPM_RC.KEY.handle(1)),
            (sequence, RSASSA, TPM_RC.KEY.handle(1)),
            (put_rsa(tpm), NULL_SIGNATURE_SCHEME, TPM_RC.SCHEME.parameter(2)),
            (put_rsa(tpm), signing(TPM_ALG.ECDSA), TPM_RC.SCHEME.parameter(2)),
            (signer(tpm), signing(TPM_ALG.RSAPSS), TPM_RC.SCHEME.parameter(2)),
            (put_rsa(tpm, private=False), RSASSA, TPM_RC.AUTH_UNAVAILABLE),
        ]
        for key, scheme, expected in cases:
            reply = tpm.quote(key, qualifying_data=b"", in_scheme=scheme, pcr_select=())
            assert expected == reply.rc

    def test_anonymous(self, tpm: Client) -> None:
        """An anonymous scheme names nobody, and signs the caller's data without showing them."""
        curve = CURVES[TPM_ECC_CURVE.BN_P256]
        key = put_ecc(tpm, "sign restricted", TPM_ALG.ECDAA, curve=curve.id, hierarchy=TPM_RH.ENDORSEMENT)
        certified = put_hmac(tpm)
        committed = tpm.commit(key, p1=TPMS_ECC_POINT(b"", b""), s2=b"", y2=b"")
        scheme = signing(TPM_ALG.ECDAA, count=committed.counter)

        reply = tpm.certify(certified, key, qualifying_data=NONCE, in_scheme=scheme)

        attest = attest_of(reply)
        assert (attest.qualified_signer, attest.extra_data, attest.attested.qualified_name) == (b"",) * 3
        assert loaded(tpm, certified).name == attest.attested.name
        digest = hashlib.sha256(NONCE + hashlib.sha256(reply.attested).digest()).digest()
        signature = reply.signature.signature
        t = int.from_bytes(hashlib.sha256(signature.signature_r + digest).digest(), "big")
        public = loaded(tpm, key).public.unique
        assert isinstance(public, TPMS_ECC_POINT)
        found = combination(
            (int.from_bytes(signature.signature_s, "big"), generator_of(curve)),
            (-t, point_of(curve.id, public.x, public.y)),
        )
        assert point_of(curve.id, committed.e.x, committed.e.y) == found


class TestCertify:
    """Part 3, 18.2"""

    def test_names(self, tpm: Client) -> None:
        """The object's Name and Qualified Name."""
        key, certified = signer(tpm), put_hmac(tpm)

        reply = tpm.certify(certified, key, qualifying_data=NONCE, in_scheme=NULL_SIGNATURE_SCHEME)

        attest, item = attest_of(reply), loaded(tpm, certified)
        assert attest.type is TPM_ST.ATTEST_CERTIFY
        assert (item.name, item.qualified_name) == (attest.attested.name, attest.attested.qualified_name)
        check_rsassa(reply)

    def test_own(self, tpm: Client) -> None:
        """A key may certify itself."""
        key = signer(tpm)

        check_rsassa(tpm.certify(key, key, qualifying_data=b"", in_scheme=NULL_SIGNATURE_SCHEME))

    def test_authorizations(self, tpm: Client) -> None:
        """The object is authorized first, in the ADMIN role, then the key."""
        key = put_rsa(tpm, "sign", TPM_ALG.RSASSA, TPM_ALG.SHA256, auth=b"key")
        certified, policy = put_hmac(tpm, auth=b"object"), put_hmac(tpm, attributes="sign adminWithPolicy")
        given = {"qualifying_data": b"", "in_scheme": NULL_SIGNATURE_SCHEME}

        replies = [
            tpm.certify(certified, key, auths=[b"object", b"key"], **given),
            tpm.certify(certified, key, auths=[b"key", b"key"], **given),
            tpm.certify(certified, key, auths=[b"object", b"object"], **given),
            tpm.certify(policy, key, auths=[b"", b"key"], **given),
        ]

        expected = [TPM_RC.SUCCESS, TPM_RC.BAD_AUTH.session(1), TPM_RC.BAD_AUTH.session(2), TPM_RC.AUTH_TYPE]
        assert expected == [reply.rc for reply in replies]

    def test_public_only(self, tpm: Client) -> None:
        """What is not proven to be an object of the TPM cannot be certified."""
        public = put_rsa(tpm, private=False)

        reply = tpm.certify(public, signer(tpm), qualifying_data=b"", in_scheme=NULL_SIGNATURE_SCHEME)

        assert reply.rc == TPM_RC.AUTH_UNAVAILABLE

    def test_key(self, tpm: Client) -> None:
        """The signing key is the second handle."""
        reply = tpm.certify(put_hmac(tpm), put_cipher(tpm), qualifying_data=b"", in_scheme=RSASSA)

        assert TPM_RC.KEY.handle(2) == reply.rc


class TestCertifyCreation:
    """Part 3, 18.3"""

    HASH = hashlib.sha256(b"creation data").digest()

    def certify(self, tpm: Client, ticket: TPMT_TK_CREATION, creation_hash: bytes = HASH) -> Reply:
        """Certify the creation of the object at 0x80000001 with the key at 0x80000000."""
        return tpm.certify_creation(
            0x80000000,
            0x80000001,
            qualifying_data=NONCE,
            creation_hash=creation_hash,
            in_scheme=NULL_SIGNATURE_SCHEME,
            ticket=ticket,
        )

    def test_ticket(self, tpm: Client) -> None:
        """The ticket must be for the object's Name and the hash of its creation data."""
        signer(tpm)
        item = loaded(tpm, put_hmac(tpm))
        ticket = creation_ticket(tpm.tpm, TPM_RH.OWNER, item.name, self.HASH)
        other = creation_ticket(tpm.tpm, TPM_RH.OWNER, b"another", self.HASH)
        elsewhere = creation_ticket(tpm.tpm, TPM_RH.PLATFORM, item.name, self.HASH)
        wrong = TPMT_TK_CREATION(TPM_ST.CREATION, TPM_RH.OWNER, elsewhere.digest)

        reply = self.certify(tpm, ticket)

        attest = attest_of(reply)
        assert attest.type is TPM_ST.ATTEST_CREATION
        assert (item.name, self.HASH) == (attest.attested.object_name, attest.attested.creation_hash)
        check_rsassa(reply)
        refused = [self.certify(tpm, other), self.certify(tpm, wrong), self.certify(tpm, ticket, b"other")]
        assert [TPM_RC.TICKET.parameter(4)] * 3 == [answer.rc for answer in refused]

    def test_missing_hierarchy(self, tpm: Client) -> None:
        """A ticket cannot be of a hierarchy that the TPM does not have."""
        signer(tpm)
        put_hmac(tpm)

        reply = self.certify(tpm, TPMT_TK_CREATION(TPM_ST.CREATION, TPM_RH.SVN_OWNER_BASE + 1, bytes(64)))

        assert TPM_RC.SVN_LIMITED.parameter(4) == reply.rc


class TestQuote:
    """Part 3, 18.4"""

    def test_digest(self, tpm: Client) -> None:
        """The digest of the values of the PCR selected, bank after bank, with the scheme's hash."""
        tpm.pcr_event(8, event_data=b"event")
        selection = (
            TPMS_PCR_SELECTION(TPM_ALG.SHA384, b"\x00\x01\x00"),
            TPMS_PCR_SELECTION(TPM_ALG.SHA1, b"\x01\x01\x00"),
        )
        key = signer(tpm)

        reply = tpm.quote(key, qualifying_data=NONCE, in_scheme=NULL_SIGNATURE_SCHEME, pcr_select=selection)

        banks = tpm.tpm.pcr.banks
        values = banks[TPM_ALG.SHA384][8] + banks[TPM_ALG.SHA1][0] + banks[TPM_ALG.SHA1][8]
        attested = attest_of(reply).attested
        assert (selection, hashlib.sha256(values).digest()) == (attested.pcr_select, attested.pcr_digest)
        check_rsassa(reply)

    def test_missing_bank(self, tpm: Client) -> None:
        """PCR that do not exist are taken out of the selection."""
        selection = (TPMS_PCR_SELECTION(TPM_ALG.SHA3_256, b"\x01\x00\x00"), *SHA256_PCR)

        reply = tpm.quote(
            signer(tpm), qualifying_data=b"", in_scheme=NULL_SIGNATURE_SCHEME, pcr_select=selection
        )

        attested = attest_of(reply).attested
        assert (TPMS_PCR_SELECTION(TPM_ALG.SHA3_256, bytes(3)), *SHA256_PCR) == attested.pcr_select
        assert hashlib.sha256(bytes(64)).digest() == attested.pcr_digest

    @pytest.mark.parametrize("alg", [TPM_ALG.SHA1, TPM_ALG.SHA512])
    def test_unsigned(self, tpm: Client, alg: TPM_ALG) -> None:
        """Without a key, the hash is that of the scheme asked for; without one, there is no digest."""
        given = {"qualifying_data": b"", "pcr_select": SHA256_PCR}

        reply = tpm.quote(TPM_RH.NULL, in_scheme=signing(TPM_ALG.RSASSA, alg), **given)
        without = tpm.quote(TPM_RH.NULL, in_scheme=NULL_SIGNATURE_SCHEME, **given)

        assert hashlib.new(alg.name, bytes(64)).digest() == attest_of(reply).attested.pcr_digest
        assert TPM_RC.SCHEME.parameter(2) == without.rc


class TestGetTime:
    """Part 3, 18.7"""

    def test_time(self, tpm: Client) -> None:
        """Time and Clock in clear, even if the statement's own are obfuscated."""
        key = signer(tpm, TPM_RH.OWNER)
        tpm.wait(5000)

        reply = tpm.get_time(TPM_RH.ENDORSEMENT, key, qualifying_data=NONCE, in_scheme=NULL_SIGNATURE_SCHEME)

        attest = attest_of(reply)
        assert attest.type is TPM_ST.ATTEST_TIME
        assert (tpm.tpm.time_info(), FIRMWARE_VERSION) == (
            attest.attested.time,
            attest.attested.firmware_version,
        )
        assert attest.attested.time.time == 5000
        assert attest.clock_info != attest.attested.time.clock_info
        check_rsassa(reply)

    def test_authorization(self, tpm: Client) -> None:
        """The privacy administrator authorizes, beside the key."""
        tpm.tpm.endorsement.auth_value = b"privacy"
        given = {"qualifying_data": b"", "in_scheme": NULL_SIGNATURE_SCHEME}
        key = signer(tpm)

        refused = tpm.get_time(TPM_RH.ENDORSEMENT, key, **given)
        accepted = tpm.get_time(TPM_RH.ENDORSEMENT, key, auths=[b"privacy", b""], **given)

        assert [TPM_RC.BAD_AUTH.session(1), TPM_RC.SUCCESS] == [refused.rc, accepted.rc]


class TestGetSessionAuditDigest:
    """Part 3, 18.5"""

    @pytest.fixture
    def session(self, tpm: Client) -> CallerSession:
        """An HMAC session without a key, for auditing."""
        started = tpm.start_auth_session(
            TPM_RH.NULL,
            TPM_RH.NULL,
            nonce_caller=bytes(16),
            encrypted_salt=b"",
            session_type=0,
            symmetric=NO_ENCRYPTION,
            auth_hash=TPM_ALG.SHA256,
        )
        attributes = TPMA_SESSION(continueSession=True, audit=True)
        return CallerSession(
            started.session_handle,
            TPM_ALG.SHA256,
            started.nonce_tpm,
            bytes(16),
            attributes=attributes,
            authorizes=False,
        )

    def digest(self, tpm: Client, session: CallerSession) -> Any:
        """What the session's audit digest is attested to be."""
        reply = tpm.get_session_audit_digest(
            TPM_RH.ENDORSEMENT,
            TPM_RH.NULL,
            session.handle,
            qualifying_data=b"",
            in_scheme=NULL_SIGNATURE_SCHEME,
        )
        attest = attest_of(reply)
        assert attest.type is TPM_ST.ATTEST_SESSION_AUDIT
        return attest.attested

    def test_digest(self, tpm: Client, session: CallerSession) -> None:
        """The digest of cpHash and rpHash of every audited command; another command ends exclusiveness."""
        reply = tpm.get_random(bytes_requested=4, sessions=[session])
        code = TPM_CC.GetRandom.to_bytes(4, "big")
        cp_hash = hashlib.sha256(code + b"\x00\x04").digest()
        rp_hash = hashlib.sha256(bytes(4) + code + reply.parameters).digest()
        expected = hashlib.sha256(bytes(32) + cp_hash + rp_hash).digest()

        first, second = self.digest(tpm, session), self.digest(tpm, session)

        assert (expected, True) == (first.session_digest, first.exclusive_session)
        assert (expected, False) == (second.session_digest, second.exclusive_session)

    def test_not_auditing(self, tpm: Client, session: CallerSession) -> None:
        """A session that has not audited anything has no digest."""
        reply = tpm.get_session_audit_digest(
            TPM_RH.ENDORSEMENT, signer(tpm), session.handle, qualifying_data=b"", in_scheme=RSASSA
        )

        assert TPM_RC.TYPE.handle(3) == reply.rc


class TestNvCertify:
    """Part 3, 31.16"""

    def certify(self, tpm: Client, size: int, offset: int, scheme: Any = NULL_SIGNATURE_SCHEME) -> Reply:
        """Certify a part of the Index, which authorizes itself, with the key at 0x80000000."""
        return tpm.nv_certify(
            0x80000000, INDEX, INDEX, qualifying_data=NONCE, in_scheme=scheme, size=size, offset=offset
        )

    def test_part(self, tpm: Client) -> None:
        """The Index's Name, and the octets at an offset."""
        signer(tpm)
        define_index(tpm, bytes(range(16)))

        reply = self.certify(tpm, 4, 6)

        attest = attest_of(reply)
        assert attest.type is TPM_ST.ATTEST_NV
        assert tpm.name_of(INDEX) == attest.attested.index_name
        assert (6, bytes(range(6, 10))) == (attest.attested.offset, attest.attested.nv_contents)
        check_rsassa(reply)

    def test_digest(self, tpm: Client) -> None:
        """Without size and offset, the digest of all data, with the scheme's hash."""
        signer(tpm)
        define_index(tpm, bytes(range(16)))

        reply = self.certify(tpm, 0, 0)

        attest = attest_of(reply)
        assert attest.type is TPM_ST.ATTEST_NV_DIGEST
        assert tpm.name_of(INDEX) == attest.attested.index_name
        assert hashlib.sha256(bytes(range(16))).digest() == attest.attested.nv_digest

    def test_unsigned_digest(self, tpm: Client) -> None:
        """Without a key, the hash is that of the scheme asked for, which must be there."""
        define_index(tpm, b"data")
        given = {"qualifying_data": b"", "size": 0, "offset": 0}

        reply = tpm.nv_certify(
            TPM_RH.NULL, INDEX, INDEX, in_scheme=signing(TPM_ALG.HMAC, TPM_ALG.SHA1), **given
        )
        without = tpm.nv_certify(TPM_RH.NULL, INDEX, INDEX, in_scheme=NULL_SIGNATURE_SCHEME, **given)

        assert hashlib.sha1(b"data").digest() == attest_of(reply).attested.nv_digest
        assert TPM_RC.SCHEME.parameter(2) == without.rc

    @pytest.mark.parametrize(
        ("size", "offset", "expected"),
        [
            (16, 0, TPM_RC.SUCCESS),
            (0, 16, TPM_RC.SUCCESS),
            (1, 16, TPM_RC.NV_RANGE),
            (17, 0, TPM_RC.NV_RANGE),
            (0xFFFF, 0xFFFF, TPM_RC.NV_RANGE),
        ],
    )
    def test_range(self, tpm: Client, size: int, offset: int, expected: int) -> None:
        """What is certified lies within the Index."""
        signer(tpm)
        define_index(tpm, bytes(16))

        assert expected == self.certify(tpm, size, offset).rc

    def test_too_much(self, tpm: Client) -> None:
        """At most as much as one NV_Read reads."""
        signer(tpm)
        define_index(tpm, b"")
        tpm.nv_undefine_space(TPM_RH.OWNER, INDEX)
        define_index(tpm, bytes(1024))
        item = tpm.tpm.nv[INDEX]
        item.public = TPMS_NV_PUBLIC(INDEX, TPM_ALG.SHA256, item.attributes, b"", 2048)
        item.data = bytes(2048)

        assert TPM_RC.VALUE.parameter(3) == self.certify(tpm, 1025, 0).rc
        assert self.certify(tpm, 1024, 1024).rc == TPM_RC.SUCCESS

    def test_unwritten(self, tpm: Client) -> None:
        """An Index without data cannot be certified, even if no octets are asked for."""
        signer(tpm)
        given = TPMA_NV(AUTHREAD=True, AUTHWRITE=True)
        public = TPMS_NV_PUBLIC(INDEX, TPM_ALG.SHA256, given, b"", 8)
        tpm.nv_define_space(TPM_RH.OWNER, auth=b"", public_info=public)

        assert self.certify(tpm, 0, 0).rc == TPM_RC.NV_UNINITIALIZED

    def test_locked(self, tpm: Client) -> None:
        """A read lock refuses."""
        signer(tpm)
        define_index(tpm, b"data", READ_STCLEAR=True)
        tpm.nv_read_lock(INDEX, INDEX)

        assert self.certify(tpm, 4, 0).rc == TPM_RC.NV_LOCKED

    def test_authorization(self, tpm: Client) -> None:
        """The Index says who may read it."""
        signer(tpm)
        define_index(tpm, b"data")

        reply = tpm.nv_certify(
            0x80000000,
            TPM_RH.PLATFORM,
            INDEX,
            qualifying_data=b"",
            in_scheme=NULL_SIGNATURE_SCHEME,
            size=4,
            offset=0,
        )

        assert reply.rc == TPM_RC.NV_AUTHORIZATION
