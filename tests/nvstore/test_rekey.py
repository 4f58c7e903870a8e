"""Rekeying: a state under another key, without its guest noticing, whatever happens meanwhile."""

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest

from nvstore import (
    FileStore,
    Host,
    KeyInUse,
    KeyMissing,
    NvstoreError,
    ProviderLocked,
    ProviderMissing,
    ProviderUnverified,
    RotationRefused,
    StepRefused,
    StoreUnavailable,
    UnknownState,
    WrongKey,
)
from nvstore.state.record import read_record
from nvstore.testing import FaultyFiles, Image, PowerLoss
from tests.nvstore.conftest import BLOBS, PASSPHRASE, VM, host_at, verify
from tests.nvstore.test_crash import host_on


def records_in(state: Path) -> set[bytes]:
    """The wrapped DEKs of all records that a file holds anywhere."""
    octets = state.read_bytes()
    return {
        read_record(octets[at:]).header.wrapped_dek
        for at in range(0, len(octets), 4096)
        if octets[at : at + 8] == b"nvrecord"
    }


class TestStore:
    """`FileStore.rekey`"""

    def test_shallow(self, host: Host, store: FileStore, directory: Path) -> None:
        """The content stays, the next generation has a new DEK, and older generations can be put back."""
        store.commit({"a": b"1"})
        store.rekey()
        store.commit({"b": b"2"})
        store.close()
        with host.open_state(VM) as again:
            assert again.load() == {**BLOBS, "a": b"1", "b": b"2"}
        assert [(e.generation, e.problem) for e in host.history(VM)] == [(4, ""), (3, ""), (2, ""), (1, "")]
        assert len(records_in(directory / f"states/{VM}.state")) == 2

    def test_deep(self, host: Host, store: FileStore, directory: Path) -> None:
        """Nothing that an older DEK opens stays in the file."""
        store.commit({"a": b"1"})
        before = records_in(directory / f"states/{VM}.state")
        store.rekey(deep=True)
        after = records_in(directory / f"states/{VM}.state")
        assert (len(before), len(after), before & after) == (1, 1, set())
        store.commit({"b": b"2"})
        store.close()
        with host.open_state(VM) as again:
            assert (again.generation, again.load()) == (4, {**BLOBS, "a": b"1", "b": b"2"})

    def test_another_provider(self, host: Host, store: FileStore, tmp_path: Path) -> None:
        """A state moves to another provider's key; one that is not there changes nothing."""
        host.providers.init("spare")
        verify(host, "spare", tmp_path / "spare.backup")
        with pytest.raises(ProviderMissing):
            store.rekey(provider="none")
        store.commit({"a": b"1"})
        store.rekey(provider="spare")
        store.close()
        with host.open_state(VM) as again:
            assert (again.provider, again.kdk_id.hex()) == ("spare", host.providers.show("spare").kdk_id)
            assert again.load() == {**BLOBS, "a": b"1"}


@pytest.fixture(scope="module")
def disk() -> Image:
    """The disk of a host with two providers and a state of three generations."""
    files = FaultyFiles()
    host = host_on(files)
    for name in ("main", "spare"):
        host.providers.init(name)
        host.providers.backup(name, Path(f"/{name}.backup"), PASSPHRASE)
        host.providers.verify(Path(f"/{name}.backup"), PASSPHRASE)
    with host.create_state(VM, "guest", BLOBS) as store:
        store.commit({"a": b"1"})
        store.commit({"a": b"2"})
    return next(files.images())


def rekeyed_images(disk: Image, *, deep: bool) -> Iterator[Image]:
    """What may be on the disk after power loss at every operation of a rekeying."""
    at = 0
    while True:
        files = FaultyFiles(disk, power_loss_at=at)
        try:
            with host_on(files, seed=3).open_state(VM) as store:
                store.rekey(deep=deep, provider="spare")
        except PowerLoss:
            yield from files.images(at, tears=4, limit=12)
            at += 1
            continue
        assert at > 3
        return


@pytest.mark.parametrize("deep", [False, True], ids=["shallow", "deep"])
def test_power_loss(disk: Image, *, deep: bool) -> None:
    """Power loss at any point leaves the state under the old key or under the new one, with its content."""
    found = set()
    for image in rekeyed_images(disk, deep=deep):
        host = host_on(FaultyFiles(image), seed=4)
        with host.open_state(VM) as store:
            found.add(store.provider)
            assert store.load() == {**BLOBS, "a": b"2"}
            store.rekey(deep=deep, provider="spare")
        with host.open_state(VM) as store:
            assert (store.provider, store.load()) == ("spare", {**BLOBS, "a": b"2"})
    assert found == {"main", "spare"}


def error_at(bad: int, number: int, _: str) -> OSError | None:
    """An error at one operation."""
    return OSError(5, "Input/output error") if number == bad else None


@pytest.mark.parametrize("deep", [False, True], ids=["shallow", "deep"])
def test_io_errors(disk: Image, *, deep: bool) -> None:
    """An I/O error anywhere is reported, and the store goes on with what was acknowledged."""
    failed = 0
    for at in range(40):
        files = FaultyFiles(disk, failures=partial(error_at, at))
        host = host_on(files, seed=5)
        try:
            with host.open_state(VM) as store:
                try:
                    store.rekey(deep=deep, provider="spare")
                except StoreUnavailable:
                    failed += 1
                store.commit({"b": b"3"})
        except NvstoreError:  # at opening, or at closing
            failed += 1
        with contextlib.suppress(NvstoreError):  # what opening puts right could not be noted
            host.open_state(VM).close()
        with host.open_state(VM) as store:
            assert store.load() in ({**BLOBS, "a": b"2", "b": b"3"}, {**BLOBS, "a": b"2"})
    assert failed > 2


class TestRotation:
    """A provider's key is rotated in two phases, and no VM is left behind."""

    def rotate(self, host: Host, tmp_path: Path) -> tuple[str, str]:
        """Rotate `main` up to its promotion; the old key and the new one."""
        old = host.providers.show("main").kdk_id
        new = host.rotations.begin("main").hex()
        verify(host, "main", tmp_path / f"{new}.backup")
        host.rotations.promote("main")
        return old, new

    def test_phases(self, host: Host, tmp_path: Path) -> None:
        """Nothing is written under the successor before its backup was verified."""
        host.create_state(VM, "guest", BLOBS).close()
        old = host.providers.show("main").kdk_id
        new = host.rotations.begin("main")
        status = host.providers.show("main")
        assert (status.state, status.kdk_id, status.successor) == ("rotating", old, new.hex())
        with pytest.raises(RotationRefused, match=f"no verified backup.*{new.hex()}"):
            host.rotations.promote("main")
        host.create_state(UUID(int=5), "other", BLOBS).close()
        assert host.show_state("other").kdk_id == old
        verify(host, "main", tmp_path / "both.backup")
        host.rotations.promote("main")
        assert host.providers.show("main").kdk_id == new.hex()
        assert any("rekey" in warning for warning in host.providers.show("main").warnings)
        assert host.rekeying.stale() == ["guest", "other"]
        report = host.rekeying.rekey(host.rekeying.stale())
        assert (report.done, report.busy, report.failed) == (["guest", "other"], [], [])
        assert host.rekeying.stale() == []
        assert {s.kdk_id for s in host.list_states()} == {new.hex()}
        after = host.providers.show("main")
        assert after.state == "active"
        assert [w for w in after.warnings if "before the key" not in w] == []
        verify(host, "main", tmp_path / "after.backup")
        assert host.providers.show("main").warnings == []
        with host.open_state(VM) as store:
            assert store.load() == BLOBS

    def test_resumed(self, host: Host, tmp_path: Path) -> None:
        """What was not reached stays stale, opens all the same, and is all that the next run does."""
        for number in range(4):
            host.create_state(UUID(int=number), f"vm{number}", BLOBS).close()
        self.rotate(host, tmp_path)
        host.rekeying.rekey(["vm1", str(UUID(int=2))])
        assert host.rekeying.stale() == ["vm0", "vm3"]
        assert host.providers.show("main").state == "rotating"
        for number in range(4):
            host.open_state(f"vm{number}").close()
        assert host.rekeying.rekey(host.rekeying.stale()).done == ["vm0", "vm3"]
        assert host.providers.show("main").state == "active"

    def test_in_use(self, host: Host, tmp_path: Path) -> None:
        """A state that is open is left to whoever has it open, and writes on without noticing."""
        old, new = "", ""
        with host.create_state(VM, "guest", BLOBS) as store:
            old, new = self.rotate(host, tmp_path)
            store.commit({"a": b"1"})
            assert store.kdk_id.hex() == old
            assert host.rekeying.rekey(["guest"]).busy == ["guest"]

            def ask(name: str) -> bool:
                assert name == "guest"
                store.rekey()
                return True

            assert host.rekeying.rekey(["guest"], in_use=ask).done == ["guest"]
            store.commit({"a": b"2"})
            assert store.kdk_id.hex() == new
        with host.open_state(VM) as again:
            assert again.load() == {**BLOBS, "a": b"2"}

    def test_abandoned(self, host: Host) -> None:
        """Before it is promoted, a rotation can be given up; afterwards not."""
        before = host.providers.show("main")
        host.rotations.begin("main")
        host.rotations.abandon("main")
        after = host.providers.show("main")
        assert (after.state, after.kdk_id, after.keys) == ("active", before.kdk_id, before.keys)
        with pytest.raises(StepRefused):
            host.rotations.abandon("main")

    def test_abandoned_too_late(self, host: Host, tmp_path: Path) -> None:
        """A promoted key may have encrypted something."""
        host.create_state(VM, "guest", BLOBS).close()
        self.rotate(host, tmp_path)
        for operation in (host.rotations.abandon, host.rotations.promote):
            with pytest.raises(RotationRefused):
                operation("main")

    def test_retired(self, host: Host, tmp_path: Path) -> None:
        """An older key is destroyed only when not even the history of a state needs it."""
        host.create_state(VM, "guest", BLOBS).close()
        old, new = self.rotate(host, tmp_path)
        host.rekeying.rekey(["guest"])
        with pytest.raises(KeyInUse, match="guest"):
            host.rotations.retire("main", bytes.fromhex(old))
        with pytest.raises(KeyInUse, match="itself"):
            host.rotations.retire("main", bytes.fromhex(new))
        assert host.rekeying.stale(deep=True) == ["guest"]
        host.rekeying.rekey(["guest"], deep=True)
        host.rotations.retire("main", bytes.fromhex(old))
        assert host.providers.show("main").keys == [new]
        with pytest.raises(KeyMissing, match=f"{old}.*main.backup"):
            host.providers.key("main", bytes.fromhex(old))
        with host.open_state(VM) as store:
            assert store.load() == BLOBS

    def test_passphrase(self, tmp_path: Path) -> None:
        """The successor is sealed as the current key is; another process unlocks both."""
        host = host_at(tmp_path / "sealed")
        host.providers.init("main", passphrase=PASSPHRASE)
        verify(host, "main", tmp_path / "first.backup")
        new = host.rotations.begin("main")
        again = host_at(tmp_path / "sealed")
        with pytest.raises(ProviderLocked):
            again.providers.key("main", new)
        again.providers.unlock("main", PASSPHRASE)
        assert again.providers.key("main", new) == host.providers.key("main", new)

    def test_an_older_backup(self, host: Host, tmp_path: Path) -> None:
        """A backup from before a rotation does not turn it back, and is not good enough any more."""
        host.create_state(VM, "guest", BLOBS).close()
        _old, new = self.rotate(host, tmp_path)
        with pytest.raises(WrongKey, match="before the last rotation"):
            host.providers.verify(tmp_path / "main.backup", PASSPHRASE)
        host.providers.restore(tmp_path / f"{new}.backup", PASSPHRASE)
        assert host.providers.show("main").kdk_id == new


class TestMoving:
    """VMs leave a provider that is to go."""

    def test_to_another_provider(self, host: Host, tmp_path: Path) -> None:
        """After that, the old provider can be deleted."""
        host.create_state(VM, "guest", BLOBS).close()
        host.providers.init("spare")
        with pytest.raises(ProviderUnverified):
            host.rekeying.rekey(["guest"], provider="spare")
        verify(host, "spare", tmp_path / "spare.backup")
        assert host.rekeying.rekey(["guest"], provider="spare", deep=True).done == ["guest"]
        assert host.show_state("guest").provider == "spare"
        host.steps.disable("main")
        host.steps.schedule_deletion("main")
        assert host.providers.show("main").state == "pending-deletion"

    def test_a_state_that_does_not_open(self, host: Host, directory: Path) -> None:
        """It is left alone, with its error; the others are rekeyed."""
        host.create_state(VM, "bad", BLOBS).close()
        host.create_state(UUID(int=5), "good", BLOBS).close()
        (directory / f"marks/{VM}.mark").unlink()
        report = host.rekeying.rekey(["bad", "good"])
        assert (report.done, report.busy) == (["good"], [])
        assert report.failed[0][0] == "bad"
        assert "high-water mark" in report.failed[0][1]
        with pytest.raises(UnknownState):
            host.rekeying.rekey(["none"])


def test_shredding(host: Host, directory: Path) -> None:
    """The state is gone here; what a copy of it needs, and who holds that, is told."""
    host.create_state(VM, "guest", BLOBS).close()
    state = directory / f"states/{VM}.state"
    copy = state.read_bytes()
    kdk_id = host.providers.show("main").kdk_id
    report = host.rekeying.shred("guest")
    assert not state.exists()
    assert report.kdk_ids == [kdk_id]
    assert any("main.backup" in holder for holder in report.holders)
    assert "not covered" in "\n".join(report.lines())
    state.write_bytes(copy)  # the statement is honest: a copy still opens
    with host.open_state(VM, adopt=True) as store:
        assert store.load() == BLOBS
