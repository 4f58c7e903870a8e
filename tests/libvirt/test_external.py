"""The life of a domain whose TPM is that of `vtpm serve` (libvirt, backend "external")."""

import mmap
import os
import re
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.guest.processes import end
from nvstore.state.stream import MAGIC
from tests.libvirt.daemon import GROUP, QEMU_USER, Libvirt
from tests.libvirt.guest import Guest
from tests.libvirt.vm import VTPM, Tpms, Vm, serving, wait_for
from vtpm.control import blobs
from vtpm.libvirt.definition import Definition

pytestmark = pytest.mark.libvirt

NAME = "guest"
NOTHING = bytes(32)


@pytest.fixture(scope="module")
def tpms(directory: Path) -> Iterator[Tpms]:
    """The daemon."""
    with serving(directory / "vtpm") as tpms:
        yield tpms


@pytest.fixture(scope="module")
def made(libvirt: Libvirt, directory: Path, tpms: Tpms) -> Iterator[Vm]:
    """A domain with an attached TPM, whose guest has begun to count."""
    vm = Vm(libvirt, directory, NAME)
    tpms.run("attach", NAME, "--connect", libvirt.uri, "--allow-unverified")
    vm.start()
    vm.begin_to_count()
    yield vm
    vm.guest.disconnect()


@pytest.fixture
def vm(made: Vm) -> Vm:
    """That domain, running, after it has counted once more and measured something."""
    if made.state() != "running":
        made.start()
    made.increment()
    made.extend()
    return made


def test_attached(vm: Vm, tpms: Tpms) -> None:
    """QEMU's user reaches the socket; the guest's TPM is the one that is bound to the domain's UUID."""
    assert tpms.is_connected(NAME)
    assert str(vm.uuid) in tpms.run("show", NAME, "--json")
    assert "problems" in tpms.run("status", NAME, "--connect", vm.libvirt.uri)
    assert "is in use" in tpms.run("delete", NAME, "--yes", status=1)


def test_reset(vm: Vm) -> None:
    """A reset of the machine is one of its TPM."""
    vm.libvirt.virsh("reset", NAME)
    vm.guest.wait_until_booted()

    assert (vm.counted(), vm.pcr()) == (vm.count, NOTHING)


def test_shutdown(vm: Vm, tpms: Tpms) -> None:
    """The daemon goes on listening when the guest powers off."""
    vm.power_off()
    assert not tpms.is_connected(NAME)

    vm.start()
    assert (vm.counted(), vm.pcr()) == (vm.count, NOTHING)


def test_replaced(vm: Vm, tpms: Tpms) -> None:
    """A daemon may take over from another one while the guest runs."""
    measured = vm.pcr()
    for _ in range(2):
        tpms.replace()
        vm.increment()

    assert (vm.counted(), vm.pcr()) == (vm.count, measured)
    assert measured != NOTHING
    assert tpms.is_connected(NAME)


def test_destroy_and_restart(vm: Vm, tpms: Tpms) -> None:
    """The daemon may be restarted between two runs."""
    vm.destroy()
    tpms.end()
    tpms.serve()

    vm.start()
    assert (vm.counted(), vm.pcr()) == (vm.count, NOTHING)


def test_crashes(vm: Vm, tpms: Tpms) -> None:
    """QEMU and the daemon may be killed."""
    vm.kill()
    tpms.kill()
    tpms.serve()

    vm.start()
    assert (vm.counted(), vm.pcr()) == (vm.count, NOTHING)


def test_save(vm: Vm, tpms: Tpms) -> None:
    """A saved run goes on with its PCRs, sealed meanwhile; that is no revert, even where none is allowed."""
    measured, image = vm.pcr(), str(vm.guest.directory / "saved")
    tpms.run("state", "policy", NAME, "--reverts", "deny")
    before = tpms.reverts()

    vm.libvirt.virsh("save", NAME, image)
    assert is_in(MAGIC, Path(image))
    assert not is_in(blobs.IDENTIFIER, Path(image))
    vm.libvirt.virsh("restore", image)
    vm.guest.disconnect()

    assert (vm.counted(), vm.pcr()) == (vm.count, measured)
    assert tpms.reverts() == before
    tpms.run("state", "policy", NAME, "--reverts", "allow")


def is_in(octets: bytes, path: Path) -> bool:
    """Does a large file hold these octets?"""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(octets) >= 0


def test_managed_save(vm: Vm, tpms: Tpms) -> None:
    """Nor is a managed save, with a restart of the daemon meanwhile; and it is no time to change the TPM."""
    measured, before = vm.pcr(), tpms.reverts()

    vm.libvirt.virsh("managedsave", NAME)
    assert "is saved" in tpms.run("detach", NAME, "--connect", vm.libvirt.uri, status=1)
    tpms.end()
    tpms.serve()
    vm.libvirt.virsh("start", NAME)
    vm.guest.disconnect()

    assert (vm.counted(), vm.pcr()) == (vm.count, measured)
    assert tpms.reverts() == before


def test_revert(vm: Vm, tpms: Tpms) -> None:
    """A revert to a snapshot brings the TPM of that time back, and is noted."""
    vm.libvirt.virsh("snapshot-create-as", NAME, "earlier")
    counted, measured, before = vm.count, vm.pcr(), tpms.reverts()
    vm.increment()
    vm.extend()

    vm.libvirt.virsh("snapshot-revert", NAME, "earlier")
    vm.guest.disconnect()

    assert (vm.counted(), vm.pcr()) == (counted, measured)
    assert len(tpms.reverts()) == len(before) + 1
    vm.libvirt.virsh("snapshot-delete", NAME, "earlier")


def test_revert_denied(vm: Vm, tpms: Tpms) -> None:
    """Where the policy forbids reverts, the snapshot does not start, and the newest state stays."""
    tpms.run("state", "policy", NAME, "--reverts", "deny")
    vm.libvirt.virsh("snapshot-create-as", NAME, "earlier")
    vm.increment()

    vm.libvirt.virsh("snapshot-revert", NAME, "earlier", status=1)
    vm.wait_until_off()
    vm.start()

    assert vm.counted() == vm.count
    assert "revert-refused" in tpms.reverts()[-1]
    tpms.run("state", "policy", NAME, "--reverts", "allow")
    vm.libvirt.virsh("snapshot-delete", NAME, "earlier")


def test_group(vm: Vm, tpms: Tpms) -> None:
    """QEMU may reach the socket as a member of its group; where it may not, the start fails."""
    vm.destroy()
    tpms.end()
    tpms.serve("--mode", "0600")
    assert "Permission denied" in vm.libvirt.virsh("start", NAME, status=1)
    assert f"vtpm serve --owner {QEMU_USER}" in tpms.run(
        "status", NAME, "--connect", vm.libvirt.uri, status=1, output=True
    )
    tpms.end()

    tpms.serve("--group", GROUP, "--mode", "0660")
    vm.libvirt.virsh("start", NAME)
    assert tpms.is_connected(NAME)
    vm.destroy()
    tpms.end()
    tpms.serve()


def test_undefine(made: Vm, tpms: Tpms) -> None:
    """A TPM outlives its domain; a domain of the same UUID finds it again."""
    vm = made
    if vm.state() == "running":
        vm.destroy()
    vm.libvirt.virsh("undefine", NAME)
    assert str(vm.uuid) in tpms.run("show", NAME, "--json")

    vm.libvirt.virsh("define", str(vm.file))
    tpms.run("attach", NAME, "--connect", vm.libvirt.uri)
    vm.start()
    assert vm.counted() == vm.count


def test_transient(libvirt: Libvirt, tpms: Tpms, directory: Path) -> None:
    """A domain that nobody has defined is created with its TPM, which outlives it."""
    vm = Vm(libvirt, directory, "transient")
    libvirt.virsh("undefine", vm.name)
    vm.file.write_text(tpms.run("attach", "--file", str(vm.file), "--allow-unverified", "--bare"))

    libvirt.virsh("create", str(vm.file))
    assert tpms.is_connected(vm.name)
    vm.destroy()
    assert str(vm.uuid) in tpms.run("show", vm.name, "--json")


def test_watch(libvirt: Libvirt, tpms: Tpms, directory: Path) -> None:
    """A TPM is made with its domain, renamed with it, and deleted with it where that is asked for."""
    identity = uuid.uuid4()
    definition = Definition(Guest(directory / "watched").definition("watched", identity))
    file = directory / "watched.xml"
    file.write_text(definition.with_socket(f"{tpms.directory}/run/watched.sock"))
    command = [*tpms.command, "libvirt", "watch", "--connect", libvirt.uri, "--delete"]
    with subprocess.Popen(
        [*command, "--allow-unverified", "--bare"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as watch:
        try:
            assert watch.stdout is not None
            assert watch.stdout.readline() == b"ready\n"
            libvirt.virsh("define", str(file))
            wait_for(lambda: str(identity) in tpms.run("list", "--json"), "the TPM was made")
            assert (tpms.directory / "run/watched.sock").is_socket()

            libvirt.virsh("domrename", "watched", "renamed")
            wait_for(lambda: '"renamed"' in tpms.run("list", "--json"), "it was renamed")
            wait_for(lambda: "run/renamed.sock" in libvirt.virsh("dumpxml", "renamed"), "the domain uses it")

            libvirt.virsh("undefine", "renamed")
            wait_for(lambda: str(identity) not in tpms.run("list", "--json"), "it was deleted")
        finally:
            end(watch)
    assert watch.returncode == 0


def test_readme(libvirt: Libvirt, directory: Path) -> None:
    """README's path is followed as it stands there, by somebody who has installed what it asks for."""
    text = (Path(__file__).parents[2] / "README.md").read_text()
    providers, attaching = (
        block
        for block in re.findall(r"^```\w+\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        if "provider init main" in block or "vtpm attach" in block
    )
    place = directory / "readme"
    place.mkdir(mode=0o711)
    vm = Vm(libvirt, directory, "GUEST")
    (place / "passphrase").write_text("a long passphrase")
    (place / "passphrase").chmod(0o600)
    first = "".join(line for line in providers.splitlines(keepends=True) if line.startswith("vtpm provider"))
    then = "".join(
        line for line in attaching.splitlines(keepends=True) if line.startswith(("vtpm ", "virsh "))
    )
    script = f"set -eux\n{first}{then}kill %1\n"

    done = subprocess.run(
        ["bash", "-c", script],
        cwd=place,
        env={
            **os.environ,
            "PATH": f"{VTPM.parent}:{os.environ['PATH']}",
            "VTPM_STATE_DIR": str(place / "state"),
            "VTPM_RUN_DIR": str(place / "run"),
            "LIBVIRT_DEFAULT_URI": libvirt.uri,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    vm.destroy()
    assert re.search(r"^connected +True$", done.stdout, re.MULTILINE)
