"""A TPM behind a pair of TCP ports, and tpm2-tools pointed at it."""

import os
import random
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

STARTS_WITHIN = ENDS_WITHIN = 10.0

# Below those that Linux gives to connections (net.ipv4.ip_local_port_range).
PORTS = (20000, 32768)


def reference_chosen() -> bool:
    """Whether the flows run against swtpm, to show that a failure is not the flow's own."""
    return os.environ.get("VTPM_TEST_SERVER") == "swtpm"


def free_port_pair() -> int:
    """A port that is free together with the one after it, and that no connection takes of itself."""
    while True:
        port = random.randrange(*PORTS, 2)
        with socket.socket() as first, socket.socket() as second:
            try:
                first.bind(("127.0.0.1", port))
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _command(protocol: str, port: int, state: Path) -> list[str]:
    if not reference_chosen():
        return [str(Path(sys.executable).with_name("vtpm")), "simulator", f"--{protocol}", str(port)]
    ports = ["--server", f"port={port}", "--ctrl", f"type=tcp,port={port + 1}"]
    return ["swtpm", "socket", "--tpm2", *ports, "--flags", "not-need-init", "--tpmstate", f"dir={state}"]


@contextmanager
def running(
    command: list[str], log: Path, is_ready: Callable[[], bool], environment: dict[str, str] | None = None
) -> Iterator[None]:
    """A server, from the moment when it is ready until it is told to end."""
    with (
        log.open("wb") as output,
        subprocess.Popen(command, stdout=output, stderr=output, env=environment) as process,
    ):
        try:
            deadline = time.monotonic() + STARTS_WITHIN
            while not is_ready():
                assert process.poll() is None, f"{command[0]} ended: {log.read_text()}"
                assert time.monotonic() < deadline, f"{command[0]} is not ready: {log.read_text()}"
                time.sleep(0.005)
            yield
        finally:
            process.terminate()
            try:
                process.wait(ENDS_WITHIN)
            except subprocess.TimeoutExpired:
                process.kill()
                pytest.fail(f"{command[0]} did not end at SIGTERM")


@contextmanager
def simulator(protocol: str, directory: Path) -> Iterator[str]:
    """The tcti configuration of a new TPM that listens, but has not had its TPM2_Startup."""
    port = free_port_pair()
    state = directory / "state"
    state.mkdir()
    command = _command(protocol, port, state)
    with running(command, directory / "simulator.log", lambda: _listens(port) and _listens(port + 1)):
        yield f"{protocol}:port={port}"


class Tools:
    """tpm2-tools with one TPM and one working directory."""

    def __init__(self, tcti: str, directory: Path) -> None:
        self.tcti, self.directory = tcti, directory

    def __call__(self, command: str, stdin: bytes = b"") -> str:
        """Run one tool, without its `tpm2_`; it succeeds, and its standard output is the result."""
        done = self._run(command, stdin)
        assert done.returncode == 0, f"tpm2_{command}: {done.stderr.decode()}"
        return done.stdout.decode(errors="replace")

    def refused(self, command: str) -> str:
        """Run one tool that fails; its standard error is the result."""
        done = self._run(command, b"")
        assert done.returncode != 0, f"tpm2_{command} succeeded: {done.stdout.decode()}"
        return done.stderr.decode()

    def _run(self, command: str, stdin: bytes) -> subprocess.CompletedProcess[bytes]:
        # A tool leaves the objects that it loaded in the TPM; no resource manager is there to flush them.
        done, _ = (self._start(line, stdin) for line in (command, "flushcontext -t"))
        return done

    def _start(self, command: str, stdin: bytes) -> subprocess.CompletedProcess[bytes]:
        tool, *arguments = shlex.split(command)
        return subprocess.run(
            [f"tpm2_{tool}", *arguments],
            cwd=self.directory,
            env={**os.environ, "TPM2TOOLS_TCTI": self.tcti},
            input=stdin,
            capture_output=True,
            timeout=60,
            check=False,
        )

    def openssl(self, command: str) -> str:
        """Run openssl, which knows nothing of the TPM, as an independent judge."""
        done = subprocess.run(
            ["openssl", *shlex.split(command)],
            cwd=self.directory,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"openssl {command}: {done.stderr.decode()}"
        return done.stdout.decode()

    def write(self, name: str, content: bytes) -> None:
        """Make a file for the tools to read."""
        (self.directory / name).write_bytes(content)

    def read(self, name: str) -> bytes:
        """What a tool wrote."""
        return (self.directory / name).read_bytes()
