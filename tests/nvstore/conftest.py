"""A host with one verified provider, on a real directory; and a VM on it."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest

from nvstore import Cost, FileStore, Host, MemoryStore, Store

CHEAP = Cost(64, 1, 1)
VM = UUID("6c1f3d6e-54d0-4d6a-8f0e-3b1d4a7c9e21")
OTHER = UUID("0f0e0d0c-0b0a-4908-8706-050403020100")
PASSPHRASE = b"correct horse battery"
BLOBS = {"permanent": b"seed" * 16, "nv/01800001": b"\x01" * 100}


def host_at(directory: Path) -> Host:
    """The host of a directory, as another process would see it."""
    return Host(directory, passphrase_cost=CHEAP, backup_cost=CHEAP)


def verify(host: Host, provider: str, out: Path) -> None:
    """Back a provider up and verify the backup."""
    host.providers.backup(provider, out, PASSPHRASE)
    host.providers.verify(out, PASSPHRASE)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where the host keeps everything."""
    return tmp_path / "host"


@pytest.fixture
def host(directory: Path, tmp_path: Path) -> Host:
    """A host whose provider `main` may be used."""
    host = host_at(directory)
    host.providers.init("main")
    verify(host, "main", tmp_path / "main.backup")
    return host


@pytest.fixture
def store(host: Host) -> Iterator[FileStore]:
    """The open state of a VM, at generation 1."""
    with host.create_state(VM, "guest", BLOBS) as store:
        yield store


@pytest.fixture
def state(host: Host, directory: Path) -> Path:
    """The file of a closed state with five generations."""
    with host.create_state(VM, "guest", BLOBS) as store:
        for i in range(2, 6):
            store.commit({"nv/01800001": bytes([i]) * 100})
    return directory / "states" / f"{VM}.state"


@pytest.fixture(params=["memory", "file"])
def reopen(request: pytest.FixtureRequest) -> Callable[[], Store]:
    """Opens a store with BLOBS; for the file, a second call opens what the first one left."""
    if request.param == "memory":
        return lambda: MemoryStore(BLOBS)
    host: Host = request.getfixturevalue("host")
    calls = itertools.count()
    return lambda: host.open_state(VM) if next(calls) else host.create_state(VM, "guest", BLOBS)
