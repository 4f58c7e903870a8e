"""A guest asks for its TPM to be cleared, as Windows does, and somebody confirms it to the firmware."""

import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from examples.guest.machine import Firmware, Machine
from examples.guest.tpm_server import vtpm
from examples.windows11.machine import Monitor

pytestmark = pytest.mark.slow

LIMIT = 150.0

JOB = """
presence=/sys/class/tpm/tpm0/ppi
response=$(cat $presence/response)
case $response in
5*)
    report response "$response"
    tpm2_getcap properties-variable >/tmp/properties
    report owner "$(grep ownerAuthSet /tmp/properties)"
    ;;
*)
    tpm2_changeauth -Q -c owner secret
    tpm2_getcap properties-variable >/tmp/properties
    report before "$(grep ownerAuthSet /tmp/properties)"
    echo 5 >$presence/request
    sync
    reboot -f
    sleep 60
    ;;
esac
"""
"""Physical Presence Interface, operation 5: clear; after the reset, what came of it."""


@dataclass(frozen=True)
class Attended(Machine):
    """A machine that is reset when its guest asks for it, and at whose keyboard somebody sits."""

    def _arguments(self, initrd: Path | None, tpm: Path | None) -> list[str | Path]:
        arguments = [word for word in super()._arguments(initrd, tpm) if word != "-no-reboot"]
        return [*arguments, "-vga", "std", "-qmp", f"unix:{self.directory}/monitor,server=on,wait=off"]


def press_f12(path: Path, stop: threading.Event) -> None:
    """Confirm whatever firmware asks, until told to stop."""
    while not path.exists():
        if stop.wait(0.1):
            return
    monitor = Monitor(path)
    try:
        while not stop.wait(0.5):
            monitor.press("f12")
    except OSError:
        return  # QEMU has ended
    finally:
        monitor.close()


def test_clear(directory: Path) -> None:
    """OVMF asks, F12 confirms, TPM2_Clear succeeds: the owner's authorization is gone."""
    stop = threading.Event()
    keyboard = threading.Thread(target=press_f12, args=(directory / "monitor", stop))
    with vtpm(directory) as tpm:
        keyboard.start()
        try:
            run = Attended(directory, Firmware.OVMF).boot(JOB, tpm, LIMIT)
        finally:
            stop.set()
            keyboard.join()

    assert run.text("before").endswith("1")
    assert run.text("response").startswith("5 0")
    assert run.text("owner").endswith("0")
