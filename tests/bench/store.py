"""What durability costs: a commit beside a bare flush of the same size, opening a state, its size on disk."""

import os
import statistics
import tempfile
import time
import uuid
from pathlib import Path
from typing import NamedTuple

from nvstore import Cost, FileStore, Host
from tests.bench.rekey import STATE_SIZE

CHEAP = Cost(64, 1, 1)
PAGE = 4096
CHANGED = "nv/01800001"


class Costs(NamedTuple):
    """Seconds and octets."""

    bare: list[float]
    commit: list[float]
    opening: list[float]
    record: int
    """Octets of one record, which is what a bare flush writes, too."""
    size: int
    """Octets of the whole file of a state."""


def bare_flush(path: Path, record: int) -> tuple[int, list[int]]:
    """A file to write records into, as wide as a state's, and where they go."""
    slots = [PAGE + number * 4 * record for number in range(4)]
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.pwrite(descriptor, bytes(slots[-1] + record), 0)
    os.fsync(descriptor)
    return descriptor, slots


def measure_store(directory: Path, rounds: int = 200) -> Costs:
    """Commits of one changed NV Index and bare flushes in turn, on the disk of this directory."""
    host = Host(directory / "store", passphrase_cost=CHEAP, backup_cost=CHEAP)
    host.providers.init("bench")
    blobs = {"permanent": os.urandom(STATE_SIZE), CHANGED: bytes(64)}
    vm = uuid.UUID(int=1)
    with host.create_state(vm, "bench", blobs, allow_unverified=True) as store:
        record = -(-(STATE_SIZE + 1000) // PAGE) * PAGE
        descriptor, slots = bare_flush(directory / "bare", record)
        bare, commit = [], []
        for number in range(rounds):
            content = os.urandom(record)
            began = time.perf_counter()
            os.pwrite(descriptor, content, slots[number % len(slots)])
            os.fdatasync(descriptor)
            bare.append(time.perf_counter() - began)
            change = {CHANGED: os.urandom(64)}
            began = time.perf_counter()
            store.commit(change)
            commit.append(time.perf_counter() - began)
        os.close(descriptor)
    opening = [time_opening(host, vm) for _ in range(20)]
    return Costs(bare, commit, opening, record, host.show_state(vm).size)


def time_opening(host: Host, vm: uuid.UUID) -> float:
    """Seconds to open a state, read, verified and decrypted, under a key that is at hand."""
    began = time.perf_counter()
    store: FileStore = host.open_state(vm)
    spent = time.perf_counter() - began
    store.close()
    return spent


def describe_store() -> list[str]:
    """The figures in words, one line each."""
    with tempfile.TemporaryDirectory() as directory:
        costs = measure_store(Path(directory))
    bare, commit = statistics.median(costs.bare) * 1e6, statistics.median(costs.commit) * 1e6
    minima = f"minima {min(costs.commit) * 1e6:.0f} and {min(costs.bare) * 1e6:.0f} µs"
    return [
        f"commit, durable: median {commit:.0f} µs, {commit / bare:.2f} times a bare flush; {minima}",
        f"opening of a state: median {statistics.median(costs.opening) * 1e3:.1f} ms",
        f"size on disk of a state of {STATE_SIZE} octets, four generations: {costs.size} octets",
    ]
