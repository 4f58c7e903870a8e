"""Where a state is, and what can be read of it without opening it for writing."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple
from uuid import UUID

from nvstore.errors import Locked, MarkDamaged, MarkMissing, StateExists, StateMissing
from nvstore.files import Files, Lock, LockHeld, Reader, read_file
from nvstore.keys import Entropy, KeySource, mark_key_of
from nvstore.state.anchor import Anchor
from nvstore.state.blobs import Blobs
from nvstore.state.history import History, read_history
from nvstore.state.mark import MarkFile
from nvstore.state.record import Record

STILL_ATTEMPTS: Final = 100


@dataclass(frozen=True)
class Place:
    """Where one VM's state is, and what the store needs of its surroundings."""

    state: Path
    mark: Path
    lock: Path
    files: Files
    entropy: Entropy
    clock: Callable[[], float]
    """Seconds since 1970; for people to read, nothing is decided by it."""
    anchor: Anchor | None = None
    """What remembers the state outside of any disk, if anything does."""


def describe_owner(record: str) -> str:
    """Return in words who holds a lock."""
    try:
        owner = json.loads(record)
        return f"process {owner['pid']} on {owner['host']}"
    except (ValueError, KeyError, TypeError):
        return record.strip()


def lock_state(place: Place, shared: int | None = None) -> Lock:
    """Take the lock of a state, or that which a descriptor of another process `shared`, or raise Locked."""
    try:
        if shared is not None:
            return place.files.share_lock(place.lock, shared)
        return place.files.lock(place.lock)
    except LockHeld as error:
        raise Locked(place.state, describe_owner(str(error))) from None


def read_mark(place: Place, reader: Reader | None = None) -> MarkFile | None:
    """Return the host's mark, if there is one."""
    try:
        content = read_file(reader or place.files, place.mark)
    except FileNotFoundError:
        return None
    return MarkFile(place.files, place.mark, content)


def read_state(place: Place, vm: UUID, reader: Reader | None = None) -> History:
    """Read the file of a state, or raise the error that says what is wrong with it as a file."""
    mark = read_mark(place, reader)
    try:
        file = (reader or place.files).open_to_read(place.state)
    except FileNotFoundError:
        raise StateMissing(vm, place.state, mark.mark.generation if mark else 0) from None
    try:
        return read_history(file, place.state, vm)
    finally:
        file.close()


class Found(NamedTuple):
    """A state that may be opened."""

    history: History
    marks: MarkFile | None
    record: Record
    blobs: Blobs
    notes: list[str]


def find_newest(
    place: Place, vm: UUID, keys: KeySource, *, adopt: bool = False, reader: Reader | None = None
) -> Found:
    """Read a state as opening does, and raise what opening raises, but change nothing."""
    marks = None
    with suppress(*([MarkDamaged] if adopt else [])):
        marks = read_mark(place, reader)
    history = read_state(place, vm, reader)
    if marks is None and not adopt:
        raise MarkMissing(vm, place.mark)
    if marks is not None:
        kdk_id = marks.mark.kdk_id
        provider = next((record.header.provider for record in history.records()), "")
        try:
            marks.authenticate(mark_key_of(keys.key(provider, kdk_id), kdk_id, vm))
        except MarkDamaged:
            if not adopt:
                raise
            marks = None
    record, blobs, notes = history.newest(marks.mark if marks else None, keys)
    return Found(history, marks, record, blobs, notes)


class Still:
    """
    The files of a state as they were at one moment, though somebody may be writing them.

    They are read until two readings are the same: no write can have been under way then, since each makes a
    difference.
    """

    def __init__(self, place: Place) -> None:
        """Read them; Locked if they change without end."""
        for _ in range(STILL_ATTEMPTS):
            self._contents = self._read(place)
            if self._contents == self._read(place):
                return
        raise Locked(place.state, describe_owner(place.files.owner(place.lock)))

    @staticmethod
    def _read(place: Place) -> dict[Path, bytes]:
        contents = {}
        for path in (place.mark, place.state):
            with suppress(FileNotFoundError):
                contents[path] = read_file(place.files, path)
        return contents

    def open_to_read(self, path: Path, *, secret: bool = False) -> "StillFile":
        """Open one of them; FileNotFoundError if there was none."""
        del secret
        try:
            return StillFile(self._contents[path])
        except KeyError:
            raise FileNotFoundError(path) from None


class StillFile:
    """A file that was read already."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    def size(self) -> int:
        """Return its length in octets."""
        return len(self._octets)

    def read(self, offset: int, size: int) -> bytes:
        """Return up to this many octets."""
        return self._octets[offset : offset + size]

    def close(self) -> None:
        """Do nothing."""


def beside(path: Path) -> Path:
    """Return where the next file of this name is written."""
    return path.with_name(path.name + ".new")


def damaged(path: Path) -> Path:
    """Return where repair keeps the file that it replaces."""
    return path.with_name(path.name + ".damaged")


def check_free(place: Place, vm: UUID) -> None:
    """Raise StateExists if there is a state, or the host has ever acknowledged one."""
    if place.files.exists(place.state):
        raise StateExists(vm, f"a state at {place.state}")
    try:
        mark = read_mark(place)
    except MarkDamaged as error:
        raise StateExists(vm, f"a high-water mark, which {error.cause}") from error
    if mark and mark.mark.generation:
        raise StateExists(vm, f"a high-water mark: this host has seen its generation {mark.mark.generation}")


def remove_state(place: Place) -> None:
    """Remove a state and what remembers it, in an order that leaves no state without its mark."""
    for path in (beside(place.state), damaged(place.state), place.state, place.mark):
        place.files.remove(path)
        place.files.flush_directory(path.parent)
