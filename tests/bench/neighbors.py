"""
How long a guest's GetRandom takes while its neighbors are noisy and hostile: one daemon, one machine.

Eight noisy guests send one command at a time, each of another kind, as fast as they are answered.
Two hostile ones do what no QEMU does: they send many commands at once and do not read the answers,
leave while costly commands wait, send half a command, and connect and disconnect as fast as they can.
Each guest is a process of its own; all of them take their share of the same processors.
"""

import contextlib
import math
import multiprocessing
import os
import select
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.bench.memory import Guest, serving
from tests.bench.workloads import (
    OWNER,
    children,
    define,
    flush_new,
    primaries,
    request,
    signing,
    start,
)
from tests.objects import SIGN_RSA, STORAGE_ECC
from vtpm.spec.constants import TPM_ALG

ROUNDS: Final = 1000
PAUSE: Final = 0.001
"""Seconds between two commands of the guest that is measured."""

GOAL: Final = 0.010
"""Seconds below which the 99th percentile is to be, on an idle machine with two processors."""

GET_RANDOM: Final = request("get_random", bytes_requested=32)
SELF_TEST: Final = request("self_test", full_test=True)
MANY: Final = 1 << 16


def loop(
    prepare: Callable[[Any], bytes], after: Callable[[Any, bytes], None] | None = None
) -> Callable[[Path], None]:
    """A guest that sends one command again and again."""

    def run(path: Path) -> None:
        guest = Guest(path)
        start(guest)
        octets = prepare(guest)
        while True:
            response = guest.send(octets)
            if after is not None and response[6:10] == bytes(4):
                after(guest, response)

    return run


def write_nv(guest: Guest) -> bytes:
    """NV_Write of 64 octets."""
    return request("nv_write", OWNER, define(guest), data=bytes(64), offset=0)


def hash_much(_: Guest) -> bytes:
    """Hash of as much as a command takes."""
    return request("hash", data=bytes(1024), hash_alg=TPM_ALG.SHA512, hierarchy=OWNER)


NOISY: Final = [
    loop(lambda _: SELF_TEST),
    loop(lambda _: SELF_TEST),
    loop(children(SIGN_RSA)),
    loop(primaries(STORAGE_ECC), flush_new),
    loop(signing(SIGN_RSA)),
    loop(write_nv),
    loop(write_nv),
    loop(hash_much),
]


def stuff(guest: Guest, octets: bytes) -> None:
    """Send many commands, until the daemon takes no more."""
    guest.data.settimeout(0)
    with contextlib.suppress(BlockingIOError):
        rest = memoryview(octets * (MANY // len(octets)))
        while rest:
            rest = rest[guest.data.send(rest) :]


def pipeline(path: Path) -> None:
    """Keep as many light commands waiting as the sockets hold, and read only when nothing more goes in."""
    guest = Guest(path)
    start(guest)
    while True:
        stuff(guest, GET_RANDOM[:10] + bytes.fromhex("0008"))
        select.select([guest.data], [], [])
        guest.data.recv(MANY)


def storm(path: Path) -> None:
    """Costly commands and half a command that are left behind, then connections without end."""
    while True:
        with contextlib.suppress(OSError, RuntimeError):
            guest = Guest(path)
            start(guest)
            stuff(guest, SELF_TEST)
            time.sleep(0.05)
            guest.close()
            guest = Guest(path)
            guest.data.sendall(SELF_TEST[:7])
            guest.close()
            for _ in range(50):
                with socket.socket(socket.AF_UNIX) as sock:
                    sock.connect(os.fspath(path))


HOSTILE: Final = [pipeline, storm]


@contextmanager
def running(bodies: list[Callable[[Path], None]], paths: list[Path]) -> Iterator[None]:
    """Guests as processes."""
    processes = [
        multiprocessing.get_context("fork").Process(target=body, args=(path,), daemon=True)
        for body, path in zip(bodies, paths, strict=True)
    ]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()


def latencies(guest: Guest, rounds: int = ROUNDS) -> list[float]:
    """Seconds of every command of the guest that is measured, sorted."""
    times = []
    for _ in range(rounds):
        time.sleep(PAUSE)
        begun = time.perf_counter()
        response = guest.send(GET_RANDOM)
        times.append(time.perf_counter() - begun)
        assert response[6:10] == bytes(4)
    return sorted(times)


def percentile(ordered: list[float], part: float) -> float:
    """The smallest value that this part of the values does not exceed."""
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]


def in_words(what: str, ordered: list[float]) -> str:
    """A line of figures, in milliseconds."""
    return (
        f"a neighbor's GetRandom {what}: median {statistics.median(ordered) * 1e3:.2f} ms, "
        f"p99 {percentile(ordered, 0.99) * 1e3:.2f} ms, longest {ordered[-1] * 1e3:.2f} ms"
    )


def describe_neighbors(rounds: int = ROUNDS) -> Iterator[str]:
    """The figures in words, one line each."""
    bodies = [*NOISY, *HOSTILE]
    yield f"load of the machine before: {os.getloadavg()[0]:.1f}; goal of p99: {GOAL * 1e3:.0f} ms"
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name) / "host"
        with serving(directory, len(bodies) + 1):
            paths = [directory / "run" / f"vm-{number}.sock" for number in range(len(bodies) + 1)]
            guest = Guest(paths.pop())
            start(guest)
            for what, some in (
                ("alone", []),
                ("beside one noisy guest", NOISY[:1]),
                ("beside eight noisy guests", NOISY),
                ("beside eight noisy and two hostile guests", bodies),
            ):
                with running(some, paths[: len(some)]):
                    time.sleep(1)  # all of them have begun
                    yield in_words(what, latencies(guest, rounds))
                time.sleep(1)  # and ended
            guest.close()
