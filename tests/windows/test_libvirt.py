"""examples/windows11/domain.xml through libvirt, with a Linux guest that asks what Windows 11 would ask."""

import base64
import shutil
import time
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from examples.guest.initramfs import with_job
from examples.guest.secure_boot import loaders, make_system_partition
from examples.windows11.answers import HERE
from tests.libvirt.conftest import check_machine
from tests.libvirt.daemon import QEMU_USER, libvirtd
from tests.libvirt.guest import JOB, Guest
from tests.libvirt.vm import serving
from tests.windows.inside import (
    LOG,
    PREPARE,
    SCRIPT,
    additions,
    check_inside,
    check_log,
    check_outside,
    write_log,
)

pytestmark = pytest.mark.libvirt

NAME = "windows11"
LIMIT = 300.0
"""Seconds in which the guest boots, and in which it runs the script."""

NOT_EMULATED = ("./features/hyperv", "./clock/timer[@name='hypervclock']")
NOT_NEEDED = tuple(f"./devices/{name}" for name in ("tpm", "disk", "interface", "graphics", "channel"))

DISK = """<disk type='dir' device='disk'>
  <driver name='qemu' type='fat'/>
  <source dir='{partition}'/>
  <target dev='vda' bus='virtio'/>
  <readonly/>
  <boot order='1'/>
</disk>"""
CONSOLE = "<serial type='file'><source path='{directory}/console.log'/><target port='0'/></serial>"
CONTROL = "<serial type='unix'><source mode='bind' path='{directory}/control'/><target port='1'/></serial>"


def definition(directory: Path, partition: Path) -> str:
    """The domain of the example, without its TPM: emulated, smaller, and with the guest's disk and ports."""
    domain = ET.parse(HERE / "domain.xml").getroot()
    domain.set("type", "qemu")
    for path in (*NOT_EMULATED, *NOT_NEEDED):
        parent = found(domain, path.rpartition("/")[0])
        for element in domain.findall(path):
            parent.remove(element)
    found(domain, "./cpu").attrib.clear()
    found(domain, "./cpu").set("mode", "maximum")
    found(domain, "./memory").text = "1"
    devices = found(domain, "./devices")
    for text in (DISK, CONSOLE, CONTROL):
        devices.append(ET.fromstring(text.format(directory=directory, partition=partition)))
    return ET.tostring(domain, encoding="unicode")


def found(domain: ET.Element, path: str) -> ET.Element:
    """The element at a path."""
    element = domain.find(path)
    assert element is not None, path
    return element


def new_guest(directory: Path) -> Guest:
    """A guest that boots from a disk of its own, and then does what it is told."""
    directory.mkdir(mode=0o755)
    initramfs = directory / "initramfs"
    initramfs.write_bytes(with_job(f"{PREPARE}{JOB}", *additions()))
    make_system_partition(directory, initramfs, "console=ttyS0 quiet panic=-1")
    for path in (directory, *directory.rglob("*")):
        shutil.chown(path, QEMU_USER, QEMU_USER)
    return Guest(directory)


def run_script(guest: Guest) -> str:
    """What the script says; it takes longer than one answer may."""
    guest.run(f"{{ sh /{SCRIPT.name} >/tmp/lines; echo $? >/tmp/status; }} >/dev/null 2>&1 &")
    deadline = time.monotonic() + LIMIT
    while not (status := guest.run("cat /tmp/status 2>/dev/null || true")):
        assert time.monotonic() < deadline, guest.run("cat /tmp/lines")
    assert status == "0", guest.run("cat /tmp/lines")
    return guest.run("cat /tmp/lines")


def test_secure_boot(directory: Path) -> None:
    """`vtpm attach` gives the domain its TPM; every line passes inside, and outside while the domain runs."""
    check_machine()
    try:
        loaders()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    guest = new_guest(directory / "guest")
    file = directory / "domain.xml"
    file.write_text(definition(guest.directory, guest.directory / "system-partition"))
    with serving(directory / "vtpm") as tpms, libvirtd(directory / "libvirt") as libvirt:
        libvirt.virsh("define", "--validate", str(file))
        tpms.run("attach", NAME, "--connect", libvirt.uri, "--allow-unverified", "--banks", "sha256")
        libvirt.virsh("start", NAME)
        guest.wait_until_booted(LIMIT)
        log = write_log(directory, base64.b64decode(guest.run(f"base64 -w 0 {LOG}")))
        inside = run_script(guest)
        outside = tpms.run("check", "windows11", NAME, "--event-log", str(log), "--json")
        events = tpms.run("inspect", NAME, "--event-log", str(log), "--json")
        libvirt.virsh("destroy", NAME)
        guest.disconnect()

    check_inside(inside)
    check_outside(outside)
    check_log(events)
