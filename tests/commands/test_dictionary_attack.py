"""Part 3, clause 25, and Part 1, Dictionary Attack Protection."""

import hashlib

import pytest

from tests.commands.nv_indices import INDEX, SELF, define
from tests.scenarios import Client
from tests.sessions import start_session
from vtpm.spec.attributes import TPMA_PERMANENT
from vtpm.spec.constants import TPM_ALG, TPM_CAP, TPM_CC, TPM_PT, TPM_RH, TPM_SE, TPM_SU
from vtpm.wire.error import TPM_RC

LOCKOUT = TPM_RH.LOCKOUT
SECOND = 1000


@pytest.fixture(autouse=True)
def _protected(tpm: Client) -> None:
    define(tpm, SELF.but(NO_DA=False), auth=b"secret")
    assert use(tpm) == TPM_RC.SUCCESS
    tpm.power_cycle()


def use(tpm: Client, auth: bytes = b"secret") -> int:
    """Use the protected Index; gives the response code."""
    return tpm.nv_write(INDEX, INDEX, data=b"x", offset=0, auths=[auth]).rc


def fail(tpm: Client, times: int = 1) -> None:
    """Fail to give the right authValue."""
    for _ in range(times):
        assert use(tpm, b"wrong") == TPM_RC.AUTH_FAIL.session(1)


def set_parameters(
    tpm: Client, max_tries: int, recovery: int, lockout_recovery: int, auth: bytes = b""
) -> int:
    """DictionaryAttackParameters; gives the response code."""
    return tpm.dictionary_attack_parameters(
        LOCKOUT,
        new_max_tries=max_tries,
        new_recovery_time=recovery,
        lockout_recovery=lockout_recovery,
        auths=[auth],
    ).rc


def property_of(tpm: Client, tag: int) -> int:
    """One property."""
    reply = tpm.get_capability(capability=TPM_CAP.TPM_PROPERTIES, property=tag, property_count=1)
    return int(reply.capability_data.data[0].value)


def failures(tpm: Client) -> int:
    """TPM_PT_LOCKOUT_COUNTER"""
    return property_of(tpm, TPM_PT.LOCKOUT_COUNTER)


class TestProtection:
    """25.1 and Part 1: failed authorizations count, and lock in the end"""

    def test_lockout(self, tpm: Client) -> None:
        """After maxTries failures even the right authValue is refused, and GetCapability says so."""
        fail(tpm, 3)

        assert use(tpm) == TPM_RC.LOCKOUT
        assert TPMA_PERMANENT(property_of(tpm, TPM_PT.PERMANENT)).inLockout
        assert failures(tpm) == 3

    def test_durable(self, tpm: Client) -> None:
        """Failures are durable before the response leaves."""
        fail(tpm, 2)
        tpm.power_cycle()

        assert failures(tpm) == 2

    def test_success_does_not_forgive(self, tpm: Client) -> None:
        """Only time and LockReset forgive."""
        fail(tpm)
        use(tpm)

        assert failures(tpm) == 1

    def test_time_forgives(self, tpm: Client) -> None:
        """Every recoveryTime without a failure forgives one."""
        set_parameters(tpm, 3, 10, 10)
        fail(tpm, 3)
        tpm.wait(10 * SECOND - 1)
        assert use(tpm) == TPM_RC.LOCKOUT
        tpm.wait(1)
        assert use(tpm) == TPM_RC.SUCCESS
        assert failures(tpm) == 2
        tpm.wait(20 * SECOND)
        assert failures(tpm) == 0

    def test_failure_begins_anew(self, tpm: Client) -> None:
        """A failure begins a new period."""
        set_parameters(tpm, 5, 10, 10)
        fail(tpm)
        tpm.wait(9 * SECOND)
        fail(tpm)
        tpm.wait(9 * SECOND)
        assert failures(tpm) == 2
        tpm.wait(SECOND)
        assert failures(tpm) == 1

    def test_no_protection(self, tpm: Client) -> None:
        """A recoveryTime of zero: failures do not count, and what there were are forgiven."""
        fail(tpm, 2)
        set_parameters(tpm, 3, 0, 0)
        assert failures(tpm) == 0
        fail(tpm, 5)

        assert use(tpm) == TPM_RC.SUCCESS
        assert failures(tpm) == 0

    def test_always_locked(self, tpm: Client) -> None:
        """A maxTries of zero: protected entities are never used."""
        set_parameters(tpm, 0, 10, 10)

        assert use(tpm) == TPM_RC.LOCKOUT

    def test_loss_of_power(self, tpm: Client) -> None:
        """Losing power after a protected entity was used may hide a failure, so it counts as one."""
        tpm.power_cycle(shutdown=None)
        assert failures(tpm) == 0
        use(tpm)
        tpm.power_cycle(shutdown=None)
        assert failures(tpm) == 1
        tpm.power_cycle(shutdown=None)
        assert failures(tpm) == 1
        use(tpm)
        tpm.power_cycle(shutdown=TPM_SU.CLEAR)
        assert failures(tpm) == 1

    def test_timer_of_a_new_run(self, tpm: Client) -> None:
        """Time without power does not forgive."""
        set_parameters(tpm, 3, 10, 10)
        fail(tpm)
        tpm.wait(9 * SECOND)
        tpm.power_cycle()
        tpm.wait(9 * SECOND)
        assert failures(tpm) == 1
        tpm.wait(SECOND)
        assert failures(tpm) == 0


class TestLockReset:
    """25.2"""

    def test_reset(self, tpm: Client) -> None:
        """All failures are forgiven."""
        fail(tpm, 3)

        assert tpm.dictionary_attack_lock_reset(LOCKOUT).rc == TPM_RC.SUCCESS
        assert failures(tpm) == 0
        assert use(tpm) == TPM_RC.SUCCESS

    def test_wrong_auth(self, tpm: Client) -> None:
        """One failure of lockoutAuth disables it for lockoutRecovery; other entities are not concerned."""
        tpm.tpm.lockout.auth_value = b"lockout"
        set_parameters(tpm, 3, 10, 20, b"lockout")

        wrong = tpm.dictionary_attack_lock_reset(LOCKOUT, auths=[b"wrong"])
        assert wrong.rc == TPM_RC.AUTH_FAIL.session(1)
        assert failures(tpm) == 0
        tpm.wait(20 * SECOND - 1)
        assert tpm.dictionary_attack_lock_reset(LOCKOUT, auths=[b"lockout"]).rc == TPM_RC.LOCKOUT
        tpm.wait(1)
        assert tpm.dictionary_attack_lock_reset(LOCKOUT, auths=[b"lockout"]).rc == TPM_RC.SUCCESS

    def test_disabled_until_restart(self, tpm: Client) -> None:
        """A lockoutRecovery of zero: only a start enables lockoutAuth again."""
        set_parameters(tpm, 3, 10, 0)
        tpm.dictionary_attack_lock_reset(LOCKOUT, auths=[b"wrong"])
        tpm.wait(1000 * SECOND)
        assert tpm.dictionary_attack_lock_reset(LOCKOUT).rc == TPM_RC.LOCKOUT
        tpm.power_cycle(shutdown=None)

        assert tpm.dictionary_attack_lock_reset(LOCKOUT).rc == TPM_RC.SUCCESS

    def test_disabled_beyond_restart(self, tpm: Client) -> None:
        """Otherwise a start does not help."""
        set_parameters(tpm, 3, 10, 20)
        tpm.dictionary_attack_lock_reset(LOCKOUT, auths=[b"wrong"])
        tpm.power_cycle(shutdown=None)

        assert tpm.dictionary_attack_lock_reset(LOCKOUT).rc == TPM_RC.LOCKOUT

    @pytest.mark.parametrize("recovery", [0, 20])
    def test_policy_enables(self, tpm: Client, recovery: int) -> None:
        """Part 1, 16.8.5: by lockout's policy the command enables a lockoutAuth that has failed."""
        code = TPM_CC.DictionaryAttackLockReset
        asserted = TPM_CC.PolicyCommandCode.to_bytes(4, "big") + code.to_bytes(4, "big")
        policy = hashlib.sha256(bytes(32) + asserted).digest()
        tpm.set_primary_policy(LOCKOUT, auth_policy=policy, hash_alg=TPM_ALG.SHA256).check()
        set_parameters(tpm, 3, 10, recovery)
        tpm.dictionary_attack_lock_reset(LOCKOUT, auths=[b"wrong"])
        assert tpm.dictionary_attack_lock_reset(LOCKOUT).rc == TPM_RC.LOCKOUT
        session = start_session(tpm, TPM_SE.POLICY)
        tpm.policy_command_code(session.handle, code=code).check()

        tpm.dictionary_attack_lock_reset(LOCKOUT, sessions=[session]).check()

        assert "permanent" in tpm.changes
        assert tpm.dictionary_attack_lock_reset(LOCKOUT).rc == TPM_RC.SUCCESS
        tpm.power_cycle(shutdown=None)
        assert tpm.dictionary_attack_lock_reset(LOCKOUT).rc == TPM_RC.SUCCESS

    def test_lockout_does_not_lock_itself(self, tpm: Client) -> None:
        """While other entities are locked out, lockoutAuth is not."""
        fail(tpm, 3)

        assert set_parameters(tpm, 3, 10, 20) == TPM_RC.SUCCESS

    def test_whose_it_is(self, tpm: Client) -> None:
        """Only lockoutAuth resets."""
        assert tpm.dictionary_attack_lock_reset(TPM_RH.PLATFORM).rc == TPM_RC.VALUE.handle(1)


class TestParameters:
    """25.3"""

    def test_reported(self, tpm: Client) -> None:
        """The parameters are durable, and reported."""
        assert set_parameters(tpm, 5, 6, 7) == TPM_RC.SUCCESS
        tpm.power_cycle(shutdown=None)

        tags = (TPM_PT.MAX_AUTH_FAIL, TPM_PT.LOCKOUT_INTERVAL, TPM_PT.LOCKOUT_RECOVERY)
        assert [property_of(tpm, tag) for tag in tags] == [5, 6, 7]

    def test_failures_stay(self, tpm: Client) -> None:
        """Failures are not forgiven by new parameters."""
        fail(tpm, 2)
        set_parameters(tpm, 2, 1000, 1000)

        assert use(tpm) == TPM_RC.LOCKOUT
