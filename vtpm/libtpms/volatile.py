"""
libtpms' volatile state (VOLATILE_STATE of src/tpm2/NVMarshal.c), as libtpms 0.6 to 0.11 write it.

A SHA-1 digest of it follows.
Parts that only libtpms' own next command would read are octets here.
"""

from typing import Annotated

from vtpm.libtpms.form import BOOL, OCTETS, TAIL, Array, Block, Fixed, Version
from vtpm.libtpms.objects import AnyObject
from vtpm.libtpms.orderly import OrderlyData
from vtpm.libtpms.sessions import SessionForm, SessionSlot
from vtpm.libtpms.suspended import Banks, SavedPcrBank, StateClear, StateReset
from vtpm.wire.integers import UINT16, UINT32, UINT64
from vtpm.wire.structure import structure

MAGIC = 0x45637889
NOBODY = 0x40000008
"""TPM_RH_UNASSIGNED, where a handle would stand."""


@structure
class NvRun:
    """The live data of orderly NV Indices, as they lie in memory, and the largest counter."""

    evict_end: UINT32
    orderly_ram: OCTETS
    max_counter: UINT64

    __repr__ = object.__repr__


@structure
class PcrValues:
    """PCR: the values of one PCR in all banks."""

    version: Annotated[int, Version(0xE95F0387, {2: 1})]
    banks: Annotated[tuple[SavedPcrBank, ...], Banks()]
    tail: TAIL


@structure
class SessionsRun:
    """The slots of loaded sessions."""

    slots: Annotated[tuple[SessionForm | None, ...], Array(SessionSlot())]
    oldest_saved: UINT32
    free_slots: UINT32


@structure
class HardwareClock:
    """The timer's last reading, and what it has counted, in milliseconds."""

    real_time_previous: UINT64
    tpm_time: UINT64


@structure
class HostTime:
    """The host's clock, how long the TPM was suspended, the timer's last reading; in milliseconds."""

    monotonic: UINT64
    suspended_elapsed: UINT64
    last_system_time: UINT64
    last_reported_time: UINT64
    tail: TAIL


@structure
class Belonging:
    """The seeds of the permanent state beside which the volatile one is valid."""

    ep_seed: OCTETS
    sp_seed: OCTETS
    pp_seed: OCTETS
    host: Annotated[HostTime | None, Block(HostTime, may_be_empty=True)]

    __repr__ = object.__repr__


@structure
class VolatileState:
    """VOLATILE_STATE."""

    version: Annotated[int, Version(MAGIC, {3: 1, 4: 1})]
    exclusive_audit_session: UINT32
    time: UINT64
    ph_enable: BOOL
    pcr_reconfig: BOOL
    drtm_handle: UINT32
    drtm_pre_startup: BOOL
    startup_locality_3: BOOL
    da_used: Annotated[bool | None, Block(BOOL)]
    power_was_lost: BOOL
    prev_orderly_state: UINT16
    nv_ok: BOOL
    unused: OCTETS
    orderly: OrderlyData
    clear: StateClear
    reset: StateReset
    manufactured: BOOL
    initialized: BOOL
    command_sessions: Annotated[bytes | None, Block()]
    da_timers: Annotated[bytes | None, Block()]
    nv: Annotated[NvRun | None, Block(NvRun)]
    objects: Annotated[tuple[AnyObject, ...] | None, Block(Array(AnyObject))]
    pcr: Annotated[tuple[PcrValues, ...] | None, Block(Array(PcrValues))]
    sessions: Annotated[SessionsRun | None, Block(SessionsRun)]
    in_failure_mode: BOOL
    established: BOOL
    failure: Annotated[bytes | None, Block()]
    hardware_clock: Annotated[HardwareClock | None, Block(HardwareClock)]
    timer_reset: BOOL
    timer_stopped: BOOL
    adjust_rate: UINT32
    saved_at: UINT64
    belonging: Annotated[Belonging | None, Block(Belonging)]
    end: Annotated[int, Fixed("I", MAGIC)] = MAGIC

    __repr__ = object.__repr__
