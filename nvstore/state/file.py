"""
FileStore: the state of one VM in one file, a ring of slots with a whole encrypted record in each.

A commit writes one record over the oldest slot and flushes once.
What does not fit, or follows a failed write, goes to a new file:
written beside, flushed, renamed over the old one, and the directory flushed.
A write or flush that failed is never tried again on the same file:
the kernel reports such an error once, and then takes the lost pages for clean.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple, Self
from uuid import UUID

from nvstore.document import timestamp
from nvstore.errors import (
    AnchorMissing,
    AnchorUnavailable,
    MarkDamaged,
    NvstoreError,
    StoreClosed,
    StoreUnavailable,
    TctiRefused,
)
from nvstore.files import File, Lock, create_file
from nvstore.keys import KeySource, Prf, check_succession, mark_key_of
from nvstore.state.anchor import NO_MARK, NO_OPENING, Anchored, digest_of
from nvstore.state.blobs import Blobs
from nvstore.state.mark import Mark, MarkFile
from nvstore.state.metadata import Content, Metadata
from nvstore.state.place import Place, beside, check_free, find_newest, lock_state, read_mark, remove_state
from nvstore.state.record import SUITE, WITHOUT_METADATA, Damaged, Opening, Record, UnknownSuite, read_record
from nvstore.state.ring import SLOTS, Ring, pages
from nvstore.state.vm import Vm


class Base(NamedTuple):
    """What a store continues from that is not the newest acknowledged generation."""

    record: Record
    content: Content
    registration: Vm | None
    """What the newest record that authenticates says of the VM; None if that is of an earlier version."""
    generation: int
    """The number that the next record comes after."""
    open_epoch: int
    ring: Ring | None
    """The division of the file, or None if a new file must be written."""


class FileStore:
    """The open state of one VM; made by `create` and `open`, never by opening what is not there."""

    def __init__(
        self,
        place: Place,
        lock: Lock,
        keys: KeySource,
        marks: MarkFile | None,
        blobs: Blobs,
        last: Mark,
        registration: Vm,
        complete_since: int | None,
    ) -> None:
        """Not to be called from outside: `last` is the record that the store continues."""
        self._place, self._lock, self._keys, self._marks = place, lock, keys, marks
        self._blobs, self._last = blobs, last
        self.vm, self.incarnation = last.vm, last.incarnation
        self.registration = registration
        """What the state says of its VM."""
        self._since = complete_since
        """Since which generation the file is complete; None where an earlier version did not say it."""
        self._anchor = place.anchor_at(registration.anchor)
        self.notes: list[str] = []
        """What was noticed at opening and is no error."""
        self.failure = ""
        """Why the last commit failed; empty when it did not."""
        self._vm_salt = b""
        self._ring = Ring(last.vm, 0)
        self._file: File | None = None
        self._opening: Opening | None = None
        self._mark_key = Prf(b"")
        self._front: tuple[Metadata | None, bytes] = None, b""
        self._suite = SUITE
        """That of the newest record; an earlier one ends with the next."""
        self._written_under: str | None = None
        """The provider of the newest record; None before the first."""
        self._closed = False

    def __repr__(self) -> str:
        return f"FileStore({str(self._place.state)!r}, generation={self.generation})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @classmethod
    def create(cls, place: Place, registration: Vm, keys: KeySource, blobs: Mapping[str, bytes]) -> Self:
        """Make a state whose first generation is these blobs; StateExists where one is or ever was."""
        vm = registration.uuid
        lock = lock_state(place)
        try:
            check_free(place, vm)
            last = Mark(b"", vm, place.entropy(16), 0, b"")
            store = cls(place, lock, keys, None, Blobs({}), last, registration, 1)
            store._vm_salt = place.entropy(32)
            store._write(Blobs(blobs))
            store._write_mark()
        except OSError as error:
            lock.release()
            raise StoreUnavailable(place.state, str(error), 0) from error
        except BaseException:
            lock.release()
            raise
        return store

    @classmethod
    def open(
        cls,
        place: Place,
        vm: UUID,
        keys: KeySource,
        *,
        adopt: bool = False,
        lock: int | None = None,
        ask_anchor: bool = True,
    ) -> Self:
        """
        Open the newest generation, or raise the error that names what is wrong.

        `adopt` takes the newest record that authenticates when the host has no usable mark of this VM.
        Without `ask_anchor` the state is taken as it is, whatever remembers another one.
        `lock` is the `lock_descriptor` of a store that another process has open and commits to no more:
        nothing is written before `take_over`, and until then that process may go on instead.
        """
        held = lock_state(place, lock)
        try:
            return cls.open_locked(place, vm, keys, held, adopt=adopt, ask_anchor=ask_anchor)
        except BaseException:
            held.release()
            raise

    @classmethod
    def open_locked(
        cls,
        place: Place,
        vm: UUID,
        keys: KeySource,
        lock: Lock,
        *,
        adopt: bool = False,
        ask_anchor: bool = True,
    ) -> Self:
        """Open it under a lock that is held already, and that the store lets go when it is closed."""
        found = find_newest(place, vm, keys, adopt=adopt)
        header, registration = found.record.header, found.registration(place)
        if ask_anchor and not adopt:
            found.check_anchor(place, keys)
        if found.metadata is not None:
            if registration != place.registration:
                place.mend(registration)
            if found.notes:
                place.note("notice", {"generation": header.generation, "notice": "; ".join(found.notes)})
            found.check_name(place)
        last = Mark(
            header.kdk_id,
            vm,
            header.incarnation,
            header.open_epoch,
            header.opening,
            header.generation,
            found.record.link,
        )
        since = found.metadata.complete_since if found.metadata else None
        store = cls(place, lock, keys, found.marks, found.blobs, last, registration, since)
        store._suite, store._written_under = header.suite, header.provider
        store._vm_salt, store._ring, store.notes = header.vm_salt, found.history.ring, found.notes
        place.files.remove(beside(place.state))
        store._file = place.files.open(place.state)
        if found.marks is None or header.generation > found.marks.mark.generation:
            store._settle(found.record)
        return store

    def _settle(self, record: Record) -> None:
        """
        Make a record durable that was read and may never have been flushed, before anything is built on it.

        Its writer was killed, or its flush failed: the kernel shows it, and may have taken it for clean.
        It is written again, since another flush alone would promise nothing.
        """
        assert self._file is not None
        try:
            self._file.write(self._ring.offset(record.header.generation), [record.octets])
            self._file.flush()
            self._place.files.flush_directory(self._place.state.parent)
        except OSError as error:
            self._abandon_file()
            raise StoreUnavailable(self._place.state, str(error), record.header.generation - 1) from error

    @classmethod
    def resume(cls, place: Place, lock: Lock, keys: KeySource, base: Base) -> Self:
        """
        Make an older record the newest generation, on an operator's word; see `repair`.

        The mark allows it first: from then on only what follows the chosen record is accepted.
        """
        header = base.record.header
        last = Mark(
            header.kdk_id,
            header.vm,
            header.incarnation,
            base.open_epoch,
            b"",
            base.generation,
            base.record.link,
        )
        marks = None
        with suppress(MarkDamaged):
            marks = read_mark(place)
        known = base.registration or place.registration
        known = known or Vm(header.vm, str(header.vm), header.provider, timestamp(place.clock()))
        denied = place.registration is not None and not place.registration.reverts
        registration = replace(known, provider=header.provider, reverts=known.reverts and not denied)
        store = cls(place, lock, keys, marks, base.content.blobs, last, registration, base.generation + 1)
        store._vm_salt = header.vm_salt
        store._written_under = header.provider
        if base.ring is not None:
            store._ring, store._file = base.ring, place.files.open(place.state)
        store._write(base.content.blobs)
        if registration != place.registration:
            place.mend(registration)
        return store

    @property
    def lock_descriptor(self) -> int:
        """What holds the lock of the state, for another process to go on with it; see `open`."""
        return self._lock.fileno()

    def take_over(self) -> None:
        """Go on in the place of the process whose lock this is; the state's owner is this process now."""
        self._lock.record()

    @property
    def is_closed(self) -> bool:
        """Whether it was let go."""
        return self._closed

    @property
    def provider(self) -> str:
        """The provider that the state is under."""
        return self.registration.provider

    @property
    def generation(self) -> int:
        """The number of the last commit, counted from 1 at creation."""
        return self._last.generation

    @property
    def kdk_id(self) -> bytes:
        """The key that the newest record needs."""
        return self._last.kdk_id

    def load(self) -> dict[str, bytes]:
        """Return the blobs of the last commit."""
        self._check_open()
        return self._blobs.as_dict()

    def commit(self, changes: Mapping[str, bytes | None]) -> None:
        """
        Make these changes durable, all or none; see `Store.commit`.

        StoreUnavailable: the last good generation stays, and the next commit tries again on a new file.
        """
        self._check_open()
        after = self._blobs.changed(changes)
        if after is not None or self.failure:  # after a failure, only a write settles what is on the disk
            self.rewrite(after or self._blobs)

    def rewrite(self, blobs: Blobs) -> None:
        """Make these blobs the next generation, even if they are those of the last one; see `commit`."""
        try:
            self._write(blobs)
        except OSError as error:
            self.failure = error.strerror or str(error)
            raise StoreUnavailable(self._place.state, self.failure, self.generation) from error
        self.failure = ""

    def rekey(self, *, deep: bool = False, provider: str | None = None) -> None:
        """
        Write the state again under its provider's current key, or another provider's, with a fresh DEK.

        A `deep` one leaves nothing in the file that an older key opens: the generations before are given up.
        Interrupted at any point, the state opens with the old key or with the new one.
        """
        self._check_open()
        before = self.registration, self._opening
        self.registration, self._opening = (
            replace(self.registration, provider=provider or self.provider),
            None,
        )
        try:
            self._write(self._blobs, anew=deep)
        except OSError as error:
            self.failure = error.strerror or str(error)
            raise StoreUnavailable(self._place.state, self.failure, self.generation) from error
        except NvstoreError:  # a key is missing, and nothing was written yet
            self.registration, self._opening = before
            raise
        self.failure = ""

    def register(self, registration: Vm) -> None:
        """Have the state say this of its VM from now on, durable on return; its provider is `rekey`'s."""
        self._check_open()
        before = self.registration
        self.registration = replace(registration, uuid=self.vm, provider=self.provider)
        try:
            self.rewrite(self._blobs)
        except BaseException:
            self.registration = before
            raise

    def move_anchor(self, tcti: str) -> None:
        """
        Have the state remembered by the TPM there from now on, or by none; it says so itself.

        What remembered it before is not told.
        """
        self._check_open()
        assert self._marks is not None
        anchor, before = self._place.anchor_at(tcti), self._anchor
        if before is not None and self._opening is None:
            with suppress(AnchorMissing, AnchorUnavailable, TctiRefused):  # it may be gone, and is given up
                self._begin()
        mark = self._marks.mark
        if anchor is not None:
            key = mark_key_of(self._keys.key(self.provider, mark.kdk_id), mark.kdk_id, self.vm)
            opening = self._opening.identity if self._opening else NO_OPENING
            anchor.write(Anchored.at(mark)._replace(opening=opening), key, anew=True)
        since = self.generation + 1 if anchor is not None else 0
        self._anchor = anchor
        try:
            self.register(replace(self.registration, anchor=tcti, anchored_since=since))
        except BaseException:
            self._anchor = before
            raise

    def erase(self) -> None:
        """Overwrite and remove the state, its mark and its lock, and close."""
        self._check_open()
        self._closed = True
        try:
            if self._file is not None:
                for i in range(self._ring.slots):
                    self._file.write(self._ring.offset(i), [bytes(self._ring.slot_size)])
                self._file.flush()
            remove_state(self._place)
        finally:
            self._release(remove=True)

    def close(self) -> None:
        """Make the mark durable, and let the lock go; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._opening is not None:
                self._write_mark(closed=True)
                self._remember(Anchored.at(self._last))
        except OSError as error:
            raise StoreUnavailable(self._place.mark, str(error), self.generation) from error
        finally:
            self._release()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosed(self._place.state)

    def _release(self, *, remove: bool = False) -> None:
        if self._marks is not None:
            self._marks.close()
        if self._file is not None:
            self._file.close()
        self._lock.release(remove=remove)

    def _begin(self) -> Opening:
        """Begin to write: a fresh DEK, and its opening in the durable mark before any record of it."""
        kdk_id = self._keys.current(self.provider)
        self._check_key(kdk_id)
        self._note_upgrade()
        kdk = self._keys.key(self.provider, kdk_id)
        opening = Opening(
            kdk,
            kdk_id=kdk_id,
            provider=self.provider,
            vm=self.vm,
            incarnation=self.incarnation,
            vm_salt=self._vm_salt,
            epoch=self._last.open_epoch + 1,
            entropy=self._place.entropy,
        )
        self._last = self._last._replace(kdk_id=kdk_id, open_epoch=opening.epoch, opening=opening.identity)
        self._mark_key = mark_key_of(kdk, kdk_id, self.vm)
        anchored = Anchored(self.vm, self._last.generation, opening=opening.identity)
        self._announce(anchored)
        self._write_mark()
        self._remember(anchored)
        self._opening = opening
        return opening

    def _note_upgrade(self) -> None:
        """Note, before it is so, what a state of an earlier version takes over from the index."""
        if self._suite == WITHOUT_METADATA:
            taken = {
                name: value for name, value in self.registration.fields().items() if value not in {"", 0}
            }
            self._place.note("upgrade", taken)
            self._suite = SUITE

    def _check_key(self, kdk_id: bytes) -> None:
        """Raise KeyUncertified where the state is to go under a key that is no successor of its own."""
        is_new = self._last.kdk_id in {b"", kdk_id}
        moves = self._written_under not in {None, self.provider}  # an operator named the other provider
        if not is_new and not moves:
            check_succession(self._keys, self.provider, self._last.kdk_id, kdk_id)

    def _announce(self, anchored: Anchored) -> None:
        """Have the anchor accept what is there and what comes, so that power may be lost between the two."""
        anchor, marks = self._anchor, self._marks
        if anchor is None:
            return
        before = marks.mark if marks and not marks.failed else None
        exact = digest_of(before) if before else NO_MARK
        is_new_key = before is not None and before.kdk_id != self._last.kdk_id
        anchor.write(anchored._replace(exact=exact), self._mark_key, anew=is_new_key)

    def _remember(self, anchored: Anchored) -> None:
        if self._anchor is not None:
            self._anchor.write(anchored, self._mark_key)

    def _write_mark(self, *, closed: bool = False) -> None:
        if self._marks is None:
            self._marks = MarkFile.make(self._place.files, self._place.mark, self._last, self._mark_key)
        elif self._marks.failed or self._marks.is_of_first_version:
            self._marks.replace(self._last, self._mark_key)
            if closed:
                self._marks.write(self._last, self._mark_key, closed=True)
        else:
            self._marks.write(self._last, self._mark_key, closed=closed)

    def _write(self, blobs: Blobs, *, anew: bool = False) -> None:
        """Write these blobs as the next generation, durable on return; then the mark, left to the kernel."""
        opening = self._opening or self._begin()
        marks = self._marks
        assert marks is not None
        if marks.failed:
            self._write_mark()  # it may hold a generation that was never acknowledged
        generation = self._last.generation + 1
        front = self._front_of(generation)
        size = pages(len(front) + blobs.size + opening.overhead)
        older: dict[int, bytes] | None = None
        if anew or self._file is None or size > self._ring.slot_size:
            older = {} if anew else self._older(generation)
            self._since = generation
            while self._since - 1 in older:
                self._since -= 1
            front = self._front_of(generation)
        plaintext = blobs.encode(size - opening.overhead, front)
        written = int(self._place.clock() * 1000)
        head, ciphertext, link = opening.record(generation, self._last.link, written, plaintext)
        if older is not None or self._file is None:
            self._write_new_file(generation, head, ciphertext, older or {}, erase=anew)
            last = self._last._replace(generation=generation, link=link)
            mark = marks.prepare(last, self._mark_key)
        else:
            try:
                offset = self._ring.offset(generation)
                self._file.write(offset, [head, ciphertext])
                self._file.begin_flush(offset, size)
                last = self._last._replace(generation=generation, link=link)
                mark = marks.prepare(last, self._mark_key)
                opening.prepare()
                self._file.flush()
            except OSError:
                self._abandon_file()
                raise
        marks.write_lazily(mark)
        self._blobs, self._last, self._written_under = blobs, last, self.provider

    def _front_of(self, generation: int) -> bytes:
        """Return what stands in front of the blobs, made anew only when it differs from the record before."""
        if self._since is None:  # what an earlier version left in the file is not known
            self._since = generation
        known = self._front[0]
        if (
            known is None
            or known.registration is not self.registration
            or known.complete_since != self._since
        ):
            metadata = Metadata(self.registration, self._since)
            self._front = metadata, metadata.encode()
        return self._front[1]

    def _abandon_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write_new_file(
        self, generation: int, head: bytes, ciphertext: bytes, older: Mapping[int, bytes], *, erase: bool
    ) -> None:
        """Write a file with this record and the history in place of the old one, which it may erase."""
        files, path = self._place.files, self._place.state
        size = max(len(head) + len(ciphertext), *map(len, older.values()), 0)
        ring = self._ring if size <= self._ring.slot_size else Ring.for_record(self.vm, size)
        slots = {n % ring.slots: [octets] for n, octets in older.items()}
        slots[generation % ring.slots] = [head, ciphertext]
        pieces = [ring.encode()]
        for i in range(ring.slots):
            slot = slots.get(i, [])
            pieces += (*slot, bytes(ring.slot_size - sum(map(len, slot))))
        files.remove(beside(path))
        file = create_file(files, beside(path), pieces)
        try:
            files.rename(beside(path), path)
            files.flush_directory(path.parent)
        except OSError:
            file.close()
            self._abandon_file()
            raise
        if erase and self._file is not None:
            with suppress(OSError):  # the file has no name any more: this is for the disk's blocks alone
                self._file.write(0, [bytes(self._ring.size)])
                self._file.flush()
        self._abandon_file()
        self._file, self._ring = file, ring

    def _older(self, generation: int) -> dict[int, bytes]:
        """Return the records that stay as history in a new file, as far as they can still be read."""
        older: dict[int, bytes] = {}
        try:
            file = self._file or self._place.files.open_to_read(self._place.state)
        except OSError:
            return older
        try:
            for number in range(max(1, generation - SLOTS + 1), generation):
                with suppress(OSError, Damaged, UnknownSuite):
                    record = read_record(file.read(self._ring.offset(number), self._ring.slot_size))
                    if record.header.generation == number:
                        older[number] = record.octets
        finally:
            if file is not self._file:
                file.close()
        return older
