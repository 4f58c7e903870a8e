"""The daemon is killed while a guest writes: what was acknowledged is there afterwards."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vtpm.commands import COMMANDS
from vtpm.control.frames import HEADER
from vtpm.spec.constants import TPM_CC

pytestmark = pytest.mark.slow

VTPM = Path(sys.executable).with_name("vtpm")
LIMIT = 20.0
INDEX = 0x01800042
OWNER = 0x40000001
ATTRIBUTES = 0x02040004  # NO_DA: a kill is a failed try for an Index that is protected


def sessions(code: TPM_CC, handles: tuple[int, ...], parameters: bytes) -> bytes:
    """A command with an empty password."""
    area = bytes.fromhex("00000009 40000009 0000 01 0000")
    body = b"".join(handle.to_bytes(4) for handle in handles) + area + parameters
    return HEADER.pack(0x8002, HEADER.size + len(body), code) + body


STARTUP = bytes.fromhex("80010000000c000001440000")
DEFINE = sessions(
    TPM_CC.NV_DefineSpace,
    (OWNER,),
    bytes.fromhex("0000 000e")
    + INDEX.to_bytes(4)
    + bytes.fromhex("000b")
    + ATTRIBUTES.to_bytes(4)
    + bytes.fromhex("0000 0008"),
)
WRITE_PREFIX = bytes.fromhex("0008")
READ = sessions(TPM_CC.NV_Read, (INDEX, INDEX), bytes.fromhex("0008 0000"))


def write(value: int) -> bytes:
    """NV_Write of a number."""
    return sessions(TPM_CC.NV_Write, (INDEX, INDEX), WRITE_PREFIX + value.to_bytes(8) + bytes(2))


class Host:
    """An installation below one directory."""

    def __init__(self, directory: Path) -> None:
        self.places: list[str] = [
            "--state-dir",
            str(directory / "state"),
            "--run-dir",
            str(directory / "run"),
        ]
        self.socket = directory / "run" / "vm.sock"

    def vtpm(self, *words: str) -> str:
        """Run a command."""
        return subprocess.run([VTPM, *self.places, *words], check=True, capture_output=True, text=True).stdout

    @contextlib.contextmanager
    def daemon(self) -> Iterator["subprocess.Popen[str]"]:
        """The daemon, once it is ready."""
        command = [str(VTPM), *self.places, "serve"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline().startswith("ready")
                yield process
            finally:
                process.kill()


class Guest:
    """A guest whose TPM has power."""

    def __init__(self, path: Path) -> None:
        self.control = socket.socket(socket.AF_UNIX)
        self.control.settimeout(LIMIT)
        self.control.connect(str(path))
        self.data, theirs = socket.socketpair()
        self.data.settimeout(LIMIT)
        socket.send_fds(self.control, [bytes.fromhex("00000010")], [theirs.fileno()])
        theirs.close()
        assert self.control.recv(4) == bytes(4)
        self.control.sendall(bytes.fromhex("0000000200000000"))
        assert self.control.recv(4) == bytes(4)

    def execute(self, command: bytes) -> bytes:
        """The response; empty if the daemon is gone."""
        try:
            self.data.sendall(command)
            return self.data.recv(4096)
        except (BrokenPipeError, ConnectionResetError):
            return b""

    def close(self) -> None:
        """Disconnect."""
        self.control.close()
        self.data.close()


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host with one VM."""
    host = Host(tmp_path)
    host.vtpm("provider", "init", "test")
    host.vtpm("create", "vm", "--allow-unverified")
    return host


def kill_later(process: "subprocess.Popen[str]", after: int) -> Callable[[int], None]:
    """Kill the daemon from outside, a moment after so many writes."""

    def maybe(count: int) -> None:
        if count == after and os.fork() == 0:
            time.sleep(0.0007 * (after % 7))
            os.kill(process.pid, signal.SIGKILL)
            os._exit(0)

    return maybe


@pytest.mark.skipif(TPM_CC.NV_Write not in COMMANDS, reason="the engine has no TPM2_NV_Write yet")
def test_acknowledged_writes_survive(host: Host) -> None:
    """After `kill -9` among NV_Writes, the Index holds the last acknowledged value, or the one after it."""
    acknowledged = 0
    for round_ in range(4):
        with host.daemon() as process:
            guest = Guest(host.socket)
            assert guest.execute(STARTUP)[6:10] == bytes(4)
            if round_ == 0:
                assert guest.execute(DEFINE)[6:10] == bytes(4)
            else:
                response = guest.execute(READ)
                assert response[6:10] == bytes(4), response.hex()
                value = int.from_bytes(response[-13:-5])
                assert value in (acknowledged, acknowledged + 1)
            kill = kill_later(process, 20 + 3 * round_)
            count = 0
            while response := guest.execute(write(acknowledged + 1)):
                assert response[6:10] == bytes(4)
                acknowledged += 1
                count += 1
                kill(count)
            guest.close()
            assert process.wait(LIMIT) == -signal.SIGKILL
    assert acknowledged >= 80
