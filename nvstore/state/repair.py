"""
What an operator decides about a state that does not open, or that is to go back.

An older record becomes the newest generation: it is written again, under a number that was never used before.
So no mark is ever lowered, and what was passed over cannot come back later: it is then a fork.
"""

from contextlib import suppress
from uuid import UUID

from nvstore.errors import AlteredState, CorruptState, MarkDamaged, NothingToRepair, StateError
from nvstore.files import Lock, ReadFile, read_file, replace_file
from nvstore.keys import KeySource
from nvstore.state.file import Base, FileStore
from nvstore.state.history import History, read_history, salvage
from nvstore.state.place import Place, damaged, find_newest, lock_state, read_mark


def repair(place: Place, vm: UUID, keys: KeySource, generation: int | None) -> FileStore:
    """
    Put the newest usable generation in force, or the given one, where the state does not open; leave it open.

    The damaged file is kept beside, as `.damaged`.
    NothingToRepair: the state opens as it is.
    """
    lock = lock_state(place)
    try:
        _check_broken(place, vm, keys)
        replace_file(place.files, damaged(place.state), read_file(place.files, place.state))
        return FileStore.resume(place, lock, keys, _base(place, vm, keys, generation))
    except BaseException:
        lock.release()
        raise


def revert(place: Place, vm: UUID, keys: KeySource, generation: int | None) -> FileStore:
    """
    Put an older generation in force that the file holds, and leave the state open.

    Without a number, the newest one in the file is meant: the file itself was put back on purpose.
    """
    lock = lock_state(place)
    try:
        return _revert(place, vm, keys, lock, _base(place, vm, keys, generation))
    except BaseException:
        lock.release()
        raise


def _revert(place: Place, vm: UUID, keys: KeySource, lock: Lock, base: Base) -> FileStore:
    try:
        store = FileStore.open_locked(place, vm, keys, lock)
    except StateError:  # the file itself was put back, and does not fit the mark
        return FileStore.resume(place, lock, keys, base)
    store.rewrite(base.content.blobs)
    return store


def _check_broken(place: Place, vm: UUID, keys: KeySource) -> None:
    try:
        found = find_newest(place, vm, keys)
    except StateError:
        return
    raise NothingToRepair(vm, found.record.header.generation)


def _base(place: Place, vm: UUID, keys: KeySource, generation: int | None) -> Base:
    file = place.files.open_to_read(place.state)
    try:
        history, whole = _read(file, place, vm)
    finally:
        file.close()
    record, content = history.choose(generation, keys)
    newest, epoch, said = record.header.generation, record.header.open_epoch, None
    for known in history.records():
        with suppress(AlteredState, CorruptState):  # numbers that nobody authenticated count for nothing
            metadata = history.content(known, keys).metadata
            said = said or (metadata.registration if metadata else None)
            newest, epoch = max(newest, known.header.generation), max(epoch, known.header.open_epoch)
    with suppress(MarkDamaged):  # a new one is made
        if marks := read_mark(place):
            newest, epoch = max(newest, marks.mark.generation), max(epoch, marks.mark.open_epoch)
    return Base(record, content, said, newest, epoch, history.ring if whole else None)


def _read(file: ReadFile, place: Place, vm: UUID) -> tuple[History, bool]:
    try:
        return read_history(file, place.state, vm), True
    except CorruptState:
        return salvage(file, place.state, vm), False
