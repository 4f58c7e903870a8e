"""What the daemon asks of a store, and the store of a TPM that lives as long as its process."""

from collections.abc import Mapping
from typing import Protocol


class StoreError(Exception):
    """The stored state cannot be used; the text gives cause and remedy."""


class Store(Protocol):
    """The named blobs of one TPM; a commit is all or nothing, durable once it returns, or a StoreError."""

    def load(self) -> dict[str, bytes]:
        """All blobs, as of the last commit."""

    def commit(self, changes: Mapping[str, bytes | None]) -> None:
        """Write blobs, and erase those that are `None`."""

    def close(self) -> None:
        """Let go of the store, so that another process can open it."""


class EphemeralStore:
    """A store in memory: its TPM is gone with the process."""

    def __init__(self, blobs: Mapping[str, bytes] | None = None) -> None:
        self._blobs = dict(blobs or {})

    def load(self) -> dict[str, bytes]:
        """All blobs."""
        return dict(self._blobs)

    def commit(self, changes: Mapping[str, bytes | None]) -> None:
        """Keep blobs, and forget those that are `None`."""
        for name, octets in changes.items():
            if octets is None:
                self._blobs.pop(name, None)
            else:
                self._blobs[name] = octets

    def close(self) -> None:
        """Nothing is held."""
