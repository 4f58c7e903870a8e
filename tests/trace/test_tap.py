"""vtpm/daemon/tap.py: what a live TPM is asked and answers, as a capture."""

import logging
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from nvstore import MemoryStore
from tests.trace.conversation import events_in, lines_of
from vtpm import Tpm
from vtpm.control.messages import CMD
from vtpm.daemon.device.device import Device
from vtpm.daemon.tap import Tap, TapError, check_tap, device_for
from vtpm.trace.event import Kind

VTPM = Path(sys.executable).with_name("vtpm")
LIMIT = 20.0
COMMAND = bytes.fromhex("80010000000c0000017b0008")
STARTUP = bytes.fromhex("80010000000c000001440000")
CLEAR_LOCKOUT = bytes.fromhex("80020000001b00000139 4000000a 00000009 40000009 0000 01 0000")
"""TPM2_DictionaryAttackLockReset, which is made durable."""

ANSWER = bytes.fromhex("8001000000140000000000081122334455667788")


class TestFile:
    """The file and what is in it"""

    @pytest.mark.parametrize("size", [10, 11, 12, 13, 4096, 65495, 65496])
    def test_messages(self, tmp_path: Path, size: int) -> None:
        """Commands and responses of any size can be read again, in their order, with their times."""
        tap = Tap(tmp_path / "x")
        request = b"\x80\1" + size.to_bytes(4, "big") + COMMAND[6:10] + bytes(size - 10)
        for octets, to_tpm in ((request, True), (ANSWER, False), (COMMAND, True)):
            tap.write(octets, to_tpm=to_tpm)
        tap.close()

        events = events_in((tmp_path / "x").read_bytes())
        assert [(event.kind, event.octets) for event in events] == [
            (Kind.COMMAND, request),
            (Kind.RESPONSE, ANSWER),
            (Kind.COMMAND, COMMAND),
        ]
        assert all(event.time for event in events)

    def test_private(self, tmp_path: Path) -> None:
        """Only the owner may read it."""
        check_tap(tmp_path / "x")

        assert (tmp_path / "x").stat().st_mode & 0o777 == 0o600

    def test_sections(self, tmp_path: Path) -> None:
        """Each run adds a section to what is there."""
        for _ in range(2):
            tap = Tap(tmp_path / "x")
            tap.write(COMMAND, to_tpm=True)
            tap.write(ANSWER, to_tpm=False)
            tap.close()

        assert [event.octets for event in events_in((tmp_path / "x").read_bytes())] == [COMMAND, ANSWER] * 2

    @pytest.mark.parametrize("what", ["readable by others", "link", "FIFO", "directory", "missing directory"])
    def test_refused(self, tmp_path: Path, what: str) -> None:
        """A file that others may read, or that is no file, is refused."""
        path = tmp_path / "x"
        match what:
            case "readable by others":
                path.write_bytes(b"")
                path.chmod(0o644)
            case "link":
                path.symlink_to(tmp_path / "y")
            case "FIFO":
                os.mkfifo(path, 0o600)
            case "directory":
                path.mkdir()
            case _:
                path = path / "y"

        with pytest.raises(TapError, match="name a"):
            check_tap(path)

    def test_failure(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """A file that cannot be written to ends the trace of the run, and nothing else."""
        tap = Tap(tmp_path / "directory" / "x")
        with caplog.at_level(logging.ERROR):
            tap.write(COMMAND, to_tpm=True)
            tap.write(ANSWER, to_tpm=False)
        tap.close()
        (tmp_path / "directory").mkdir()
        tap.write(COMMAND, to_tpm=True)
        tap.close()

        assert len(caplog.records) == 1
        assert [event.octets for event in events_in((tmp_path / "directory" / "x").read_bytes())] == [COMMAND]


class TestDevice:
    """A device that is traced"""

    @pytest.fixture
    def device(self, tmp_path: Path) -> Device:
        """A TPM that is powered on, in memory."""
        store = MemoryStore()
        device = device_for(tmp_path / "x", "vm", Tpm, lambda: store, may_manufacture=True)
        device.init()
        return device

    def test_execute(self, device: Device, tmp_path: Path) -> None:
        """Every command is traced with the response that leaves, whether it changes the state or not."""
        said = []
        for command in (STARTUP, COMMAND, CLEAR_LOCKOUT):
            said += [command, device.execute(command)]
        device.close()

        octets = [event.octets for event in events_in((tmp_path / "x").read_bytes())]
        assert octets[: len(said)] == said
        assert said[-1][6:10] == bytes(4)

    def test_untraced(self) -> None:
        """Without a file it is a device like any other."""
        assert type(device_for(None, "vm", Tpm, MemoryStore)) is Device


@pytest.mark.slow
class TestLive:
    """A TPM that is traced while it is used"""

    def test_simulator(self, tmp_path: Path) -> None:
        """`vtpm simulator --trace` writes what clients see, before they can see it."""
        path = tmp_path / "x.pcapng"
        command = [str(VTPM), "simulator", "--swtpm", "0", "--startup", "--trace", str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            port = int(process.stdout.readline().rpartition("=")[2])
            with socket.create_connection(("127.0.0.1", port), LIMIT) as client:
                client.sendall(COMMAND)
                answer = client.recv(100)
                events = events_in(path.read_bytes())
            process.send_signal(signal.SIGTERM)
            assert process.wait(LIMIT) == 0

        assert [event.octets for event in events][2:] == [COMMAND, answer]
        heads = [
            line.partition(" (")[0].partition(",")[0]
            for line in lines_of(path.read_bytes())
            if line[0] != " "
        ]
        assert heads == [
            "1 > TPM2_Startup",
            "1 < TPM_RC_SUCCESS",
            "2 > TPM2_GetRandom",
            "2 < TPM_RC_SUCCESS",
            "3 > TPM2_Shutdown",
            "3 < TPM_RC_SUCCESS",
        ]

    def test_daemon(self, tmp_path: Path) -> None:
        """`vtpm serve --trace-dir` has a file for each VM."""
        program = [str(VTPM), "--state-dir", str(tmp_path / "state"), "--run-dir", str(tmp_path / "run")]
        for words in (["provider", "init", "main"], ["create", "vm", "--allow-unverified"]):
            subprocess.run([*program, *words], check=True, capture_output=True, timeout=LIMIT)
        command = [*program, "serve", "--trace-dir", str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("ready ")
            ours, theirs = socket.socketpair()
            with ours, theirs, socket.socket(socket.AF_UNIX) as control:
                control.connect(str(tmp_path / "run" / "vm.sock"))
                socket.send_fds(control, [CMD.SET_DATAFD.to_bytes(4, "big")], [theirs.fileno()])
                assert control.recv(4) == bytes(4)
                control.sendall(CMD.INIT.to_bytes(4, "big") + bytes(4))
                assert control.recv(4) == bytes(4)
                ours.sendall(STARTUP)
                answer = ours.recv(100)
                events = events_in((tmp_path / "vm.pcapng").read_bytes())
            process.send_signal(signal.SIGTERM)
            assert process.wait(LIMIT) == 0

        assert [event.octets for event in events] == [STARTUP, answer]

    def test_refused(self, tmp_path: Path) -> None:
        """A file that cannot be used is an error before anything is served."""
        command = [str(VTPM), "simulator", "--mssim", "0", "--trace", str(tmp_path / "no" / "x")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)

        assert done.returncode == 1
        assert done.stderr.startswith(
            f"vtpm: {tmp_path / 'no' / 'x'}: No such file or directory; name a file"
        )
