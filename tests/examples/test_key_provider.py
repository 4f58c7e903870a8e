"""The life of a key provider, as `examples/key_provider` walks through it."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
LIMIT = 300


def test_life() -> None:
    """Every step comes out as it must, and says so."""
    done = subprocess.run(
        [sys.executable, "-m", "examples.key_provider"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for said in (
        "no backup of provider 'north' was ever verified",
        "the same key on both",
        "unseals its disk key there",
        "a drill of the backup decrypts its real state",
        "the fork opens what the origin sealed",
        "the replaced one has nothing of the origin",
        "holds the state of VM",
        "this host has seen generation",
        "the audit log is whole",
    ):
        assert said in done.stdout
