"""History, repair and revert: going back is possible, on an operator's word, and leaves a trace."""

import itertools
import os
import shutil
import threading
from pathlib import Path

import pytest

from nvstore import (
    AlteredState,
    CorruptState,
    Forked,
    GenerationMissing,
    Host,
    KeyFileMissing,
    Locked,
    NothingToRepair,
    RevertRefused,
    RolledBack,
)
from nvstore.state.ring import read_ring
from tests.nvstore.conftest import BLOBS, VM, host_at

REASON = "ticket 17"


def content_at(generation: int) -> dict[str, bytes]:
    """What the state of the fixture held at that generation."""
    return {**BLOBS, "nv/01800001": bytes([generation]) * 100}


def spoil(state: Path, generation: int, at: int = 2000) -> None:
    """Change an octet of the record of a generation."""
    content = bytearray(state.read_bytes())
    content[read_ring(bytes(content)).offset(generation) + at] ^= 1
    state.write_bytes(content)


class TestHistory:
    """What is kept of a state."""

    def test_entries(self, host: Host, state: Path) -> None:
        """The ring keeps the last four generations; a spoiled one is named."""
        entries = host.history("guest")
        assert [(e.generation, e.acknowledged, e.blobs, e.problem) for e in entries] == [
            (5, True, 2, ""),
            (4, True, 2, ""),
            (3, True, 2, ""),
            (2, True, 2, ""),
        ]
        spoil(state, 4)
        spoil(state, 3, at=9)
        problems = [(e.generation, e.problem) for e in host.history("guest")]
        assert problems[:3] == [(5, ""), (4, "altered-state"), (2, "")]
        assert "slot 3" in problems[3][1]

    def test_while_in_use(self, host: Host, state: Path) -> None:
        """A state can be looked at and verified while somebody has it open."""
        assert state.exists()
        with host.open_state(VM) as store:
            store.commit({"a": b"1"})
            assert host.history(VM)[0].generation == 6
            assert host.verify_state(VM).generation == 6

    @pytest.mark.slow
    def test_while_written(self, host: Host, state: Path) -> None:
        """A reader sees no half of a commit that is under way, and never takes it for damage."""
        assert state.exists()
        done = threading.Event()
        sizes = itertools.cycle((100, 9000, 5000))

        def write() -> None:
            with host.open_state(VM) as store:
                while not done.is_set():
                    store.commit({"a": os.urandom(next(sizes))})

        writer = threading.Thread(target=write)
        writer.start()
        try:
            generations = [host.verify_state(VM).generation for _ in range(100)]
            problems = [entry.problem for _ in range(100) for entry in host.history(VM)]
        finally:
            done.set()
            writer.join()
        assert generations == sorted(generations)
        assert not any(problems)

    def test_verify(self, host: Host, state: Path) -> None:
        """Verification decrypts, and raises what opening would."""
        assert host.verify_state(VM).generation == 5
        spoil(state, 5)
        with pytest.raises(AlteredState):
            host.verify_state(VM)


class TestRepair:
    """A state that does not open."""

    def test_falls_back(self, host: Host, state: Path) -> None:
        """The newest usable generation is put in force under a new number, and the damaged file is kept."""
        spoil(state, 5)
        damaged = state.read_bytes()
        assert host.repair_state(VM, reason=REASON).generation == 6
        with host.open_state(VM) as store:
            assert store.load() == content_at(4)
            store.commit({"a": b"1"})
        host.open_state(VM).close()
        assert state.with_name(state.name + ".damaged").read_bytes() == damaged
        host.delete_state(VM)
        assert list(state.parent.glob(f"{VM}*")) == []

    def test_what_was_passed_over_does_not_come_back(self, host: Host, state: Path) -> None:
        """The original file, found later, is older or a fork."""
        original = state.read_bytes()
        spoil(state, 5)
        host.repair_state(VM, reason=REASON)
        state.write_bytes(original)
        with pytest.raises(RolledBack):
            host.open_state(VM)

    @pytest.mark.parametrize("at", [0, 9, 30])
    def test_a_damaged_superblock(self, host: Host, state: Path, at: int) -> None:
        """Records are found without it, and nothing is lost."""
        content = bytearray(state.read_bytes())
        content[at] ^= 1
        state.write_bytes(content)
        with pytest.raises(CorruptState):
            host.open_state(VM)
        host.repair_state(VM, reason=REASON)
        with host.open_state(VM) as store:
            assert store.load() == content_at(5)
            assert store.generation == 6

    def test_a_truncated_file(self, host: Host, state: Path) -> None:
        """What is left of a file is enough for the newest generation in it."""
        content = state.read_bytes()
        ring = read_ring(content)
        state.write_bytes(content[: ring.offset(5) + 9000])
        host.repair_state(VM, reason=REASON)
        with host.open_state(VM) as store:
            assert store.load() == content_at(5)

    def test_nothing_usable(self, host: Host, state: Path) -> None:
        """A file without any usable record stays as it is."""
        state.write_bytes(bytes(50_000))
        with pytest.raises(CorruptState):
            host.repair_state(VM, reason=REASON)
        assert state.read_bytes() == bytes(50_000)

    def test_nothing_to_repair(self, host: Host, state: Path) -> None:
        """A state that opens is not repaired, nor is one that is in use."""
        before = state.read_bytes()
        with pytest.raises(NothingToRepair):
            host.repair_state(VM, reason=REASON)
        assert state.read_bytes() == before
        with host.open_state(VM), pytest.raises(Locked):
            host.repair_state(VM, reason=REASON)

    def test_a_missing_key_is_no_damage(self, host: Host, state: Path, directory: Path) -> None:
        """Without the key nothing is repaired."""
        (directory / "keys/main.key").unlink()
        before = state.read_bytes()
        with pytest.raises(KeyFileMissing):
            host_at(directory).repair_state(VM, reason=REASON)
        assert state.read_bytes() == before
        assert host.verify_state(VM).generation == 5


class TestRevert:
    """A state that goes back on purpose."""

    def test_to_a_kept_generation(self, host: Host, state: Path) -> None:
        """The chosen generation becomes the newest; numbers only grow."""
        assert state.exists()
        assert host.revert_state(VM, generation=3, reason=REASON).generation == 6
        with host.open_state(VM) as store:
            assert store.load() == content_at(3)
        with pytest.raises(GenerationMissing, match="4, 5, 6"):
            host.revert_state(VM, generation=1, reason=REASON)

    def test_a_file_put_back(self, host: Host, state: Path, tmp_path: Path) -> None:
        """An older file is refused until the operator says that it is meant; then the newer one is a fork."""
        copy = shutil.copy(state, tmp_path / "snapshot")
        with host.open_state(VM) as store:
            for i in range(3):
                store.commit({"after": b"%d" % i})
        newer = state.read_bytes()
        shutil.copy(copy, state)
        with pytest.raises(RolledBack):
            host.open_state(VM)
        assert host.revert_state(VM, reason=REASON).generation == 9
        with host.open_state(VM) as store:
            assert store.load() == content_at(5)
            store.commit({"new": b"life"})
        state.write_bytes(newer)
        with pytest.raises(RolledBack):
            host.open_state(VM)

    def test_a_fork_decided(self, host: Host, state: Path, directory: Path, tmp_path: Path) -> None:
        """The operator may decide for the other history."""
        shutil.copytree(directory, tmp_path / "elsewhere")
        with host_at(tmp_path / "elsewhere").open_state(VM) as store:
            store.commit({"elsewhere": b"1"})
        shutil.copy(tmp_path / "elsewhere/states" / state.name, state)
        with pytest.raises(Forked):
            host.open_state(VM)
        host.revert_state(VM, reason=REASON)
        with host.open_state(VM) as store:
            assert store.load()["elsewhere"] == b"1"

    def test_forbidden(self, host: Host, state: Path) -> None:
        """A VM's policy may forbid it."""
        host.set_policy("guest", reverts=False)
        before = state.read_bytes()
        with pytest.raises(RevertRefused):
            host.revert_state("guest", generation=3, reason=REASON)
        assert state.read_bytes() == before
        host.set_policy("guest", reverts=True)
        host.revert_state("guest", generation=5, reason=REASON)
