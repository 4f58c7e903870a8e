"""The other opinion on what a TPM answers: swtpm on a TCP port, or a peer that the caller names."""

import shutil
import socket
import struct
import subprocess
import tempfile
import time
from abc import abstractmethod
from pathlib import Path

from tests.scenarios import Caller
from vtpm.state.profile import SWTPM_COMPATIBLE, Profile

START_SECONDS = 10.0
ANSWER_SECONDS = 60.0
INIT = bytes.fromhex("00000002 00000000")
SET_LOCALITY = bytes.fromhex("00000005")
GET_STATE_BLOB = struct.Struct(">IIII")
STATE_BLOB_HEAD = struct.Struct(">IIII")
STOP = bytes.fromhex("0000000e")
HASH_START, HASH_DATA, HASH_END = (bytes((0, 0, 0, code)) for code in (6, 7, 8))
PERMANENT, VOLATILE = 1, 2
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


def version() -> str:
    """What `swtpm --version` says first."""
    said = subprocess.run(["swtpm", "--version"], capture_output=True, text=True, check=True).stdout
    return "swtpm " + said.splitlines()[0].split(",")[0].removeprefix("TPM emulator version ")


class Judge(Caller):
    """Another TPM, beside which this one is put."""

    title: str
    """What reports call it."""
    table: str
    """The table of explained differences, beside this module."""
    shares_seeds: bool
    """Can its seeds and proofs be read, so that this TPM takes them over?"""
    profile: Profile
    """What this TPM has to be to be compared with it."""

    @abstractmethod
    def lose_power(self) -> None:
        """Power goes and comes again."""

    @abstractmethod
    def renew(self) -> None:
        """Be like a TPM that comes from the manufacturer, before its first TPM2_Startup."""

    @abstractmethod
    def restart(self) -> None:
        """Go on after the program has ended by itself."""

    @abstractmethod
    def close(self) -> None:
        """End the connection."""


class Swtpm(Judge):
    """A started swtpm with a state of its own."""

    title, table, shares_seeds, profile = "swtpm", "differences.toml", True, SWTPM_COMPATIBLE

    def __init__(self) -> None:
        self.names: dict[int, bytes] = {}
        self._start()

    def _start(self) -> None:
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
        self.locality = 0

    def _connect(self, port: int) -> socket.socket:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                return socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS)
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise
                time.sleep(0.01)

    def send(self, request: bytes, locality: int = 0) -> bytes:
        """Send octets as they are."""
        if locality != self.locality:
            self._order(SET_LOCALITY + bytes([locality]))
            self.locality = locality
        self.data.sendall(request)
        response = self._some(self.data)
        while len(response) < 10 or len(response) < int.from_bytes(response[2:6], "big"):
            response += self._some(self.data)
        return response

    def lose_power(self) -> None:
        """Power goes and comes again: CMD_INIT, with the state that was written."""
        self._order(INIT)

    def measure(self, octets: bytes) -> None:
        """A measurement by hardware: CMD_HASH_START, CMD_HASH_DATA and CMD_HASH_END."""
        for order in (HASH_START, HASH_DATA + len(octets).to_bytes(4, "big") + octets, HASH_END):
            self._order(order)

    def renew(self) -> None:
        """Another TPM, as it comes from the manufacturer."""
        self._order(STOP)
        for path in Path(self.directory.name).glob("tpm2-*"):
            path.unlink()
        self._order(INIT)

    def state(self, kind: int) -> bytes:
        """The permanent or volatile state as it is now: CMD_GET_STATEBLOB."""
        self.control.sendall(GET_STATE_BLOB.pack(12, 0, kind, 0))
        head = self._exactly(STATE_BLOB_HEAD.size)
        result, _, _, size = STATE_BLOB_HEAD.unpack(head)
        assert result == 0, hex(result)
        return self._exactly(size)

    def _order(self, request: bytes) -> None:
        self.control.sendall(request)
        result = self._exactly(4)
        assert result == bytes(4), result.hex()

    def _exactly(self, count: int) -> bytes:
        octets = b""
        while len(octets) < count:
            octets += self._some(self.control, count - len(octets))
        return octets

    def _some(self, connection: socket.socket, most: int = 65536) -> bytes:
        octets = connection.recv(most)
        if not octets:
            raise ConnectionError(f"swtpm has ended: {self.process.poll()}")
        return octets

    def name_of(self, handle: int) -> bytes:
        """The Name of an entity: what the caller has noted, or the handle."""
        return self.names.get(handle, handle.to_bytes(4, "big"))

    def restart(self) -> None:
        """Begin again with another process, after this one has ended by itself."""
        self.close()
        self._start()

    def close(self) -> None:
        """End the process and forget its state."""
        self.data.close()
        self.control.close()
        self.process.terminate()
        self.process.wait(10)
        self.directory.cleanup()
