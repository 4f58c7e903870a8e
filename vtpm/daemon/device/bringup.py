"""How a TPM comes up: from what is stored, from state blobs that were given, or as a new one."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from nvstore import InTheClear, NotNewer
from vtpm.daemon.clock import Clock, Entropy
from vtpm.daemon.device.custody import Admitted, Custody, Outcome, Stretch
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


class Gate:
    """What is asked before a state that came is used; this one lets all in, as swtpm does."""

    needs_seal = False
    """Is a state in the clear refused, and what it says of itself not believed?"""

    vm = UUID(int=0)
    """Whose TPM it is, in refusals."""

    def admit_revert(self, *, is_admitted: bool) -> None:
        """Note that another state takes the place of the stored one; NvstoreError to refuse it."""

    @contextmanager
    def arrival(self, **_facts: Any) -> Iterator[dict[str, Any]]:
        """Note what comes, and how that ends: before it is durable; NvstoreError if it cannot be noted."""
        yield {}


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
    `gate` is asked about a state that was given.
    """

    tpms: Factory
    entropy: Entropy
    clock: Clock
    calendar: Callable[[], int]
    may_manufacture: bool
    gate: Gate

    def load(
        self, content: Mapping[str, bytes], given: GivenState, here: Stretch | None, *, delete_volatile: bool
    ) -> Loaded:
        """
        The TPM of what was given, or else of a store's content, which may hold a run to go on with.

        What is given begins a stretch as the next generation of the store, `here`.
        DeviceError if it cannot be used, NvstoreError if it is refused.
        """
        stored = dict(content)
        suspended = stored.pop(SUSPENDED, None)
        custody = Custody.taken_from(stored)
        if not given:
            custody.check_start()
            return self._loaded(stored, suspended, custody, custody, given, delete_volatile=delete_volatile)
        with self.gate.arrival(**given.opened._asdict()) as facts:
            after = self._admitted(custody, stored, given, here, facts)
            return self._loaded(stored, suspended, custody, after, given, delete_volatile=delete_volatile)

    def _loaded(
        self,
        stored: dict[str, bytes],
        suspended: bytes | None,
        custody: Custody,
        after: Custody,
        given: GivenState,
        *,
        delete_volatile: bool,
    ) -> Loaded:
        """The TPM, once it is known that it may come up so."""
        state = stored if given.permanent is None else given.permanent.state
        volatile = given.volatile_for(stored, custody, suspended)
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

    def _admitted(
        self,
        custody: Custody,
        stored: Mapping[str, bytes],
        given: GivenState,
        here: Stretch | None,
        facts: dict[str, Any],
    ) -> Custody:
        """Who has the TPM after this arrival; NvstoreError if it must not be used."""
        word, used = custody.word.at(self.now()), Admitted.NOTHING
        if self.gate.needs_seal and not given.is_sealed:
            if not word & Admitted.IN_THE_CLEAR:
                raise InTheClear(self.gate.vm)
            used |= Admitted.IN_THE_CLEAR
        if given.permanent is None:
            custody.check_start()
            return custody._replace(word=custody.word.without(used))
        is_believed = given.is_sealed or not self.gate.needs_seal
        came = given.permanent.custody if is_believed else Custody()
        is_stored = is_same(given.permanent.state, stored)
        outcome = custody.outcome_of(came, is_same=is_stored)
        facts |= {"moves": came.moves, "outcome": outcome.name.lower()}
        is_admitted = outcome >= Outcome.REVERTS and bool(word & Admitted.REVERT)
        if is_admitted:
            used |= Admitted.REVERT
        elif outcome is Outcome.REFUSED:
            raise NotNewer(self.gate.vm)
        if outcome >= Outcome.REVERTS and stored:
            self.gate.admit_revert(is_admitted=is_admitted)
        if used:
            facts["admitted"] = "by an operator"
            custody = custody._replace(word=custody.word.without(used))
        if outcome is Outcome.STAYS:
            return custody
        after = custody.after_arrival if outcome is Outcome.ARRIVES else custody.after_revert
        return after(came, here)

    def _powered(
        self, state: Mapping[str, bytes], volatile: Mapping[str, bytes]
    ) -> tuple[Any, dict[str, bytes | None]]:
        """The TPM of a state, a new one if that is empty, and what it has changed since."""
        try:
            run, suspended_at = run_in(volatile)
            tpm = self.tpms.restore({**state, **run}, self.entropy) if state else self._manufactured()
            if state and not run:
                _close_commitments(tpm)
            changes = tpm.changes()
            if run:
                tpm.resume(self._since(suspended_at))
            else:
                tpm.power_on(self.clock())
        except SavedStateError as error:
            raise DeviceError(f"{error}; restore the store from a backup") from None
        return tpm, changes | tpm.changes()

    def now(self) -> int:
        """Seconds since 1970."""
        return self.calendar() // 1000

    def _since(self, suspended_at: int) -> Instant:
        """When the clock of this host would have read the Time of a TPM that was suspended then."""
        elapsed = max(0, self.calendar() - suspended_at) if suspended_at else 0
        return Instant(self.clock().milliseconds - elapsed)

    def _manufactured(self) -> Any:
        return self.tpms.manufacture(entropy=self.entropy)


def _close_commitments(tpm: Any) -> None:
    """
    Let no commitment (TPM2_Commit) be used that a stored state holds open.

    That state may have been started before, if it was reverted, repaired or imported, and a number that signs
    twice gives its key away. A guest that sleeps keeps its commitments: its TPM is not loaded again.
    """
    with suppress(SavedStateError):  # what cannot be read is told of where it is needed
        tpm.close_commitments()
