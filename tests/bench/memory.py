"""How much memory a daemon takes with one running TPM, and how much more for each further one."""

import os
import socket
import struct
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from nvstore import Cost, Host
from tests.bench.channel import CMD_INIT, CMD_SET_DATAFD, START_SECONDS
from tests.bench.workloads import define, prepare_extend, start
from tests.objects import STORAGE_ECC, primary
from tests.scenarios import Caller
from vtpm import Tpm

VTPM = Path(sys.executable).with_name("vtpm")
CHEAP = Cost(64, 1, 1)
MIB = 1 << 20
FIGURE = struct.Struct(">I")
PERSISTENT = 0x81000001


class Memory(NamedTuple):
    """Octets of a process: its resident set, and its share of what it has in common with others."""

    resident: int
    proportional: int

    def __str__(self) -> str:
        return f"{self.resident / MIB:.1f} MiB resident, {self.proportional / MIB:.1f} MiB proportional"


def memory_of(pid: int) -> Memory:
    """What the kernel says."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kib = {name: int(rest.split()[0]) for name, rest in (line.split(":", 1) for line in lines)}
    return Memory(kib["Rss"] << 10, kib["Pss"] << 10)


class Guest(Caller):
    """The TPM of one VM, powered on through its control socket as QEMU does."""

    def __init__(self, path: Path) -> None:
        self.control = socket.socket(socket.AF_UNIX)
        self.control.connect(os.fspath(path))
        self.data, theirs = socket.socketpair()
        socket.send_fds(self.control, [FIGURE.pack(CMD_SET_DATAFD)], [theirs.fileno()])
        theirs.close()
        self._expect_success()
        self.control.sendall(FIGURE.pack(CMD_INIT) + bytes(4))
        self._expect_success()

    def _expect_success(self) -> None:
        result = self.control.recv(4)
        if result != bytes(4):
            raise RuntimeError(f"a control command was refused: 0x{result.hex()}")

    def send(self, request: bytes, locality: int = 0) -> bytes:
        """One command, at locality 0; its response comes in one piece."""
        assert locality == 0
        self.data.sendall(request)
        return self.data.recv(65536)

    def name_of(self, handle: int) -> bytes:
        """Passwords need no Names."""
        return handle.to_bytes(4, "big")

    def boot(self) -> None:
        """What firmware and an operating system do at least: measure, keep a value and a key."""
        start(self)
        for _ in range(24):
            self.send(prepare_extend(self))
        define(self)
        assert (
            self.evict_control(0x40000001, primary(self, STORAGE_ECC), persistent_handle=PERSISTENT).rc == 0
        )

    def close(self) -> None:
        """Leave it."""
        self.control.close()
        self.data.close()


@contextmanager
def serving(directory: Path, vms: int) -> Iterator[int]:
    """`vtpm serve` for so many VMs; the id of its process."""
    directory.mkdir()
    host = Host(directory / "state", passphrase_cost=CHEAP, backup_cost=CHEAP)
    host.providers.init("bench")
    for number in range(vms):
        blobs = {name: blob for name, blob in Tpm.manufacture(os.urandom).changes().items() if blob}
        vm = uuid.UUID(int=number)
        host.create_state(vm, f"vm-{number}", blobs, provider="bench", allow_unverified=True).close()
    places = ["--state-dir", str(directory / "state"), "--run-dir", str(directory / "run")]
    with subprocess.Popen(
        [str(VTPM), *places, "serve", "--stop-guests"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + START_SECONDS
        while not (directory / "run" / f"vm-{vms - 1}.sock").exists():
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise RuntimeError("the daemon serves no VMs")
            time.sleep(0.01)
        try:
            yield process.pid
        finally:
            process.terminate()


def measure_memory(directory: Path, vms: int) -> Memory:
    """The memory of a daemon that serves so many VMs, all of which run."""
    with serving(directory, vms) as pid:
        guests = [Guest(directory / "run" / f"vm-{number}.sock") for number in range(vms)]
        for guest in guests:
            guest.boot()
        found = memory_of(pid)
        for guest in guests:
            guest.close()
    return found


def describe_memory(most: int = 51) -> list[str]:
    """The figures in words, one line each."""
    with tempfile.TemporaryDirectory() as directory:
        one, all_of_them = (measure_memory(Path(directory) / str(vms), vms) for vms in (1, most))
    each = (all_of_them.proportional - one.proportional) / (most - 1) / MIB
    return [
        f"memory of a daemon with 1 running TPM: {one}",
        f"memory of a daemon with {most} running TPMs: {all_of_them}; {each:.2f} MiB for each after one",
    ]
