"""
The files of a store in one file or block device, for `--tpmstate backend-uri=file://` (swtpm.8).

    0          what swtpm has there, or a header of its that no swtpm accepts as its own
    1 MiB      a page with the owner of the lock
    + 1 page   two areas; each holds all files, behind a header with a number and a digest

A flush writes all files to the area that does not hold the last flushed ones, so a torn write harms nothing.
An area is a few hundred kilobytes; what somebody else could do to it, the store's own records find.
"""

import fcntl
import hashlib
import json
import os
import stat
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from nvstore.files import PRIVATE_FILE, File, Lock, LockHeld, host_name
from nvstore.state.place import describe_owner
from vtpm.daemon.errors import OperatorError
from vtpm.libtpms.linear import GUARD

PAGE: Final = 4096
BASE: Final = 1 << 20
"""Where this program's part begins: swtpm's states end before."""

AREAS: Final = (BASE + PAGE, 5 << 19)
CAPACITY: Final = AREAS[1] - AREAS[0]
SIZE: Final = 4 << 20
"""What a block device must have."""

MAGIC: Final = b"vtpmfile"
VERSION: Final = 1
HEADER: Final = struct.Struct(">8sHQQ")
FIRST_FLUSH: Final = struct.pack(">8sHQ", MAGIC, VERSION, 1)
DIGEST_SIZE: Final = 32
"""Of header and content together, behind the header."""

ENTRY: Final = struct.Struct(">HQ")
WHOLE_FILE: Final = struct.pack("hhqqi0q", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)


class ContainerError(OperatorError):
    """The file or device cannot be used; the text gives cause and remedy."""


class Image(NamedTuple):
    """All files as they were flushed, and the number of that flush; 0 is none."""

    number: int
    files: dict[Path, bytearray]


class ContainerFiles:
    """
    The `Files` of nvstore within one file.

    Whoever holds a lock within it holds a lock of the whole file, and nobody else can change anything.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        """Open it; with `create`, it is made if it is not there. ContainerError if it cannot be used."""
        self._path = path
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT if create else 0)
        try:
            self._descriptor = os.open(path, flags, PRIVATE_FILE)
        except OSError as error:
            raise ContainerError(f"{path}: {error.strerror}; name a file or block device") from None
        try:
            self._check_size()
            self._number, self._files = self._newest()
        except BaseException:
            os.close(self._descriptor)
            raise
        self._locks: set[Path] = set()
        self._is_changed = False

    def __repr__(self) -> str:
        return f"ContainerFiles({str(self._path)!r})"

    def __del__(self) -> None:
        if hasattr(self, "_number"):
            os.close(self._descriptor)

    @property
    def is_used(self) -> bool:
        """Has anything ever been flushed to it?"""
        return self._number > 0

    @property
    def was_used(self) -> bool:
        """Has anything ever been flushed, whether or not it can be read? A first flush may be torn."""
        begun = [begin for at in AREAS if (begin := os.pread(self._descriptor, HEADER.size, at)).strip(b"\0")]
        if not begun:
            return os.pread(self._descriptor, len(GUARD), 0) == GUARD
        is_first = len(begun) == 1 and begun[0].startswith(FIRST_FLUSH)
        return self.is_used or not is_first

    def make_directory(self, path: Path) -> None:
        """Do nothing: a directory is where a file is."""

    def create(self, path: Path) -> File:
        """See Files."""
        if path in self._files:
            raise FileExistsError(path)
        content = self._files[path] = bytearray()
        self._is_changed = True
        return _ContainedFile(self, content)

    def open(self, path: Path) -> File:
        """See Files."""
        try:
            return _ContainedFile(self, self._files[path])
        except KeyError:
            raise FileNotFoundError(path) from None

    def open_to_read(self, path: Path, *, secret: bool = False) -> File:
        """See Files; all of it is the owner's alone."""
        del secret
        return self.open(path)

    def exists(self, path: Path) -> bool:
        """See Files."""
        return path in self._files

    def entries(self, directory: Path) -> list[str]:
        """See Files."""
        return sorted(path.name for path in self._files if path.parent == directory)

    def rename(self, source: Path, target: Path) -> None:
        """See Files."""
        try:
            self._files[target] = self._files.pop(source)
        except KeyError:
            raise FileNotFoundError(source) from None
        self._is_changed = True

    def remove(self, path: Path) -> None:
        """See Files."""
        if self._files.pop(path, None) is not None:
            self._is_changed = True

    def flush_directory(self, path: Path) -> None:
        """See Files."""
        del path
        self.save()

    def lock(self, path: Path, *, wait: bool = False) -> Lock:
        """See Files."""
        if path in self._locks:
            raise LockHeld(_owner_record())
        if not self._locks:
            try:
                fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK, WHOLE_FILE)
            except (BlockingIOError, PermissionError):
                raise LockHeld(self._owner()) from None
            self._number, self._files = self._newest()
            self._is_changed = False
            self.record()
        self._locks.add(path)
        return _ContainedLock(self, path)

    def share_lock(self, path: Path, descriptor: int) -> Lock:
        """Refuse: the lock is of the whole file, and is not passed on."""
        del descriptor
        raise LockHeld(self.owner(path))

    def owner(self, path: Path) -> str:
        """See Files: the whole file has one owner."""
        del path
        answer = fcntl.fcntl(self._descriptor, fcntl.F_OFD_GETLK, WHOLE_FILE)
        return self._owner() if struct.unpack_from("h", answer)[0] != fcntl.F_UNLCK else ""

    def hold(self) -> Lock:
        """Lock the file for what is to be done within it; ContainerError if somebody else has it."""
        try:
            return self.lock(self._path)
        except LockHeld as error:
            raise ContainerError(
                f"{self._path} is in use by {describe_owner(str(error))}; shut the guest down first"
            ) from None

    def forget(self) -> None:
        """Remove all files for good."""
        lock = self.hold()
        self._files.clear()
        self._is_changed = True
        lock.release()

    def fileno(self) -> int:
        """The descriptor that holds the lock."""
        return self._descriptor

    def record(self) -> None:
        """Leave the record of the owner."""
        os.pwrite(self._descriptor, _owner_record().encode().ljust(PAGE, b"\0"), BASE)

    def release(self, path: Path) -> None:
        """Let a lock go; with the last one, the file."""
        self._locks.discard(path)
        if self._locks:
            return
        self.save()
        os.pwrite(self._descriptor, bytes(PAGE), BASE)
        fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, struct.pack("hhqqi0q", fcntl.F_UNLCK, 0, 0, 0, 0))

    def touch(self) -> None:
        """Something has changed in a file."""
        self._is_changed = True

    def save(self) -> None:
        """Make all changes durable, or raise OSError; then the last flush still stands."""
        if not self._is_changed:
            return
        content = b"".join(
            ENTRY.pack(len(name), len(octets)) + name + bytes(octets)
            for name, octets in ((str(path).encode(), octets) for path, octets in self._files.items())
        )
        number = self._number + 1
        header = HEADER.pack(MAGIC, VERSION, number, len(content))
        if len(header) + DIGEST_SIZE + len(content) > CAPACITY:
            raise OSError(28, f"{self._path}: the files have outgrown their {CAPACITY} octets")
        digest = hashlib.sha256(header + content).digest()
        _write_all(self._descriptor, header + digest + content, AREAS[number % 2])
        os.fdatasync(self._descriptor)
        if not os.pread(self._descriptor, 1, 0).strip(
            b"\0"
        ):  # from now on it says that something was flushed
            os.pwrite(self._descriptor, GUARD, 0)
            os.fdatasync(self._descriptor)
        self._number, self._is_changed = number, False

    def _check_size(self) -> None:
        status = os.fstat(self._descriptor)
        if stat.S_ISREG(status.st_mode):
            return
        if not stat.S_ISBLK(status.st_mode):
            raise ContainerError(f"{self._path} is no file or block device; name one")
        size = os.lseek(self._descriptor, 0, os.SEEK_END)
        if size < SIZE:
            raise ContainerError(f"{self._path} has {size} octets, {SIZE} are needed; enlarge it")

    def _owner(self) -> str:
        return os.pread(self._descriptor, PAGE, BASE).rstrip(b"\0").decode(errors="replace")

    def _newest(self) -> Image:
        images = [image for image in map(self._read, AREAS) if image is not None]
        return max(images, key=lambda image: image.number, default=Image(0, {}))

    def _read(self, at: int) -> Image | None:
        """The files in an area; None if it holds none, or was not written to the end."""
        header = os.pread(self._descriptor, HEADER.size, at)
        if len(header) < HEADER.size:
            return None
        magic, version, number, size = HEADER.unpack(header)
        if magic != MAGIC:
            return None
        if version != VERSION:
            raise ContainerError(f"{self._path} was written by a newer release; use that one")
        rest = os.pread(self._descriptor, DIGEST_SIZE + min(size, CAPACITY), at + HEADER.size)
        digest, content = rest[:DIGEST_SIZE], rest[DIGEST_SIZE:]
        if hashlib.sha256(header + content).digest() != digest:
            return None
        files, place = {}, 0
        while place < len(content):
            name_size, file_size = ENTRY.unpack_from(content, place)
            begin = place + ENTRY.size + name_size
            name = content[place + ENTRY.size : begin].decode()
            files[Path(name)] = bytearray(content[begin : begin + file_size])
            place = begin + file_size
        return Image(number, files)


class _ContainedLock:
    def __init__(self, files: ContainerFiles, path: Path) -> None:
        self._files, self._path = files, path

    def fileno(self) -> int:
        return self._files.fileno()

    def record(self) -> None:
        self._files.record()

    def release(self, *, remove: bool = False) -> None:
        del remove
        self._files.release(self._path)


class _ContainedFile:
    def __init__(self, files: ContainerFiles, content: bytearray) -> None:
        self._files, self._content = files, content

    def size(self) -> int:
        return len(self._content)

    def read(self, offset: int, size: int) -> bytes:
        return bytes(self._content[offset : offset + size])

    def write(self, offset: int, pieces: Sequence[bytes]) -> None:
        octets = b"".join(pieces)
        if len(self._content) < offset:
            self._content.extend(bytes(offset - len(self._content)))
        self._content[offset : offset + len(octets)] = octets
        self._files.touch()

    def truncate(self, size: int) -> None:
        del self._content[size:]
        self._files.touch()

    def begin_flush(self, offset: int, size: int) -> None:
        """Promise nothing: everything is written by `flush`."""

    def flush(self) -> None:
        self._files.save()

    def close(self) -> None:
        """Close it: nothing becomes durable by that."""


def _owner_record() -> str:
    return json.dumps({"pid": os.getpid(), "host": host_name()})


def _write_all(descriptor: int, octets: bytes, offset: int) -> None:
    left = memoryview(octets)
    while left:
        written = os.pwrite(descriptor, left, offset)
        left, offset = left[written:], offset + written
