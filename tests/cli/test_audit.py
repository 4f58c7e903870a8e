"""`vtpm audit`: verified with keys, beside heads kept elsewhere, and begun again where it is broken."""

import io
import socket
from pathlib import Path

import pytest

from tests.cli.test_vm import Installation
from vtpm.cli.audit import seen_in
from vtpm.daemon.witness import is_heard, tell_system_log

HEAD = "3f" * 32
ENTRY = {"op": "rename", "result": "done", "vm": "x", "actor": "root"}


def test_the_systems_log(tmp_path: Path) -> None:
    """It gets number, hash and subject of a line; where nobody listens or reads, nothing is waited for."""
    address = str(tmp_path / "log")
    tell_system_log(7, HEAD, ENTRY, address)
    assert not is_heard(address)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(address)
        assert is_heard(address)
        for _ in range(1000):  # more than any queue holds
            tell_system_log(7, HEAD, ENTRY, address)
        message = log.recv(4096).decode()
    assert message.startswith("<85>vtpm-audit[")
    assert message.endswith(f": 7 {HEAD} op=rename result=done vm=x")


@pytest.mark.parametrize("prefix", ["", "Nov 24 10:00:00 host vtpm-audit[17]: "])
def test_heads_in_a_text(prefix: str) -> None:
    """Numbers and hashes are found in what `verify` prints and in the system's log."""
    text = f"{prefix}7 {HEAD} op=rename\nelse\n{prefix}8 {'0' * 64} op=delete vm=1\n"
    assert seen_in(io.StringIO(text)) == {7: HEAD, 8: "0" * 64}


@pytest.mark.slow
def test_a_copy_that_was_put_back(tmp_path: Path) -> None:
    """What `verify` printed shows later that an older copy of the log was put back; another one is begun."""
    installation = Installation(tmp_path)
    installation.run("provider", "init", "main")
    log = installation.directory / "state/audit"
    before = {path: path.read_bytes() for path in log.iterdir()}
    installation.run("create", "guest", "--allow-unverified")
    heads = tmp_path / "heads"
    heads.write_text(installation.run("audit", "verify"))
    assert "lines are intact" in heads.read_text()
    assert "vouches" not in heads.read_text()
    installation.run("audit", "verify", "--against", str(heads))
    assert "are intact" in installation.run("audit", "restart", "--reason", "none", status=1)
    for path, content in before.items():
        path.write_bytes(content)
    installation.run("audit", "verify")
    assert "copy of the head" in installation.run("audit", "verify", "--against", str(heads), status=1)
    (log / "head").unlink()
    assert "missing" in installation.run("audit", "verify", status=1)
    assert "former log" in installation.run("audit", "restart", "--reason", "copied back")
    installation.run("audit", "verify")
