"""A libvirtd of the tests' own."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.libvirt.daemon import Libvirt, libvirtd
from vtpm.cli import libvirt as command

if TYPE_CHECKING:
    from tests.libvirt.lab import Lab


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator["Lab"]:
    """An installation beside the hypervisor that libvirt has for tests."""
    from tests.libvirt.lab import new_lab  # noqa: PLC0415 - its module is skipped where there is no libvirt

    monkeypatch.setattr(command, "SYSTEM_STATES", tmp_path / "emulators")
    with new_lab(tmp_path) as lab:
        yield lab


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
