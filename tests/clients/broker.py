"""tpm2-abrmd, the resource manager that shares a TPM among clients over D-Bus, on a bus of its own."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.clients.simulators import STARTS_WITHIN, running

PROGRAMS = ("dbus-daemon", "tpm2-abrmd")
BROKER = "tabrmd:bus_type=session"


def missing_program() -> str | None:
    """A program that is not installed, or None when all are."""
    return next((name for name in PROGRAMS if shutil.which(name) is None), None)


@contextmanager
def broker(tcti: str, directory: Path) -> Iterator[str]:
    """
    The address of a bus at which the broker of a TPM is found.

    BROKER leads there for a process that has the address as DBUS_SESSION_BUS_ADDRESS.
    The broker has sent TPM2_Startup when it is found.
    """
    bus_socket = directory / "bus"
    address = f"unix:path={bus_socket}"
    bus = ["dbus-daemon", "--session", f"--address={address}", "--nofork", "--nopidfile", "--nosyslog"]
    with ExitStack() as stack:
        stack.enter_context(running(bus, directory / "bus.log", lambda: _listens(bus_socket)))
        environment = {**os.environ, "DBUS_SESSION_BUS_ADDRESS": address}
        command = ["tpm2-abrmd", "--session", "--allow-root", f"--tcti={tcti}"]
        stack.enter_context(
            running(command, directory / "broker.log", lambda: _answers(environment), environment)
        )
        yield address


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def _answers(environment: dict[str, str]) -> bool:
    asked = subprocess.run(
        ["tpm2_getrandom", "1", "-o", os.devnull, "-T", BROKER],
        env=environment,
        capture_output=True,
        timeout=STARTS_WITHIN,
        check=False,
    )
    return asked.returncode == 0
