"""Rekeying: a state under another key, without its guest noticing, whatever happens meanwhile."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from nvstore import FileStore, Host, NvstoreError, ProviderMissing, StoreUnavailable
from nvstore.envelope import read_record
from nvstore.testing import FaultyFiles, Image, PowerLoss
from tests.nvstore.conftest import BLOBS, PASSPHRASE, VM, verify
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
        with host.open_state(VM) as store:
            assert store.load() in ({**BLOBS, "a": b"2", "b": b"3"}, {**BLOBS, "a": b"2"})
    assert failed > 2
