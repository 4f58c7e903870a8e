"""
The stored state of one TPM: opened when it is needed, and let go for another host or at the end of a run.

While another host has it, opening is an error: what the TPM changes then is refused as if the disk were full.
"""

import errno
import hmac
import logging
from collections.abc import Callable

from nvstore import FileStore, NvstoreError, Store
from vtpm.daemon.carried import Carried
from vtpm.daemon.device.custody import Stretch
from vtpm.daemon.device.stateblobs import digest_of_state
from vtpm.daemon.errors import DeviceError

log = logging.getLogger(__name__)


class Storage:
    """
    The store of one TPM.

    `open_store` opens the stored state, or raises DeviceError.
    With `is_shared`, another host may have it meanwhile.
    """

    def __init__(self, name: str, open_store: Callable[[], Store], *, is_shared: bool) -> None:
        self._name = name
        self._open_store = open_store
        self._is_shared = is_shared
        self._store: Store | None = None
        self._released: bytes | None = None
        """The digest of the stored state that was released to another host."""

    @property
    def store(self) -> Store | None:
        """The store, if it is open."""
        return self._store

    @property
    def is_released(self) -> bool:
        """May another host have the state?"""
        return self._released is not None

    def opened(self) -> Store:
        """The store, opened if it is not; DeviceError or PermissionError if it cannot be."""
        if self.is_released:
            raise PermissionError(errno.EACCES, "the stored state was released to another host")
        if self._store is None:
            try:
                self._store = self._open_store()
            except OSError as error:
                raise DeviceError(
                    f"the store cannot be opened: {error}; mend that and power on again"
                ) from None
        return self._store

    @property
    def vm(self) -> str:
        """The UUID of the VM whose state is open; empty if none is."""
        return str(self._store.vm) if isinstance(self._store, FileStore) else ""

    @property
    def next_stretch(self) -> Stretch | None:
        """The stretch that begins with the next commit; None if the open store counts no generations."""
        store = self._store
        return Stretch(store.incarnation, store.generation + 1) if isinstance(store, FileStore) else None

    def lend(self) -> Carried:
        """What another process needs of the open store: its lock, a digest; nothing if it is closed."""
        if self._store is None:
            return Carried({}, {})
        if not isinstance(self._store, FileStore):
            raise DeviceError("the TPM has no state on this host's disks, and cannot be handed over")
        facts = {"vm": self.vm, "digest": digest_of_state(self._store.load())}
        return Carried(facts, {"lock": self._store.lock_descriptor})

    def borrow(self, store: Store, digest: bytes) -> dict[str, bytes]:
        """The content of a store that another process has open; DeviceError if it is not what that has."""
        stored = store.load()
        if not hmac.compare_digest(digest_of_state(stored), digest):
            raise DeviceError(
                "the stored state is not what the daemon that runs has written; see `vtpm doctor`"
            )
        self._store = store
        return stored

    def take_over(self) -> None:
        """The other process will write no more: the store is this one's."""
        if isinstance(self._store, FileStore):
            try:
                self._store.take_over()
            except OSError as error:
                log.warning("%s: its lock does not say who holds it: %s", self._name, error.strerror)

    def lock(self) -> None:
        """Open the store, which locks it; DeviceError if it cannot be, or is not what was released."""
        released, self._released = self._released, None
        try:
            store = self.opened()
        except (DeviceError, NvstoreError):
            self._released = released
            raise
        if released is None or hmac.compare_digest(released, digest_of_state(store.load())):
            return
        self._released = released
        self._store = None
        store.close()
        raise DeviceError("another host has changed the stored state since it was released; go on there")

    def release(self, last_words: Callable[[], None]) -> None:
        """Let another host have the store, if it is shared, after `last_words`; `lock` takes it back."""
        if not self._is_shared or self._store is None:
            return
        last_words()
        self._released = digest_of_state(self._store.load())
        self._let_go()

    def close(self) -> None:
        """End the run: let go of the store."""
        self._released = None
        if self._store is not None:
            self._let_go()

    def rekey(self, *, deep: bool, provider: str | None) -> bool:
        """Write the stored state again under the current key of a provider; False if it is not open."""
        if not isinstance(self._store, FileStore):
            return False
        self._store.rekey(deep=deep, provider=provider)
        return True

    def _let_go(self) -> None:
        """Close the store; the state itself is durable, whatever becomes of the mark that is written last."""
        store, self._store = self._store, None
        assert store is not None
        try:
            store.close()
        except NvstoreError as error:
            log.error("%s: %s", self._name, error)  # noqa: TRY400 - the operator's to mend
