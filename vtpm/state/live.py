"""The live state of one TPM: its parts by lifetime, and how they are found."""

from collections.abc import Callable, Mapping
from typing import Any

from vtpm.crypto.digest import digest_size
from vtpm.crypto.drbg import RandomGenerator
from vtpm.crypto.primes import PrimePool
from vtpm.spec.constants import TPM_RH
from vtpm.spec.structures import TPMS_CLOCK_INFO, TPMS_TIME_INFO
from vtpm.state.act import ActEntity
from vtpm.state.clear import ClearData
from vtpm.state.clock import Clock
from vtpm.state.firmware import limited
from vtpm.state.hierarchy import Hierarchy, base_of
from vtpm.state.lockout import Lockout
from vtpm.state.narrowed import narrowing_of
from vtpm.state.nv import NvIndex
from vtpm.state.object import Object
from vtpm.state.pcr import LAYOUTS, Pcr, PcrBanks, PcrGroup
from vtpm.state.permanent import Permanent
from vtpm.state.profile import Profile
from vtpm.state.reset import ResetData
from vtpm.state.session import Session
from vtpm.state.volatile import Volatile
from vtpm.wire.error import TPM_RC, TpmError

PCR_COUNTER_MOST = 0xFFFFFFFF


class CounterOverflowError(Exception):
    """A counter that may never begin again has reached its end."""


Entropy = Callable[[int], bytes]
"""Where randomness comes from: a function of the number of octets."""


class LiveState:
    """Everything a TPM remembers and looks up while it runs; nothing here knows how it is saved."""

    def __init__(self, profile: Profile, entropy: Entropy) -> None:
        self.profile = profile
        self.narrowing = narrowing_of(profile)
        self.commands: Mapping[int, Any] = {}
        """The commands of the profile by their codes, in ascending order: set by whoever executes them."""
        self.random = RandomGenerator(entropy)
        self.permanent = Permanent()
        self.lockout = Lockout()
        self.clock = Clock(profile.clock_update)
        self.reset = ResetData(profile.loaded_sessions + 1)
        self.clear = ClearData()
        self.volatile = Volatile(profile.transient_slots, profile.loaded_sessions)
        self.hierarchies: dict[int, Hierarchy] = {}
        self.nv: dict[int, NvIndex] = {}
        self.persistent: dict[int, Object] = {}
        self.pcr_group = PcrGroup()
        self.pcr = PcrBanks({alg: digest_size(alg) for alg in profile.pcr_banks}, LAYOUTS[profile.pcr_layout])
        self.locality = 0
        self.physical_presence = False
        self.buffer_size: int | None = None
        """Octets that the platform's interface takes, if less than the profile allows."""
        self.established = False
        """TPM_ACCESS.tpmEstablishment of the platform interface: has a dynamic launch happened?"""
        self.nv_available = True
        """Can changes be made durable (Part 1, "Access Interruptions")? Whoever runs the TPM says so."""
        self.prime_pool: PrimePool | None = None
        """Fresh primes that whoever runs the TPM makes ahead of need."""

    @property
    def owner(self) -> Hierarchy:
        """The storage hierarchy."""
        return self.hierarchies[TPM_RH.OWNER]

    @property
    def endorsement(self) -> Hierarchy:
        """The endorsement hierarchy."""
        return self.hierarchies[TPM_RH.ENDORSEMENT]

    @property
    def platform(self) -> Hierarchy:
        """The platform hierarchy."""
        return self.hierarchies[TPM_RH.PLATFORM]

    @property
    def null(self) -> Hierarchy:
        """The null hierarchy."""
        return self.hierarchies[TPM_RH.NULL]

    def hierarchy_of(self, handle: int) -> Hierarchy:
        """The hierarchy of a handle, enabled or not; a limited one is a copy of its base for one command."""
        hierarchy = self.hierarchies.get(handle)
        if hierarchy is not None:
            return hierarchy
        base = self.hierarchies.get(base_of(handle))
        if base is None:
            raise TpmError(TPM_RC.VALUE)
        return limited(base, handle, self.permanent.firmware_root)

    def enabled_hierarchy(self, handle: int) -> Hierarchy:
        """
        The hierarchy of a handle.

        TPM_RC_HIERARCHY if it is disabled, TPM_RC_SVN_LIMITED if this firmware is too old for it.
        """
        hierarchy = self.hierarchy_of(handle)
        if not hierarchy.enabled:
            raise TpmError(TPM_RC.HIERARCHY)
        return hierarchy

    @property
    def unobfuscated_hierarchies(self) -> tuple[int, ...]:
        """The hierarchies whose keys may tell which TPM they are of (Part 1, "Attestation")."""
        return (TPM_RH.ENDORSEMENT, TPM_RH.PLATFORM)

    def proof_of(self, hierarchy: int) -> bytes:
        """The proof value that keys the tickets and contexts of a hierarchy."""
        return self.hierarchy_of(hierarchy).proof

    @property
    def nv_space(self) -> int:
        """Octets that NV Indices and persistent objects may still take."""
        taken = sum(index.size for index in self.nv.values())
        return self.profile.nv_capacity - taken - sum(item.size for item in self.persistent.values())

    @property
    def orderly_space(self) -> int:
        """Octets that orderly NV Indices may still take; below zero in a TPM from before they had a limit."""
        return self.profile.orderly_capacity - sum(index.orderly_size for index in self.nv.values())

    def time_info(self) -> TPMS_TIME_INFO:
        """Part 2, 10.11.6: Time, Clock and the counters, as they are now."""
        clock = TPMS_CLOCK_INFO(
            clock=self.clock.clock,
            reset_count=self.permanent.reset_count,
            restart_count=self.reset.restart_count,
            safe=self.clock.safe and self.nv_available,
        )
        return TPMS_TIME_INFO(time=self.clock.time, clock_info=clock)

    def pcr_entity(self, handle: int) -> Pcr:
        """The entity behind a PCR handle."""
        return Pcr(handle, self.pcr_group if handle in self.pcr.layout.group else None)

    def act_entity(self) -> ActEntity:
        """The entity behind the handle of the Authenticated Countdown Timer."""
        return ActEntity(self.clear.act, self.platform)

    def count_pcr_change(self, index: int) -> None:
        """Part 1, "PCR Update Counter": most changes of PCR invalidate policies that depend on PCR."""
        if self.pcr.layout.attributes[index].increments:
            self.count_pcr_changes(1)

    def count_pcr_changes(self, changes: int) -> None:
        """
        Add to pcrUpdateCounter; CounterOverflowError, which ends in failure mode, if it has no room.

        If it began again at zero, policies would hold that were made before other values of the PCR.
        """
        if not self.has_room_for_pcr_changes(changes):
            raise CounterOverflowError("pcrUpdateCounter")
        self.reset.pcr_counter += changes

    def has_room_for_pcr_changes(self, changes: int) -> bool:
        """Can pcrUpdateCounter, which has 32 bits, count so many changes more?"""
        return self.reset.pcr_counter + changes <= PCR_COUNTER_MOST

    def flush_session(self, session: Session) -> None:
        """End a session."""
        self.volatile.sessions.pop(session.handle & 0xFFFFFF, None)
        if self.volatile.exclusive_session == session.handle:
            self.volatile.exclusive_session = 0
