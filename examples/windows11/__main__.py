"""
Install Windows 11 from an ISO into a VM with a TPM of this project, turn BitLocker on, and check.

`python -m examples.windows11 --iso windows11.iso [--key KEY] [--image N] [--keep DIRECTORY]`
VTPM_WIN11_ISO and VTPM_WIN11_KEY do as well.
It takes about half an hour under KVM, and most of a day without.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

from examples.guest.host import Host
from examples.guest.machine import choose_accelerator
from examples.guest.processes import ProgramFailedError
from examples.windows11.answers import make_answers
from examples.windows11.facts import Told, told_in
from examples.windows11.machine import Machine, Monitor

VM = "windows11"
PROMPT = 90.0
"""Seconds in which the ISO's boot loader asks for a key."""

LIMITS = {"kvm": 2 * 3600.0, "tcg": 24 * 3600.0}
PHASES = ("first", "second")


class InstallationError(ProgramFailedError):
    """Windows was not installed, or is not content; the text says why."""


def install(iso: Path, directory: Path, *, image: int = 1, key: str = "") -> list[str]:
    """Install and check Windows in a directory; what is not as it must be."""
    iso = iso.resolve(strict=True)
    host = prepared(directory)
    accelerator = choose_accelerator(directory)
    machine = Machine(
        directory,
        host.socket_of(VM),
        accelerator,
        iso=iso,
        answers=make_answers(directory, image, key),
        disk=directory / "disk.qcow2",
    )
    machine.make_disk()
    problems: list[str] = []
    with host.daemon(VM), machine.running() as (process, monitor):
        press_keys(monitor)
        for phase in PHASES:
            told = wait_for(phase, machine, process, LIMITS[accelerator])
            problems += [f"{phase} boot: {problem}" for problem in told.problems()]
            problems += check_from_outside(host)
    return problems


def prepared(directory: Path) -> Host:
    """A key provider with a verified backup, and the VM's TPM."""
    host, backup = Host(directory), directory / "main.backup"
    secret = ("--passphrase-file", host.make_passphrase())
    host.vtpm("provider", "init", "main")
    host.vtpm("provider", "backup", "main", "--out", backup, *secret)
    host.vtpm("provider", "verify", backup, *secret)
    host.vtpm("create", VM, "--banks", "sha256")
    return host


def press_keys(monitor: Monitor) -> None:
    """Press a key until the ISO's boot loader can have asked for it."""
    deadline = time.monotonic() + PROMPT
    while time.monotonic() < deadline:
        monitor.press("ret")
        time.sleep(1)


def wait_for(phase: str, machine: Machine, process: "subprocess.Popen[bytes]", limit: float) -> Told:
    """What Windows tells in a phase; InstallationError if it does not within `limit` seconds."""
    deadline = time.monotonic() + limit
    while True:
        told = told_in(machine.serial.read_bytes()) if machine.serial.exists() else {}
        if phase in told:
            return told[phase]
        if process.poll() is not None or time.monotonic() > deadline:
            said = (machine.directory / "qemu.log").read_text(errors="replace")
            raise InstallationError(f"Windows has not told of its {phase} boot; QEMU said: {said}")
        time.sleep(1)


def check_from_outside(host: Host) -> list[str]:
    """What `vtpm check windows11` finds wrong while Windows runs."""
    try:
        host.vtpm("check", "windows11", VM)
    except ProgramFailedError as error:
        return [f"vtpm check windows11: {error}"]
    return []


def main() -> None:
    """Install, and say what came of it."""
    parser = argparse.ArgumentParser(prog="python -m examples.windows11", description=__doc__)
    parser.add_argument("--iso", type=Path, default=os.environ.get("VTPM_WIN11_ISO"), help="Windows 11's ISO")
    parser.add_argument("--key", default=os.environ.get("VTPM_WIN11_KEY", ""), help="a product key")
    parser.add_argument("--image", type=int, default=1, help="the number of the image (default: %(default)s)")
    parser.add_argument("--keep", type=Path, help="an empty directory that disk, TPM and logs stay in")
    given = parser.parse_args()
    if given.iso is None:
        parser.error("give --iso, or set VTPM_WIN11_ISO: no ISO of Windows comes with this project")
    try:
        if given.keep is not None:
            given.keep.mkdir(mode=0o700, parents=True, exist_ok=True)
        place = (
            nullcontext(str(given.keep)) if given.keep else tempfile.TemporaryDirectory(prefix="windows11-")
        )
        with place as directory:
            problems = install(given.iso, Path(directory), image=given.image, key=given.key)
    except ProgramFailedError as error:
        sys.exit(f"{error}")
    except OSError as error:
        sys.exit(f"{error.filename}: {error.strerror}" if error.filename else f"{error}")
    print("\n".join(problems) or "Windows 11 is installed, and content with its TPM")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
