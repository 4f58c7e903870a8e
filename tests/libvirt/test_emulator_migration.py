"""Domains that migrate with an emulated TPM, where this project's programs come first on both hosts."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.libvirt.conftest import check_machine
from tests.libvirt.daemon import Libvirt, libvirtd
from tests.libvirt.test_emulator import new_secret, state_of
from tests.libvirt.vm import Vm, programs

pytestmark = pytest.mark.libvirt

Hosts = tuple[Libvirt, Libvirt]

TPM = "<tpm model='tpm-crb'><backend type='emulator' version='2.0'>{}</backend></tpm>"


@pytest.fixture(scope="module")
def hosts(directory: Path) -> Iterator[Hosts]:
    """Two hosts."""
    check_machine()
    with ExitStack() as both:
        first, second = (
            both.enter_context(libvirtd(directory / digits, programs(), digits))
            for digits in ("aaaaaaaa", "bbbbbbbb")
        )
        yield first, second


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
def test_migration(hosts: Hosts, directory: Path, *, encrypted: bool) -> None:
    """The run goes to the other host with its TPM, where the same secret must be before, and back."""
    name, (first, second) = "encrypted" if encrypted else "plain", hosts
    secret = new_secret(first, directory, name) if encrypted else ""
    inner = f"<encryption secret='{secret}'/>" if encrypted else ""
    vm = Vm(first, directory, name, TPM.format(inner), roams=True)
    vm.start()
    vm.begin_to_count()
    vm.extend()
    measured = vm.pcr()

    if encrypted:
        assert secret in vm.migrate(second, status=1)
        new_secret(second, directory, name, secret)
    for target in (second, first):
        vm.migrate(target, "--undefinesource")

        assert (vm.counted(), vm.pcr()) == (vm.count, measured)
        vm.increment()
    assert any((state_of(vm) / "tpm2").iterdir())
    vm.destroy()


@pytest.mark.skipif(shutil.which("bindfs") is None, reason="bindfs is not installed; run .ci/setup --libvirt")
def test_shared(directory: Path) -> None:
    """Both hosts have the state on one file system, which the source lets go (swtpm.8, --migration)."""
    check_machine()
    place = directory / "shared"
    (place / "states").mkdir(parents=True, mode=0o711)
    place.chmod(0o711)
    with ExitStack() as both:
        first, second = (
            both.enter_context(libvirtd(place / digits, programs(), digits, shared=place / "states"))
            for digits in ("aaaaaaaa", "bbbbbbbb")
        )
        vm = Vm(first, place, "guest", TPM.format(""), roams=True)
        first.virsh("start", vm.name)
        vm.destroy()  # libvirt 9.0 gives --migration only where it has found a state
        vm.start()
        vm.begin_to_count()
        vm.extend()
        measured = vm.pcr()

        for target in (second, first):
            vm.migrate(target)

            assert (vm.counted(), vm.pcr()) == (vm.count, measured)
            vm.increment()
        vm.power_off()
        vm.start()
        assert (vm.counted(), vm.pcr()) == (vm.count, bytes(32))
        vm.destroy()
