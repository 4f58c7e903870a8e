"""`vtpm simulator`: vtpm/daemon/simulator.py behind real ports."""

import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from vtpm.control.mssim import SIM, UINT32, sized

pytestmark = pytest.mark.slow

VTPM = Path(sys.executable).with_name("vtpm")
LIMIT = 20.0
STARTUP = bytes.fromhex("80010000000c000001440000")
GET_RANDOM = bytes.fromhex("80010000000c0000017b0008")
SUCCESS = bytes.fromhex("80010000000a00000000")
INITIALIZE = bytes.fromhex("80010000000a00000100")


class Simulator:
    """A running simulator."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        self.process = process
        self.ready = process.stdout.readline()
        self.port = int(self.ready.rpartition("=")[2])

    def connect(self, offset: int = 0) -> socket.socket:
        """A client of the first port, or of the next one."""
        return socket.create_connection(("127.0.0.1", self.port + offset), LIMIT)


@contextmanager
def simulating(*words: str) -> Iterator[Simulator]:
    """A simulator at ports that are free."""
    command = [str(VTPM), "simulator", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Simulator(process)
        finally:
            process.kill()


def receive(sock: socket.socket, count: int) -> bytes:
    """So many octets, or fewer if the connection ends."""
    received = b""
    while len(received) < count and (part := sock.recv(count - len(received))):
        received += part
    return received


def signal_to(sock: socket.socket, code: SIM, argument: bytes = b"", count: int = 4) -> bytes:
    """Send a message, and give so many octets of its answer."""
    sock.sendall(UINT32.pack(code) + argument)
    return receive(sock, count)


def execute(sock: socket.socket, command: bytes, locality: int = 0) -> bytes:
    """The response to a command, whose framing is checked."""
    size = int.from_bytes(signal_to(sock, SIM.SEND_COMMAND, bytes([locality]) + sized(command)))
    response = receive(sock, size)
    assert receive(sock, 4) == bytes(4)
    return response


class TestMssim:
    """The protocol of the TCG's simulator"""

    def test_session(self) -> None:
        """Power, commands, sizes and the end of a session, as tss clients use them."""
        with simulating("--mssim", "0") as simulator:
            assert simulator.ready.startswith("ready mssim port=")
            with simulator.connect() as tpm, simulator.connect(1) as platform:
                assert execute(tpm, STARTUP) == b""
                assert signal_to(platform, SIM.SIGNAL_POWER_ON) == bytes(4)
                assert signal_to(platform, SIM.SIGNAL_NV_ON) == bytes(4)
                assert (
                    signal_to(tpm, SIM.REMOTE_HANDSHAKE, UINT32.pack(1), 12).hex()
                    == "000000010000000d00000000"
                )
                assert execute(tpm, STARTUP) == SUCCESS
                assert execute(tpm, STARTUP) == INITIALIZE
                assert signal_to(platform, SIM.SIGNAL_POWER_ON) == bytes(4)
                assert execute(tpm, STARTUP) == INITIALIZE
                assert len(execute(tpm, GET_RANDOM)) == 20
                sizes = signal_to(platform, SIM.GET_COMMAND_RESPONSE_SIZES, count=24)
                assert sizes == sized(struct.pack("=I4sI4s", 12, b"\0\0\1\x44", 20, bytes(4))) + bytes(4)
                assert signal_to(platform, SIM.SIGNAL_RESET) == bytes(4)
                assert execute(tpm, STARTUP) == SUCCESS
                tpm.sendall(UINT32.pack(SIM.SESSION_END))
                assert tpm.recv(1) == b""
            with simulator.connect() as tpm:
                assert execute(tpm, STARTUP) == INITIALIZE

    def test_failure_mode(self) -> None:
        """The platform can force failure mode; a reset ends it."""
        with (
            simulating("--mssim", "0") as simulator,
            simulator.connect() as tpm,
            simulator.connect(1) as platform,
        ):
            signal_to(platform, SIM.SIGNAL_POWER_ON)
            assert execute(tpm, STARTUP) == SUCCESS
            assert signal_to(platform, SIM.TEST_FAILURE_MODE) == bytes(4)
            assert execute(tpm, GET_RANDOM).hex() == "80010000000a00000101"
            signal_to(platform, SIM.SIGNAL_RESET)
            assert execute(tpm, STARTUP) == SUCCESS

    def test_broken_messages(self) -> None:
        """An unknown code or an impossible length ends the connection, and nothing else."""
        with simulating("--mssim", "0") as simulator:
            with simulator.connect() as tpm:
                tpm.sendall(UINT32.pack(99))
                assert tpm.recv(1) == b""
            with simulator.connect() as tpm:
                tpm.sendall(UINT32.pack(8) + b"\0" + UINT32.pack(0xFFFFFFFF))
                assert tpm.recv(1) == b""
            with simulator.connect(1) as platform:
                assert signal_to(platform, SIM.SEND_COMMAND) == UINT32.pack(1)
                assert platform.recv(1) == b""
                assert simulator.process.poll() is None

    @pytest.mark.parametrize("way", ["SIGTERM", "STOP"])
    def test_end(self, way: str) -> None:
        """A signal to the process and STOP end it, with status 0."""
        with simulating("--mssim", "0") as simulator, simulator.connect() as tpm:
            if way == "STOP":
                tpm.sendall(UINT32.pack(SIM.STOP))
            else:
                simulator.process.send_signal(signal.SIGTERM)
            assert simulator.process.wait(LIMIT) == 0


class TestSwtpm:
    """swtpm's protocol over TCP"""

    def test_session(self) -> None:
        """The TPM has power at once; tools that come and go do not take it."""
        with simulating("--swtpm", "0") as simulator:
            for expected in (SUCCESS, INITIALIZE):
                with simulator.connect() as data, simulator.connect(1) as control:
                    control.sendall(bytes.fromhex("0000000500"))
                    assert receive(control, 4) == bytes(4)
                    data.sendall(STARTUP)
                    assert receive(data, 10) == expected
            simulator.process.send_signal(signal.SIGTERM)
            assert simulator.process.wait(LIMIT) == 0

    def test_state(self, tmp_path: Path) -> None:
        """With --state the TPM is the same one the next time, and was shut down in order."""
        resume = bytes.fromhex("80010000000c000001440001")
        for startup in (STARTUP, resume):
            with (
                simulating("--swtpm", "0", "--state", str(tmp_path)) as simulator,
                simulator.connect() as data,
            ):
                data.sendall(startup)
                assert receive(data, 10) == SUCCESS
                simulator.process.send_signal(signal.SIGTERM)
                assert simulator.process.wait(LIMIT) == 0


@pytest.mark.parametrize(
    "words", [[], ["--mssim", "0", "--swtpm", "0"], ["--mssim", "65535"], ["--mssim", "0", "--startup"]]
)
def test_usage(words: list[str]) -> None:
    """One protocol, at two ports that exist."""
    done = subprocess.run(
        [VTPM, "simulator", *words], capture_output=True, text=True, timeout=LIMIT, check=False
    )

    assert done.returncode == 2
    assert "Traceback" not in done.stderr
