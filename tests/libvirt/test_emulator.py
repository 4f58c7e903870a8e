"""The life of a domain with an emulated TPM, unchanged, where this project's programs come first (swtpm)."""

import base64
import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.libvirt.conftest import check_machine
from tests.libvirt.daemon import Libvirt, libvirtd
from tests.libvirt.guest import GuestSilentError
from tests.libvirt.vm import Vm, programs

pytestmark = pytest.mark.libvirt

plain = pytest.mark.parametrize("made", ["plain"], indirect=True)
both = pytest.mark.parametrize("made", ["plain", "encrypted"], indirect=True)

NOTHING = bytes(32)
PASSPHRASE = b"a \0 passphrase\n"
SECRET = """<secret ephemeral='no' private='no'>
  <uuid>{uuid}</uuid><usage type='vtpm'><name>{name}</name></usage>
</secret>"""


@pytest.fixture(scope="module")
def libvirt(directory: Path) -> Iterator[Libvirt]:
    """Libvirt, which finds this project's programs first."""
    check_machine()
    with libvirtd(directory / "libvirt", programs()) as running:
        yield running


def new_secret(libvirt: Libvirt, directory: Path, name: str, secret: str = "") -> str:
    """A secret of libvirt's, with octets that no text has; new, or that of another host."""
    secret = secret or str(uuid.uuid4())
    file = directory / "secret.xml"
    file.write_text(SECRET.format(uuid=secret, name=name))
    libvirt.virsh("secret-define", str(file))
    libvirt.virsh("secret-set-value", secret, base64.b64encode(PASSPHRASE).decode())
    return secret


@pytest.fixture(scope="module")
def made(request: pytest.FixtureRequest, libvirt: Libvirt, directory: Path) -> Iterator[Vm]:
    """A domain, whose guest has begun to count."""
    name = str(request.param)
    inner = "<active_pcr_banks><sha256/><sha384/></active_pcr_banks>"
    if name == "encrypted":
        inner = f"<encryption secret='{new_secret(libvirt, directory, name)}'/>"
    tpm = f"<tpm model='tpm-crb'><backend type='emulator' version='2.0'>{inner}</backend></tpm>"
    vm = Vm(libvirt, directory, name, tpm)
    vm.start()
    vm.begin_to_count()
    yield vm
    if vm.state() == "running":
        vm.destroy()
    vm.guest.disconnect()


@pytest.fixture
def vm(made: Vm) -> Vm:
    """That domain, running, after it has counted once more and measured something."""
    if made.state() != "running":
        made.start()
    made.increment()
    made.extend()
    return made


def state_of(vm: Vm) -> Path:
    """Where libvirt keeps the state of an emulator."""
    return vm.libvirt.directory / f"lib/swtpm/{vm.uuid}"


@both
def test_provisioned(vm: Vm) -> None:
    """The TPM is this project's, with endorsement key, its certificate, and the banks that were asked for."""
    assert {"states", "providers"} <= {path.name for path in (state_of(vm) / "tpm2").iterdir()}
    handles = vm.guest.run("tpm2_getcap handles-persistent; tpm2_getcap handles-nv-index")
    banks = vm.guest.run("tpm2_getcap pcrs").splitlines()

    assert "0x81010001" in handles
    assert "0x1C00002" in handles
    assert any("sha256: [ 0," in line for line in banks)
    assert any("sha384: [ 0," in line for line in banks) is (vm.name == "plain")


@plain
def test_reset(vm: Vm) -> None:
    """A reset of the machine is one of its TPM."""
    vm.libvirt.virsh("reset", vm.name)
    vm.guest.wait_until_booted()

    assert (vm.counted(), vm.pcr()) == (vm.count, NOTHING)


@both
def test_shutdown(vm: Vm) -> None:
    """The TPM's state lasts beyond a run."""
    vm.power_off()

    vm.start()
    assert (vm.counted(), vm.pcr()) == (vm.count, NOTHING)


@plain
def test_crash(vm: Vm) -> None:
    """It does when QEMU is killed."""
    vm.kill()

    vm.start()
    assert (vm.counted(), vm.pcr()) == (vm.count, NOTHING)


@plain
def test_emulator_killed(vm: Vm) -> None:
    """When the emulator is killed, the guest goes on without its TPM, and finds it at the next start."""
    os.kill(vm.process("swtpm"), signal.SIGKILL)

    with pytest.raises(GuestSilentError):
        vm.increment()
    assert vm.state() == "running"
    vm.destroy()
    vm.start()
    assert (vm.counted(), vm.pcr()) == (vm.count, NOTHING)


@both
def test_save(vm: Vm) -> None:
    """A saved run goes on with its PCRs."""
    measured, image = vm.pcr(), str(vm.guest.directory / "saved")

    vm.libvirt.virsh("save", vm.name, image)
    vm.libvirt.virsh("restore", image)
    vm.guest.disconnect()

    assert (vm.counted(), vm.pcr()) == (vm.count, measured)


@plain
def test_managed_save(vm: Vm) -> None:
    """So does one that libvirt keeps."""
    measured = vm.pcr()

    vm.libvirt.virsh("managedsave", vm.name)
    vm.libvirt.virsh("start", vm.name)
    vm.guest.disconnect()

    assert (vm.counted(), vm.pcr()) == (vm.count, measured)


@plain
def test_revert(vm: Vm) -> None:
    """A revert to a snapshot brings the TPM of that time back."""
    vm.libvirt.virsh("snapshot-create-as", vm.name, "earlier")
    counted, measured = vm.count, vm.pcr()
    vm.increment()
    vm.extend()

    vm.libvirt.virsh("snapshot-revert", vm.name, "earlier")
    vm.guest.disconnect()

    assert (vm.counted(), vm.pcr()) == (counted, measured)
    vm.libvirt.virsh("snapshot-delete", vm.name, "earlier")


@both
def test_undefine(vm: Vm, libvirt: Libvirt) -> None:
    """The state goes with the domain, unless it is to be kept."""
    state = state_of(vm)
    vm.destroy()
    assert any((state / "tpm2").iterdir())

    libvirt.virsh("undefine", "--keep-tpm", vm.name)
    assert any((state / "tpm2").iterdir())
    vm.define()
    libvirt.virsh("undefine", vm.name)
    assert not state.exists()

    vm.define()


@pytest.mark.parametrize("kept", [False, True], ids=["removed", "kept"])
def test_transient(libvirt: Libvirt, directory: Path, *, kept: bool) -> None:
    """The state goes with a domain that nobody has defined, unless its definition says that it stays."""
    lasts = " persistent_state='yes'" if kept else ""
    tpm = f"<tpm model='tpm-crb'><backend type='emulator' version='2.0'{lasts}/></tpm>"
    vm = Vm(libvirt, directory, f"transient-{kept}", tpm)
    libvirt.virsh("undefine", vm.name)

    libvirt.virsh("create", str(vm.file))
    assert any((state_of(vm) / "tpm2").iterdir())
    vm.destroy()
    assert state_of(vm).exists() is kept
