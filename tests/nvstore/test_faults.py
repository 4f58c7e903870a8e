"""FileStore on a disk that fails and loses power, against what was acknowledged: any order of events."""

import contextlib
import errno
import random
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from nvstore import FileStore, StoreUnavailable
from nvstore.testing import FaultyFiles
from tests.nvstore.conftest import PASSPHRASE, VM
from tests.nvstore.test_crash import host_on

NAMES = st.sampled_from(["a", "b", "nv/01800001"])
VALUES = st.one_of(st.none(), st.binary(max_size=40), st.integers(0, 30_000).map(bytes))
Blobs = dict[str, bytes]


class FaultyMachine(RuleBasedStateMachine):
    """Commits, reverts and rekeys between faults of the disk, crashes and losses of power."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: set[int] = set()
        self.files = FaultyFiles(failures=self.fails)
        self.host = host_on(self.files)
        self.store: FileStore | None = None
        self.acknowledged: Blobs = {}
        self.possible: list[Blobs] = []
        """What may be there besides: writes that failed, and were durable nevertheless."""
        self.seed = 2

    def fails(self, number: int, what: str) -> OSError | None:
        """Say whether an operation fails."""
        del what
        return OSError(errno.EIO, "on purpose") if number in self.faults else None

    @initialize()
    def create(self) -> None:
        """Make a state."""
        self.host.providers.init("main")
        self.host.providers.backup("main", Path("/main.backup"), PASSPHRASE)
        self.host.providers.verify(Path("/main.backup"), PASSPHRASE)
        self.store = self.host.create_state(VM, "guest", {"a": b"0"})
        self.acknowledged = {"a": b"0"}

    @rule(after=st.integers(0, 6), count=st.integers(1, 3))
    def break_disk(self, after: int, count: int) -> None:
        """Some of the next operations will fail."""
        first = len(self.files.operations) + after
        self.faults |= set(range(first, first + count))

    @precondition(lambda self: self.store is not None)
    @rule(changes=st.dictionaries(NAMES, VALUES, min_size=1, max_size=3))
    def commit(self, changes: dict[str, bytes | None]) -> None:
        """A commit is acknowledged, or changes nothing that can be read."""
        assert self.store
        merged = {**self.acknowledged, **changes}
        after = {name: data for name, data in merged.items() if data is not None}
        try:
            self.store.commit(changes)
        except StoreUnavailable:
            self.possible.append(after)
            assert self.store.failure
            return
        self.acknowledged, self.possible = after, []

    @precondition(lambda self: self.store is not None)
    @rule(deep=st.booleans())
    def rekey(self, *, deep: bool) -> None:
        """A new key changes nothing of the content, whether it succeeds or not."""
        assert self.store
        try:
            self.store.rekey(deep=deep)
        except StoreUnavailable:
            assert self.store.failure

    @precondition(lambda self: self.store is not None)
    @rule(seed=st.integers(0, 1000))
    def lose_power(self, seed: int) -> None:
        """The disk holds what was flushed, and of the rest what it likes."""
        images = list(self.files.images(seed, tears=4, limit=16))
        image = random.Random(seed).choice(images)
        self.faults.clear()
        self.files = FaultyFiles(image, failures=self.fails)
        self.seed += 1
        self.host = host_on(self.files, self.seed)
        self.store = self.host.open_state(VM)
        self.settle()

    @precondition(lambda self: self.store is not None)
    @rule()
    def reopen(self) -> None:
        """Close, and open again; closing may fail, and loses nothing by it."""
        assert self.store
        with contextlib.suppress(StoreUnavailable):
            self.store.close()
        self.faults.clear()
        self.store = self.host.open_state(VM)
        self.settle()

    def settle(self) -> None:
        """One of the allowed contents is there, and counts from now on."""
        assert self.store
        found = self.store.load()
        assert found in [self.acknowledged, *self.possible]
        self.acknowledged, self.possible = found, []

    @invariant()
    def holds_what_was_acknowledged(self) -> None:
        """Whatever happens to the disk, the open store holds what it acknowledged last."""
        if self.store is not None:
            assert self.store.load() == self.acknowledged


FaultyMachine.TestCase.settings = settings(stateful_step_count=25)
TestFaults = pytest.mark.slow(FaultyMachine.TestCase)
