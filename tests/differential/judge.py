"""swtpm on a TCP port, as the other opinion on what a TPM answers."""

import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from tests.scenarios import Caller

START_SECONDS = 10.0
INIT = bytes.fromhex("00000002 00000000")
HAS_SWTPM = shutil.which("swtpm") is not None


def free_ports() -> tuple[int, int]:
    """Two neighboring ports on which nobody listens."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port, port + 1


class Swtpm(Caller):
    """A started swtpm with a state of its own."""

    def __init__(self) -> None:
        self.directory = tempfile.TemporaryDirectory(prefix="vtpm-swtpm-")
        port, control = free_ports()
        self.process = subprocess.Popen(
            [
                "swtpm", "socket", "--tpm2",
                "--server", f"type=tcp,port={port},bindaddr=127.0.0.1",
                "--ctrl", f"type=tcp,port={control},bindaddr=127.0.0.1",
                "--tpmstate", f"dir={Path(self.directory.name)}",
                "--flags", "not-need-init,startup-clear",
                "--seccomp", "action=none",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.data = self._connect(port)
        self.control = self._connect(control)
        self.names: dict[int, bytes] = {}

    def _connect(self, port: int) -> socket.socket:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                return socket.create_connection(("127.0.0.1", port))
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise
                time.sleep(0.01)

    def send(self, request: bytes, locality: int = 0) -> bytes:
        """Send octets as they are; only locality 0 can be had without the control channel."""
        assert locality == 0
        self.data.sendall(request)
        response = self.data.recv(65536)
        while len(response) < 10 or len(response) < int.from_bytes(response[2:6], "big"):
            response += self.data.recv(65536)
        return response

    def lose_power(self) -> None:
        """Power goes and comes again: CMD_INIT, with the state that was written."""
        self.control.sendall(INIT)
        assert self.control.recv(4) == bytes(4)

    def name_of(self, handle: int) -> bytes:
        """The Name of an entity: what the caller has noted, or the handle."""
        return self.names.get(handle, handle.to_bytes(4, "big"))

    def close(self) -> None:
        """End the process and forget its state."""
        self.data.close()
        self.control.close()
        self.process.terminate()
        self.process.wait(10)
        self.directory.cleanup()
