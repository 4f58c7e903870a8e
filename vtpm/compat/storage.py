"""Where a state is: the directory or the file that --tpmstate names, with swtpm's own state beside it."""

import fcntl
import os
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from nvstore import Host, Store
from vtpm.compat.container import BASE, ContainerError, ContainerFiles
from vtpm.daemon.directory import SWTPM_STATE, SWTPM_VOLATILE, forget, open_host, size_in, state_size
from vtpm.daemon.errors import DeviceError
from vtpm.libtpms import linear
from vtpm.libtpms.errors import ForeignStateError

FILE_SCHEME: Final = "file://"
DIRECTORY_SCHEME: Final = "dir://"
START_OVER: Final = "run `swtpm_setup --overwrite` on it"
LOCK: Final = ".lock"
FLOCK: Final = struct.Struct("hhqqi4x")
"""struct flock of fcntl(2) on 64-bit Linux: type, whence, start, length, process."""


class Foreign(NamedTuple):
    """swtpm's states as they lie in its file or files; None where there is none."""

    source: Path
    permanent: bytes | None
    volatile: bytes | None


class Storage(Protocol):
    """Where the state of one TPM is."""

    path: Path

    def size(self) -> int | None:
        """Octets of this TPM's state, which its key may or may not open; None if there is none."""

    def foreign(self) -> Foreign:
        """What swtpm has there; DeviceError if it cannot be read, or if a running swtpm uses it."""

    def opener(
        self, passphrase: bytes | None = None, initial: Callable[[], Mapping[str, bytes]] = dict
    ) -> Callable[[], Store]:
        """How to open the store, which is made, with the initial state, where there never was one."""

    def forget(self) -> None:
        """Remove this TPM, and nothing else."""


def storage_of(uri: str) -> Storage:
    """The storage of a `file://` or `dir://` URI; a path is a directory."""
    if uri.startswith(FILE_SCHEME):
        return StateFile(Path(uri.removeprefix(FILE_SCHEME)).absolute())
    return StateDirectory(Path(uri.removeprefix(DIRECTORY_SCHEME)))


def is_foreign(storage: Storage) -> bool:
    """Is there a state of swtpm, and none of this TPM's?"""
    return storage.size() is None and storage.foreign().permanent is not None


class StateDirectory:
    """A directory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def size(self) -> int | None:
        """See Storage."""
        return state_size(self.path)

    def foreign(self) -> Foreign:
        """See Storage."""
        found = [_read(self.path / name) for name in (SWTPM_STATE, SWTPM_VOLATILE)]
        if any(found):
            check_unused(self.path / LOCK)
        return Foreign(self.path / SWTPM_STATE, *found)

    def opener(
        self, passphrase: bytes | None = None, initial: Callable[[], Mapping[str, bytes]] = dict
    ) -> Callable[[], Store]:
        """See Storage."""
        return lambda: open_host(
            lambda: Host(self.path), passphrase, None if self.size() is not None else initial
        )

    def forget(self) -> None:
        """See Storage."""
        forget(self.path)


class StateFile:
    """A file, or block device, which holds swtpm's states in front of this TPM's."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def size(self) -> int | None:
        """See Storage."""
        if not self.path.exists():
            return None
        files = ContainerFiles(self.path)
        if files.is_used:
            return size_in(self._host(files), START_OVER)
        if files.was_used:
            raise ContainerError(
                f"{self.path} has held a TPM, whose files cannot be read, and no new one is made in its "
                f"place; put it back from a copy, or, to start over on purpose, {START_OVER}"
            )
        return None

    def foreign(self) -> Foreign:
        """See Storage."""
        octets = _read(self.path, BASE) or b""
        if not linear.is_linear(octets):
            if octets.startswith(linear.GUARD) or not octets.strip(b"\0"):
                return Foreign(self.path, None, None)
            raise ContainerError(
                f"{self.path} holds something that is no TPM's state; name another, or wipe it"
            )
        check_unused(self.path)
        try:
            if linear.end_of(octets) > BASE:
                raise ContainerError(
                    f"{self.path}: swtpm's states take more than {BASE} octets; use a directory"
                )
            found = [linear.state_in(octets, number) for number in (linear.PERMANENT, linear.VOLATILE)]
        except ForeignStateError as error:
            raise DeviceError(f"{self.path}: {error}") from None
        return Foreign(self.path, *found)

    def opener(
        self, passphrase: bytes | None = None, initial: Callable[[], Mapping[str, bytes]] = dict
    ) -> Callable[[], Store]:
        """See Storage."""

        def open_store() -> Store:
            is_new = self.size() is None
            if is_new:
                self.foreign()  # before anything is written: it may be something else
            files = ContainerFiles(self.path, create=True)
            lock = files.hold()
            try:
                return open_host(lambda: self._host(files), passphrase, initial if is_new else None)
            finally:
                lock.release()

        return open_store

    def forget(self) -> None:
        """See Storage."""
        if self.path.exists():
            ContainerFiles(self.path).forget()

    def _host(self, files: ContainerFiles) -> Host:
        return Host(self.path, files=files)


def foreign_at(source: Path) -> Foreign:
    """What swtpm has in its directory, in its linear file, or in a permanent state's file and beside it."""
    if source.is_dir():
        return StateDirectory(source).foreign()
    octets = _read(source)
    if octets is not None and linear.is_linear(octets):
        return StateFile(source).foreign()
    check_unused(source.with_name(LOCK))
    return Foreign(source, octets, _read(source.with_name(SWTPM_VOLATILE)))


def check_unused(path: Path) -> None:
    """DeviceError if a running swtpm has locked a file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError as error:
        raise DeviceError(f"{path}: {error.strerror}") from None
    try:
        asked = FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        answer = FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    finally:
        os.close(descriptor)
    if answer[0] != fcntl.F_UNLCK and answer[-1] > 0:
        raise DeviceError(f"{path} is locked by process {answer[-1]}: swtpm runs; shut the guest down first")


def _read(path: Path, most: int = -1) -> bytes | None:
    """A file's octets, or so many of them; None if it is not there."""
    try:
        with path.open("rb") as file:
            return file.read(most)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DeviceError(f"{path}: {error.strerror}") from None
