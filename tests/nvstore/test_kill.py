"""The real thing: a writer is killed at any moment, and every write it reported is there afterwards."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nvstore import Host
from tests.nvstore.conftest import VM, host_at

WRITER = """
import sys
from nvstore import Host
with Host(sys.argv[1]).open_state(sys.argv[2]) as store:
    number = int.from_bytes(store.load()["count"])
    while True:
        number += 1
        size = number % 40 * 700
        store.commit({"count": number.to_bytes(8), "copy": number.to_bytes(8) * (1 + size)})
        sys.stdout.write(f"{number}\\n")
        sys.stdout.flush()
"""


@pytest.mark.slow
def test_every_acknowledged_write_survives_kill(host: Host, directory: Path) -> None:
    """After SIGKILL the newest reported number is found, or the next one, and never a mixture."""
    rng = random.Random(1)
    host.create_state(VM, "guest", {"count": bytes(8), "copy": bytes(8)}).close()
    last, generations = 0, 1
    for _ in range(25):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(directory), str(VM)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        ) as writer:
            assert writer.stdout
            for _ in range(rng.randrange(1, 60)):
                line = writer.stdout.readline()
                assert line, writer.stderr.read() if writer.stderr else ""
            os.kill(writer.pid, signal.SIGKILL)
            rest = writer.stdout.read().split(b"\n")
            reported = [int(line) for line in (line, *rest[:-1]) if line]
        last = max(reported)
        with host_at(directory).open_state(VM) as store:
            blobs = store.load()
            number = int.from_bytes(blobs["count"])
            assert number in {last, last + 1}
            assert blobs["copy"] == number.to_bytes(8) * (1 + number % 40 * 700)
            assert store.generation == number + 1
            generations = store.generation
    assert generations > 25
