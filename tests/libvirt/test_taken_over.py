"""Domains that swtpm has run go on, unchanged, where this project's programs come first."""

import hashlib
import shutil
from pathlib import Path

import pytest

from tests.libvirt.conftest import check_machine
from tests.libvirt.daemon import libvirtd
from tests.libvirt.test_emulator import NOTHING, new_secret, state_of
from tests.libvirt.vm import Vm, programs

pytestmark = pytest.mark.libvirt

STATE = "tpm2/tpm2-00.permall"


def digest_of(vm: Vm) -> str:
    """A digest of swtpm's state file."""
    return hashlib.sha256((state_of(vm) / STATE).read_bytes()).hexdigest()


@pytest.mark.skipif(shutil.which("swtpm_setup") is None, reason="swtpm is not installed")
@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
def test_existing_domain(directory: Path, *, encrypted: bool) -> None:
    """The guest finds what its TPM held, with the same secret of libvirt's; swtpm's file stays as it is."""
    check_machine()
    name = "encrypted" if encrypted else "plain"
    place = directory / name
    place.mkdir(mode=0o711)
    with libvirtd(place / "libvirt") as libvirt:
        inner = f"<encryption secret='{new_secret(libvirt, place, name)}'/>" if encrypted else ""
        tpm = f"<tpm model='tpm-crb'><backend type='emulator' version='2.0'>{inner}</backend></tpm>"
        vm = Vm(libvirt, place, name, tpm)
        vm.start()
        vm.begin_to_count()
        vm.power_off()
    before = digest_of(vm)

    with libvirtd(place / "libvirt", programs()) as vm.libvirt:
        for _ in range(2):
            vm.start()
            assert (vm.counted(), vm.pcr()) == (vm.count, NOTHING)
            assert "0x81010001" in vm.guest.run("tpm2_getcap handles-persistent")
            vm.increment()
            vm.power_off()
        assert digest_of(vm) == before
        vm.libvirt.virsh("undefine", name)
        assert not state_of(vm).exists()
