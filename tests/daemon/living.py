"""The daemon as a process of its own, and a guest that talks to it as QEMU does."""

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from vtpm.control.frames import HEADER
from vtpm.spec.constants import TPM_CC

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
        self.state = directory / "state"
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
        with self.serve() as process:
            try:
                assert is_ready(process)
                yield process
            finally:
                process.kill()

    def serve(self, *words: str) -> "subprocess.Popen[str]":
        """A daemon that starts."""
        command = [str(VTPM), *self.places, "serve", *words]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def is_ready(process: "subprocess.Popen[str]") -> bool:
    """Wait until a daemon says that it serves; False if it ends instead."""
    assert process.stdout is not None
    return process.stdout.readline().startswith("ready")


def said(process: "subprocess.Popen[str]") -> str:
    """What a process that has ended, or ends now, wrote to standard error."""
    process.wait(LIMIT)
    assert process.stderr is not None
    return process.stderr.read()


class Guest:
    """A guest whose TPM has power."""

    def __init__(self, path: Path) -> None:
        self.control = socket.socket(socket.AF_UNIX)
        self.control.settimeout(LIMIT)
        self.data, theirs = socket.socketpair()
        self.data.settimeout(LIMIT)
        try:
            self.control.connect(str(path))
            socket.send_fds(self.control, [bytes.fromhex("00000010")], [theirs.fileno()])
            assert self.control.recv(4) == bytes(4)
            self.control.sendall(bytes.fromhex("0000000200000000"))
            assert self.control.recv(4) == bytes(4)
        except BaseException:
            self.close()
            raise
        finally:
            theirs.close()

    def execute(self, command: bytes) -> bytes:
        """The response; empty if the daemon is gone."""
        try:
            self.data.sendall(command)
            return self.receive()
        except (BrokenPipeError, ConnectionResetError):
            return b""

    def receive(self) -> bytes:
        """The next response; empty if the daemon is gone."""
        response = self.data.recv(HEADER.size, socket.MSG_WAITALL)
        if len(response) < HEADER.size:
            return b""
        return response + self.data.recv(HEADER.unpack(response)[1] - HEADER.size, socket.MSG_WAITALL)

    def close(self) -> None:
        """Disconnect."""
        self.control.close()
        self.data.close()
