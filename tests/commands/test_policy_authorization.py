"""Part 3, clause 23: enhanced authorization: what somebody else grants, by signature, secret or ticket."""

import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, derive_private_key
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from tests.commands.nv_indices import INDEX, OWNED, SELF, define
from tests.commands.test_policy import DIGEST, OTHER, POLICY, digest_of, extended, policy_of, read_with
from tests.keys import put_hmac
from tests.recorded import load
from tests.scenarios import Client, Reply
from tests.sessions import CallerSession, start_session
from vtpm.spec.algorithms import TPMS_SIGNATURE_ECC, TPMT_SIGNATURE
from vtpm.spec.attributes import TPMA_NV
from vtpm.spec.constants import TPM_ALG, TPM_CC, TPM_NT, TPM_RH, TPM_SE, TPM_ST, TPM_SU
from vtpm.spec.structures import TPMT_HA, TPMT_TK_AUTH, TPMT_TK_VERIFIED
from vtpm.wire.error import TPM_RC

A = TPM_ALG
PRIVATE = derive_private_key(0x1234567, SECP256R1())
POINT = PRIVATE.public_key().public_numbers()
KEY = 0x80000000
PUBLIC = f"0023000b00040040000000100018000b000300100020{POINT.x:064x}0020{POINT.y:064x}"
REF = b"reference"
NO_TICKET = TPMT_TK_AUTH(TPM_ST.AUTH_SIGNED, TPM_RH.NULL, b"")


@pytest.fixture(autouse=True)
def _key(tpm: Client) -> None:
    load(tpm, KEY, PUBLIC)


@pytest.fixture
def session(tpm: Client) -> CallerSession:
    """A policy session."""
    return start_session(tpm, TPM_SE.POLICY)


@pytest.fixture
def trial(tpm: Client) -> CallerSession:
    """A trial session."""
    return start_session(tpm, TPM_SE.TRIAL)


def signature(digest: bytes) -> TPMT_SIGNATURE:
    """The key's ECDSA signature of a digest."""
    r, s = decode_dss_signature(PRIVATE.sign(digest, ECDSA(Prehashed(SHA256()))))
    pair = TPMS_SIGNATURE_ECC(A.SHA256, r.to_bytes(32, "big"), s.to_bytes(32, "big"))
    return TPMT_SIGNATURE(A.ECDSA, pair)


def grant(
    tpm: Client,
    session: CallerSession,
    *,
    nonce: bytes = b"",
    cp_hash: bytes = b"",
    expiration: int = 0,
    signed: bytes | None = None,
) -> Reply:
    """PolicySigned with a signature of its arguments, or of what is given."""
    arguments = nonce + expiration.to_bytes(4, "big", signed=True) + cp_hash + REF
    return tpm.policy_signed(
        KEY,
        session.handle,
        nonce_tpm=nonce,
        cp_hash_a=cp_hash,
        policy_ref=REF,
        expiration=expiration,
        auth=signature(hashlib.sha256(arguments).digest() if signed is None else signed),
    )


def secret(
    tpm: Client,
    session: CallerSession,
    handle: int = TPM_RH.OWNER,
    *,
    nonce: bytes = b"",
    cp_hash: bytes = b"",
    expiration: int = 0,
    auth: bytes = b"",
) -> Reply:
    """PolicySecret."""
    return tpm.policy_secret(
        handle,
        session.handle,
        nonce_tpm=nonce,
        cp_hash_a=cp_hash,
        policy_ref=REF,
        expiration=expiration,
        auths=[auth],
    )


def show(
    tpm: Client, session: CallerSession, granted: Reply, name: bytes, cp_hash: bytes = b"", ref: bytes = REF
) -> int:
    """PolicyTicket with what a grant has returned; gives the response code."""
    return tpm.policy_ticket(
        session.handle,
        timeout=granted.timeout,
        cp_hash_a=cp_hash,
        policy_ref=ref,
        auth_name=name,
        ticket=granted.policy_ticket,
    ).rc


def granted_policy(code: TPM_CC, name: bytes, ref: bytes = REF) -> bytes:
    """The policy digest after an authorization by the entity of this Name."""
    return hashlib.sha256(extended(code, name) + ref).digest()


class TestSigned:
    """23.3"""

    def test_digest(self, tpm: Client, session: CallerSession) -> None:
        """The policy has the Name of the key and the reference; without an expiration there is no ticket."""
        reply = grant(tpm, session)

        assert (reply.timeout, reply.policy_ticket) == (b"", NO_TICKET)
        assert digest_of(tpm, session) == granted_policy(TPM_CC.PolicySigned, tpm.name_of(KEY))

    def test_hmac(self, tpm: Client, session: CallerSession) -> None:
        """An HMAC key grants by an HMAC, which only a TPM that has the key can check."""
        signed = hashlib.sha256(bytes(4) + REF).digest()
        mac = TPMT_SIGNATURE(A.HMAC, TPMT_HA(A.SHA256, hmac.digest(b"key", signed, "sha256")))
        wrong = TPMT_SIGNATURE(A.HMAC, TPMT_HA(A.SHA256, hmac.digest(b"wrong", signed, "sha256")))
        whole, public = put_hmac(tpm, b"key"), put_hmac(tpm, b"key", private=False)
        given = {"nonce_tpm": b"", "cp_hash_a": b"", "policy_ref": REF, "expiration": 0}

        assert tpm.policy_signed(whole, session.handle, auth=mac, **given).rc == TPM_RC.SUCCESS
        refused = tpm.policy_signed(whole, session.handle, auth=wrong, **given)
        assert refused.rc == TPM_RC.SIGNATURE.parameter(5)
        assert tpm.policy_signed(public, session.handle, auth=mac, **given).rc == TPM_RC.HANDLE.parameter(5)

    def test_wrong_signature(self, tpm: Client, session: CallerSession) -> None:
        """The signature must be the key's, of exactly these arguments."""
        assert grant(tpm, session, signed=DIGEST).rc == TPM_RC.SIGNATURE.parameter(5)
        assert digest_of(tpm, session) == bytes(32)

    def test_trial(self, tpm: Client, trial: CallerSession) -> None:
        """A trial session checks nothing, and gets no ticket."""
        reply = grant(tpm, trial, signed=DIGEST, nonce=b"wrong", cp_hash=b"x", expiration=-1)

        assert (reply.timeout, reply.policy_ticket) == (b"", NO_TICKET)
        assert digest_of(tpm, trial) == granted_policy(TPM_CC.PolicySigned, tpm.name_of(KEY))

    def test_nonce(self, tpm: Client, session: CallerSession) -> None:
        """An authorization can be for one session: the one with this nonce."""
        assert grant(tpm, session, nonce=DIGEST[:16]).rc == TPM_RC.NONCE.parameter(1)
        assert grant(tpm, session, nonce=session.nonce_tpm).rc == TPM_RC.SUCCESS

    @pytest.mark.parametrize(("size", "expected"), [(32, 0), (20, TPM_RC.SIZE.parameter(2))])
    def test_cp_hash(self, tpm: Client, session: CallerSession, size: int, expected: int) -> None:
        """A cpHash is as long as the session's digest."""
        assert grant(tpm, session, cp_hash=bytes(size)).rc == expected

    def test_other_cp_hash(self, tpm: Client, session: CallerSession) -> None:
        """The session is bound to one cpHash."""
        grant(tpm, session, cp_hash=DIGEST)

        assert grant(tpm, session, cp_hash=DIGEST).rc == TPM_RC.SUCCESS
        assert grant(tpm, session, cp_hash=OTHER).rc == TPM_RC.CPHASH
        assert tpm.policy_cp_hash(session.handle, cp_hash_a=OTHER).rc == TPM_RC.CPHASH

    def test_cp_hash_in_use(self, tpm: Client, session: CallerSession) -> None:
        """What the signer has restricted to one command authorizes no other."""
        define(tpm, POLICY, policy=granted_policy(TPM_CC.PolicySigned, tpm.name_of(KEY)))
        tpm.nv_write(TPM_RH.OWNER, INDEX, data=b"12345678", offset=0)
        for size, expected in ((8, TPM_RC.SUCCESS), (7, TPM_RC.POLICY_FAIL.session(1))):
            tpm.policy_restart(session.handle)
            parameters = b"\0\x08\0\0"
            command = TPM_CC.NV_Read.to_bytes(4, "big") + 2 * tpm.name_of(INDEX) + parameters
            grant(tpm, session, cp_hash=hashlib.sha256(command).digest())
            assert read_with(tpm, session, size=size) == expected

    def test_sequence_as_key(self, tpm: Client, session: CallerSession) -> None:
        """Only a key signs."""
        handle = tpm.hash_sequence_start(auth=b"", hash_alg=A.SHA256).sequence_handle
        reply = tpm.policy_signed(
            handle,
            session.handle,
            nonce_tpm=b"",
            cp_hash_a=b"",
            policy_ref=b"",
            expiration=0,
            auth=signature(DIGEST),
        )

        assert reply.rc == TPM_RC.SIGNATURE.handle(1)


class TestExpiration:
    """23.2.2: when an authorization ends"""

    @pytest.mark.parametrize("expiration", [10, -10])
    def test_relative(self, tpm: Client, session: CallerSession, expiration: int) -> None:
        """With a nonce, the seconds count from the beginning of the session."""
        define(tpm, POLICY, policy=granted_policy(TPM_CC.PolicySigned, tpm.name_of(KEY)))
        tpm.nv_write(TPM_RH.OWNER, INDEX, data=b"12345678", offset=0)
        tpm.wait(7000)
        late = start_session(tpm, TPM_SE.POLICY)
        for caller, expected in ((session, TPM_RC.EXPIRED.session(1)), (late, TPM_RC.SUCCESS)):
            assert grant(tpm, caller, nonce=caller.nonce_tpm, expiration=expiration).rc == TPM_RC.SUCCESS
            if caller is session:
                tpm.wait(3001)
            assert read_with(tpm, caller) == expected

    def test_too_late(self, tpm: Client, session: CallerSession) -> None:
        """An authorization that has ended is refused."""
        tpm.wait(10_001)

        reply = grant(tpm, session, nonce=session.nonce_tpm, expiration=10)
        assert reply.rc == TPM_RC.EXPIRED.parameter(4)

    def test_absolute(self, tpm: Client) -> None:
        """Without a nonce, the seconds count from the start of Time."""
        tpm.wait(9500)
        session = start_session(tpm, TPM_SE.POLICY)
        assert grant(tpm, session, expiration=-10).timeout == (1 << 63 | 10_000).to_bytes(8, "big")
        assert grant(tpm, session, expiration=9).rc == TPM_RC.EXPIRED.parameter(4)

    def test_earliest(self, tpm: Client, session: CallerSession) -> None:
        """Of several ends, the first one counts."""
        for expiration in (30, 10, 20):
            grant(tpm, session, nonce=session.nonce_tpm, expiration=expiration)

        assert tpm.tpm.volatile.sessions[0].the_policy.timeout == 10_000


class TestSecret:
    """23.4"""

    def test_digest(self, tpm: Client, session: CallerSession) -> None:
        """The policy has the Name of the entity and the reference."""
        reply = secret(tpm, session)

        assert reply.timeout == b""
        assert reply.policy_ticket == TPMT_TK_AUTH(TPM_ST.AUTH_SECRET, TPM_RH.NULL, b"")
        name = TPM_RH.OWNER.to_bytes(4, "big")
        assert digest_of(tpm, session) == granted_policy(TPM_CC.PolicySecret, name)

    @pytest.mark.parametrize(("auth", "expected"), [(b"secret", 0), (b"wrong", TPM_RC.BAD_AUTH.session(1))])
    def test_secret(self, tpm: Client, session: CallerSession, auth: bytes, expected: int) -> None:
        """The caller must know the secret, also in a trial session."""
        define(tpm, SELF, auth=b"secret")

        assert secret(tpm, session, INDEX, auth=auth).rc == expected

    def test_trial_needs_the_secret(self, tpm: Client, trial: CallerSession) -> None:
        """A trial session checks no argument, but the entity is authorized all the same."""
        define(tpm, SELF, auth=b"secret")

        assert secret(tpm, trial, INDEX, nonce=b"wrong", cp_hash=b"x", auth=b"secret").rc == TPM_RC.SUCCESS
        assert secret(tpm, trial, INDEX).rc == TPM_RC.BAD_AUTH.session(1)

    @pytest.mark.parametrize(
        ("entity", "hierarchy"),
        [
            (TPM_RH.OWNER, TPM_RH.OWNER),
            (TPM_RH.ENDORSEMENT, TPM_RH.ENDORSEMENT),
            (TPM_RH.PLATFORM, TPM_RH.PLATFORM),
            (TPM_RH.LOCKOUT, TPM_RH.OWNER),
            (16, TPM_RH.OWNER),
            (INDEX, TPM_RH.OWNER),
            (INDEX + 1, TPM_RH.PLATFORM),
        ],
    )
    def test_ticket(self, tpm: Client, session: CallerSession, entity: int, hierarchy: int) -> None:
        """A ticket is of the entity's hierarchy; what belongs to none has the owner's."""
        define(tpm, SELF)
        define(tpm, SELF.but(PLATFORMCREATE=True), handle=INDEX + 1)

        reply = secret(tpm, session, entity, nonce=session.nonce_tpm, expiration=-100)
        assert reply.policy_ticket.hierarchy == hierarchy
        assert len(reply.policy_ticket.digest) == 64

    def test_nonce(self, tpm: Client, session: CallerSession) -> None:
        """The nonce must be the session's."""
        assert secret(tpm, session, nonce=bytes(16)).rc == TPM_RC.NONCE.parameter(1)

    def test_policy_without_secret(self, tpm: Client, session: CallerSession) -> None:
        """A policy session that does not ask for the authValue proves no secret."""
        define(tpm, POLICY, policy=bytes(32))
        other = start_session(tpm, TPM_SE.POLICY)
        reply = tpm.policy_secret(
            INDEX,
            session.handle,
            nonce_tpm=b"",
            cp_hash_a=b"",
            policy_ref=b"",
            expiration=0,
            sessions=[other],
        )

        assert reply.rc == TPM_RC.MODE.session(1)

    def test_read_only_mode(self, tpm: Client, session: CallerSession) -> None:
        """In Read-Only mode a PIN cannot be counted, so it cannot be used."""
        pin = OWNED.but(TPM_NT=TPM_NT.PIN_PASS, AUTHREAD=True)
        define(tpm, pin, auth=b"pin")
        tpm.nv_write(TPM_RH.OWNER, INDEX, data=bytes.fromhex("0000000000000009"), offset=0)
        tpm.tpm.clear.read_only = True

        codes = [secret(tpm, session, INDEX, auth=auth).rc for auth in (b"pin", b"wrong")]

        assert codes == [TPM_RC.READ_ONLY] * 2
        assert tpm.nv_read(TPM_RH.OWNER, INDEX, size=8, offset=0).data == bytes.fromhex("0000000000000009")

    @pytest.mark.parametrize(("kind", "size"), [(TPM_NT.PIN_PASS, 0), (TPM_NT.PIN_FAIL, 8)])
    def test_ticket_of_pin(self, tpm: Client, session: CallerSession, kind: TPM_NT, size: int) -> None:
        """A PIN Pass is for one use, so it gets no ticket."""
        define(tpm, OWNED.but(TPM_NT=kind, AUTHREAD=True), auth=b"pin")
        tpm.nv_write(TPM_RH.OWNER, INDEX, data=bytes.fromhex("0000000000000009"), offset=0)

        assert len(secret(tpm, session, INDEX, auth=b"pin", expiration=-10).timeout) == size


class TestTicket:
    """23.5"""

    OWNER = TPM_RH.OWNER.to_bytes(4, "big")

    def test_signed(self, tpm: Client, session: CallerSession) -> None:
        """A ticket repeats the signed authorization in another session."""
        granted = grant(tpm, session, expiration=-10)
        other = start_session(tpm, TPM_SE.POLICY)

        assert show(tpm, other, granted, tpm.name_of(KEY)) == TPM_RC.SUCCESS
        assert digest_of(tpm, other) == digest_of(tpm, session)
        assert tpm.tpm.volatile.sessions[1].the_policy.timeout == 10_000

    def test_secret(self, tpm: Client, session: CallerSession) -> None:
        """A ticket repeats the authorization by secret, with its cpHash."""
        granted = secret(tpm, session, expiration=-10, cp_hash=DIGEST)
        other = start_session(tpm, TPM_SE.POLICY)

        assert show(tpm, other, granted, self.OWNER, DIGEST) == TPM_RC.SUCCESS
        assert digest_of(tpm, other) == digest_of(tpm, session)
        assert tpm.tpm.volatile.sessions[1].the_policy.bound_hash == DIGEST

    def test_altered(self, tpm: Client, session: CallerSession) -> None:
        """Whatever the ticket is about cannot be altered."""
        granted = secret(tpm, session, expiration=-10)
        wrong = TPM_RC.TICKET.parameter(5)

        assert show(tpm, session, granted, TPM_RH.PLATFORM.to_bytes(4, "big")) == wrong
        assert show(tpm, session, granted, self.OWNER, ref=b"other") == wrong
        assert show(tpm, session, granted, self.OWNER, cp_hash=DIGEST) == wrong
        granted.fields["timeout"] = (20_000).to_bytes(8, "big")
        assert show(tpm, session, granted, self.OWNER) == wrong

    @pytest.mark.parametrize(
        ("tag", "hierarchy"), [(TPM_ST.AUTH_SIGNED, TPM_RH.OWNER), (TPM_ST.AUTH_SECRET, TPM_RH.NULL)]
    )
    def test_forged(self, tpm: Client, session: CallerSession, tag: TPM_ST, hierarchy: int) -> None:
        """Neither can what kind of ticket it is."""
        granted = secret(tpm, session, expiration=-10)
        granted.fields["policy_ticket"] = TPMT_TK_AUTH(tag, hierarchy, granted.policy_ticket.digest)

        assert show(tpm, session, granted, self.OWNER) == TPM_RC.TICKET.parameter(5)

    @pytest.mark.parametrize("hierarchy", [TPM_RH.SVN_OWNER_BASE + 1, TPM_RH.SVN_NULL_BASE + 0xFFFF])
    def test_limited_hierarchy(self, tpm: Client, session: CallerSession, hierarchy: int) -> None:
        """A ticket of a hierarchy that this TPM lacks is refused."""
        granted = secret(tpm, session, expiration=-10)
        granted.fields["policy_ticket"] = TPMT_TK_AUTH(TPM_ST.AUTH_SECRET, hierarchy, bytes(64))

        assert show(tpm, session, granted, self.OWNER) == TPM_RC.SVN_LIMITED.parameter(5)

    def test_expired(self, tpm: Client, session: CallerSession) -> None:
        """A ticket has an end."""
        granted = secret(tpm, session, expiration=-10)
        tpm.wait(10_001)

        assert show(tpm, session, granted, self.OWNER) == TPM_RC.EXPIRED.parameter(1)

    @pytest.mark.parametrize("timeout", [b"", bytes(7), bytes(9)])
    def test_timeout_size(self, tpm: Client, session: CallerSession, timeout: bytes) -> None:
        """The timeout is what the TPM has returned."""
        granted = secret(tpm, session, expiration=-10)
        granted.fields["timeout"] = timeout

        assert show(tpm, session, granted, self.OWNER) == TPM_RC.SIZE.parameter(1)

    def test_cp_hash_size(self, tpm: Client, session: CallerSession) -> None:
        """CpHashA has the size of the session's digest."""
        granted = secret(tpm, session, expiration=-10)

        assert show(tpm, session, granted, self.OWNER, cp_hash=bytes(31)) == TPM_RC.SIZE.parameter(2)

    def test_trial(self, tpm: Client, session: CallerSession, trial: CallerSession) -> None:
        """A trial session takes no ticket."""
        granted = secret(tpm, session, expiration=-10)

        assert show(tpm, trial, granted, self.OWNER) == TPM_RC.ATTRIBUTES.handle(1)

    @pytest.mark.parametrize("with_nonce", [0, 1])
    @pytest.mark.parametrize("shutdown", [TPM_SU.CLEAR, TPM_SU.STATE, None])
    def test_next_power_cycle(
        self, tpm: Client, session: CallerSession, with_nonce: int, shutdown: TPM_SU | None
    ) -> None:
        """Time begins anew at power-on, so no ticket with an end outlives it."""
        nonce = session.nonce_tpm if with_nonce else b""
        granted = secret(tpm, session, expiration=-10, nonce=nonce)
        tpm.power_cycle(shutdown=shutdown)
        other = start_session(tpm, TPM_SE.POLICY)

        assert show(tpm, other, granted, self.OWNER) == TPM_RC.TICKET.parameter(5)


class TestAuthorize:
    """23.16"""

    def name(self, tpm: Client) -> bytes:
        """The Name of the key."""
        return tpm.name_of(KEY)

    def approval(self, tpm: Client, policy: bytes) -> TPMT_TK_VERIFIED:
        """The ticket for the key's signature of a policy and the reference."""
        digest = hashlib.sha256(policy + REF).digest()
        ticket = tpm.verify_signature(KEY, digest=digest, signature=signature(digest)).validation
        assert isinstance(ticket, TPMT_TK_VERIFIED)
        return ticket

    def authorize(
        self,
        tpm: Client,
        session: CallerSession,
        policy: bytes,
        ticket: TPMT_TK_VERIFIED,
        name: bytes = b"",
        ref: bytes = REF,
    ) -> int:
        """PolicyAuthorize; gives the response code."""
        return tpm.policy_authorize(
            session.handle,
            approved_policy=policy,
            policy_ref=ref,
            key_sign=name or self.name(tpm),
            check_ticket=ticket,
        ).rc

    def test_approved(self, tpm: Client, session: CallerSession) -> None:
        """What the holder of the key has approved is replaced by the key's Name and the reference."""
        tpm.policy_password(session.handle)
        policy = digest_of(tpm, session)

        assert self.authorize(tpm, session, policy, self.approval(tpm, policy)) == TPM_RC.SUCCESS
        assert digest_of(tpm, session) == granted_policy(TPM_CC.PolicyAuthorize, self.name(tpm))
        assert tpm.tpm.volatile.sessions[0].the_policy.password_needed

    def test_other_policy(self, tpm: Client, session: CallerSession) -> None:
        """The approved policy is what has been accumulated."""
        ticket = self.approval(tpm, DIGEST)

        assert self.authorize(tpm, session, DIGEST, ticket) == TPM_RC.VALUE.parameter(1)

    def test_not_approved(self, tpm: Client, session: CallerSession) -> None:
        """The ticket must be for this policy, reference and key."""
        policy = bytes(32)
        good, wrong = self.approval(tpm, policy), TPM_RC.VALUE.parameter(4)

        assert self.authorize(tpm, session, policy, self.approval(tpm, DIGEST)) == wrong
        assert self.authorize(tpm, session, policy, good, ref=b"other") == wrong
        assert self.authorize(tpm, session, policy, good, name=b"\0\x0b" + DIGEST) == wrong
        forged = TPMT_TK_VERIFIED(TPM_ST.VERIFIED, TPM_RH.NULL, None, b"")
        assert self.authorize(tpm, session, policy, forged) == wrong

    @pytest.mark.parametrize(
        ("tag", "metadata"),
        [
            (TPM_ST.MESSAGE_VERIFIED, None),
            (TPM_ST.DIGEST_VERIFIED, TPM_ALG.SHA256),
            (TPM_ST.DIGEST_VERIFIED, TPM_ALG.SHA1),
        ],
    )
    def test_other_tag(
        self, tpm: Client, session: CallerSession, tag: TPM_ST, metadata: TPM_ALG | None
    ) -> None:
        """The tag is a part of what the ticket proves (Part 2, 10.6.5)."""
        good = self.approval(tpm, bytes(32))
        other = TPMT_TK_VERIFIED(tag, good.hierarchy, metadata, good.hmac)

        assert self.authorize(tpm, session, bytes(32), other) == TPM_RC.VALUE.parameter(4)
        assert self.authorize(tpm, session, bytes(32), good) == TPM_RC.SUCCESS

    def test_trial(self, tpm: Client, trial: CallerSession) -> None:
        """A trial session needs no approval."""
        nothing = TPMT_TK_VERIFIED(TPM_ST.VERIFIED, TPM_RH.NULL, None, b"")

        assert self.authorize(tpm, trial, DIGEST, nothing) == TPM_RC.SUCCESS
        assert digest_of(tpm, trial) == granted_policy(TPM_CC.PolicyAuthorize, self.name(tpm))

    def test_limited_hierarchy(self, tpm: Client, session: CallerSession) -> None:
        """A ticket of a hierarchy that this TPM lacks is refused."""
        ticket = TPMT_TK_VERIFIED(TPM_ST.VERIFIED, TPM_RH.SVN_OWNER_BASE + 1, None, bytes(64))

        assert self.authorize(tpm, session, bytes(32), ticket) == TPM_RC.SVN_LIMITED.parameter(4)

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            (b"\0", TPM_RC.SIZE),
            (b"\0\x10" + DIGEST, TPM_RC.HASH),
            (b"\0\x0b" + DIGEST[:-1], TPM_RC.SIZE),
            (b"\0\x04" + DIGEST, TPM_RC.SIZE),
        ],
    )
    def test_no_name(self, tpm: Client, trial: CallerSession, name: bytes, expected: TPM_RC) -> None:
        """The key's Name is a hash algorithm and its digest."""
        nothing = TPMT_TK_VERIFIED(TPM_ST.VERIFIED, TPM_RH.NULL, None, b"")

        assert self.authorize(tpm, trial, DIGEST, nothing, name) == expected.parameter(3)


class TestAuthorizeNv:
    """23.22"""

    def approve(self, tpm: Client, octets: bytes, attributes: TPMA_NV = SELF) -> None:
        """Define an Index that holds an approved policy."""
        define(tpm, attributes, 2 + 32)
        auth = INDEX if attributes.AUTHWRITE else TPM_RH.OWNER
        assert tpm.nv_write(auth, INDEX, data=octets, offset=0).rc == TPM_RC.SUCCESS

    def test_approved(self, tpm: Client, session: CallerSession) -> None:
        """What the Index holds has been accumulated; it is replaced by the Name of the Index."""
        policy = policy_of(tpm, lambda client, caller: client.policy_password(caller.handle))
        self.approve(tpm, b"\0\x0b" + policy)
        tpm.policy_password(session.handle)

        assert tpm.policy_authorize_nv(INDEX, INDEX, session.handle).rc == TPM_RC.SUCCESS
        assert digest_of(tpm, session) == extended(TPM_CC.PolicyAuthorizeNV, tpm.name_of(INDEX))

    @pytest.mark.parametrize(
        ("octets", "expected"),
        [
            (b"\0\x0b" + DIGEST, TPM_RC.VALUE),
            (b"\0\x04" + DIGEST, TPM_RC.HASH),
            (b"\0\x10" + DIGEST, TPM_RC.HASH),
            (b"\0\x0c" + DIGEST, TPM_RC.INSUFFICIENT),
        ],
    )
    def test_not_approved(self, tpm: Client, session: CallerSession, octets: bytes, expected: TPM_RC) -> None:
        """The Index must hold the digest with its hash, which is the session's."""
        self.approve(tpm, octets)

        assert tpm.policy_authorize_nv(INDEX, INDEX, session.handle).rc == expected

    def test_small_index(self, tpm: Client, session: CallerSession) -> None:
        """An Index of one octet holds no digest."""
        define(tpm, SELF, 1)
        tpm.nv_write(INDEX, INDEX, data=b"x", offset=0)

        assert tpm.policy_authorize_nv(INDEX, INDEX, session.handle).rc == TPM_RC.INSUFFICIENT

    def test_who_may_read(self, tpm: Client, session: CallerSession, trial: CallerSession) -> None:
        """Who may not read the Index may not use it; a trial session reads nothing."""
        self.approve(tpm, b"\0\x0b" + bytes(32))

        assert tpm.policy_authorize_nv(TPM_RH.OWNER, INDEX, session.handle).rc == TPM_RC.NV_AUTHORIZATION
        assert tpm.policy_authorize_nv(TPM_RH.OWNER, INDEX, trial.handle).rc == TPM_RC.SUCCESS
