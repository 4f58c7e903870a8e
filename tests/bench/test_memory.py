"""The benchmark of memory measures what it says."""

import os
from pathlib import Path

import pytest

from tests.bench.memory import measure_memory, memory_of


def test_own_memory_grows() -> None:
    """What a process takes is seen, in octets."""
    before = memory_of(os.getpid())
    taken = bytearray(b"\1") * (32 << 20)
    after = memory_of(os.getpid())

    assert len(taken) * 0.9 < after.resident - before.resident < len(taken) * 1.5
    assert 0 < after.proportional <= after.resident


@pytest.mark.slow
def test_daemon(tmp_path: Path) -> None:
    """Two TPMs run in one daemon, which takes some memory and no other process's."""
    found = measure_memory(tmp_path / "two", 2)

    assert 10 << 20 < found.proportional <= found.resident < 200 << 20
