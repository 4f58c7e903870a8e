"""
Whether changes become durable, and what becomes of those that do not (Part 1, "Access Interruptions").

The store is tried again with every command that changes something, and now and then for its own sake.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from nvstore import NvstoreError, Store
from vtpm.daemon.clock import Clock
from vtpm.state.clock import Instant
from vtpm.state.primary import PRIMARY_PREFIX
from vtpm.state.saved import ORDERLY, PERMANENT

log = logging.getLogger(__name__)

DERIVED: Final = (PRIMARY_PREFIX, ORDERLY)
"""Names of blobs that lose nothing if they are older than the TPM: remembered primary keys, and Clock."""

RETRY_INTERVAL: Final = 1000
"""Milliseconds after which a store that could not write is tried again for its own sake."""


def is_derived(names: Iterable[str]) -> bool:
    """Can a command that changed only these blobs be acknowledged before they are durable?"""
    return all(name.startswith(DERIVED) for name in names)


def are_marks(names: Iterable[str]) -> bool:
    """Are these what any command may change, as the count of failed authorizations is?"""
    return all(name.startswith((PERMANENT, *DERIVED)) for name in names)


class Durability:
    """
    The way of one TPM's changes into its store.

    `alarm` says why the store does not take them; it is empty when it does.
    """

    def __init__(self, name: str, opened: Callable[[], Store], clock: Clock) -> None:
        self.alarm = ""
        self._name = name
        self._opened = opened
        self._clock = clock
        self._tpm: Any = None
        self._deferred: dict[str, bytes | None] = {}
        self._retry_at = 0

    def begin(self, tpm: Any) -> None:
        """The store holds this TPM from now on."""
        self.end()
        self._tpm = tpm

    def end(self) -> None:
        """Forget the TPM."""
        self._tpm = None
        self._deferred.clear()
        self.alarm = ""

    def commit(self, changes: Mapping[str, bytes | None]) -> bool:
        """Make changes durable, with those that wait; an alarm is on from a failure to the next success."""
        if not changes:
            return True
        try:
            self._opened().commit({**self._deferred, **changes} if self._deferred else changes)
        except (NvstoreError, OSError) as error:
            self._raise_alarm(str(error))
            return False
        self._deferred.clear()
        if self.alarm:
            log.warning("%s: its state can be written again", self._name)
            self.alarm = ""
            self._tpm.nv_available = True
        return True

    def defer(self, changes: Mapping[str, bytes | None]) -> None:
        """Let changes wait for the next commit."""
        self._deferred |= changes

    def is_waiting(self, name: str) -> bool:
        """Does a change of this blob wait?"""
        return name in self._deferred

    def settle(self, changes: Mapping[str, bytes | None]) -> bool:
        """Make changes durable with all that waits; False if the store does not take them."""
        self.defer(changes)
        if self.alarm:
            self._tpm.touch_orderly()
            self.defer(self._tpm.changes())
        self.commit_deferred()
        return not self.alarm

    def commit_deferred(self) -> None:
        """Try once more to write what waits."""
        self.commit(dict(self._deferred))

    def retry(self, now: Instant) -> None:
        """Try to write Clock, which was not saved meanwhile, if the store was not tried just before."""
        if now.milliseconds < self._retry_at:
            return
        self._retry_at = now.milliseconds + RETRY_INTERVAL
        self._tpm.touch_orderly()
        changes = self._tpm.changes()
        if not self.commit(changes):
            self.defer(changes)

    def _raise_alarm(self, reason: str) -> None:
        if not self.alarm:
            log.error("%s: NV is unavailable: %s", self._name, reason)
            self._retry_at = self._clock().milliseconds + RETRY_INTERVAL
        self.alarm = reason
        self._tpm.nv_available = False
