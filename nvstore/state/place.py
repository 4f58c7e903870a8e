"""Where a state is, and what can be read of it without opening it for writing."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import UUID

from nvstore.document import timestamp
from nvstore.errors import (
    AnchorLeft,
    Locked,
    MarkDamaged,
    MarkMissing,
    NameDiffers,
    NvstoreError,
    RolledBack,
    StateExists,
    StateMissing,
)
from nvstore.files import Files, Lock, LockHeld, Reader, read_file
from nvstore.keys import Entropy, KeySource, Prf, mark_key_of
from nvstore.provider_errors import KeyMissing
from nvstore.state.anchor import Anchor
from nvstore.state.blobs import Blobs
from nvstore.state.history import History, read_history
from nvstore.state.mark import MarkFile
from nvstore.state.metadata import Metadata
from nvstore.state.record import Record
from nvstore.state.vm import Vm

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
    registration: Vm | None = None
    """What the index notes of the VM; the state's own word counts."""
    damage: NvstoreError | None = None
    """What is wrong with the index of the VM, if it cannot be read."""
    anchor_at: Callable[[str], Anchor | None] = lambda _: None
    """Gives what remembers a state outside of any disk, by its TCTI; nothing for an empty one."""
    host_anchor: Anchor | None = None
    """The TPM that anchors states of this host, as its configuration names it, if it does."""
    note: Callable[[str, dict[str, Any]], None] = lambda _what, _facts: None
    """Writes an entry of the audit log about this VM."""
    mend: Callable[[Vm], None] = lambda _: None
    """Makes the index say what the state says, and notes what differed."""


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
    metadata: Metadata | None
    """None in a state of an earlier version."""

    def registration(self, place: Place) -> Vm:
        """Return what the state says of itself; for one of an earlier version, what the index says."""
        if self.metadata is not None:
            return self.metadata.registration
        if place.damage is not None:  # its defaults are not taken for what an operator said
            raise place.damage
        header = self.record.header
        known = place.registration or Vm(header.vm, str(header.vm), "", timestamp(place.clock()))
        return replace(known, uuid=header.vm, provider=header.provider)

    def check_name(self, place: Place) -> None:
        """Raise NameDiffers where the index has the state under another name than its own."""
        name, known = self.registration(place).name, place.registration
        if known is not None and known.name != name:
            raise NameDiffers(known.uuid, known.name, name)

    def check_anchor(self, place: Place, keys: KeySource) -> None:
        """
        Raise RolledBack where a TPM remembers a newer state; AnchorMissing, AnchorUnavailable.

        A state that is not anchored, and that the TPM of this host remembers, is from before it was.
        """
        if self.marks is None:
            return
        mark, vm = self.marks.mark, self.record.header.vm
        anchor = place.anchor_at(self.registration(place).anchor)
        if anchor is not None:
            key = mark_key_of(keys.key(self.record.header.provider, mark.kdk_id), mark.kdk_id, vm)
            anchor.read(vm, key).check(mark)
        elif place.host_anchor is not None and place.host_anchor.remembers(vm):
            raise AnchorLeft(vm)


def _mark_key(keys: KeySource, provider: str, vm: UUID, newest: bytes, kdk_id: bytes) -> Prf | None:
    """Return the key of a mark; None if it is not here, and not that of the newest mark."""
    try:
        return mark_key_of(keys.key(provider, kdk_id), kdk_id, vm)
    except KeyMissing:
        if kdk_id == newest:
            raise
        return None


def _notes_of(marks: MarkFile, place: Place, generation: int) -> list[str]:
    """Return what is to be noted of the mark of a state with metadata; MarkDamaged if it is not its mark."""
    if marks.is_of_first_version:
        raise MarkDamaged(place.mark, "is older than the state: it is that of an earlier version")
    if not marks.lags:
        return []
    lost = "a run did not end, and the mark was not written back since it began"
    return [f"{lost}, at generation {marks.mark.generation}: newer ones than {generation} may be lost"]


def find_newest(
    place: Place, vm: UUID, keys: KeySource, *, adopt: bool = False, reader: Reader | None = None
) -> Found:
    """Read a state as opening does, and raise what opening raises but for the anchor, and change nothing."""
    marks = None
    with suppress(*([MarkDamaged] if adopt else [])):
        marks = read_mark(place, reader)
    history = read_state(place, vm, reader)
    if marks is None and not adopt:
        raise MarkMissing(vm, place.mark)
    if marks is not None:
        provider = next((record.header.provider for record in history.records()), "")
        try:
            marks.authenticate(partial(_mark_key, keys, provider, vm, marks.mark.kdk_id))
        except MarkDamaged:
            if not adopt:
                raise
            marks = None
    record, content, notes = history.newest(
        marks.mark if marks else None, keys, lags=marks is not None and marks.lags
    )
    if content.metadata is not None:  # it was written when providers were authenticated already
        keys.check_authenticated(record.header.provider, record.header.kdk_id)
    if marks is not None and content.metadata is not None:
        notes += _notes_of(marks, place, record.header.generation)
    return Found(history, marks, record, content.blobs, notes, content.metadata)


def find_current(place: Place, vm: UUID, keys: KeySource) -> Found:
    """Read a state, which may be in use, and raise what opening it raises; the anchor is asked, too."""
    while True:
        still = Still(place)
        found = find_newest(place, vm, keys, reader=still)
        found.check_name(place)
        try:
            found.check_anchor(place, keys)
        except RolledBack:
            if still != Still(place):  # it was written or closed meanwhile
                continue
            raise
        return found


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

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Still) and self._contents == other._contents

    __hash__ = None  # type: ignore[assignment]

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
