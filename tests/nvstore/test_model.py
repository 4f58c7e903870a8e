"""FileStore against a dict: whatever is done, in whatever order, both hold the same."""

import contextlib
import shutil
import tempfile
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from nvstore import AlteredState, CorruptState, FileStore, ForeignState, RolledBack, SuiteRefused
from tests.nvstore.conftest import host_at, verify

NAMES = st.sampled_from(["a", "b", "nv/01800001", "ü"])
VALUES = st.one_of(st.none(), st.binary(max_size=40), st.integers(0, 60_000).map(bytes))
VM = UUID(int=7)


class StoreMachine(RuleBasedStateMachine):
    """Commits, closes, kills, power cycles and attacks by putting older files back."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.host = host_at(self.root / "host")
        self.model: dict[str, bytes] = {}
        self.generation = 0
        self.store: FileStore | None = None
        self.older: list[tuple[int, bytes]] = []
        self.file = self.root / "host/states" / f"{VM}.state"

    @initialize(blobs=st.dictionaries(NAMES, st.binary(max_size=100)))
    def create(self, blobs: dict[str, bytes]) -> None:
        """Make a state of any blobs."""
        self.host.providers.init("main")
        verify(self.host, "main", self.root / "backup")
        self.store = self.host.create_state(VM, "guest", blobs)
        self.model, self.generation = dict(blobs), 1

    @precondition(lambda self: self.store is not None)
    @rule(changes=st.dictionaries(NAMES, VALUES, max_size=4))
    def commit(self, changes: dict[str, bytes | None]) -> None:
        """Commit any changes."""
        assert self.store
        after = {name: data for name, data in {**self.model, **changes}.items() if data is not None}
        self.store.commit(changes)
        self.generation += after != self.model
        self.model = after

    @precondition(lambda self: self.store is not None)
    @rule()
    def close(self) -> None:
        """Close the store."""
        assert self.store
        self.store.close()
        self.store = None

    @precondition(lambda self: self.store is not None)
    @rule()
    def kill(self) -> None:
        """End the process without a word: only its lock goes."""
        assert self.store
        self.store._lock.release()
        self.store = None

    @precondition(lambda self: self.store is None)
    @rule()
    def open(self) -> None:
        """Open it as another process would."""
        self.host = host_at(self.root / "host")
        self.store = self.host.open_state("guest")

    @rule()
    def keep_copy(self) -> None:
        """Keep a copy of the file for later."""
        self.older.append((self.generation, self.file.read_bytes()))

    @precondition(lambda self: self.store is None and self.older)
    @rule(data=st.data())
    def put_older_back(self, data: st.DataObject) -> None:
        """An older file is refused; the same generation is not older."""
        generation, content = data.draw(st.sampled_from(self.older))
        current = self.file.read_bytes()
        self.file.write_bytes(content)
        if generation == self.generation:
            self.host.open_state(VM).close()
        else:
            with pytest.raises(RolledBack):
                self.host.open_state(VM)
        self.file.write_bytes(current)

    @precondition(lambda self: self.store is None)
    @rule(data=st.data(), value=st.integers(0, 255))
    def damage(self, data: st.DataObject, value: int) -> None:
        """One changed octet anywhere is refused or makes no difference."""
        content = self.file.read_bytes()
        at = data.draw(st.integers(0, len(content) - 1))
        self.file.write_bytes(content[:at] + bytes([value]) + content[at + 1 :])
        refused = contextlib.suppress(CorruptState, AlteredState, RolledBack, ForeignState, SuiteRefused)
        with refused, self.host.open_state(VM) as store:
            assert store.load() == self.model
        self.file.write_bytes(content)

    @invariant()
    def holds_the_same(self) -> None:
        """The store holds what the model holds."""
        if self.store:
            assert self.store.load() == self.model
            assert self.store.generation == self.generation

    def teardown(self) -> None:
        """Remove the directory."""
        if self.store:
            self.store.close()
        shutil.rmtree(self.root)


StoreMachine.TestCase.settings = settings(stateful_step_count=30)
TestStore = pytest.mark.slow(StoreMachine.TestCase)
