"""On the real thing: data are flushed before the reply leaves, as the system calls of the daemon show."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients.simulators import free_port_pair
from tests.scenarios import Caller
from tests.soak.counter import ATTRIBUTES, INDEX
from vtpm.spec.constants import TPM_ALG, TPM_RH
from vtpm.spec.nv import TPMS_NV_PUBLIC
from vtpm.wire.error import TPM_RC

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed"),
]

CALLS = "openat,rename,pwritev,pwritev2,pwrite64,write,fdatasync,fsync,sendto,recvfrom"
WRITTEN = r"pwritev2?\(\d+<.*\.state>"
FLUSHED = r"fdatasync\(\d+<.*\.state.*= 0$"
ROUNDS = 5


class Remote(Caller):
    """The commands of the table as methods, over a socket."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port))

    def send(self, request: bytes, locality: int = 0) -> bytes:
        """Send a command and wait for its response."""
        assert locality == 0
        self.sock.sendall(request)
        response = b""
        while len(response) < 10 or len(response) < int.from_bytes(response[2:6]):
            octets = self.sock.recv(4096)
            assert octets
            response += octets
        return response

    def name_of(self, handle: int) -> bytes:
        """Passwords need no Names."""
        return handle.to_bytes(4)


def trace_of(tmp_path: Path) -> list[str]:
    """The system calls of a simulator that serves increments of a counter and random numbers."""
    port = free_port_pair()
    log = tmp_path / "strace"
    program = str(Path(sys.executable).with_name("vtpm"))
    command = ["strace", "-f", "-y", "-e", f"trace={CALLS}", "-e", "signal=none", "-o", str(log), program]
    command += ["simulator", "--swtpm", str(port), "--state", str(tmp_path / "state"), "--startup"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline(), "the simulator does not start under strace"
        tpm = Remote(port)
        public = TPMS_NV_PUBLIC(INDEX, TPM_ALG.SHA256, ATTRIBUTES, b"", 8)
        assert tpm.nv_define_space(TPM_RH.OWNER, auth=b"", public_info=public).rc == TPM_RC.SUCCESS
        for _ in range(ROUNDS):
            assert tpm.nv_increment(INDEX, INDEX).rc == TPM_RC.SUCCESS
            assert tpm.get_random(bytes_requested=8).rc == TPM_RC.SUCCESS
        tpm.sock.close()
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        os.kill(int(children.split()[0]), signal.SIGTERM)  # strace itself ends with what it traces
    return log.read_text().splitlines()


def between(lines: list[str]) -> list[list[str]]:
    """The calls between each command that arrives and its response."""
    spans: list[list[str]] = []
    current: list[str] | None = None
    for line in lines:
        call = re.sub(r"^\d+\s+", "", line)
        if re.match(r"recvfrom\(\d+<(TCP|socket).*= [1-9]\d*$", call):
            current = []
        elif call.startswith("sendto(") and current is not None:
            spans.append(current)
            current = None
        elif current is not None:
            current.append(call)
    return spans


def test_flushed_before_reply(tmp_path: Path) -> None:
    """A command that writes is answered after its record was written and flushed; others write nothing."""
    spans = between(trace_of(tmp_path))
    increments, randoms = spans[1::2], spans[2::2]

    assert len(increments) == len(randoms) == ROUNDS
    for calls in increments:
        record = [number for number, call in enumerate(calls) if re.match(WRITTEN, call)]
        flush = [number for number, call in enumerate(calls) if re.match(FLUSHED, call)]
        assert len(record) == 1, calls
        assert flush, calls
        assert record[0] < flush[-1], calls
    for calls in randoms:
        assert not [call for call in calls if ".state" in call or ".mark" in call]
