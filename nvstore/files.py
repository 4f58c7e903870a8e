"""
Every file operation of nvstore: one small interface, and the operating system behind it.

`nvstore.testing` has the twin that loses power on demand, so an operation that is not here cannot be tested.
"""

# ruff: noqa: N818  an error is called by what is wrong

import fcntl
import json
import os
import pwd
import socket
import stat
import struct
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from nvstore.errors import UnsafeFile

PRIVATE_FILE: Final = 0o600
PRIVATE_DIRECTORY: Final = 0o700
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_WRITABLE_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH
_NO_LINK: Final = os.O_NOFOLLOW | os.O_CLOEXEC
MOUNTS: Final = Path("/proc/self/mountinfo")
_WHOLE_FILE: Final = struct.pack("hhqqi0q", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)


class LockHeld(Exception):
    """Another open file description holds the lock; the text is the owner's record."""


class ReadFile(Protocol):
    """A file that is open to read."""

    def size(self) -> int:
        """Return its length in octets."""
        ...

    def read(self, offset: int, size: int) -> bytes:
        """Return up to this many octets, fewer only at the end of the file."""
        ...

    def close(self) -> None:
        """Close it; what was not flushed may still be lost."""
        ...


class File(ReadFile, Protocol):
    """An open file."""

    def write(self, offset: int, pieces: Sequence[bytes]) -> None:
        """Write the pieces one after the other from this offset."""
        ...

    def truncate(self, size: int) -> None:
        """Cut it to this length."""
        ...

    def begin_flush(self, offset: int, size: int) -> None:
        """Let the device begin with these octets, so that the caller can do something else before `flush`."""
        ...

    def flush(self) -> None:
        """Make all that was written durable, the length included (fdatasync)."""
        ...


class Lock(Protocol):
    """A lock that is held."""

    def fileno(self) -> int:
        """Return the descriptor that holds it: a process to which it is passed holds the lock, too."""
        ...

    def record(self) -> None:
        """Leave this process's record of the owner, after a lock that came from another one."""
        ...

    def release(self, *, remove: bool = False) -> None:
        """Let it go; `remove` its file too, when what it guarded is gone."""
        ...


class Reader(Protocol):
    """What gives files to read."""

    def open_to_read(self, path: Path, *, secret: bool = False) -> ReadFile:
        """Open a regular file, no link; a secret one must be readable by its owner alone."""
        ...


class Files(Reader, Protocol):
    """What nvstore asks of a file system."""

    def make_directory(self, path: Path) -> None:
        """Make a directory for the owner alone, with its parents; it may exist, and then must be safe."""
        ...

    def create(self, path: Path) -> File:
        """Make a file for the owner alone; FileExistsError if there is one."""
        ...

    def open(self, path: Path) -> File:
        """Open a regular file, no link, for reading and writing."""
        ...

    def exists(self, path: Path) -> bool:
        """Tell whether there is anything of this name."""
        ...

    def entries(self, directory: Path) -> list[str]:
        """Return the names in a directory, sorted."""
        ...

    def rename(self, source: Path, target: Path) -> None:
        """Give the source the target's name, replacing what had it."""
        ...

    def remove(self, path: Path) -> None:
        """Remove a file; it may be missing."""
        ...

    def flush_directory(self, path: Path) -> None:
        """Make creations, renames and removals in this directory durable."""
        ...

    def lock(self, path: Path, *, wait: bool = False) -> Lock:
        """Lock this file and leave a record of the owner in it; raise LockHeld, or wait."""
        ...

    def share_lock(self, path: Path, descriptor: int) -> Lock:
        """
        Hold the lock of this file by the descriptor of a process that holds it, and passed that.

        Until `record` it is the other process's to let go: `release` then changes nothing.
        LockHeld if the descriptor holds no lock of this file.
        """
        ...

    def owner(self, path: Path) -> str:
        """Return the record of whoever holds the lock of this file, or nothing."""
        ...


class OsFile:
    """A file of the operating system, by its descriptor, which it closes."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def size(self) -> int:  # noqa: D102 described by File
        return os.fstat(self._descriptor).st_size

    def read(self, offset: int, size: int) -> bytes:  # noqa: D102 described by File
        pieces = []
        while size and (piece := os.pread(self._descriptor, size, offset)):
            pieces.append(piece)
            offset += len(piece)
            size -= len(piece)
        return b"".join(pieces)

    def write(self, offset: int, pieces: Sequence[bytes]) -> None:  # noqa: D102 described by File
        left = sum(map(len, pieces))
        written = os.pwritev(self._descriptor, pieces, offset)
        if written < left:
            rest = memoryview(b"".join(pieces))[written:]
            while rest:
                offset += written
                written = os.pwrite(self._descriptor, rest, offset)
                rest = rest[written:]

    def truncate(self, size: int) -> None:  # noqa: D102 described by File
        os.ftruncate(self._descriptor, size)

    def begin_flush(self, offset: int, size: int) -> None:  # noqa: D102 described by File
        # starts the write-back, and drops only pages that are clean already
        os.posix_fadvise(self._descriptor, offset, size, os.POSIX_FADV_DONTNEED)

    def flush(self) -> None:  # noqa: D102 described by File
        os.fdatasync(self._descriptor)

    def detach(self) -> int:
        """Return the descriptor, which is the caller's to close from now on."""
        return self._descriptor

    def close(self) -> None:  # noqa: D102 described by File
        os.close(self._descriptor)


class _OsLock:
    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor, self._path = descriptor, path
        self._is_recorded = False

    def fileno(self) -> int:
        return self._descriptor

    def record(self) -> None:
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, _owner_record(), 0)
        self._is_recorded = True

    def release(self, *, remove: bool = False) -> None:
        if remove:
            self._path.unlink(missing_ok=True)
        if self._is_recorded:
            os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)


class OsFiles:
    """The file system of the operating system, for a user: the one who runs this if none is given."""

    def __init__(self, uid: int | None = None) -> None:
        self._uid = os.geteuid() if uid is None else uid

    def make_directory(self, path: Path) -> None:  # noqa: D102 described by Files
        if not path.is_dir():
            if not path.parent.is_dir():
                self.make_directory(path.parent)
            with suppress(FileExistsError):
                path.mkdir()
                path.chmod(PRIVATE_DIRECTORY)
                self.flush_directory(path.parent)
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode):
            raise UnsafeFile(path, "is a link or no directory", "name the directory itself")
        if status.st_uid != self._uid:
            raise UnsafeFile(
                path, f"belongs to {user_name(status.st_uid)}", "run this as that user, or as root"
            )
        if status.st_mode & _WRITABLE_BY_OTHERS:
            raise UnsafeFile(path, "can be written by others", f"make it yours alone: chmod 700 {path}")

    def create(self, path: Path) -> File:  # noqa: D102
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _NO_LINK, PRIVATE_FILE)
        os.fchmod(descriptor, PRIVATE_FILE)
        return OsFile(descriptor)

    def open(self, path: Path) -> File:  # noqa: D102
        return OsFile(self._open(path, os.O_RDWR))

    def open_to_read(self, path: Path, *, secret: bool = False) -> File:  # noqa: D102
        descriptor = self._open(path, os.O_RDONLY)
        status = os.fstat(descriptor)
        if secret and (status.st_mode & _OTHERS or status.st_uid not in {0, self._uid, os.geteuid()}):
            os.close(descriptor)
            raise UnsafeFile(
                path, "can be read by others than its owner", f"make it yours alone: chmod 600 {path}"
            )
        return OsFile(descriptor)

    @staticmethod
    def _open(path: Path, access: int) -> int:
        try:
            descriptor = os.open(path, access | os.O_NONBLOCK | _NO_LINK)
        except OSError as error:
            if path.is_symlink():
                raise UnsafeFile(path, "is a symbolic link", "name the file itself") from error
            raise
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise UnsafeFile(path, "is no regular file", "name a regular file")
        return descriptor

    def exists(self, path: Path) -> bool:  # noqa: D102
        return os.path.lexists(path)

    def entries(self, directory: Path) -> list[str]:  # noqa: D102
        return sorted(os.listdir(directory))  # noqa: PTH208 names are wanted, not paths

    def rename(self, source: Path, target: Path) -> None:  # noqa: D102
        source.rename(target)

    def remove(self, path: Path) -> None:  # noqa: D102
        path.unlink(missing_ok=True)

    def flush_directory(self, path: Path) -> None:  # noqa: D102
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def lock(self, path: Path, *, wait: bool = False) -> Lock:  # noqa: D102
        operation = fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _NO_LINK, PRIVATE_FILE)
            try:
                fcntl.fcntl(descriptor, operation, _WHOLE_FILE)
                same = path.exists() and path.stat().st_ino == os.fstat(descriptor).st_ino
            except (BlockingIOError, PermissionError):
                owner = os.pread(descriptor, 4096, 0).decode(errors="replace")
                os.close(descriptor)
                raise LockHeld(owner) from None
            if same:
                os.fchmod(descriptor, PRIVATE_FILE)
                lock = _OsLock(descriptor, path)
                lock.record()
                return lock
            os.close(descriptor)  # it was removed between opening and locking

    def share_lock(self, path: Path, descriptor: int) -> Lock:  # noqa: D102
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _WHOLE_FILE)  # no change to a lock that it holds
            is_here = os.path.samestat(path.lstat(), os.fstat(descriptor))
        except OSError:
            is_here = False
        if not is_here:
            raise LockHeld(self.owner(path))
        return _OsLock(descriptor, path)

    def owner(self, path: Path) -> str:  # noqa: D102
        try:
            descriptor = os.open(path, os.O_RDWR | _NO_LINK)
        except FileNotFoundError:
            return ""
        try:
            answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _WHOLE_FILE)
            held = struct.unpack_from("h", answer)[0] != fcntl.F_UNLCK
            return os.pread(descriptor, 4096, 0).decode(errors="replace") if held else ""
        finally:
            os.close(descriptor)


def _owner_record() -> bytes:
    boot = Path("/proc/sys/kernel/random/boot_id").read_bytes().decode().strip()
    record = {"pid": os.getpid(), "host": host_name(), "boot": boot, "since": int(time.time())}
    return json.dumps(record).encode()


def free_space(path: Path) -> int:
    """Return how many octets this user may still write where a directory is."""
    disk = os.statvfs(path)
    return disk.f_bavail * disk.f_frsize


def on_same_file_system(one: Path, other: Path) -> bool:
    """Tell whether two files lie on the same file system; one that is missing lies on none."""
    try:
        return one.stat().st_dev == other.stat().st_dev
    except OSError:
        return False


def file_system_of(path: Path) -> str:
    """Return the kind of file system that a directory is on; empty where this system does not tell."""
    try:
        lines = MOUNTS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    found, kind = Path("/"), ""
    resolved = path.resolve()
    for line in lines:
        before, _, after = line.partition(" - ")
        mounted = Path(before.split()[4].encode().decode("unicode_escape"))
        if resolved.is_relative_to(mounted) and mounted.is_relative_to(found):
            found, kind = mounted, after.split()[0]
    return kind


def host_name() -> str:
    """Return the name of this host, for people to read."""
    return socket.gethostname()


def user_name(uid: int) -> str:
    """Return the name of a user, or else the number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def actor() -> str:
    """Return who runs this process: the user's name, and who that was before sudo."""
    name = user_name(os.geteuid())
    before = os.environ.get("SUDO_USER")
    return f"{name} (sudo by {before})" if before else name


def read_descriptor(descriptor: int) -> bytes:
    """Return all that can be read from an open file descriptor, which stays open."""
    pieces = []
    while piece := os.read(descriptor, 65536):
        pieces.append(piece)
    return b"".join(pieces)


def read_file(files: Reader, path: Path, *, secret: bool = False) -> bytes:
    """Return the whole content of a file."""
    file = files.open_to_read(path, secret=secret)
    try:
        return file.read(0, file.size())
    finally:
        file.close()


def create_file(files: Files, path: Path, pieces: Sequence[bytes]) -> File:
    """Make a file with this content, durable but for its name, and leave it open."""
    file = files.create(path)
    try:
        file.write(0, pieces)
        file.flush()
    except BaseException:
        file.close()
        raise
    return file


def replace_file(files: Files, path: Path, content: bytes) -> None:
    """Give a file this content, all or nothing, durable on return."""
    beside = path.with_name(path.name + ".new")
    files.remove(beside)
    create_file(files, beside, [content]).close()
    files.rename(beside, path)
    files.flush_directory(path.parent)
