"""The real thing: the power goes at any moment, and takes with it what was not flushed."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest

from nvstore import Host
from tests.nvstore.conftest import VM, host_at
from tests.nvstore.test_kill import WRITER

LOSE_POWER = "lose-power"
ROUNDS = 12
LIMIT = 20.0
SUPERVISOR = Path(__file__).parents[2]


def reason_to_skip() -> str:
    """Why no file system can be mounted here; empty if one can."""
    if os.geteuid() != 0 or not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "needs root and /dev/fuse"
    if find_spec("mfusepy") is None:
        return "mfusepy is not installed"
    try:
        import tests.nvstore.lazy_files  # noqa: F401, PLC0415 - it looks for libfuse when it is imported
    except OSError:
        return "libfuse is not installed"
    return ""


pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.skipif(bool(reason_to_skip()), reason=reason_to_skip()),
]


class Disk:
    """A mounted file system, and what of it a loss of power leaves."""

    def __init__(self, place: Path) -> None:
        self.mount, self.store = place / "mount", place / "store"
        for path in (self.mount, self.store):
            path.mkdir()
        self.process = self._mounted()

    def _mounted(self) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.nvstore.lazy_files", self.mount, self.store],
            cwd=SUPERVISOR,
            stderr=subprocess.PIPE,
        )
        deadline = time.monotonic() + LIMIT
        while not os.path.ismount(self.mount):
            if process.poll() is not None:
                assert process.stderr
                pytest.skip(f"nothing can be mounted here: {process.stderr.read().decode().strip()[-200:]}")
            assert time.monotonic() < deadline, "the file system was not mounted"
            time.sleep(0.01)
        return process

    def lose_power(self) -> None:
        """Forget what was not flushed, and mount the rest."""
        with suppress(OSError):
            (self.mount / LOSE_POWER).stat()
        self.process.communicate(timeout=LIMIT)
        self._unmount()
        self.process = self._mounted()

    def _unmount(self) -> None:
        subprocess.run(["umount", "--lazy", self.mount], check=False, capture_output=True, timeout=LIMIT)

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate(timeout=LIMIT)
        self._unmount()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path)
    yield made
    made.close()


def killed_after(directory: Path, lines: int) -> int:
    """Have a writer killed after so many acknowledged commits; the last number it acknowledged."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(directory), str(VM)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=SUPERVISOR,
    ) as writer:
        assert writer.stdout
        assert writer.stderr
        for _ in range(lines):
            line = writer.stdout.readline()
            assert line, writer.stderr.read()
        os.kill(writer.pid, signal.SIGKILL)
        rest = writer.stdout.read().split(b"\n")
    return max(int(number) for number in (line, *rest[:-1]) if number)


def test_what_is_not_flushed_is_lost(disk: Disk) -> None:
    """The file system does what it is for: otherwise the next test would prove nothing."""
    kept, lost = disk.mount / "kept", disk.mount / "lost"
    for path in (kept, lost):
        path.write_bytes(b"octets")
    for path, flags in ((kept, os.O_RDWR), (disk.mount, os.O_RDONLY)):
        descriptor = os.open(path, flags)
        os.fsync(descriptor)
        os.close(descriptor)
    kept.write_bytes(b"later octets")
    disk.lose_power()

    assert kept.read_bytes() == b"octets"
    assert lost.read_bytes() == b""


def test_every_acknowledged_write_survives_power_loss(disk: Disk) -> None:
    """The newest acknowledged number is found, or the next one, and never a mixture or an older one."""
    rng = random.Random(1)
    directory = disk.mount / "host"
    host: Host = host_at(directory)
    host.providers.init("main")
    host.create_state(VM, "guest", {"count": bytes(8), "copy": bytes(8)}, allow_unverified=True).close()
    for _ in range(ROUNDS):
        last = killed_after(directory, rng.randrange(1, 40))
        disk.lose_power()
        with host_at(directory).open_state(VM) as store:
            blobs = store.load()
        number = int.from_bytes(blobs["count"])
        assert number in {last, last + 1}
        assert blobs["copy"] == number.to_bytes(8) * (1 + number % 40 * 700)
