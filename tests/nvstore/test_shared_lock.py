"""The lock of a state, passed to the process that goes on with it: nvstore/files.py."""

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from nvstore import FileStore, Host, Locked


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host with the state of one VM."""
    host = Host(tmp_path / "host")
    host.providers.init("main")
    host.create_state(uuid4(), "vm", {"permanent": b"1"}, allow_unverified=True).close()
    return host


@pytest.fixture
def first(host: Host) -> Iterator[FileStore]:
    """A store that has committed."""
    store = host.open_state("vm")
    store.commit({"permanent": b"2"})
    yield store
    store.close()


def passed(store: FileStore) -> int:
    """What another process gets of a lock that is passed to it: the same open file, by another descriptor."""
    return os.dup(store.lock_descriptor)


def abandon(store: FileStore) -> None:
    """What the end of a process does to a store that it has open."""
    os.close(store.lock_descriptor)
    store._closed = True


class TestSharedLock:
    """Two processes hold one lock while the state passes from one to the other."""

    def test_passed_on(self, host: Host, first: FileStore) -> None:
        """The second goes on where the first one has stopped, and no third one gets in between."""
        second = host.open_state("vm", lock=passed(first))
        assert second.load() == {"permanent": b"2"}
        with pytest.raises(Locked):
            host.open_state("vm")
        second.take_over()
        abandon(first)

        with pytest.raises(Locked, match=str(os.getpid())):
            host.open_state("vm")
        second.commit({"permanent": b"3"})
        second.close()
        assert host.read_state("vm") == {"permanent": b"3"}
        host.open_state("vm").close()

    def test_not_taken(self, host: Host, first: FileStore) -> None:
        """A second one that fails leaves everything as it was, the record of the owner included."""
        owner = host.show_state("vm").owner
        before = {path: path.read_bytes() for path in host.directory.rglob("*") if path.is_file()}
        host.open_state("vm", lock=passed(first)).close()

        assert {path: path.read_bytes() for path in host.directory.rglob("*") if path.is_file()} == before
        assert host.show_state("vm").owner == owner != ""
        with pytest.raises(Locked):
            host.open_state("vm")
        first.commit({"permanent": b"3"})
        assert first.load() == {"permanent": b"3"}

    def test_not_held(self, host: Host, first: FileStore) -> None:
        """A descriptor that holds no lock opens nothing, though it be of the same file."""
        (lock,) = host.directory.glob("states/*.lock")
        other = os.open(lock, os.O_RDWR)
        with pytest.raises(Locked):
            host.open_state("vm", lock=other)
        os.close(other)
        assert first.load() == {"permanent": b"2"}

    def test_another_file(self, host: Host, first: FileStore, tmp_path: Path) -> None:
        """Nor does one of another file, nor one that is closed."""
        other = os.open(tmp_path / "other", os.O_RDWR | os.O_CREAT)
        with pytest.raises(Locked):
            host.open_state("vm", lock=other)
        os.close(other)
        with pytest.raises(Locked):
            host.open_state("vm", lock=other)
        assert first.load() == {"permanent": b"2"}
