"""The state of one TPM with what is durable of it: which parts a command has changed, and their blobs."""

from collections.abc import Callable, Mapping
from typing import Self

from vtpm.spec.constants import TPM_NT, TPM_RH
from vtpm.state import saved, saved_profile, suspended
from vtpm.state.clock import Instant
from vtpm.state.firmware import ROOT_SIZE
from vtpm.state.hierarchy import PROOF_SIZE, SEED_SIZE, Hierarchy
from vtpm.state.live import Entropy, LiveState
from vtpm.state.nv import NvIndex
from vtpm.state.object import Object
from vtpm.state.primary import (
    MOST,
    PRIMARY_PREFIX,
    Primary,
    load_primary,
    place_of,
    primary_blob,
    save_primary,
)
from vtpm.state.profile import ALL_PCR, DEFAULT, Profile

BASE_HIERARCHIES = (TPM_RH.OWNER, TPM_RH.ENDORSEMENT, TPM_RH.PLATFORM, TPM_RH.NULL)


def handle_in(blob: str) -> int:
    """The handle in the name of an NV Index's blob."""
    return int(blob.removeprefix(saved.NV_PREFIX), 16)


class TpmState(LiveState):
    """
    Everything a TPM remembers, as command handlers see it.

    A handler that changes something permanent says so with a `touch_` or `erase_` method.
    `changes` then has the blobs that must be durable before the response leaves.
    """

    def __init__(self, profile: Profile, entropy: Entropy) -> None:
        super().__init__(profile, entropy)
        self.saved: dict[str, bytes] = {}
        """The durable blobs whose live state runs ahead of them: what a loss of power goes back to."""
        self.primaries: dict[bytes, Primary] = {}
        """RSA keys of primary objects derived before, by a digest of all that they are derived from."""
        self.suspended: bytes | None = None
        """The volatile blob that `restore` was given, for the TPM to go on from."""
        self.ahead: set[int] = set()
        """The handles of orderly NV Indices that may differ from their durable blobs."""
        self._changed: dict[str, Callable[[], bytes] | None] = {}

    @classmethod
    def manufacture(cls, entropy: Entropy, profile: Profile = DEFAULT) -> Self:
        """Make a new TPM: fresh seeds and proofs, nothing else; `changes` has all its blobs."""
        tpm = cls(profile, entropy)
        for handle in BASE_HIERARCHIES:
            tpm.hierarchies[handle] = Hierarchy(handle, tpm.random(SEED_SIZE), tpm.random(PROOF_SIZE))
        tpm.permanent.firmware_root = tpm.random(ROOT_SIZE)
        tpm.permanent.pcr_allocation = {
            alg: ALL_PCR if alg in profile.active_banks else 0 for alg in profile.pcr_banks
        }
        tpm.touch_profile()
        tpm.touch_permanent()
        tpm.touch_orderly()
        return tpm

    def begin(self, locality: int, now: Instant) -> None:
        """
        A command arrives: advance the clock, and forgive failed authorizations for the time passed.

        It abandons a measurement by hardware that is not complete (Part 1, "H-CRTM").
        """
        self.locality = locality
        self.volatile.launch = None
        if self.clock.update(now):
            self.touch_orderly()
        if self.lockout.heal(self.clock.time):
            self.touch_permanent()
        self.clear.act.update(self.clock.time)

    def fail(self, reason: str) -> None:
        """Enter failure mode; nothing that the failed command changed becomes durable."""
        self.volatile.failed = True
        self.volatile.failure = reason
        self.forget_changes()

    @property
    def has_changes(self) -> bool:
        """Has anything permanent changed since the last `changes`? A remembered key is nothing new."""
        return any(not name.startswith(PRIMARY_PREFIX) for name in self._changed)

    def forget_changes(self) -> None:
        """Nothing that has changed since the last `changes` is to become durable."""
        self._changed.clear()

    def touch_permanent(self) -> None:
        """Permanent data, a hierarchy's permanent part or lockout has changed."""
        self._changed[saved.PERMANENT] = lambda: saved.save_permanent(self)

    def touch_profile(self) -> None:
        """The profile is chosen."""
        self._changed[saved_profile.PROFILE] = lambda: saved_profile.save_profile(self.profile)

    def touch_orderly(self) -> None:
        """Clock must be saved."""
        self._changed[saved.ORDERLY] = lambda: saved.save_orderly(self.clock)

    def touch_suspended(self) -> None:
        """Shutdown(STATE): reset data and clear data must be saved."""
        self._changed[saved.RESET] = lambda: suspended.save_reset(self)
        self._changed[saved.CLEAR] = lambda: suspended.save_clear(self)

    def touch_nv(self, index: NvIndex) -> None:
        """An NV Index is new or has changed."""
        self._changed[saved.nv_blob(index.handle)] = lambda: saved.save_nv(index)

    def note_ahead(self, index: NvIndex) -> None:
        """An orderly NV Index has changed in RAM alone; the next Shutdown saves it."""
        self.ahead.add(index.handle)

    def indices_ahead(self) -> list[NvIndex]:
        """The orderly NV Indices that differ from their durable blobs."""
        found = []
        for handle in sorted(self.ahead):
            index = self.nv[handle]
            if saved.save_nv(index) == self.saved.get(saved.nv_blob(handle)):
                self.ahead.remove(handle)
            else:
                found.append(index)
        return found

    def erase_nv(self, index: NvIndex) -> None:
        """An NV Index is deleted; a counter of any handle will go on above its value (Part 3, 31.8)."""
        if index.kind is TPM_NT.COUNTER and index.number > self.permanent.max_counter:
            self.permanent.max_counter = index.number
            self.touch_permanent()
        del self.nv[index.handle]
        self.ahead.discard(index.handle)
        self._changed[saved.nv_blob(index.handle)] = None

    def close_commitments(self) -> None:
        """Let no commitment (TPM2_Commit) be used that is open now, nor after a start from the saved run."""
        self.reset.close_commitments()
        if saved.RESET in self.saved:
            closed = suspended.closed_reset(self.saved[saved.RESET])
            if closed != self.saved[saved.RESET]:
                self.saved[saved.RESET] = closed
                self._changed[saved.RESET] = lambda: closed

    def touch_object(self, item: Object) -> None:
        """A persistent object is new."""
        self._changed[saved.object_blob(item.handle)] = lambda: saved.save_object(item)

    def erase_object(self, item: Object) -> None:
        """A persistent object is deleted."""
        del self.persistent[item.handle]
        self._changed[saved.object_blob(item.handle)] = None

    def remember_primary(self, place: bytes, primary: Primary) -> None:
        """Keep a primary key, for good if the seed that it comes from lasts."""
        if len(self.primaries) >= MOST:
            self._erase_primary(next(iter(self.primaries)))
        self.primaries[place] = primary
        if primary.hierarchy != TPM_RH.NULL:
            self._changed[primary_blob(place)] = lambda: save_primary(primary)

    def forget_primaries(self, hierarchy: int) -> None:
        """A seed changes: the keys that come from it must go with it."""
        for place, primary in list(self.primaries.items()):
            if primary.hierarchy == hierarchy:
                self._erase_primary(place)

    def _erase_primary(self, place: bytes) -> None:
        if self.primaries.pop(place).hierarchy != TPM_RH.NULL:
            self._changed[primary_blob(place)] = None

    def changes(self) -> dict[str, bytes | None]:
        """The blobs changed since the last call, by name; `None` is a deleted one."""
        if not self._changed:
            return {}
        blobs = {name: save() if save else None for name, save in self._changed.items()}
        self._changed.clear()
        for name, blob in blobs.items():
            if blob is None:
                self.saved.pop(name, None)
            elif self._runs_ahead(name):
                self.saved[name] = blob
                if name.startswith(saved.NV_PREFIX):
                    self.ahead.discard(handle_in(name))
        return blobs

    def _runs_ahead(self, name: str) -> bool:
        """May the live state differ from its durable blob, which the next power-on goes back to?"""
        if name.startswith(saved.NV_PREFIX):
            return self.nv[handle_in(name)].attributes.ORDERLY
        return name in (saved.ORDERLY, saved.RESET, saved.CLEAR)

    @classmethod
    def restore(cls, blobs: Mapping[str, bytes], entropy: Entropy) -> Self:
        """A TPM from its durable blobs; SavedStateError if they cannot be read."""
        if saved.PERMANENT not in blobs:
            raise saved.SavedStateError(saved.PERMANENT, "it is missing")
        name = saved.profile_name_of(blobs[saved.PERMANENT])
        tpm = cls(saved_profile.profile_of(name, blobs.get(saved_profile.PROFILE)), entropy)
        saved.load_permanent(tpm, blobs[saved.PERMANENT])
        tpm.hierarchies[TPM_RH.NULL] = Hierarchy(TPM_RH.NULL, tpm.random(SEED_SIZE), tpm.random(PROOF_SIZE))
        for name, blob in blobs.items():
            if name.startswith(saved.NV_PREFIX):
                index = saved.load_nv(name, blob)
                tpm.nv[index.handle] = index
            elif name.startswith(saved.OBJECT_PREFIX):
                item = saved.load_object(name, blob)
                tpm.persistent[item.handle] = item
            elif name.startswith(PRIMARY_PREFIX):
                tpm.primaries[place_of(name)] = load_primary(name, blob)
        tpm.suspended = blobs.get(suspended.VOLATILE)
        tpm.saved = {name: blob for name, blob in blobs.items() if tpm._runs_ahead(name)}
        return tpm

    def snapshot(self) -> dict[str, bytes]:
        """All durable blobs: what `changes` has reported in all, put together."""
        blobs = {
            saved.PERMANENT: saved.save_permanent(self),
            saved_profile.PROFILE: saved_profile.save_profile(self.profile),
        }
        blobs |= {saved.nv_blob(index.handle): saved.save_nv(index) for index in self.nv.values()}
        blobs |= {
            saved.object_blob(item.handle): saved.save_object(item) for item in self.persistent.values()
        }
        blobs |= {
            primary_blob(place): save_primary(primary)
            for place, primary in self.primaries.items()
            if primary.hierarchy != TPM_RH.NULL
        }
        return blobs | self.saved
