"""How a TPM comes up: from what is stored, from state blobs that were given, or as a new one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from vtpm.daemon.clock import Clock, Entropy
from vtpm.daemon.device.custody import Custody
from vtpm.daemon.device.stateblobs import SUSPENDED, GivenState, is_same, run_in
from vtpm.daemon.errors import DeviceError
from vtpm.state.clock import Instant
from vtpm.state.saved import SavedStateError


class Factory(Protocol):
    """How TPMs come to be: the class `vtpm.Tpm`."""

    def manufacture(self, *, entropy: Entropy) -> Any:
        """A new TPM, whose `changes` are all of its state."""

    def restore(self, blobs: Mapping[str, bytes], entropy: Entropy) -> Any:
        """A TPM from its state."""


class Loaded(NamedTuple):
    """A TPM that is powered, what of it the store lacks, and what belongs to it there."""

    tpm: Any
    changes: dict[str, bytes | None]
    suspended: bytes | None
    custody: Custody


@dataclass(frozen=True, slots=True)
class Loader:
    """
    Brings one TPM up; it changes nothing by itself.

    A store without state is an error, unless it `may_manufacture`.
    `admit_revert` is asked before a state that was given takes the place of another one.
    """

    tpms: Factory
    entropy: Entropy
    clock: Clock
    calendar: Callable[[], int]
    may_manufacture: bool
    admit_revert: Callable[[], None]

    def load(self, content: Mapping[str, bytes], given: GivenState, *, delete_volatile: bool) -> Loaded:
        """
        The TPM of what was given, or else of a store's content, which may hold a run to go on with.

        DeviceError if that cannot be used, NvstoreError if a revert is refused.
        """
        stored = dict(content)
        suspended = stored.pop(SUSPENDED, None)
        custody = Custody.taken_from(stored)
        state = stored if given.permanent is None else given.permanent.state
        after = self._admitted(custody, stored, given)
        volatile = given.volatile_for(stored | custody.part(), suspended)
        if not state and not self.may_manufacture:
            raise DeviceError("the store holds no TPM; create it, or restore the store from a backup")
        tpm, changes = self._powered(state, volatile)
        if after != custody:
            changes |= after.blob()
        if given.permanent is not None:
            changes = dict.fromkeys(stored) | given.permanent.state | changes
        if suspended is not None and (delete_volatile or given):
            changes[SUSPENDED] = suspended = None
        return Loaded(tpm, changes, suspended, after)

    def _admitted(self, custody: Custody, stored: Mapping[str, bytes], given: GivenState) -> Custody:
        """Who has the TPM after this start; DeviceError or NvstoreError if it must not be started so."""
        if given.permanent is None:
            custody.check_start()
            return custody
        newer = custody.with_given(given.permanent.moves)
        if newer is None and stored and not is_same(given.permanent.state, stored):
            self.admit_revert()
        return newer or custody

    def _powered(
        self, state: Mapping[str, bytes], volatile: Mapping[str, bytes]
    ) -> tuple[Any, dict[str, bytes | None]]:
        """The TPM of a state, a new one if that is empty, and what it has changed since."""
        try:
            run, suspended_at = run_in(volatile)
            tpm = self.tpms.restore({**state, **run}, self.entropy) if state else self._manufactured()
            changes = tpm.changes()
            if run:
                tpm.resume(self._since(suspended_at))
            else:
                tpm.power_on(self.clock())
        except SavedStateError as error:
            raise DeviceError(f"{error}; restore the store from a backup") from None
        return tpm, changes | tpm.changes()

    def _since(self, suspended_at: int) -> Instant:
        """When the clock of this host would have read the Time of a TPM that was suspended then."""
        elapsed = max(0, self.calendar() - suspended_at) if suspended_at else 0
        return Instant(self.clock().milliseconds - elapsed)

    def _manufactured(self) -> Any:
        return self.tpms.manufacture(entropy=self.entropy)
