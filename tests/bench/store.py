"""What durability costs: a commit beside a bare flush and beside swtpm, opening a state, its size on disk."""

import os
import statistics
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from nvstore import Cost, FileStore, Host
from tests.bench.channel import Channel, start_swtpm
from tests.bench.rekey import STATE_SIZE
from tests.bench.workloads import INDEX, OWNER, Remote, define, request, start

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
    swtpm: list[float]
    """An NV_Write to swtpm, there and back; swtpm itself flushes nothing."""
    flushed: list[float]
    """The same, until its state and its directory were flushed."""


def bare_flush(path: Path, record: int) -> tuple[int, list[int]]:
    """A file to write records into, as wide as a state's, and where they go."""
    slots = [PAGE + number * 4 * record for number in range(4)]
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.pwrite(descriptor, bytes(slots[-1] + record), 0)
    os.fsync(descriptor)
    return descriptor, slots


def flush_swtpm(state: Path) -> None:
    """Make what swtpm wrote durable: its state, then its directory."""
    for path in (state / "tpm2-00.permall", state):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        os.fdatasync(descriptor)
        os.close(descriptor)


def time_nv_write(channel: Channel, flushed: Path | None = None) -> float:
    """Seconds of an NV_Write of 64 new octets, and of flushing the state in a directory if one is given."""
    octets = request("nv_write", OWNER, INDEX, data=os.urandom(64), offset=0)
    began = time.perf_counter()
    response = channel.send(octets)
    if flushed:
        flush_swtpm(flushed)
    spent = time.perf_counter() - began
    if response[6:10] != bytes(4):
        raise RuntimeError(f"{channel.name} answers NV_Write with 0x{response[6:10].hex()}")
    return spent


@contextmanager
def swtpm_with_index(directory: Path, core: int | None) -> Iterator[Channel]:
    """Run swtpm on a core, with its state below this directory, which is made, and an Index of 64 octets."""
    directory.mkdir()
    channel = start_swtpm(directory, core)
    try:
        start(Remote(channel))
        define(Remote(channel))
        yield channel
    finally:
        channel.close()


def measure_store(directory: Path, rounds: int = 200, core: int | None = None) -> Costs:
    """Commits of one changed Index and bare flushes in turn, then NV_Writes to swtpm, on this disk."""
    host = Host(directory / "store", passphrase_cost=CHEAP, backup_cost=CHEAP)
    host.providers.init("bench")
    blobs = {"permanent": os.urandom(STATE_SIZE), CHANGED: bytes(64)}
    vm = uuid.UUID(int=1)
    swtpm: list[float] = []
    flushed: list[float] = []
    with (
        host.create_state(vm, "bench", blobs, allow_unverified=True) as store,
        swtpm_with_index(directory / "unflushed", core) as theirs,
        swtpm_with_index(directory / "flushed", core) as theirs_flushed,
    ):
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
        for _ in range(rounds):  # after ours, which would pay for journal entries of these files
            swtpm.append(time_nv_write(theirs))
            flushed.append(time_nv_write(theirs_flushed, directory / "flushed/swtpm"))
    opening = [time_opening(host, vm) for _ in range(20)]
    return Costs(bare, commit, opening, record, host.show_state(vm).size, swtpm, flushed)


def time_opening(host: Host, vm: uuid.UUID) -> float:
    """Seconds to open a state, read, verified and decrypted, under a key that is at hand."""
    began = time.perf_counter()
    store: FileStore = host.open_state(vm)
    spent = time.perf_counter() - began
    store.close()
    return spent


def describe_store(core: int | None = None) -> list[str]:
    """The figures in words, one line each."""
    with tempfile.TemporaryDirectory() as directory:
        costs = measure_store(Path(directory), core=core)
    bare, commit = statistics.median(costs.bare) * 1e6, statistics.median(costs.commit) * 1e6
    paired = statistics.median(ours / theirs for ours, theirs in zip(costs.commit, costs.bare, strict=True))
    minima = f"minima {min(costs.commit) * 1e6:.0f} and {min(costs.bare) * 1e6:.0f} µs"
    beside = []
    for what, theirs in (("unflushed", costs.swtpm), ("flushed", costs.flushed)):
        median, least = statistics.median(theirs) * 1e6, min(theirs) * 1e6
        beside.append(
            f"commit, in process, beside a round trip of swtpm's NV_Write, {what}:"
            f" {commit / median:.2f} times its median, {median:.0f} µs;"
            f" {min(costs.commit) * 1e6 / least:.2f} times its minimum, {least:.0f} µs"
        )
    beside_bare = f"{commit / bare:.2f} times a bare flush, {paired:.2f} times the one just before it"
    return [
        f"commit, durable: median {commit:.0f} µs, {beside_bare}; {minima}",
        *beside,
        f"opening of a state: median {statistics.median(costs.opening) * 1e3:.1f} ms",
        f"size on disk of a state of {STATE_SIZE} octets, four generations: {costs.size} octets",
    ]
