"""
Files of a directory that belongs to another user, such as a service, as that user would make them.

Root works on such a directory with that user's rights (setfsuid(2), for the calling thread alone):
what is made there is the service's to read, and no link in it leads root where the service may not write.
Files elsewhere, which the caller names, are reached with the caller's rights.
"""

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Final, NamedTuple, Self

from nvstore.files import File, Lock, OsFiles

_ASK: Final = -1
"""No user's number: setfsuid(2) then changes nothing, and returns the present one."""


class Owner(NamedTuple):
    """Whose a directory is."""

    uid: int
    gid: int

    @classmethod
    def of(cls, directory: Path) -> Self | None:
        """Return the owner of a directory that root must work on in that user's name, or None."""
        if os.geteuid() != 0 or not directory.exists():
            return None
        status = directory.stat()
        return cls(status.st_uid, status.st_gid) if status.st_uid != 0 else None

    @contextmanager
    def acting(self) -> Iterator[None]:
        """Reach files with this user's rights meanwhile, in this thread."""
        libc = ctypes.CDLL(None)
        group, user = libc.setfsgid(self.gid), libc.setfsuid(self.uid)
        try:
            if libc.setfsuid(_ASK) != self.uid:
                raise PermissionError(errno.EPERM, f"cannot act as user {self.uid}")
            yield
        finally:
            libc.setfsuid(user)
            libc.setfsgid(group)


def acting_for(directory: Path) -> AbstractContextManager[None]:
    """Reach files as the owner of a directory would, if root works on it in that user's name."""
    owner = Owner.of(directory)
    return nullcontext() if owner is None else owner.acting()


def files_of(directory: Path) -> OsFiles:
    """Return the file system as it is to be used for a host's directory."""
    owner = Owner.of(directory)
    return OsFiles() if owner is None else OwnedFiles(directory, owner)


class _OwnedLock:
    def __init__(self, lock: Lock, owner: Owner) -> None:
        self._lock, self._owner = lock, owner

    def fileno(self) -> int:
        return self._lock.fileno()

    def record(self) -> None:
        self._lock.record()

    def release(self, *, remove: bool = False) -> None:
        with self._owner.acting():
            self._lock.release(remove=remove)


class OwnedFiles(OsFiles):
    """The file system, with the owner's rights for what is in one directory."""

    def __init__(self, directory: Path, owner: Owner) -> None:
        super().__init__(owner.uid)
        self._directory, self._owner = directory, owner

    def _at(self, path: Path) -> AbstractContextManager[None]:
        inside = path.is_relative_to(self._directory)
        return self._owner.acting() if inside else nullcontext()

    def make_directory(self, path: Path) -> None:  # noqa: D102 - described by Files, as all below
        with self._at(path):
            super().make_directory(path)

    def create(self, path: Path) -> File:  # noqa: D102
        with self._at(path):
            return super().create(path)

    def open(self, path: Path) -> File:  # noqa: D102
        with self._at(path):
            return super().open(path)

    def open_to_read(self, path: Path, *, secret: bool = False) -> File:  # noqa: D102
        with self._at(path):
            return super().open_to_read(path, secret=secret)

    def exists(self, path: Path) -> bool:  # noqa: D102
        with self._at(path):
            return super().exists(path)

    def entries(self, directory: Path) -> list[str]:  # noqa: D102
        with self._at(directory):
            return super().entries(directory)

    def rename(self, source: Path, target: Path) -> None:  # noqa: D102
        with self._at(target):
            super().rename(source, target)

    def remove(self, path: Path) -> None:  # noqa: D102
        with self._at(path):
            super().remove(path)

    def flush_directory(self, path: Path) -> None:  # noqa: D102
        with self._at(path):
            super().flush_directory(path)

    def lock(self, path: Path, *, wait: bool = False) -> Lock:  # noqa: D102
        with self._at(path):
            return _OwnedLock(super().lock(path, wait=wait), self._owner)

    def owner(self, path: Path) -> str:  # noqa: D102
        with self._at(path):
            return super().owner(path)
