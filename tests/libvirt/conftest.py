"""A libvirtd of the tests' own."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.libvirt.daemon import Libvirt, libvirtd


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    """A directory that QEMU's user may pass, with a short path."""
    with tempfile.TemporaryDirectory(prefix="libvirt-", dir="/tmp") as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.fixture(scope="module")
def libvirt(directory: Path) -> Iterator[Libvirt]:
    """Libvirt, which finds swtpm where the system has it."""
    check_machine()
    with libvirtd(directory / "libvirt") as running:
        yield running


def check_machine() -> None:
    """Skip where libvirtd cannot be started."""
    if os.geteuid() != 0:
        pytest.skip("needs root: libvirtd runs QEMU as another user")
    if shutil.which("libvirtd", path="/usr/sbin:/usr/bin") is None:
        pytest.skip("libvirtd is not installed; run .ci/setup --libvirt")
