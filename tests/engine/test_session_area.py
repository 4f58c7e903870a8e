"""Part 3, 5.5, and Part 1, "Session Audit": which sessions a command may have, and which one is exclusive."""

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.commands.nv_indices import INDEX, define
from tests.engine.uses import Other, attributes, read, write, written
from tests.scenarios import Client, Password, Reply
from tests.sessions import AES_128, CallerSession, start_session
from vtpm.engine.session_area import single_password
from vtpm.spec.attributes import TPMA_SESSION
from vtpm.spec.constants import TPM_CC, TPM_RH, TPM_SE
from vtpm.spec.structures import TPMS_AUTH_COMMAND
from vtpm.wire.error import TPM_RC
from vtpm.wire.structure import marshal, unmarshal

SUCCESS = TPM_RC.SUCCESS

areas_of_passwords = st.builds(
    lambda attributes, size, octets: b"\x40\0\0\x09\0\0" + bytes((attributes, 0, size)) + octets,
    st.integers(0, 0xFF),
    st.integers(0, 70),
    st.binary(max_size=70),
)
"""One password, mostly well formed, with its true size or not."""


class TestArea:
    """Part 3, 5.5: which sessions a command may have"""

    def test_most(self, tpm: Client) -> None:
        """Three at most: what follows them makes authorizationSize too large."""
        sessions = [start_session(tpm) for _ in range(4)]
        for session in sessions:
            session.attributes = TPMA_SESSION(audit=True, continueSession=True)
            session.authorizes = False

        assert tpm.get_random(bytes_requested=4, sessions=sessions).rc == TPM_RC.ATTRIBUTES.session(2)
        password = Other(TPM_RH.TPM_RS_PW, b"")
        four = [password] * 4
        assert tpm.get_random(bytes_requested=4, sessions=four).rc == TPM_RC.AUTHSIZE

    def test_idle(self, tpm: Client) -> None:
        """A session that does nothing at all is not accepted."""
        session = start_session(tpm)

        assert tpm.get_random(bytes_requested=4, sessions=[session]).rc == TPM_RC.ATTRIBUTES.session(1)

    def test_twice(self, tpm: Client) -> None:
        """A session is used once in a command."""
        define(tpm)
        session = start_session(tpm, symmetric=AES_128)
        again = Other(session.handle, attributes=TPMA_SESSION(decrypt=True))

        assert write(tpm, session, again).rc == TPM_RC.HANDLE.session(2)

    def test_kind(self, tpm: Client) -> None:
        """The type in the handle is that of the session."""
        define(tpm)
        hmac, policy = start_session(tpm), start_session(tpm, TPM_SE.POLICY)

        assert write(tpm, Other(hmac.handle | 0x01000000)).rc == TPM_RC.HANDLE.session(1)
        assert write(tpm, Other(policy.handle & ~0x01000000)).rc == TPM_RC.HANDLE.session(1)

    @pytest.mark.parametrize("number", [0, 1, 2])
    def test_not_loaded(self, tpm: Client, number: int) -> None:
        """A session that is not loaded has a code with its number."""
        define(tpm)
        loaded = [start_session(tpm, symmetric=AES_128) for _ in range(2)]
        loaded[1].attributes = TPMA_SESSION(decrypt=True)
        sessions: list[Any] = [*loaded[:number], Other(0x02000009)]

        assert write(tpm, *sessions).rc == TPM_RC.REFERENCE_S0 + number

    @pytest.mark.parametrize(
        ("command", "attribute", "expected"),
        [
            ("nv_write", "decrypt", SUCCESS),
            ("nv_write", "encrypt", TPM_RC.ATTRIBUTES.session(2)),
            ("nv_read", "encrypt", SUCCESS),
            ("nv_read", "decrypt", TPM_RC.ATTRIBUTES.session(2)),
        ],
    )
    def test_no_sized_buffer(self, tpm: Client, command: str, attribute: str, expected: int) -> None:
        """Only a first parameter that is a sized buffer is encrypted."""
        written(tpm, auth=b"")
        session = start_session(tpm, symmetric=AES_128)
        session.attributes = TPMA_SESSION(**{attribute: True})
        session.authorizes = False
        given = {"data": b"", "offset": 0} if command == "nv_write" else {"size": 0, "offset": 0}

        assert getattr(tpm, command)(INDEX, INDEX, sessions=[Password(), session], **given).rc == expected

    @pytest.mark.parametrize("attribute", ["decrypt", "encrypt"])
    def test_no_cipher(self, tpm: Client, attribute: str) -> None:
        """A session without a cipher neither encrypts nor decrypts."""
        written(tpm, auth=b"")
        session = start_session(tpm)
        session.attributes = TPMA_SESSION(**{attribute: True})
        send = write if attribute == "decrypt" else read

        assert send(tpm, session).rc == TPM_RC.SYMMETRIC.session(1)

    @pytest.mark.parametrize("attribute", ["decrypt", "encrypt", "audit"])
    def test_one_each(self, tpm: Client, attribute: str) -> None:
        """One session decrypts, one encrypts, one audits."""
        written(tpm, auth=b"")
        sessions = [start_session(tpm, symmetric=AES_128) for _ in range(2)]
        for session in sessions:
            session.attributes = TPMA_SESSION(**{attribute: True})
        send = read if attribute == "encrypt" else write

        assert send(tpm, *sessions).rc == TPM_RC.ATTRIBUTES.session(2)

    def test_policy_audit(self, tpm: Client) -> None:
        """A policy session does not audit."""
        session = start_session(tpm, TPM_SE.POLICY)
        session.attributes = TPMA_SESSION(audit=True)

        assert tpm.get_random(bytes_requested=4, sessions=[session]).rc == TPM_RC.ATTRIBUTES.session(1)

    @pytest.mark.parametrize("names", ["auditExclusive", "auditReset", "auditExclusive auditReset"])
    @pytest.mark.parametrize("kind", [TPM_SE.HMAC, TPM_SE.POLICY])
    def test_no_audit(self, tpm: Client, kind: TPM_SE, names: str) -> None:
        """Part 2, 8.4: auditExclusive and auditReset need audit."""
        session = start_session(tpm, kind, symmetric=AES_128)
        session.attributes, session.authorizes = attributes(f"encrypt {names}"), False

        reply = tpm.get_random(bytes_requested=4, sessions=[session])

        assert reply.rc == TPM_RC.ATTRIBUTES.session(1)

    def test_trial(self, tpm: Client) -> None:
        """A trial session has no place in an authorization area, not even to encrypt."""
        session = start_session(tpm, TPM_SE.TRIAL, symmetric=AES_128)
        session.attributes = TPMA_SESSION(encrypt=True)

        assert tpm.get_random(bytes_requested=4, sessions=[session]).rc == TPM_RC.ATTRIBUTES.session(1)


class TestExclusiveAudit:
    """Part 1, Exclusive Audit Session"""

    def random(self, tpm: Client, session: CallerSession, names: str = "audit") -> Reply:
        """An audited command."""
        session.attributes, session.authorizes = attributes(names), False
        reply = tpm.get_random(bytes_requested=4, sessions=[session])
        if reply.rc == SUCCESS:
            session.check(reply)
        return reply

    def is_exclusive(self, reply: Reply) -> bool:
        """Does the response say that the session is the exclusive one?"""
        return TPMA_SESSION(reply.auths[0][1]).auditExclusive

    def test_first_use(self, tpm: Client) -> None:
        """A session is exclusive from its first audit until a command without its audit."""
        session = start_session(tpm)
        assert self.is_exclusive(self.random(tpm, session))
        assert self.is_exclusive(self.random(tpm, session))
        tpm.get_random(bytes_requested=1)

        assert not self.is_exclusive(self.random(tpm, session))
        assert not self.is_exclusive(self.random(tpm, session))

    def test_other_session(self, tpm: Client) -> None:
        """The first audit of another session makes that one exclusive."""
        first, second = start_session(tpm), start_session(tpm)
        self.random(tpm, first)
        assert self.is_exclusive(self.random(tpm, second))
        assert not self.is_exclusive(self.random(tpm, first))

        assert not self.is_exclusive(self.random(tpm, second))

    def test_demanded(self, tpm: Client) -> None:
        """The caller can ask for a command to be executed only while its session is exclusive."""
        session = start_session(tpm)
        assert self.random(tpm, session, "audit auditExclusive").rc == SUCCESS
        assert self.random(tpm, session, "audit auditExclusive").rc == SUCCESS
        tpm.get_random(bytes_requested=1)

        assert self.random(tpm, session, "audit auditExclusive").rc == TPM_RC.EXCLUSIVE
        assert self.random(tpm, session, "audit").rc == SUCCESS

    def test_reset(self, tpm: Client) -> None:
        """A reset begins a new digest, and makes the session exclusive again."""
        session = start_session(tpm)
        self.random(tpm, session)
        tpm.get_random(bytes_requested=1)
        reply = self.random(tpm, session, "audit auditReset auditExclusive")

        assert self.is_exclusive(reply)
        cp_hash = hashlib.sha256(TPM_CC.GetRandom.to_bytes(4, "big") + b"\0\x04").digest()
        rp_hash = hashlib.sha256(bytes(4) + TPM_CC.GetRandom.to_bytes(4, "big") + reply.parameters).digest()
        found = tpm.tpm.volatile.sessions[session.handle & 0xFFFFFF].audit_digest
        assert found == hashlib.sha256(bytes(32) + cp_hash + rp_hash).digest()

    def test_commands_without_sessions(self, tpm: Client) -> None:
        """Commands that cannot have an audit session leave exclusivity alone; refused ones do, too."""
        session, other = start_session(tpm), start_session(tpm)
        self.random(tpm, session)
        tpm.flush_context(flush_handle=other.handle)
        tpm.nv_read(TPM_RH.OWNER, INDEX, size=1, offset=0)

        assert self.is_exclusive(self.random(tpm, session))

    def test_end(self, tpm: Client) -> None:
        """When the session ends, none is exclusive, not even a later one with its handle."""
        session = start_session(tpm)
        self.random(tpm, session)
        tpm.flush_context(flush_handle=session.handle)

        assert tpm.tpm.volatile.exclusive_session == 0


class TestPassword:
    """Part 1, "Password Authorizations": the short way of reading one is the way of the structure"""

    @given(st.one_of(st.binary(max_size=100), areas_of_passwords))
    def test_short_way(self, area: bytes) -> None:
        """Where it answers, the structure says the same."""
        use = single_password(area)
        if use is not None:
            auth = unmarshal(TPMS_AUTH_COMMAND, area)
            assert (auth.session_handle, auth.nonce) == (TPM_RH.TPM_RS_PW, use.nonce_caller)
            assert (auth.session_attributes, auth.hmac) == (use.attributes, use.auth)

    @pytest.mark.parametrize("attributes", [0, 1])
    @pytest.mark.parametrize("size", [0, 1, 64])
    def test_is_taken(self, attributes: int, size: int) -> None:
        """It reads every well-formed password."""
        area = marshal(
            TPMS_AUTH_COMMAND(TPM_RH.TPM_RS_PW, b"", TPMA_SESSION(attributes), bytes(range(1, 1 + size)))
        )
        use = single_password(area)
        assert use is not None
        assert use.auth == bytes(range(1, 1 + size))
        assert use.attributes == attributes
