"""
Which processes have a TPM of the daemon, written down so that whoever looks after its end knows them.

QEMU connects once: a hypervisor whose daemon has ended runs on, and its guest gets no answers from its TPM
until it is powered off and on. The file is in the run directory, for its owner alone.
"""

import json
import logging
import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

log = logging.getLogger(__name__)

NAME: Final = ".guests"
"""Its name in the run directory; no VM's socket begins with a dot."""

MAX_SIZE: Final = 1 << 24
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
PROC: Final = Path("/proc")
TICK: Final = 1 / os.sysconf("SC_CLK_TCK")
"""Seconds: what /proc counts in."""

REMEDY: Final = "shut the guest down and start it again; a reboot from within is not enough"


@dataclass(frozen=True, slots=True)
class Guest:
    """A process that has, or had, the TPM of a VM."""

    name: str
    process: int
    noted: float
    """Seconds since the boot, at which the process was seen: one that began later is another."""

    @property
    def is_alive(self) -> bool:
        """Does the process run? Also where only its number can be seen, as under ProtectProc=."""
        try:
            facts = (PROC / str(self.process) / "stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            return _exists(self.process)
        return facts[0] not in "ZX" and int(facts[19]) * TICK <= self.noted + TICK

    @property
    def remedy(self) -> str:
        """What to do then."""
        return REMEDY

    @property
    def complaint(self) -> str:
        """What is wrong, if the process has lost its TPM."""
        return (
            f"it runs without its TPM (process {self.process}): the daemon that served it has ended, "
            "and the guest gets no answers from its TPM until it is powered off and on"
        )


class GuestRecord:
    """The file, kept by the daemon of a run directory from `begin` to `end`."""

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / NAME
        self._connected: dict[str, Guest] = {}
        self._lost: list[Guest] = []
        self._is_kept = False

    def begin(self) -> None:
        """Go on with what another daemon has left, and name the guests that have lost their TPM with it."""
        connected = {(guest.name, guest.process) for guest in self._connected.values()}
        before = [guest for guest in _read(self._path) if (guest.name, guest.process) not in connected]
        self._lost = [guest for guest in before if guest.is_alive]
        for guest in self._lost:
            log.error("%s: %s; %s", guest.name, guest.complaint, REMEDY)
        self._is_kept = True
        self._write()

    def end(self) -> None:
        """Leave the file as it is, for whoever looks after the daemon's end."""
        self._is_kept = False

    def came(self, name: str, process: int) -> None:
        """A process has the TPM of a VM now."""
        self._lost = [guest for guest in self._lost if (guest.name, guest.process) != (name, process)]
        self._connected[name] = Guest(name, process, time.clock_gettime(time.CLOCK_BOOTTIME))
        self._write()

    def went(self, name: str) -> None:
        """It has given it back."""
        if self._connected.pop(name, None) is not None:
            self._write()

    def process_of(self, name: str) -> int | None:
        """The process that has the TPM of a VM."""
        guest = self._connected.get(name)
        return None if guest is None else guest.process

    def _write(self) -> None:
        if not self._is_kept:
            return
        self._lost = [guest for guest in self._lost if guest.is_alive]
        if not self._connected and not self._lost:
            self._path.unlink(missing_ok=True)
            return
        guests = [asdict(guest) for guest in (*self._connected.values(), *self._lost)]
        beside = self._path.with_name(NAME + ".new")
        try:
            beside.unlink(missing_ok=True)
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "w") as file:
                json.dump({"boot": _boot(), "guests": guests}, file)
            beside.replace(self._path)
        except OSError as error:
            log.warning(
                "which guests are connected cannot be noted in %s: %s; after an end of this daemon, `vtpm` "
                "could not name those that lost their TPM; remove the cause",
                self._path,
                error.strerror,
            )


def without_tpm(noted: Iterable[Guest], served: Mapping[str, Mapping[str, Any]]) -> dict[str, Guest]:
    """
    The guests of `noted` that run and have no connection to the daemon, by VM.

    `served` is what the daemon says of its VMs, asked after `noted` was read; empty if there is none.
    """
    lost = {}
    for guest in noted:
        vm = served.get(guest.name, {})
        has_it = vm.get("connected") and vm.get("process", guest.process) == guest.process
        if not has_it and guest.is_alive:
            lost[guest.name] = guest
    return lost


def noted_guests(run_dir: Path) -> list[Guest]:
    """What the daemon of a run directory has written down, or one that has ended."""
    return _read(run_dir / NAME)


def _read(path: Path) -> list[Guest]:
    """What the file says; nothing if it is of another boot, another user's, or malformed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return []
    with os.fdopen(descriptor, "rb") as file:
        if os.fstat(descriptor).st_uid not in {os.geteuid(), path.parent.stat().st_uid}:
            return []
        octets = file.read(MAX_SIZE)
    with suppress(ValueError, TypeError, KeyError, AttributeError):
        facts = json.loads(octets)
        if facts["boot"] == _boot():
            return [_guest(**entry) for entry in facts["guests"]]
    return []


def _guest(name: str, process: int, noted: float) -> Guest:
    if not (isinstance(name, str) and isinstance(process, int) and process > 0):
        raise TypeError
    return Guest(name, process, float(noted))


def _boot() -> str:
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


def _exists(process: int) -> bool:
    """Is there a process of a number, whosever it is?"""
    try:
        os.kill(process, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True
