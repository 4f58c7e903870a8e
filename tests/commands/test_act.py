"""Part 3, clause 33, and Part 1, Authenticated Countdown Timer."""

import hashlib

import pytest

from tests.scenarios import Client
from tests.sessions import CallerSession, start_session
from vtpm import Instant, Tpm
from vtpm.spec.attributes import TPMA_ACT
from vtpm.spec.constants import TPM_ALG, TPM_CAP, TPM_CC, TPM_RH, TPM_SE, TPM_SU
from vtpm.wire.error import TPM_RC

ACT = TPM_RH.ACT_0
SECOND = 1000
STOP = 0xFFFFFFFF
USES = (TPM_CC.ACT_SetTimeout, TPM_CC.SetPrimaryPolicy)
"""What is authorized by the timer."""


def set_timeout(tpm: Client, seconds: int, auth: bytes = b"") -> int:
    """ACT_SetTimeout; gives the response code."""
    return tpm.act_set_timeout(ACT, start_timeout=seconds, auths=[auth]).rc


def timer(tpm: Client) -> tuple[int, bool]:
    """The seconds that remain, and whether it has signaled."""
    (data,) = tpm.get_capability(capability=TPM_CAP.ACT, property=ACT, property_count=1).capability_data.data
    assert data.handle == ACT
    return data.timeout, TPMA_ACT(data.attributes).signaled


def preserved(tpm: Client) -> bool:
    """Had the timer signaled before the run that is now?"""
    (data,) = tpm.get_capability(capability=TPM_CAP.ACT, property=ACT, property_count=1).capability_data.data
    return TPMA_ACT(data.attributes).preserveSignaled


class TestSetTimeout:
    """33.2"""

    def test_countdown(self, tpm: Client) -> None:
        """It counts seconds, and signals at zero."""
        assert timer(tpm) == (0, False)
        assert set_timeout(tpm, 3) == TPM_RC.SUCCESS
        assert timer(tpm) == (3, False)
        tpm.wait(2 * SECOND)
        assert timer(tpm) == (1, False)
        tpm.wait(SECOND)
        assert timer(tpm) == (0, True)

    @pytest.mark.parametrize(
        ("running", "seconds", "expected"),
        [
            (0, 5, (5, False)),
            (9, 5, (5, False)),
            (0, 0, (0, False)),
            (9, 0, (0, True)),
        ],
    )
    def test_states(self, tpm: Client, running: int, seconds: int, expected: tuple[int, bool]) -> None:
        """A new timeout replaces the old one; zero is an expiration if it was counting."""
        set_timeout(tpm, running)

        assert set_timeout(tpm, seconds) == TPM_RC.SUCCESS
        assert timer(tpm) == expected

    def test_signal_ends(self, tpm: Client) -> None:
        """A new timeout ends the signal, and so does the largest one, which starts nothing."""
        for seconds, remaining in ((7, 7), (STOP, 0)):
            set_timeout(tpm, 1)
            set_timeout(tpm, 0)
            assert timer(tpm) == (0, True)
            assert set_timeout(tpm, seconds) == TPM_RC.SUCCESS
            assert timer(tpm) == (remaining, False)

    @pytest.mark.parametrize("running", [0, 5])
    def test_no_signal(self, tpm: Client, running: int) -> None:
        """Without a signal there is none to end."""
        set_timeout(tpm, running)

        assert set_timeout(tpm, STOP) == TPM_RC.VALUE.parameter(1)
        assert timer(tpm) == (running, False)

    @pytest.mark.parametrize(
        ("handle", "code"), [(ACT + 1, TPM_RC.VALUE.handle(1)), (TPM_RH.ACT_F, TPM_RC.VALUE.handle(1))]
    )
    def test_other_timers(self, tpm: Client, handle: int, code: int) -> None:
        """There is one timer."""
        assert tpm.act_set_timeout(handle, start_timeout=1).rc == code


class TestAuthorization:
    """Part 1, 40.2: who sets it"""

    def test_platform(self, tpm: Client) -> None:
        """The platform's authValue does, while its hierarchy is enabled."""
        tpm.tpm.platform.auth_value = b"platform"
        assert set_timeout(tpm, 1) == TPM_RC.BAD_AUTH.session(1)
        assert set_timeout(tpm, 1, b"platform") == TPM_RC.SUCCESS
        tpm.tpm.platform.enabled = False

        assert set_timeout(tpm, 1, b"platform") == TPM_RC.AUTH_UNAVAILABLE

    def test_policy(self, tpm: Client) -> None:
        """So does a policy of its own (SetPrimaryPolicy), which a Resume keeps and a Restart does not."""
        code = TPM_CC.ACT_SetTimeout.to_bytes(4, "big")
        policy = hashlib.sha256(bytes(32) + TPM_CC.PolicyCommandCode.to_bytes(4, "big") + code).digest()
        assert tpm.set_primary_policy(ACT, auth_policy=policy, hash_alg=TPM_ALG.SHA256).rc == TPM_RC.SUCCESS
        for startup, expected in (
            (None, TPM_RC.SUCCESS),
            (TPM_SU.STATE, TPM_RC.SUCCESS),
            (TPM_SU.CLEAR, TPM_RC.AUTH_UNAVAILABLE),
        ):
            if startup is not None:
                tpm.power_cycle(shutdown=TPM_SU.STATE, startup=startup)
            session = start_session(tpm, TPM_SE.POLICY)
            tpm.policy_command_code(session.handle, code=TPM_CC.ACT_SetTimeout)
            assert tpm.act_set_timeout(ACT, start_timeout=1, sessions=[session]).rc == expected

    def test_policy_without_the_platform(self, tpm: Client) -> None:
        """The policy authorizes, and can change itself, even while the platform hierarchy is disabled."""
        policies = [tpm.policy_get_digest(self.session(tpm, code).handle).policy_digest for code in USES]
        tpm.set_primary_policy(ACT, auth_policy=policies[1], hash_alg=TPM_ALG.SHA256).check()
        tpm.tpm.platform.enabled = False
        given = {"auth_policy": policies[0], "hash_alg": TPM_ALG.SHA256}

        codes = [tpm.set_primary_policy(ACT, **given, sessions=[self.session(tpm, code)]).rc for code in USES]
        codes.append(tpm.act_set_timeout(ACT, start_timeout=1, sessions=[self.session(tpm, USES[0])]).rc)

        assert codes == [TPM_RC.POLICY_FAIL.session(1), TPM_RC.SUCCESS, TPM_RC.SUCCESS]

    @staticmethod
    def session(tpm: Client, code: TPM_CC) -> CallerSession:
        """A policy session for one command."""
        session = start_session(tpm, TPM_SE.POLICY)
        tpm.policy_command_code(session.handle, code=code).check()
        return session


class TestPowerCycle:
    """Part 1, 40.2: what becomes of the timer"""

    @pytest.mark.parametrize("shutdown", [TPM_SU.CLEAR, TPM_SU.STATE, None])
    def test_reset(self, tpm: Client, shutdown: TPM_SU | None) -> None:
        """Reset and Restart stop it without a signal."""
        set_timeout(tpm, 9)
        tpm.power_cycle(shutdown=shutdown, startup=TPM_SU.CLEAR)

        assert timer(tpm) == (0, False)

    def test_resume(self, tpm: Client) -> None:
        """A Resume goes on with what remained, but with half of it if no timeout was set in between."""
        set_timeout(tpm, 100)
        tpm.wait(20 * SECOND)
        tpm.power_cycle(shutdown=TPM_SU.STATE, startup=TPM_SU.STATE)
        assert timer(tpm) == (80, False)
        tpm.wait(20 * SECOND)
        tpm.power_cycle(shutdown=TPM_SU.STATE, startup=TPM_SU.STATE)
        assert timer(tpm) == (30, False)

    def test_signal_stays(self, tpm: Client) -> None:
        """A Resume keeps the signal."""
        set_timeout(tpm, 1)
        set_timeout(tpm, 0)
        tpm.power_cycle(shutdown=TPM_SU.STATE, startup=TPM_SU.STATE)

        assert timer(tpm) == (0, True)

    def test_signal_before_a_resume(self, tpm: Client) -> None:
        """Part 2, 8.12: a Resume says whether the timer had signaled; a new timeout forgets it."""
        seen = [preserved(tpm)]
        set_timeout(tpm, 1)
        set_timeout(tpm, 0)
        seen.append(preserved(tpm))
        tpm.power_cycle(shutdown=TPM_SU.STATE, startup=TPM_SU.STATE)
        seen.append(preserved(tpm))
        blobs = tpm.tpm.snapshot() | tpm.tpm.snapshot_volatile()
        tpm.tpm = Tpm.restore(blobs, tpm.tpm.random)
        tpm.tpm.resume(Instant(tpm.now))
        seen.append(preserved(tpm))
        set_timeout(tpm, 0)
        seen.append(preserved(tpm))

        assert seen == [False, False, True, True, False]

    @pytest.mark.parametrize("shutdown", [TPM_SU.CLEAR, TPM_SU.STATE, None])
    def test_signal_before_a_reset(self, tpm: Client, shutdown: TPM_SU | None) -> None:
        """Part 2, 8.12: Reset and Restart forget that the timer had signaled."""
        set_timeout(tpm, 1)
        set_timeout(tpm, 0)
        tpm.power_cycle(shutdown=shutdown, startup=TPM_SU.CLEAR)

        assert not preserved(tpm)

    def test_set_after_shutdown(self, tpm: Client) -> None:
        """A timeout that is set after Shutdown makes the shutdown no orderly one; counting does not."""
        set_timeout(tpm, 100)
        tpm.shutdown(shutdown_type=TPM_SU.STATE)
        tpm.wait(5 * SECOND)
        assert timer(tpm) == (95, False)
        tpm.lose_power()
        assert tpm.startup(startup_type=TPM_SU.STATE).rc == TPM_RC.SUCCESS

        tpm.shutdown(shutdown_type=TPM_SU.STATE)
        set_timeout(tpm, 100)
        tpm.lose_power()
        assert tpm.startup(startup_type=TPM_SU.STATE).rc == TPM_RC.VALUE.parameter(1)

    def test_suspended(self, tpm: Client) -> None:
        """A TPM that is suspended and goes on elsewhere counts on, but not in between."""
        set_timeout(tpm, 100)
        tpm.wait(10 * SECOND)
        assert timer(tpm) == (90, False)
        blobs = tpm.tpm.snapshot() | tpm.tpm.snapshot_volatile()
        tpm.wait(50 * SECOND)
        tpm.tpm = Tpm.restore(blobs, tpm.tpm.random)
        tpm.tpm.resume(Instant(tpm.now))

        assert timer(tpm) == (90, False)
        tpm.wait(90 * SECOND)
        assert timer(tpm) == (0, True)


class TestCapability:
    """Part 3, 30.2: TPM_CAP_ACT"""

    @pytest.mark.parametrize("first", [0, ACT - 1, TPM_RH.ACT_F + 1])
    def test_other_handles(self, tpm: Client, first: int) -> None:
        """The property must be the handle of a timer."""
        reply = tpm.get_capability(capability=TPM_CAP.ACT, property=first, property_count=1)

        assert reply.rc == TPM_RC.VALUE.parameter(2)

    def test_next(self, tpm: Client) -> None:
        """After the only timer there is none."""
        reply = tpm.get_capability(capability=TPM_CAP.ACT, property=ACT + 1, property_count=1)

        assert reply.capability_data.data == ()
