"""
Every workload on swtpm and on this TPM, in turn, as ratios of minimum and median.

The client runs on one core and both servers on another, where there are two.
Commands alternate between the servers, so that whatever slows the machine slows both.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
import uuid
from pathlib import Path
from subprocess import run

from tests.bench.boots import describe_boots
from tests.bench.channel import Channel, start_swtpm
from tests.bench.memory import describe_memory, memory_of
from tests.bench.neighbors import describe_neighbors
from tests.bench.rekey import describe_rekey
from tests.bench.store import describe_store
from tests.bench.workloads import WORKLOADS, Remote, Workload, flush_all, start
from vtpm.wire.error import TPM_RC

VTPM = Path(sys.executable).with_name("vtpm")
MOST_TRIES = 100


def start_vtpm(directory: Path, core: int | None) -> Channel:
    """`vtpm serve` with one VM, under a provider that was backed up and verified."""
    base = [str(VTPM), "--state-dir", str(directory / "state"), "--run-dir", str(directory / "run")]
    passphrase = directory / "passphrase"
    passphrase.write_text(uuid.uuid4().hex)
    passphrase.chmod(0o600)
    backup = directory / "backup"
    secret = ["--passphrase-file", str(passphrase)]
    for command in (
        ["provider", "init", "bench"],
        ["provider", "backup", "bench", "--out", str(backup), *secret],
        ["provider", "verify", str(backup), *secret],
        ["create", "bench"],
    ):
        done = run([*base, *command], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"vtpm {' '.join(command)}: {done.stderr}")
    return Channel("vtpm", [*base, "serve"], directory / "run" / "bench.sock", core)


def send_until_taken(tpm: Remote, request: bytes) -> bytes:
    """Repeat a command while the answer is TPM_RC_RETRY, as clients do."""
    for _ in range(MOST_TRIES):
        response = tpm.send(request)
        if int.from_bytes(response[6:10], "big") != TPM_RC.RETRY:
            break
    return response


def measure(workload: Workload, servers: list[Remote]) -> list[list[float]]:
    """Seconds of every repetition, for each server."""
    for tpm in servers:
        flush_all(tpm)
    requests = [workload.prepare(tpm) for tpm in servers]
    times: list[list[float]] = [[] for _ in servers]
    for number in range(workload.rounds + 2):
        order = range(len(servers)) if number % 2 else reversed(range(len(servers)))
        for i in order:
            request = workload.vary(requests[i], number) if workload.vary else requests[i]
            begin = time.perf_counter()
            response = send_until_taken(servers[i], request)
            elapsed = time.perf_counter() - begin
            if response[6:10] != bytes(4):
                raise SystemExit(
                    f"{workload.name}: {servers[i].channel.name} answers 0x{response[6:10].hex()}"
                )
            if number >= 2:
                times[i].append(elapsed)
            if workload.after:
                workload.after(servers[i], response)
    return times


def main() -> None:
    """Measure, and print one line for each workload."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--only", default="", help="workloads whose name contains this")
    parser.add_argument("what", nargs="?", choices=["boots", "neighbors"], help="this instead of commands")
    parser.add_argument("--rounds", type=int, default=7, help="boots with each TPM (default: %(default)s)")
    given = parser.parse_args()
    only = given.only
    cores = sorted(os.sched_getaffinity(0))
    core = cores[-1] if len(cores) > 1 else None
    if core is not None:
        os.sched_setaffinity(0, {cores[0]})
    if given.what == "boots":
        print("\n".join(describe_boots(given.rounds, core)))
        return
    if given.what == "neighbors":
        report_neighbors(cores)
        return
    with tempfile.TemporaryDirectory(prefix="vtpm-bench-") as name:
        channels = [start_swtpm(Path(name), core), start_vtpm(Path(name), core)]
        try:
            for channel in channels:
                start(Remote(channel))
            report(only, channels)
            if not only:
                print(f"memory of swtpm after all that: {memory_of(channels[0].process.pid)}")
        finally:
            for channel in channels:
                channel.close()
    if not only:
        print("\n".join([*describe_memory(), *describe_store(core), *describe_rekey()]))
        report_neighbors(cores)


def report_neighbors(cores: list[int]) -> None:
    """How long a guest waits for others, on all processors."""
    os.sched_setaffinity(0, cores)
    for line in describe_neighbors():
        print(line, flush=True)


def report(only: str, channels: list[Channel]) -> None:
    """The table: microseconds of swtpm and of vtpm, and vtpm's as a multiple of swtpm's; then a summary."""
    ratios = {}
    heads = ["swtpm min", "median", "vtpm min", "median", "ratio min", "median"]
    print(f"{'microseconds':30}" + "".join(f" {head:>10}" for head in heads))
    for workload in WORKLOADS:
        if only not in workload.name:
            continue
        servers = [Remote(channel) for channel in channels]
        figures = [(min(t) * 1e6, statistics.median(t) * 1e6) for t in measure(workload, servers)]
        (theirs_min, theirs), (ours_min, ours) = figures
        print(
            f"{workload.name:30} {theirs_min:10.1f} {theirs:10.1f} {ours_min:10.1f} {ours:10.1f}"
            f" {ours_min / theirs_min:10.2f} {ours / theirs:10.2f}",
            flush=True,
        )
        ratios[workload.name] = ours / theirs
    if not ratios:
        raise SystemExit(f"no workload's name contains {only!r}; there are {[w.name for w in WORKLOADS]}")
    faster, slowest = sum(ratio < 1 for ratio in ratios.values()), max(ratios, key=ratios.__getitem__)
    print(
        f"medians: vtpm is faster in {faster} of {len(ratios)} workloads;"
        f" geometric mean of the ratios {statistics.geometric_mean(ratios.values()):.2f},"
        f" highest {ratios[slowest]:.2f} ({slowest})"
    )


if __name__ == "__main__":
    main()
