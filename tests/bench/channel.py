"""A TPM server on its control socket, driven as QEMU does: a data socket is handed over, then INIT."""

import os
import socket
import struct
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

CMD_INIT = 2
CMD_SHUTDOWN = 3
CMD_SET_DATAFD = 16
START_SECONDS = 10.0


class Channel:
    """A running server and the data socket to its TPM."""

    def __init__(self, name: str, command: Sequence[str], control: Path, core: int | None) -> None:
        self.name = name
        pin = [] if core is None else ["taskset", "-c", str(core)]
        self.process = subprocess.Popen([*pin, *command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.control = self._connect(control)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        socket.send_fds(self.control, [struct.pack(">I", CMD_SET_DATAFD)], [theirs.fileno()])
        theirs.close()
        self._expect_success()
        self.control.sendall(struct.pack(">II", CMD_INIT, 0))
        self._expect_success()
        self.data = ours

    def _connect(self, path: Path) -> socket.socket:
        deadline = time.monotonic() + START_SECONDS
        while True:
            client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                client.connect(os.fspath(path))
            except OSError:
                client.close()
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.process.kill()
                    message = (self.process.communicate()[1] or b"").decode()
                    raise RuntimeError(f"{self.name} does not listen on {path}: {message}") from None
                time.sleep(0.01)
            else:
                return client

    def _expect_success(self) -> None:
        (result,) = struct.unpack(">I", self.control.recv(4))
        if result != 0:
            raise RuntimeError(f"{self.name} refused a control command: 0x{result:x}")

    def send(self, request: bytes) -> bytes:
        """One command and its response."""
        self.data.sendall(request)
        response = self.data.recv(65536)
        while len(response) < 10 or len(response) < int.from_bytes(response[2:6], "big"):
            more = self.data.recv(65536)
            if not more:
                raise RuntimeError(f"{self.name} closed its data socket")
            response += more
        return response

    def close(self) -> None:
        """Shut the TPM down and end the server."""
        try:
            self.control.sendall(struct.pack(">I", CMD_SHUTDOWN))
            self.control.recv(4)
        except OSError:
            pass  # a server that is gone already needs no shutting down
        self.control.close()
        self.data.close()
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()


def start_swtpm(directory: Path, core: int | None) -> Channel:
    """Start swtpm with its state in a directory, as libvirt starts it."""
    control = directory / "swtpm.sock"
    state = directory / "swtpm"
    state.mkdir()
    command = [
        "swtpm",
        "socket",
        "--tpm2",
        "--tpmstate",
        f"dir={state}",
        "--ctrl",
        f"type=unixio,path={control}",
    ]
    return Channel("swtpm", [*command, "--seccomp", "action=none"], control, core)
