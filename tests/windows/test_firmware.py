"""A machine as Windows 11 asks for it, up to where Windows would boot: firmware measures, no line fails."""

import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.windows11.machine import Machine
from tests.cli.test_vm import Installation

pytestmark = pytest.mark.slow

LIMIT = 120.0
MEASURED = [str(number) for number in range(8)]


@pytest.fixture
def installation() -> Iterator[Installation]:
    """An installation with a VM, whose path leaves room for the name of a UNIX socket."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("XDG_RUNTIME_DIR", "/tmp")) as name:
        made = Installation(Path(name))
        made.run("provider", "init", "main")
        made.run("create", "guest", "--allow-unverified", "--banks", "sha256,sha384")
        yield made


def is_measured(installation: Installation) -> bool:
    """Has firmware extended all PCR of its own?"""
    facts = json.loads(installation.run("inspect", "guest", "--json"))
    values = facts.get("pcr", {}).get("SHA256", {})
    return bool(values) and all(int(values[number], 16) for number in MEASURED)


def test_secure_boot_firmware(installation: Installation) -> None:
    """Under OVMF with Secure Boot, SMM, q35 and CRB, no line of the check fails, and none is left out."""
    with installation.serving():
        machine = Machine(installation.directory, installation.run_dir / "guest.sock", memory=512)
        with machine.running():
            deadline = time.monotonic() + LIMIT
            while not is_measured(installation):
                assert time.monotonic() < deadline, (installation.directory / "qemu.log").read_text()
            lines = json.loads(installation.run("check", "windows11", "guest", "--json"))
            facts = json.loads(installation.run("inspect", "guest", "--json"))

    assert {line["verdict"] for line in lines} <= {"passed", "advice"}
    assert len(lines) > 20
    platform = next(entry for entry in facts["hierarchies"] if entry["name"] == "platform")
    assert platform["auth_set"], "firmware gives platformAuth away before it boots anything"
