"""A host with one verified provider, on a real directory; and a VM on it."""

import itertools
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from nvstore import Cost, FileStore, Host, MemoryStore, Store, box
from nvstore.keys import HOST_SEAL
from nvstore.provider.provider import read_provider
from nvstore.seal.sealing_key import Binding

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


def rewrite(host: Host, provider: str, **changes: Any) -> None:
    """Change members of a provider's file as somebody would who has its keys."""
    chain, ring = host.providers._chain, host.providers._ring
    chain.open(provider)
    path = host.directory / f"providers/{provider}.provider"
    document = json.loads(path.read_text()) | changes
    after = read_provider(json.dumps(document).encode(), path)
    keys = tuple(
        replace(
            key,
            seals=ring.seal(
                ring.sealing_of(provider, key),
                provider,
                ring[key.entry.kdk_id],
                require_host_tpm=after.require_host_tpm,
            ),
        )
        for key in after.keys
    )
    chain.write(replace(after, keys=keys))


def as_first_version(host: Host, provider: str) -> Path:
    """Write a provider's file as the first version wrote it: with one seal a key, and not authenticated."""
    path = host.directory / f"providers/{provider}.provider"
    document = json.loads(path.read_text())
    ring, keys = host.providers._ring, []
    for key in host.providers._chain.open(provider).keys:
        (sealing,) = ring.sealing_of(provider, key)
        kdk_id = key.entry.kdk_id
        associated = Binding(provider, kdk_id, require_host_tpm=False, version=1).associated
        sealed = box.seal(sealing.key, HOST_SEAL, os.urandom(32), ring[kdk_id], associated)
        entry = {"kdk_id": kdk_id.hex(), "epoch": key.entry.epoch, "created": key.entry.created}
        keys.append({**entry, "seal": {**sealing.description, "box": sealed.hex()}})
    backups = [
        {name: backup[name] for name in ("path", "host", "kdk_ids", "exported", "verified")}
        for backup in document["backups"]
    ]
    old = {name: document[name] for name in ("format", "name", "current")}
    path.write_text(json.dumps({**old, "version": 1, "keys": keys, "backups": backups}))
    return path


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
