"""Part 3, clause 29: clocks and timers."""

from typing import Annotated

from vtpm.commands.table import command
from vtpm.spec.constants import TPM_CC, TPM_CLOCK_ADJUST
from vtpm.spec.handles import TPMI_RH_PROVISION
from vtpm.spec.interface import TPM_CLOCK_ADJUST_TYPE
from vtpm.spec.structures import TPMS_TIME_INFO
from vtpm.state.clock import RATE_NOMINAL
from vtpm.state.entity import Role
from vtpm.state.hierarchy import Hierarchy
from vtpm.state.tpm import TpmState
from vtpm.wire.error import TPM_RC, TpmError
from vtpm.wire.integers import UINT64
from vtpm.wire.structure import structure

LATEST_CLOCK = 0xFFFF_0000_0000_0000
"""29.2: Clock cannot be set beyond this."""

STEPS = {
    TPM_CLOCK_ADJUST.COARSE_SLOWER: RATE_NOMINAL // 100,
    TPM_CLOCK_ADJUST.MEDIUM_SLOWER: RATE_NOMINAL // 1000,
    TPM_CLOCK_ADJUST.FINE_SLOWER: 1,
    TPM_CLOCK_ADJUST.NO_CHANGE: 0,
    TPM_CLOCK_ADJUST.FINE_FASTER: -1,
    TPM_CLOCK_ADJUST.MEDIUM_FASTER: -RATE_NOMINAL // 1000,
    TPM_CLOCK_ADJUST.COARSE_FASTER: -RATE_NOMINAL // 100,
}
"""29.3: what an adjustment adds to the ticks of a millisecond."""

MOST_ADJUSTMENT = RATE_NOMINAL * 15 // 100
"""29.3: the rate stays within 15 % of the nominal one."""


@structure
class ReadClockResponse:
    """29.1"""

    current_time: TPMS_TIME_INFO


@command(TPM_CC.ReadClock)
def read_clock(tpm: TpmState, /) -> ReadClockResponse:
    """29.1: Time, Clock and the counters of resets and restarts."""
    return ReadClockResponse(current_time=tpm.time_info())


@command(TPM_CC.ClockSet, nv=True, physical_presence=True, read_only=False)
def clock_set(
    tpm: TpmState, auth: Annotated[Hierarchy, TPMI_RH_PROVISION, Role.USER], /, new_time: UINT64
) -> None:
    """29.2: advance Clock; it never goes back."""
    if new_time > LATEST_CLOCK or new_time < tpm.clock.clock:
        raise TpmError(TPM_RC.VALUE, at="new_time")

    tpm.clock.set(new_time)
    tpm.touch_orderly()


@command(TPM_CC.ClockRateAdjust, physical_presence=True, read_only=False)
def clock_rate_adjust(
    tpm: TpmState,
    auth: Annotated[Hierarchy, TPMI_RH_PROVISION, Role.USER],
    /,
    rate_adjust: TPM_CLOCK_ADJUST_TYPE,
) -> None:
    """29.3: make Clock and Time run faster or slower."""
    rate = tpm.clock.rate + STEPS[rate_adjust]
    if abs(rate - RATE_NOMINAL) > MOST_ADJUSTMENT:
        raise TpmError(TPM_RC.VALUE, at="rate_adjust")

    tpm.clock.rate = rate
