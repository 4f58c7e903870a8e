"""A store keeps the named blobs of one VM; and the twin of the real one that keeps them in memory."""

from collections.abc import Mapping
from typing import Protocol, Self, runtime_checkable

from nvstore.errors import StoreClosed
from nvstore.state.blobs import Blobs


@runtime_checkable
class Store(Protocol):
    """
    Named blobs of one VM; a commit is all or nothing, and survives power loss once it returns.

    A backend may be a file on this host or a service that several hosts share.
    In every case one store is open for a VM at a time, and a commit by anybody else cannot succeed.
    A store is used by one thread at a time.
    """

    def load(self) -> dict[str, bytes]:
        """Return the blobs of the last commit."""
        ...

    def commit(self, changes: Mapping[str, bytes | None]) -> None:
        """
        Set the blobs that have a value and remove those that have None.

        Changes that make no difference write nothing, unless the commit before has failed.
        When it raises, nothing was acknowledged and `load` returns what it did before.
        """
        ...

    def erase(self) -> None:
        """Destroy the state and whatever remembers it, and close."""
        ...

    def close(self) -> None:
        """Let the state go, so that somebody else may open it; a second call does nothing."""
        ...


class MemoryStore:
    """A store that forgets everything with the process, for tests and for what shall leave nothing behind."""

    def __init__(self, blobs: Mapping[str, bytes] | None = None) -> None:
        self._blobs: Blobs | None = Blobs(blobs or {})

    def __repr__(self) -> str:
        return f"MemoryStore({self._blobs!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def load(self) -> dict[str, bytes]:
        """Return the blobs of the last commit."""
        return self._opened().as_dict()

    def commit(self, changes: Mapping[str, bytes | None]) -> None:
        """Set the blobs that have a value and remove those that have None."""
        blobs = self._opened()
        self._blobs = blobs.changed(changes) or blobs

    def erase(self) -> None:
        """Forget everything now."""
        self._opened()
        self._blobs = None

    def close(self) -> None:
        """Forget everything."""
        self._blobs = None

    def _opened(self) -> Blobs:
        if self._blobs is None:
            raise StoreClosed("memory")
        return self._blobs
