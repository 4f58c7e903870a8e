"""Part 3, clause 33: the Authenticated Countdown Timer (ACT), of which this TPM has one."""

from typing import Annotated

from vtpm.commands.table import command
from vtpm.spec.constants import TPM_CC
from vtpm.spec.handles import TPMI_RH_ACT
from vtpm.state.act import STOP, ActEntity
from vtpm.state.entity import Role
from vtpm.state.tpm import TpmState
from vtpm.wire.error import TPM_RC, TpmError
from vtpm.wire.integers import UINT32


@command(TPM_CC.ACT_SetTimeout)
def act_set_timeout(
    tpm: TpmState, act: Annotated[ActEntity, TPMI_RH_ACT, Role.USER], /, start_timeout: UINT32
) -> None:
    """33.2: count down from so many seconds, stop with a signal, or end the signal."""
    if start_timeout == STOP and not act.act.signaled:
        raise TpmError(TPM_RC.VALUE, at="start_timeout")

    act.act.set(start_timeout, tpm.clock.time)
