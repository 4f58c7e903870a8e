"""`vtpm provider rotate`, `rekey`, `shred`, as an operator uses them: no guest is stopped."""

import json
import socket
from pathlib import Path

import pytest

from tests.cli.test_provider import installation, secret, told
from tests.cli.test_vm import Installation
from vtpm.daemon.admin import ask

pytestmark = pytest.mark.slow

__all__ = ["installation"]


def powered(path: Path) -> socket.socket:
    """A client of a VM's control socket, which has switched the TPM on (CMD_INIT is 2)."""
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(60)
    client.connect(str(path))
    client.sendall(bytes.fromhex("00000002 00000000"))
    assert client.recv(4) == bytes(4)
    return client


def rotate(installation: Installation) -> tuple[str, str]:
    """Rotate `main`: the old key and the new one."""
    old = told(installation, "show", "main")["kdk_id"]
    new = told(installation, "rotate", "main")["successor"]
    assert "no verified backup" in installation.run("provider", "rotate", "main", "--promote", status=1)
    backup = str(installation.directory / f"{new}.backup")
    installation.run("provider", "backup", "main", "--out", backup, *secret(installation))
    installation.run("provider", "verify", backup, *secret(installation))
    assert told(installation, "rotate", "main", "--promote")["kdk_id"] == new
    return old, new


def test_online(installation: Installation, tmp_path: Path) -> None:
    """VMs that the daemon has open are rekeyed by it, the others by the command; then the old key can go."""
    for name in ("open", "closed"):
        installation.run("create", name)
    with installation.serving():
        client = powered(tmp_path / "run" / "open.sock")
        before = json.loads(installation.run("show", "open", "--json"))
        old, new = rotate(installation)
        report = json.loads(installation.run("rekey", "--all", "--json"))
        assert report == {"done": ["closed", "open"], "busy": [], "failed": [], "secrets": ["authority"]}
        after = json.loads(installation.run("show", "open", "--json"))
        assert (before["kdk_id"], after["kdk_id"]) == (old, new)
        assert after["running"]
        refused = installation.run("provider", "retire", "main", old, "--yes", status=1)
        assert "needed by closed, open" in refused
        installation.run("rekey", "--all", "--deep")
        assert told(installation, "retire", "main", old, "--yes")["keys"] == [new]
        assert ask(installation.run_dir, "rekey", name="closed", deep=False, provider=None) is False
        client.close()
    assert told(installation, "show", "main")["state"] == "active"
    assert json.loads(installation.run("rekey", "--all", "--json"))["done"] == []


def test_usage(installation: Installation) -> None:
    """Either VMs are named, or all are meant; an unknown one is an error."""
    installation.run("rekey", status=2)
    installation.run("rekey", "--all", "vm", status=2)
    assert "'vm'" in installation.run("rekey", "vm", status=1)
    installation.run("provider", "retire", "main", "xyz", "--yes", status=2)


def test_shred(installation: Installation) -> None:
    """What is still readable, and with which key, is told."""
    installation.run("create", "vm")
    said = installation.run("shred", "vm", "--yes")
    assert told(installation, "show", "main")["kdk_id"] in said
    assert "not covered" in said
    assert installation.run("list") == ""
