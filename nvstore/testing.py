"""
FaultyFiles: a file system in memory that loses power, tears and reorders writes, and fails, on demand.

What it may lose is what POSIX allows, not what one file system does:

- Writes that were not flushed survive in any combination of sectors, later ones without earlier ones.
- Creations, renames and removals survive once their directory was flushed; before that, in any combination.
- A flush that failed may have written anything; no later flush of the file brings back what it lost.
"""

import io
import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from nvstore.files import File, Lock, LockHeld

SECTOR: Final = 512

Image = Mapping[Path, bytes]
"""What is on the disk: the content of every file."""


class PowerLoss(Exception):  # noqa: N818 not an error of the program under test
    """The machine stops here; nothing that the program does afterwards reaches the disk."""


def _patched(content: bytes, offset: int, data: bytes) -> bytes:
    content = content.ljust(offset, b"\0")
    return content[:offset] + data + content[offset + len(data) :]


def _outside(offset: int, data: bytes, begin: int, end: int) -> list[tuple[int, bytes]]:
    """Return what is left of a write where a later one, from `begin` to `end`, has become durable."""
    before, after = data[: max(0, begin - offset)], data[max(0, end - offset) :]
    parts = [(offset, before), (offset + len(data) - len(after), after)]
    return [part for part in parts if part[1]]


@dataclass
class _Node:
    """A file: what is durable, what the program sees, and the writes between the two."""

    durable: bytes = b""
    seen: bytes = b""
    pending: list[tuple[int, bytes]] = field(default_factory=list)
    lost: list[tuple[int, bytes]] = field(default_factory=list)
    """Writes whose flush failed: no later flush makes them durable."""

    def flushed(self) -> None:
        for offset, data in self.pending:
            self.durable = _patched(self.durable, offset, data)
            self.lost = [part for write in self.lost for part in _outside(*write, offset, offset + len(data))]
        self.pending.clear()

    def contents(self, rng: random.Random, tears: int) -> set[bytes]:
        """Return what may be on the disk after power loss: all or none of each write, and some tears."""
        writes = [*self.lost, *self.pending]
        if not writes:
            return {self.durable}
        found = set()
        for kept in itertools.islice(itertools.product((True, False), repeat=len(writes)), 64):
            content = self.durable
            for keep, (offset, data) in zip(kept, writes, strict=True):
                content = _patched(content, offset, data) if keep else content
            found.add(content)
        for _ in range(tears):
            content = self.durable
            for offset, data in writes:
                content = _torn(content, offset, data, rng)
            found.add(content)
        return found


def _torn(content: bytes, offset: int, data: bytes, rng: random.Random) -> bytes:
    """Write some sectors only; one of them, now and then, only in part."""
    sectors = [(at, data[at : at + SECTOR]) for at in range(0, len(data), SECTOR)]
    shape = rng.choice(("front", "back", "any", "part"))
    cut = rng.randrange(len(sectors) + 1)
    for number, (at, octets) in enumerate(sectors):
        keep = {
            "front": number < cut,
            "back": number >= cut,
            "any": rng.random() < 0.5,
            "part": number < cut,
        }[shape]
        if keep:
            content = _patched(content, offset + at, octets)
        elif shape == "part" and number == cut:
            content = _patched(content, offset + at, octets[: rng.randrange(len(octets))])
    return content


@dataclass(frozen=True)
class _Change:
    """A change of a directory that is not durable yet: names, and the files they mean from now on."""

    entries: tuple[tuple[Path, _Node | None], ...]


class FaultyFiles:
    """
    A twin of the operating system's files; see `nvstore.files.Files` for what each operation means.

    Every operation that changes something has a number, from 0.
    `power_loss_at` is the first that does not happen any more; `failures` says which raise an error instead.
    """

    def __init__(
        self,
        image: Image | None = None,
        *,
        power_loss_at: int | None = None,
        failures: Callable[[int, str], OSError | None] | None = None,
    ) -> None:
        self._durable: dict[Path, _Node] = {path: _Node(data, data) for path, data in (image or {}).items()}
        self._seen = dict(self._durable)
        self._changes: dict[Path, list[_Change]] = {}
        self._locks: set[Path] = set()
        self._power_loss_at, self._failures = power_loss_at, failures
        self.operations: list[str] = []
        """What was done, in order: its length is the number of the next operation."""

    def images(self, seed: int = 0, *, tears: int = 8, limit: int = 64) -> Iterator[Image]:
        """Yield what may be on the disk if power is lost now: at most so many, the likely ones first."""
        rng = random.Random(seed)  # noqa: S311 reproducible, not secret
        seen = []
        for entries in self._directories():
            nodes = {id(node): node for node in entries.values()}
            contents = [sorted(node.contents(rng, tears)) for node in nodes.values()]
            choices: Iterator[Sequence[bytes]] = itertools.product(*contents)
            total = 1
            for options in contents:
                total *= len(options)
            if total > limit:
                choices = ([rng.choice(options) for options in contents] for _ in range(limit))
            for choice in choices:
                by_node = dict(zip(nodes, choice, strict=True))
                image = {path: by_node[id(node)] for path, node in entries.items()}
                if image not in seen:
                    seen.append(image)
                    yield image

    def _directories(self) -> Iterator[dict[Path, _Node]]:
        changes = [change for pending in self._changes.values() for change in pending]
        for kept in itertools.islice(itertools.product((True, False), repeat=len(changes)), 64):
            entries = dict(self._durable)
            for change in itertools.compress(changes, kept):
                for path, node in change.entries:
                    if node is None:
                        entries.pop(path, None)
                    else:
                        entries[path] = node
            yield entries

    def _do(self, what: str, path: Path) -> None:
        number = len(self.operations)
        if number == self._power_loss_at or (self.operations and self.operations[-1] == "power loss"):
            self.operations.append("power loss")
            raise PowerLoss
        self.operations.append(f"{what} {path.name}")
        error = self._failures(number, what) if self._failures else None
        if error is not None:
            raise error

    def _change(self, *entries: tuple[Path, _Node | None]) -> None:
        for path, node in entries:
            if node is None:
                self._seen.pop(path, None)
            else:
                self._seen[path] = node
        self._changes.setdefault(entries[0][0].parent, []).append(_Change(entries))

    def make_directory(self, path: Path) -> None:
        """Do nothing: a directory is where a file is."""

    def create(self, path: Path) -> File:
        """See Files."""
        if path in self._seen:
            raise FileExistsError(path)
        self._do("create", path)
        node = _Node()
        self._change((path, node))
        return _FaultyFile(self, path, node)

    def open(self, path: Path) -> File:
        """See Files."""
        if path not in self._seen:
            raise FileNotFoundError(path)
        return _FaultyFile(self, path, self._seen[path])

    def open_to_read(self, path: Path, *, secret: bool = False) -> File:
        """See Files; there is nobody to keep secrets from."""
        del secret
        return self.open(path)

    def exists(self, path: Path) -> bool:
        """See Files."""
        return path in self._seen

    def entries(self, directory: Path) -> list[str]:
        """See Files."""
        return sorted(path.name for path in self._seen if path.parent == directory)

    def rename(self, source: Path, target: Path) -> None:
        """See Files."""
        if source not in self._seen:
            raise FileNotFoundError(source)
        self._do("rename", source)
        self._change((target, self._seen[source]), (source, None))

    def remove(self, path: Path) -> None:
        """See Files."""
        if path in self._seen:
            self._do("remove", path)
            self._change((path, None))

    def flush_directory(self, path: Path) -> None:
        """See Files."""
        self._do("flush directory", path)
        for change in self._changes.pop(path, []):
            for name, node in change.entries:
                if node is None:
                    self._durable.pop(name, None)
                else:
                    self._durable[name] = node

    def lock(self, path: Path, *, wait: bool = False) -> Lock:
        """See Files; waiting would be forever."""
        del wait
        if path in self._locks:
            raise LockHeld("this process")
        self._locks.add(path)
        return _FaultyLock(self._locks, path)

    def share_lock(self, path: Path, descriptor: int) -> Lock:
        """Refuse: these locks have no descriptors."""
        del descriptor
        raise LockHeld(self.owner(path))

    def owner(self, path: Path) -> str:
        """See Files."""
        return "this process" if path in self._locks else ""


class _FaultyLock:
    def __init__(self, locks: set[Path], path: Path) -> None:
        self._locks, self._path = locks, path

    def fileno(self) -> int:
        raise io.UnsupportedOperation("fileno")

    def record(self) -> None:
        pass

    def release(self, *, remove: bool = False) -> None:
        del remove
        self._locks.discard(self._path)


class _FaultyFile:
    def __init__(self, files: FaultyFiles, path: Path, node: _Node) -> None:
        self._files, self._path, self._node = files, path, node

    def size(self) -> int:
        return len(self._node.seen)

    def read(self, offset: int, size: int) -> bytes:
        return self._node.seen[offset : offset + size]

    def write(self, offset: int, pieces: Sequence[bytes]) -> None:
        data = b"".join(pieces)
        try:
            self._files._do("write", self._path)  # noqa: SLF001 its own module
        except OSError:
            self._put(offset, data[: len(data) // 2])
            raise
        self._put(offset, data)

    def _put(self, offset: int, data: bytes) -> None:
        self._node.seen = _patched(self._node.seen, offset, data)
        self._node.pending.append((offset, data))

    def truncate(self, size: int) -> None:
        self._files._do("truncate", self._path)  # noqa: SLF001
        self._node.seen = self._node.seen[:size]
        self._node.pending.append((size, b""))
        self._node.durable = self._node.durable[:size]

    def begin_flush(self, offset: int, size: int) -> None:
        """Promise nothing, as the real one."""

    def flush(self) -> None:
        try:
            self._files._do("flush", self._path)  # noqa: SLF001
        except OSError:
            self._node.lost += self._node.pending
            self._node.pending.clear()
            raise
        self._node.flushed()

    def close(self) -> None:
        """Close it: nothing becomes durable by that."""
