"""
Kill writers and TPMs with SIGKILL until the time is over; the last line sums up.

Each cycle forks a process that opens its VM's state and writes, noting in a journal what was acknowledged.
After a while it is killed, at any instruction.
Then the state must open with what the journal ends in, or the one write that was under way, and no mixture.
"""

import argparse
import os
import random
import select
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from nvstore import Cost, Host, NvstoreError
from tests.soak.counter import CounterTpm, state_with_counter

STORE, TPM = UUID(int=1), UUID(int=2)
CHEAP = Cost(64, 1, 1)
LONGEST = 0.03
"""Seconds after which a writer is killed at the latest."""

WORKING = 0.7
"""The part of the writers that are killed at work, and not while they open their state."""

PATIENCE = 10.0
"""Seconds after which a writer that writes nothing is killed nevertheless."""

SIZES = 40
"""Sizes of records that follow each other: some fit their slot, some need a new file."""


def content(number: int) -> bytes:
    """What a store holds at a count, of a size that changes."""
    return number.to_bytes(8) * (1 + number % SIZES * 700)


def write_store(directory: Path, journal: int) -> None:
    """Commit as fast as possible, noting each count once it is durable."""
    with Host(directory).open_state(STORE) as store:
        number = int.from_bytes(store.load()["count"])
        while True:
            number += 1
            store.commit({"count": number.to_bytes(8), "copy": content(number)})
            os.write(journal, number.to_bytes(8))


def check_store(directory: Path) -> int:
    """The count that is there, which must be whole."""
    with Host(directory).open_state(STORE) as store:
        blobs = store.load()
        number = int.from_bytes(blobs["count"])
        assert blobs["copy"] == content(number), f"count {number} is mixed with another one"
        assert store.generation == number + 1, f"count {number} is generation {store.generation}"
        return number


def write_tpm(directory: Path, journal: int) -> None:
    """Increment an NV counter as fast as possible, noting each response."""
    tpm = CounterTpm(lambda: Host(directory).open_state(TPM))
    while True:
        os.write(journal, tpm.increment().to_bytes(8))


def check_tpm(directory: Path) -> int:
    """The value of the counter."""
    tpm = CounterTpm(lambda: Host(directory).open_state(TPM))
    try:
        return tpm.value()
    finally:
        tpm.close()


def cycle(directory: Path, write: Callable[[Path, int], None], delay: float, *, at_work: bool) -> list[int]:
    """Fork a writer, kill it after a while, counted from its first write if `at_work`; give its journal."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            write(directory, writer)
        finally:
            os._exit(1)  # it only ends by itself if it fails
    os.close(writer)
    if at_work:
        select.select([reader], [], [], PATIENCE)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    with os.fdopen(reader, "rb") as journal:
        octets = journal.read()
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the writer failed"
    return [int.from_bytes(octets[at : at + 8]) for at in range(0, len(octets) - 7, 8)]


def soak(directory: Path, seconds: float, seed: int) -> str:
    """Kill until the time is over; the summary."""
    rng = random.Random(seed)
    host = Host(directory, passphrase_cost=CHEAP, backup_cost=CHEAP)
    host.providers.init("soak")
    blobs = {"count": bytes(8), "copy": content(0)}
    host.create_state(STORE, "store", blobs, allow_unverified=True).close()
    host.create_state(TPM, "tpm", state_with_counter(), allow_unverified=True).close()
    kinds = [(write_store, check_store), (write_tpm, check_tpm)]
    last = [check(directory) for _, check in kinds]
    kills = acknowledged = interrupted = 0
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        which = kills % len(kinds)
        write, check = kinds[which]
        journal = cycle(directory, write, rng.uniform(0, LONGEST), at_work=rng.random() < WORKING)
        kills += 1
        acknowledged += len(journal)
        newest = journal[-1] if journal else last[which]
        found = check(directory)
        assert newest <= found <= newest + 1, f"acknowledged {newest}, found {found}"
        interrupted += found != newest
        last[which] = found
    spent = time.monotonic() - began
    return (
        f"soak: {kills:,} kills in {spent:.0f} s, {acknowledged:,} acknowledged writes, none lost; "
        f"{interrupted:,} writes were durable before they could be acknowledged"
    )


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument(
        "--directory", type=Path, help="on the disk that is to be tried; a temporary one if not given"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak", dir=arguments.directory) as directory:
        try:
            print(soak(Path(directory) / "host", arguments.seconds, arguments.seed))
        except (AssertionError, NvstoreError) as error:
            print(f"soak: FAILED with --seed {arguments.seed}: {error}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
