"""Part 3, clause 25: dictionary attack functions."""

from typing import Annotated

from vtpm.commands.table import command
from vtpm.spec.constants import TPM_CC
from vtpm.spec.handles import TPMI_RH_LOCKOUT
from vtpm.state.entity import Role
from vtpm.state.lockout import Lockout
from vtpm.state.tpm import TpmState
from vtpm.wire.integers import UINT32


@command(TPM_CC.DictionaryAttackLockReset, nv=True)
def dictionary_attack_lock_reset(
    tpm: TpmState, lock: Annotated[Lockout, TPMI_RH_LOCKOUT, Role.USER], /
) -> None:
    """25.2: forgive all failed authorizations, by lockout's policy even one of lockoutAuth."""
    lock.failed_tries = 0
    lock.auth_enabled = True
    tpm.touch_permanent()


@command(TPM_CC.DictionaryAttackParameters, nv=True, read_only=False)
def dictionary_attack_parameters(
    tpm: TpmState,
    lock: Annotated[Lockout, TPMI_RH_LOCKOUT, Role.USER],
    /,
    new_max_tries: UINT32,
    new_recovery_time: UINT32,
    lockout_recovery: UINT32,
) -> None:
    """25.3: how many failures lock, and for how many seconds."""
    lock.max_tries = new_max_tries
    lock.recovery_time = new_recovery_time
    lock.lockout_recovery = lockout_recovery
    tpm.touch_permanent()
