"""Part 3, 5.2 to 5.6: of several faults of a command, the one that the reference code would find first."""

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest

from tests.keys import put_hmac
from tests.scenarios import HEADER, Client, Password
from tests.sessions import CallerSession, start_session
from vtpm.spec.attributes import TPMA_SESSION
from vtpm.spec.constants import TPM_ALG, TPM_CC, TPM_RH, TPM_SE, TPM_ST
from vtpm.state.object import Object
from vtpm.state.session import Hashed, Policy
from vtpm.wire.error import TPM_RC

RANDOM = HEADER.pack(TPM_ST.NO_SESSIONS, 12, TPM_CC.GetRandom) + b"\0\x08"
PASSWORD = "40000009 0000 01 0000"
IDLE_SESSION = "02000000 0000 01 0000"


def code_of(tpm: Client, octets: bytes) -> int:
    """The response code of a command in octets."""
    code: int = HEADER.unpack_from(tpm.send(octets))[2]
    return code


def with_area(code: int, handles: str, area: str, parameters: str = "", size: int | None = None) -> bytes:
    """A command with an authorization area, whose size may be said to be another."""
    octets = bytes.fromhex(area)
    count = len(octets) if size is None else size
    body = bytes.fromhex(handles) + count.to_bytes(4, "big") + octets + bytes.fromhex(parameters)
    return HEADER.pack(TPM_ST.SESSIONS, HEADER.size + len(body), code) + body


class TestHeader:
    """5.2 and 5.3: tag, size, code, mode, in this order, and before anything else"""

    @pytest.mark.parametrize(
        ("octets", "expected"),
        [
            (HEADER.pack(0x00C1, 11, 0x11E), TPM_RC.TAG),
            (HEADER.pack(TPM_ST.NO_SESSIONS, 11, 0x11E), TPM_RC.COMMAND_SIZE),
            (HEADER.pack(TPM_ST.NO_SESSIONS, 10, 0x11E), TPM_RC.COMMAND_CODE),
            (HEADER.pack(TPM_ST.NO_SESSIONS, 10, TPM_CC.ReadPublic), TPM_RC.INITIALIZE),
            (HEADER.pack(TPM_ST.SESSIONS, 10, TPM_CC.FlushContext), TPM_RC.INITIALIZE),
        ],
    )
    def test_before_startup(self, octets: bytes, expected: int) -> None:
        """What else is wrong with each of them comes later."""
        assert code_of(Client(start=False), octets) == expected

    @pytest.mark.parametrize("octets", [RANDOM, RANDOM[:11], b"\0\xc1" + RANDOM[2:], RANDOM[:6] + bytes(6)])
    def test_failure_mode(self, tpm: Client, octets: bytes) -> None:
        """Failure mode comes before all."""
        tpm.tpm.fail("for the test")

        assert code_of(tpm, octets) == TPM_RC.FAILURE

    def test_read_only(self, tpm: Client) -> None:
        """Read-Only mode comes before the handles."""
        tpm.read_only_control(TPM_RH.PLATFORM, state=True).check()

        assert code_of(tpm, HEADER.pack(TPM_ST.SESSIONS, 10, TPM_CC.Create)) == TPM_RC.READ_ONLY


class TestSessionArea:
    """5.4 and 5.5: handles before sessions, each session by itself before the authorizations"""

    LOADED = "80000000"

    @pytest.mark.parametrize(
        ("octets", "expected"),
        [
            # a handle, then the size of the area
            (with_area(TPM_CC.Unseal, "80000007", PASSWORD, size=0), TPM_RC.REFERENCE_H0),
            # the size of the area, then whether there may be one
            (with_area(TPM_CC.FlushContext, "", PASSWORD, "80000000", size=0), TPM_RC.AUTHSIZE),
            (with_area(TPM_CC.FlushContext, "", "00", "80000000", size=9), TPM_RC.AUTHSIZE),
            (with_area(TPM_CC.FlushContext, "", IDLE_SESSION, "80000000"), TPM_RC.AUTH_CONTEXT),
            # the sessions in their order, before it is looked whether there are enough
            (with_area(TPM_CC.Certify, LOADED * 2, "02000005 0000 01 0000"), TPM_RC.REFERENCE_S0),
            (with_area(TPM_CC.Certify, LOADED * 2, "40000009 0000 21 0000"), TPM_RC.ATTRIBUTES.session(1)),
            (with_area(TPM_CC.Certify, LOADED * 2, PASSWORD), TPM_RC.AUTH_MISSING),
            # a second session, before the authorization by the first
            (
                with_area(TPM_CC.Unseal, LOADED, "40000009 0000 01 0001 78" + "02000005 0000 01 0000"),
                TPM_RC.REFERENCE_S1,
            ),
            # an authorization, before a second session that does nothing
            (
                with_area(TPM_CC.Unseal, LOADED, "40000009 0000 01 0001 78" + PASSWORD),
                TPM_RC.BAD_AUTH.session(1),
            ),
            (with_area(TPM_CC.Unseal, LOADED, PASSWORD * 2), TPM_RC.HANDLE.session(2)),
            # the authorization, before the parameters
            (
                with_area(TPM_CC.HMAC, LOADED, "40000009 0000 01 0001 78", "ff"),
                TPM_RC.BAD_AUTH.session(1),
            ),
            (with_area(TPM_CC.HMAC, LOADED, PASSWORD, "ff"), TPM_RC.INSUFFICIENT.parameter(1)),
            # the parameters, before what the command has to say of the key
            (with_area(TPM_CC.Unseal, LOADED, PASSWORD, "ff"), TPM_RC.SIZE),
            (with_area(TPM_CC.Unseal, LOADED, PASSWORD), TPM_RC.ATTRIBUTES.handle(1)),
        ],
    )
    def test_order(self, tpm: Client, octets: bytes, expected: int) -> None:
        """Each of them lacks the faults of those before it."""
        assert put_hmac(tpm) == int(self.LOADED, 16)
        assert code_of(tpm, octets) == expected


Spoil = Callable[[Client, Policy], None]


def spoil(**values: Any) -> Spoil:
    """Other fields of a policy."""

    def change(tpm: Client, policy: Policy) -> None:  # noqa: ARG001 - as all
        for name, value in values.items():
            setattr(policy, name, value)

    return change


def change_pcr(tpm: Client, policy: Policy) -> None:
    """A policy of PCR that have changed since."""
    policy.pcr_counter = tpm.tpm.reset.pcr_counter + 1


OF_A_POLICY: list[tuple[Spoil, int]] = [
    (change_pcr, TPM_RC.PCR_CHANGED),
    (spoil(digest=b"\1" * 32), TPM_RC.POLICY_FAIL.session(1)),
    (spoil(timeout=1), TPM_RC.EXPIRED.session(1)),
    (spoil(command_code=TPM_CC.Unseal), TPM_RC.POLICY_CC.session(1)),
    (spoil(locality=2), TPM_RC.LOCALITY),
    (spoil(physical_presence=True), TPM_RC.PP.session(1)),
    (spoil(bound_hash=b"\1" * 32, hashed=Hashed.CP_HASH), TPM_RC.POLICY_FAIL.session(1)),
    (spoil(nv_written=True), TPM_RC.POLICY_FAIL.session(1)),
    (spoil(secure_channel=True), TPM_RC.CHANNEL.session(1)),
    (spoil(password_needed=True), TPM_RC.BAD_AUTH.session(1)),
]
"""What can be missing for a policy, in the order in which it is found."""


class TestPolicy:
    """5.6, 8 to 10: the checks of a policy session"""

    def used(self, tpm: Client, key: int, *spoils: Spoil) -> int:
        """Use a key by a policy session with these faults."""
        session = start_session(tpm, TPM_SE.POLICY)
        loaded = tpm.tpm.volatile.sessions[session.handle & 0xFFFFFF]
        for one in spoils:
            one(tpm, loaded.the_policy)
        code: int = tpm.mac(key, buffer=b"", in_scheme=TPM_ALG.SHA256, sessions=[session]).rc
        tpm.flush_context(flush_handle=session.handle)
        return code

    def test_order(self, tpm: Client) -> None:
        """Each fault alone, and the first one of two."""
        key = with_policy(tpm, put_hmac(tpm, auth=b"pw"))
        tpm.wait(1000)

        cases = [(one,) for one in OF_A_POLICY] + list(combinations(OF_A_POLICY, 2))
        found = [self.used(tpm, key, *(change for change, _ in case)) for case in cases]

        assert found == [case[0][1] for case in cases]
        assert self.used(tpm, key) == TPM_RC.SUCCESS


def with_policy(tpm: Client, key: int) -> int:
    """Give a key the policy that a new session satisfies."""
    item = tpm.tpm.volatile.objects[key]
    assert isinstance(item, Object)
    item.public = replace(item.public, auth_policy=bytes(32))
    return key


class TestAuthorization:
    """5.6, 2 to 7: presence, lockout, the type of session, what may authorize, and only then the proof"""

    def locked_out(self, tpm: Client) -> None:
        """Let the dictionary attack protection lock."""
        tpm.tpm.lockout.failed_tries = tpm.tpm.lockout.max_tries

    def protected(self, tpm: Client, **marks: bool) -> int:
        """A key with noDA clear and an authValue."""
        key = put_hmac(tpm, auth=b"pw")
        item = tpm.tpm.volatile.objects[key]
        assert isinstance(item, Object)
        attributes = item.public.object_attributes.but(noDA=False, **marks)
        item.public = replace(item.public, object_attributes=attributes)
        return key

    def use(self, tpm: Client, key: int, session: CallerSession | Password) -> int:
        """In the role USER."""
        code: int = tpm.mac(key, buffer=b"", in_scheme=TPM_ALG.SHA256, sessions=[session]).rc
        return code

    def test_lockout(self, tpm: Client) -> None:
        """Lockout, before what the authValue may authorize, before the password."""
        key = self.protected(tpm, userWithAuth=False)
        unlocked = self.use(tpm, key, Password(b"wrong"))
        self.locked_out(tpm)

        assert unlocked == TPM_RC.AUTH_UNAVAILABLE
        assert self.use(tpm, key, Password(b"wrong")) == TPM_RC.LOCKOUT

    def test_policy(self, tpm: Client) -> None:
        """A policy without authValue is not locked out; one with it is, before it is looked at."""
        key = with_policy(tpm, self.protected(tpm))
        self.locked_out(tpm)
        plain, asking = (start_session(tpm, TPM_SE.POLICY) for _ in range(2))
        policy = tpm.tpm.volatile.sessions[asking.handle & 0xFFFFFF].the_policy
        policy.password_needed, policy.digest = True, b"\1" * 32

        assert self.use(tpm, key, plain) == TPM_RC.SUCCESS
        assert self.use(tpm, key, asking) == TPM_RC.LOCKOUT

    def test_bound_session(self, tpm: Client) -> None:
        """A session bound to a protected entity is locked out before its use is looked at."""
        key = self.protected(tpm)
        session = start_session(tpm, bind=key, bind_auth=b"pw")
        session.attributes, session.authorizes = TPMA_SESSION(continueSession=True), False
        idle = tpm.get_random(bytes_requested=1, sessions=[session]).rc
        self.locked_out(tpm)

        assert idle == TPM_RC.ATTRIBUTES.session(1)
        assert tpm.get_random(bytes_requested=1, sessions=[session]).rc == TPM_RC.LOCKOUT

    def test_presence(self, tpm: Client) -> None:
        """Physical presence, before the password."""
        tpm.tpm.physical_presence = True
        tpm.pp_commands(TPM_RH.PLATFORM, set_list=(TPM_CC.Clear,), clear_list=()).check()
        wrong = {"auths": [b"wrong"]}
        present = tpm.clear(TPM_RH.PLATFORM, **wrong).rc
        tpm.tpm.physical_presence = False

        assert present == TPM_RC.BAD_AUTH.session(1)
        assert tpm.clear(TPM_RH.PLATFORM, **wrong).rc == TPM_RC.PP.session(1)
