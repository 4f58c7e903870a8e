"""A drill: a backup is restored in memory, and must decrypt the state of this host's VMs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from nvstore.errors import NvstoreError
from nvstore.keys import KeySource
from nvstore.provider.backup import Backup
from nvstore.provider_errors import DrillFailed, KeyMissing, KeyUncertified


class BackupKeys:
    """The keys of a backup, and no others, in the place of the host's; a KeySource."""

    def __init__(self, backup: Backup) -> None:
        self._current = backup.current
        self._kdks = dict(zip(backup.kdk_ids, backup.kdks, strict=True))

    def __repr__(self) -> str:
        return f"BackupKeys({len(self._kdks)} keys)"

    def key(self, provider: str, kdk_id: bytes) -> bytes:
        """Return the KDK with this id, or raise KeyMissing."""
        if kdk_id not in self._kdks:
            raise KeyMissing(kdk_id, provider, None, [])
        return self._kdks[kdk_id]

    def current(self, provider: str) -> bytes:
        """Return the id of the current key."""
        del provider
        return self._current

    def check_succession(self, provider: str, before: bytes, after: bytes) -> None:
        """Raise KeyUncertified unless they are the same key: a drill writes nothing."""
        if before != after:
            raise KeyUncertified(provider, before, after)

    def check_authenticated(self, provider: str, kdk_id: bytes) -> None:
        """Do nothing: a backup that opens is authenticated as a whole."""


@dataclass(frozen=True)
class DrillReport:
    """What a backup would bring back."""

    path: str
    provider: str
    kdk_id: str
    opened: tuple[str, ...]
    """VMs whose newest state was decrypted with the keys of the backup, and secrets of the host."""
    elsewhere: tuple[str, ...]
    """VMs whose state needs a key that is not in it."""
    failed: tuple[str, ...]
    """VMs whose state does not open for another reason, each with the error's code."""

    @classmethod
    def of(cls, path: Path, backup: Backup, trials: Mapping[str, Callable[[KeySource], object]]) -> Self:
        """Try the keys of a backup on what these functions open, by name; nothing is changed."""
        keys = BackupKeys(backup)
        opened, elsewhere, failed = [], [], []
        for name, attempt in trials.items():
            try:
                attempt(keys)
            except KeyMissing:
                elsewhere.append(name)
            except NvstoreError as error:
                failed.append(f"{name} ({error.code})")
            else:
                opened.append(name)
        current = backup.current.hex()
        return cls(str(path), backup.provider, current, tuple(opened), tuple(elsewhere), tuple(failed))

    def check(self) -> None:
        """Raise DrillFailed if a state that is not under another key did not open."""
        if self.failed:
            raise DrillFailed(self.path, self.failed)

    def to_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in vars(self).items()}
