"""Which record of a file is the state: the newest that authenticates and is no older than the host's mark."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from nvstore.box import BoxError, OtherKey
from nvstore.document import timestamp
from nvstore.errors import (
    AlteredState,
    CorruptState,
    ForeignState,
    Forked,
    GenerationMissing,
    MarkMissing,
    NvstoreError,
    RolledBack,
    SuiteRefused,
)
from nvstore.files import ReadFile
from nvstore.keys import KeySource
from nvstore.state.blobs import Blobs, MalformedBlobs
from nvstore.state.mark import Mark
from nvstore.state.metadata import Content
from nvstore.state.record import MIN_HEADER, PAGE, Damaged, Record, UnknownSuite, read_record
from nvstore.state.ring import Ring, read_ring


class Slot(NamedTuple):
    """One slot of the ring: a record, or why there is none."""

    number: int
    record: Record | None
    damage: str = ""


class Entry(NamedTuple):
    """What is told of one record."""

    generation: int | None
    acknowledged: bool | None
    """The host's mark is at this generation or beyond; None without a mark."""
    written: str
    kdk_id: str
    blobs: int
    problem: str
    """The code of the error with which it ends, or what is wrong with the slot; or empty."""


@dataclass(frozen=True)
class History:
    """All that one file holds."""

    path: Path
    vm: UUID
    ring: Ring
    slots: Sequence[Slot]

    def records(self) -> list[Record]:
        """Return this VM's records, newest first."""
        own = [slot.record for slot in self.slots if slot.record and slot.record.header.vm == self.vm]
        return sorted(own, key=lambda record: record.header.generation, reverse=True)

    def entries(self, mark: Mark | None, keys: KeySource) -> list[Entry]:
        """Return what is to be told of every record, newest first, then of slots without one."""
        entries = [self._entry(record, mark, keys) for record in self.records()]
        for slot in self.slots:
            if slot.damage:
                entries.append(Entry(None, None, "", "", 0, f"slot {slot.number}: {slot.damage}"))
            elif slot.record and slot.record.header.vm != self.vm:
                entries.append(
                    Entry(None, None, "", "", 0, f"slot {slot.number}: VM {slot.record.header.vm}")
                )
        return entries

    def _entry(self, record: Record, mark: Mark | None, keys: KeySource) -> Entry:
        header = record.header
        try:
            names = len(self.decrypt(record, keys).as_dict())
            problem = ""
        except NvstoreError as error:
            names, problem = 0, error.code
        acknowledged = header.generation <= mark.generation if mark else None
        written = timestamp(header.written / 1000)
        return Entry(header.generation, acknowledged, written, header.kdk_id.hex(), names, problem)

    def choose(self, generation: int | None, keys: KeySource) -> tuple[Record, Content]:
        """Return the record of this generation, or the newest that authenticates, whatever the mark says."""
        failure: NvstoreError = CorruptState(self.path, "no record in it can be used")
        for record in self.records():
            if generation in {None, record.header.generation}:
                try:
                    return record, self.content(record, keys)
                except NvstoreError as error:
                    failure = error
        if generation is not None and generation not in {r.header.generation for r in self.records()}:
            kept = ", ".join(str(r.header.generation) for r in reversed(self.records())) or "none"
            raise GenerationMissing(self.vm, generation, kept)
        raise failure

    def newest(
        self, mark: Mark | None, keys: KeySource, *, lags: bool = False
    ) -> tuple[Record, Content, list[str]]:
        """
        Return the state's record, its content, and notes of what was passed over.

        A record newer than the mark that does not decrypt is a write that power loss interrupted.
        It was never acknowledged, so the one before it counts.
        Without a mark, the newest record that decrypts is taken.
        If the mark `lags`, or is older than the record, a slot that lacks what was in it is damage:
        a newer generation may have been there.
        """
        notes = []
        for record in self._candidates(mark):
            generation = record.header.generation
            try:
                content = self.content(record, keys)
            except AlteredState:
                if mark and generation <= mark.generation:
                    raise
                notes.append(f"an unfinished write of generation {generation} was passed over")
                continue
            if mark:
                self._check_continues(record, mark, keys)
                if content.metadata and (damage := self._lacks(generation, content.metadata.complete_since)):
                    if lags or generation != mark.generation:
                        raise CorruptState(self.path, damage)
                    notes.append(damage)
            return record, content, notes
        raise self._nothing_usable(mark, keys)

    def check_mark(self, mark: Mark | None, path: Path) -> None:
        """Raise what `newest` would raise, as far as it can be told without a key."""
        own = self.records()
        if mark is None:
            raise MarkMissing(self.vm, path)
        if not own or own[0].header.generation < mark.generation:
            raise self._nothing_usable(mark, None)
        for record in self._candidates(mark):
            self._check_same(record, mark)

    def _candidates(self, mark: Mark | None) -> Iterator[Record]:
        for record in self.records():
            if mark and record.header.incarnation != mark.incarnation:
                raise ForeignState(self.vm, "the state of another VM that had the same UUID")
            if mark and record.header.generation < mark.generation:
                return
            yield record

    def _lacks(self, newest: int, since: int) -> str:
        """
        Return which slot lacks what this program left in it, or nothing.

        The slot of the generation after the newest one may hold a write that was interrupted.
        It is never empty again once it was used.
        """
        for generation in range(max(since, newest + 1 - self.ring.slots), newest):
            slot = self.slots[generation % self.ring.slots]
            is_next = generation == newest + 1 - self.ring.slots
            own = slot.record is not None and slot.record.header.vm == self.vm
            if is_next and (slot.damage or own):
                continue
            if not own or not slot.record or slot.record.header.generation != generation:
                found = slot.damage or ("there is another record" if slot.record else "it is empty")
                what = f"slot {slot.number} must hold generation {generation}"
                return f"{what}{' or a newer one' if is_next else ''}: {found}"
        return ""

    def decrypt(self, record: Record, keys: KeySource) -> Blobs:
        """Return the blobs of a record, or raise AlteredState or what the key source raises."""
        return self.content(record, keys).blobs

    def content(self, record: Record, keys: KeySource) -> Content:
        """Return what a record holds, or raise AlteredState or what the key source raises."""
        header = record.header
        try:
            return Content.decode(record.decrypt(keys.key(header.provider, header.kdk_id)), header)
        except OtherKey:
            raise AlteredState(self.path, header.generation, "its key does not open it") from None
        except BoxError:
            raise AlteredState(self.path, header.generation, "it does not authenticate") from None
        except MalformedBlobs as error:
            raise CorruptState(
                self.path, f"generation {header.generation} was written wrongly: {error}"
            ) from None

    def _check_continues(self, record: Record, mark: Mark, keys: KeySource) -> None:
        """Raise Forked unless the record is the one of the mark, or follows it."""
        self._check_same(record, mark)
        if record.header.generation == mark.generation:
            return
        if record.header.opening != mark.opening:
            how = "it was written by an opening that this host did not make"
            raise Forked(self.vm, record.header.generation, how)
        older = {known.header.generation: known for known in self.records()}
        while (generation := record.header.generation - 1) >= mark.generation:
            if generation == mark.generation:
                link = mark.link
            elif generation in older and self._authenticates(older[generation], keys):
                link = older[generation].link
            else:
                return  # the ring has gone round since the mark, or a write over that record was torn
            if record.header.previous != link:
                how = "it does not follow the generation before it"
                raise Forked(self.vm, record.header.generation, how)
            if generation == mark.generation:
                return
            record = older[generation]

    def _check_same(self, record: Record, mark: Mark) -> None:
        if record.header.generation == mark.generation and record.link != mark.link:
            how = "the same generation has another content here"
            raise Forked(self.vm, mark.generation, how)

    def _authenticates(self, record: Record, keys: KeySource) -> bool:
        try:
            self.decrypt(record, keys)
        except AlteredState:
            return False
        return True

    def _nothing_usable(self, mark: Mark | None, keys: KeySource | None) -> Exception:
        """Return the error that says why no record can be taken."""
        slots = self.slots
        if mark and mark.generation:
            slots = [slots[mark.generation % self.ring.slots]]  # where the record must be
        damaged = [slot for slot in slots if slot.damage]
        if damaged:
            return CorruptState(
                self.path, "; ".join(f"slot {slot.number}: {slot.damage}" for slot in damaged)
            )
        for slot in slots:
            if slot.record and slot.record.header.vm != self.vm:
                return ForeignState(self.vm, f"a record of VM {slot.record.header.vm}")
            if mark and keys and slot.record:
                try:
                    self.decrypt(slot.record, keys)
                except AlteredState as error:
                    return error
        own = self.records()
        if not own:
            return CorruptState(self.path, "there is no record in it")
        return RolledBack(self.vm, own[0].header.generation, mark.generation if mark else 0)


def salvage(file: ReadFile, path: Path, vm: UUID) -> History:
    """Read what can be read of a damaged file: every page may begin a record."""
    octets = file.read(0, file.size())
    slots: list[Slot] = []
    for at in range(0, len(octets), PAGE):
        with suppress(Damaged, UnknownSuite):
            slots.append(Slot(len(slots), read_record(octets[at:])))
    return History(path, vm, Ring(vm, PAGE, max(1, len(slots))), slots)


def read_history(file: ReadFile, path: Path, vm: UUID) -> History:
    """Read a whole file, or raise CorruptState, ForeignState or SuiteRefused."""
    size = file.size()
    try:
        ring = read_ring(file.read(0, PAGE))
    except Damaged as error:
        raise CorruptState(path, str(error)) from None
    if ring.vm != vm:
        raise ForeignState(vm, f"the state of VM {ring.vm}")
    if size != ring.size:
        raise CorruptState(path, f"it has {size} octets instead of {ring.size}")
    slots = [_read_slot(file, path, ring, index) for index in range(ring.slots)]
    return History(path, vm, ring, slots)


def _read_slot(file: ReadFile, path: Path, ring: Ring, index: int) -> Slot:
    octets = file.read(ring.offset(index), ring.slot_size)
    if not any(octets[:MIN_HEADER]):
        return Slot(index, None)
    try:
        return Slot(index, read_record(octets))
    except Damaged as error:
        return Slot(index, None, str(error))
    except UnknownSuite as error:
        raise SuiteRefused(path, str(error)) from None
