"""
What power loss, torn and reordered writes and I/O errors may do to a state: nothing.

After each, the generation opens that was acknowledged last, or the one that was being written.
"""

import contextlib
import errno
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from nvstore import FileStore, Host, NvstoreError, StateMissing, StoreUnavailable, UnknownState
from nvstore.testing import FaultyFiles, Image, PowerLoss
from tests.nvstore.conftest import CHEAP, PASSPHRASE, VM

ROOT = Path("/host")
Blobs = dict[str, bytes]


def host_on(files: FaultyFiles, seed: int = 1) -> Host:
    """A host on such a disk, with the same entropy in each run."""
    rng = random.Random(seed)
    return Host(
        ROOT,
        files=files,
        entropy=rng.randbytes,
        clock=lambda: 1.7e9,
        passphrase_cost=CHEAP,
        backup_cost=CHEAP,
    )


@pytest.fixture(scope="module")
def disk() -> Image:
    """The disk of a host with a verified provider and no state."""
    files = FaultyFiles()
    host = host_on(files)
    host.providers.init("main")
    host.providers.backup("main", Path("/main.backup"), PASSPHRASE)
    host.providers.verify(Path("/main.backup"), PASSPHRASE)
    return next(files.images())


@dataclass
class Journal:
    """What the user of a store was told, and what was under way."""

    acknowledged: Blobs | None = None
    under_way: Blobs | None = None
    erasing: bool = False
    erased: bool = False

    def commit(self, store: FileStore, changes: Mapping[str, bytes | None]) -> None:
        """Commit, and note before and after."""
        assert self.acknowledged is not None
        merged = {**self.acknowledged, **changes}
        self.under_way = {name: data for name, data in merged.items() if data is not None}
        store.commit(changes)
        self.acknowledged, self.under_way = self.under_way, None


def run(host: Host, journal: Journal) -> None:
    """Create a state, write it round the ring, grow it, close and open it, and erase it."""
    journal.under_way = {"a": b"0", "b": b"constant"}
    with host.create_state(VM, "guest", journal.under_way) as store:
        journal.acknowledged, journal.under_way = journal.under_way, None
        for i in range(1, 6):
            journal.commit(store, {"a": b"%d" % i})
        journal.commit(store, {"big": bytes(range(256)) * 80, "b": None})
    with host.open_state(VM) as store:
        journal.commit(store, {"a": b"again"})
        journal.commit(store, {"big": b"small", "b": b"back"})
    journal.erasing = True
    host.delete_state(VM)
    journal.erased = True


def check(image: Image, journal: Journal) -> None:
    """Open what is on the disk, and compare with what was told."""
    host = host_on(FaultyFiles(image), seed=2)
    if journal.erasing:
        with contextlib.suppress(NvstoreError):
            host.open_state(VM).close()
        if host.list_states():
            host.delete_state(VM)
        host.create_state(VM, "guest", {"a": b"anew"}).close()
        return
    allowed = [blobs for blobs in (journal.acknowledged, journal.under_way) if blobs is not None]
    try:
        store = host.open_state(VM)
    except (StateMissing, UnknownState):
        assert journal.acknowledged is None, "an acknowledged state is missing"
        store = host.create_state(VM, "guest", {"a": b"0"})
        allowed = [{"a": b"0"}]
    with store:
        found = store.load()
        assert found in allowed
        store.commit({"after": b"the crash"})
    with host.open_state(VM) as store:
        assert store.load() == {**found, "after": b"the crash"}


def run_until_power_loss(disk: Image, at: int | None) -> tuple[FaultyFiles, Journal]:
    """Run the workload on a machine that stops before operation `at`."""
    files, journal = FaultyFiles(disk, power_loss_at=at), Journal()
    try:
        run(host_on(files), journal)
    except PowerLoss:
        assert at is not None
    return files, journal


@pytest.mark.slow
def test_power_loss_at_every_operation(disk: Image) -> None:
    """Whatever was lost, torn or reordered, the old or the new generation opens; none is lost or mixed."""
    files, journal = run_until_power_loss(disk, None)
    assert journal.erased
    images = 0
    for at in range(len(files.operations)):
        crashed, journal = run_until_power_loss(disk, at)
        for image in crashed.images(seed=at, tears=40, limit=256):
            check(image, journal)
            images += 1
    assert images > 1500


@dataclass
class Fault:
    """Fails one operation, or all from one on, and counts."""

    first: int
    error: int
    last: int = field(default=0)

    def __call__(self, number: int, what: str) -> OSError | None:
        """Say whether this operation fails."""
        del what
        return (
            OSError(self.error, "on purpose") if self.first <= number <= max(self.first, self.last) else None
        )


@pytest.fixture
def opened(disk: Image) -> Callable[[Fault | None], tuple[FaultyFiles, FileStore, Journal]]:
    """Opens a state at its sixth generation, on a disk that fails as told, counted from there."""
    files = FaultyFiles(disk)
    journal = Journal()
    with host_on(files).create_state(VM, "guest", {"a": b"0"}) as store:
        journal.acknowledged = {"a": b"0"}
        for i in range(5):
            journal.commit(store, {"a": bytes([i])})
    image = next(files.images())

    def open_with(fault: Fault | None) -> tuple[FaultyFiles, FileStore, Journal]:
        files = FaultyFiles(image, failures=fault)
        return files, host_on(files, seed=3).open_state(VM), Journal(journal.acknowledged)

    return open_with


WRITES: list[Mapping[str, bytes | None]] = [
    {"a": b"first"},
    {"a": b"second"},
    {"big": bytes(40_000)},
    {"a": b"third", "big": None},
]


@pytest.mark.slow
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("length", [1, 3])
def test_errors_at_every_call(
    opened: Callable[[Fault | None], tuple[FaultyFiles, FileStore, Journal]], error: int, length: int
) -> None:
    """A failed commit is not acknowledged and loses nothing; the store works again when the cause is gone."""
    files, store, journal = opened(None)
    for changes in WRITES:
        journal.commit(store, changes)
    store.close()
    for first in range(len(files.operations)):
        files, store, journal = opened(Fault(first, error, first + length - 1))
        failed = 0
        for changes in WRITES:
            before = store.load()
            while True:
                try:
                    journal.commit(store, changes)
                    break
                except StoreUnavailable:
                    failed += 1
                    check_unavailable(files, store, journal, before)
            assert failed <= length
            assert not store.failure
        try:
            store.close()
        except StoreUnavailable:
            failed += 1
        assert failed > 0
        for image in files.images(seed=first, tears=2, limit=12):
            check(image, journal)


def check_unavailable(files: FaultyFiles, store: FileStore, journal: Journal, before: Blobs) -> None:
    """A store whose commit failed says why, is as it was, and would be found as it was after power loss."""
    assert store.failure == "on purpose"
    assert store.load() == before
    for image in files.images(tears=2, limit=12):
        check(image, journal)


def test_a_failed_flush_is_never_tried_again_on_its_file(
    opened: Callable[[Fault | None], tuple[FaultyFiles, FileStore, Journal]],
) -> None:
    """After a flush fails, the next commit writes, flushes and renames a new file."""
    files, store, _ = opened(None)
    store.commit({"a": b"x"})
    first = len(files.operations)
    store.commit({"a": b"y"})
    assert [name.split()[0] for name in files.operations[first:]] == ["write", "flush", "write"]
    files, store, _ = opened(Fault(first + 1, errno.EIO))
    store.commit({"a": b"x"})
    with pytest.raises(StoreUnavailable):
        store.commit({"a": b"y"})
    mark = len(files.operations)
    store.commit({"a": b"y"})
    after = files.operations[mark:]
    assert after[:5] == [
        f"create {VM}.state.new",
        f"write {VM}.state.new",
        f"flush {VM}.state.new",
        f"rename {VM}.state.new",
        "flush directory states",
    ]


def test_one_flush_for_a_commit(
    opened: Callable[[Fault | None], tuple[FaultyFiles, FileStore, Journal]],
) -> None:
    """A commit writes its record, flushes it, and only then moves the mark, without a flush of its own."""
    files, store, _ = opened(None)
    store.commit({"a": b"x"})
    before = len(files.operations)
    store.commit({"a": b"y"})
    assert files.operations[before:] == [f"write {VM}.state", f"flush {VM}.state", f"write {VM}.mark"]


def test_nothing_is_written_where_nothing_changes(
    opened: Callable[[Fault | None], tuple[FaultyFiles, FileStore, Journal]],
) -> None:
    """Opening, reading, committing no difference and closing leave the disk alone."""
    files, store, _ = opened(None)
    store.commit(dict(store.load()))
    store.close()
    assert files.operations == []
