"""Domains that migrate from one libvirt to another, with the TPMs of `vtpm serve` (backend "external")."""

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from examples.guest.processes import end
from tests.libvirt.conftest import check_machine
from tests.libvirt.daemon import Libvirt, libvirtd
from tests.libvirt.vm import VTPM, Tpms, Vm, wait_for

pytestmark = pytest.mark.libvirt

NAME = "guest"
PLACES = {"state": "/var/lib/vtpm", "vtpm": "/run/vtpm"}
"""Where each host has the default directories of `vtpm`."""

HOOK = Path(__file__).parents[2] / "examples/systemd/hook.sh"

SLOW = ("migrate-setspeed", NAME, "1")
FAST = ("migrate-setspeed", NAME, "1000")


class Host(Tpms):
    """A host as an operator has it: libvirt with its hook, and `vtpm` with its default directories."""

    def __init__(self, libvirt: Libvirt) -> None:
        super().__init__(libvirt.directory)
        self.libvirt = libvirt
        self.command = [*libvirt.enter(), str(VTPM)]
        self.run_dir = libvirt.directory / "vtpm"

    def custody(self) -> str:
        """What is wrong with the TPM, as `vtpm status` says."""
        said = self.run("status", NAME, "--json", "--connect", self.libvirt.uri, status=1, output=True)
        return "; ".join(json.loads(said)["problems"])


@contextmanager
def host_at(directory: Path, digits: str) -> Iterator[Host]:
    """A host with its daemon; its hook is that of the example, which a file `off` turns off."""
    hook = directory / "etc/hooks/qemu"
    hook.parent.mkdir(parents=True)
    script = HOOK.read_text().replace("case", f'[ -e "{directory}/off" ] && exit\ncase', 1)
    program = f"env PYTHONPATH={Path(__file__).parents[2]} {VTPM}"
    hook.write_text(
        script.replace("/opt/vtpm/bin/vtpm", program).replace(" hook ", " hook --allow-unverified ")
    )
    hook.chmod(0o755)
    with libvirtd(directory, host=digits, more=PLACES) as libvirt:
        host = Host(libvirt)
        host.run("provider", "init", "main")
        host.serve()
        try:
            yield host
        finally:
            host.end()


@pytest.fixture(scope="module")
def first(directory: Path) -> Iterator[Host]:
    """Where the domain is defined."""
    check_machine()
    with host_at(directory / "first", "aaaaaaaa") as host:
        yield host


@pytest.fixture(scope="module")
def second(directory: Path) -> Iterator[Host]:
    """Where it goes: its provider has the same name, and another key."""
    check_machine()
    with host_at(directory / "second", "bbbbbbbb") as host:
        yield host


@pytest.fixture(scope="module")
def vm(first: Host, directory: Path) -> Iterator[Vm]:
    """A domain with a TPM whose guest has counted and measured, and whose TPM nobody may revert."""
    vm = Vm(first.libvirt, directory, NAME, roams=True)
    first.run("attach", NAME, "--connect", first.libvirt.uri, "--allow-unverified", "--bare")
    first.run("state", "policy", NAME, "--reverts", "deny")
    vm.start()
    vm.begin_to_count()
    vm.extend()
    yield vm
    vm.guest.disconnect()


@pytest.fixture(scope="module")
def measured(vm: Vm) -> bytes:
    """The PCR, which nothing changes from now on."""
    return vm.pcr()


def test_key_missing(vm: Vm, measured: bytes, first: Host, second: Host) -> None:
    """Without the key at the destination, nothing is started there; the message tells the remedy."""
    key = json.loads(first.run("provider", "show", "main", "--json"))["kdk_id"]

    said = vm.migrate(second.libvirt, status=1)

    assert f"the key {key} of provider 'main' is not on this host" in said
    assert "restore that provider from a backup" in said
    assert not list((second.directory / "log/qemu").glob("*.log"))
    assert second.run("list", "--json").strip() == "[]"
    assert (vm.counted(), vm.pcr()) == (vm.count, measured)


def test_looked_at_before(vm: Vm, first: Host, second: Host, directory: Path) -> None:
    """An operator finds that out beforehand; and the migration's remedy is a backup of the provider."""
    offered = directory / "offer"
    offered.write_text(first.run("state", "offer", str(vm.uuid)))
    assert "is not on this host" in second.run("state", "expect", str(offered), "--dry-run", status=1)

    for host in (first, second):
        (host.directory / "passphrase").write_text("a long passphrase")
        (host.directory / "passphrase").chmod(0o600)
    backup = str(directory / "main.backup")
    words = ["--passphrase-file", str(first.directory / "passphrase")]
    first.run("provider", "backup", "main", "--out", backup, *words)
    second.run("provider", "restore", backup, "--name", "elsewhere", *words)

    assert "could come" in second.run("state", "expect", str(offered), "--dry-run")
    assert second.run("list", "--json").strip() == "[]"


def test_canceled(vm: Vm, measured: bytes, first: Host, second: Host) -> None:
    """A migration that is canceled leaves the TPM where it was, and nothing at the destination."""
    vm.libvirt.virsh(*SLOW)
    words = ["--live", "--unsafe", "--migrateuri", "tcp://127.0.0.1", NAME, second.libvirt.uri]
    with subprocess.Popen(
        ["virsh", "--connect", first.libvirt.uri, "migrate", *words], stderr=subprocess.PIPE, text=True
    ) as migration:
        try:
            wait_for(lambda: NAME in second.run("list", "--json"), "the destination expects it")
            wait_for(lambda: "paused" in all_of(second.libvirt), "the destination waits for it")
            first.libvirt.virsh("domjobabort", NAME)
            assert migration.wait(60) != 0
        finally:
            end(migration)  # type: ignore[arg-type]  # it is text that virsh says
    vm.libvirt.virsh(*FAST)

    wait_for(lambda: second.run("list", "--json").strip() == "[]", "the destination expects nothing")
    vm.increment()
    assert vm.pcr() == measured


def all_of(libvirt: Libvirt) -> str:
    """The domains of a libvirt."""
    return libvirt.virsh("list", "--all")


def test_migrated(vm: Vm, measured: bytes, first: Host, second: Host) -> None:
    """The run goes on at the destination, and there alone; that is no revert."""
    vm.migrate(second.libvirt, "--p2p")

    assert (vm.counted(), vm.pcr()) == (vm.count, measured)
    vm.increment()
    assert first.libvirt.virsh("domstate", NAME) == "shut off"
    assert "went to another host with its run" in first.custody()
    first.libvirt.virsh("start", NAME, status=1)
    assert first.reverts() + second.reverts() == []


def test_back(vm: Vm, measured: bytes, first: Host, second: Host) -> None:
    """It comes back to what it was given away from; a host without the hook learns of it by events."""
    (second.directory / "off").touch()
    command = [*second.command, "libvirt", "watch", "--connect", second.libvirt.uri]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as watch:
        try:
            assert watch.stdout is not None
            assert watch.stdout.readline() == b"ready\n"
            vm.migrate(first.libvirt)
            wait_for(lambda: "give-away" in second.run("audit", "show"), "the TPM is given away")
        finally:
            end(watch)

    assert (vm.counted(), vm.pcr()) == (vm.count, measured)
    assert "went to another host with its run" in second.custody()
    assert first.reverts() + second.reverts() == []


def test_stays(vm: Vm, first: Host) -> None:
    """It belongs to that host: it starts again, with a newest state that nothing of the other can replace."""
    vm.increment()
    vm.power_off()
    vm.start()

    assert (vm.counted(), vm.pcr()) == (vm.count, bytes(32))
    assert re.search(rf"{vm.uuid}.*running", re.sub(r"\s+", " ", first.run("list")))
    vm.destroy()
