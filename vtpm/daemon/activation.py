"""Sockets that whoever started this process listens at already, such as systemd (sd_listen_fds(3))."""

import os
import socket
from pathlib import Path
from typing import Final

from vtpm.daemon.admin import NAME, admin_path
from vtpm.daemon.errors import OperatorError
from vtpm.daemon.sockets import SUFFIX

FIRST: Final = 3
"""The first descriptor that is passed (SD_LISTEN_FDS_START)."""

VARIABLES: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


class ActivationError(OperatorError):
    """A socket that was passed is of no use here; the text gives cause and remedy."""


def passed_sockets(run_dir: Path) -> dict[str, socket.socket]:
    """
    The listening sockets that were passed, by VM, the daemon's own under its name `.daemon`.

    Where a socket is says whose it is, or its name does if it is elsewhere than in the run directory.
    The variables are removed: what this process starts has no part in them.
    """
    process, count, names = [os.environ.pop(variable, "") for variable in VARIABLES]
    if process != str(os.getpid()):
        return {}
    if not count.isdecimal():
        raise ActivationError(f"LISTEN_FDS is {count!r}, and no number; start the program by systemd itself")
    passed: dict[str, socket.socket] = {}
    given = names.split(":") if names else []
    for number in range(int(count)):
        name = given[number] if number < len(given) else ""
        sock = listening_socket(FIRST + number, name)
        owner = owner_of(sock, name, run_dir)
        if owner in passed:
            raise ActivationError(f"two sockets were passed for {owner}; name it in one unit only")
        passed[owner] = sock
    return passed


def listening_socket(descriptor: int, name: str) -> socket.socket:
    """The socket of a descriptor; ActivationError unless it is one at which clients of a TPM can connect."""
    what = f"descriptor {descriptor} ({name or 'without a name'})"
    try:
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - the library's
        sock = socket.socket(fileno=descriptor)
        is_listening = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise ActivationError(f"{what} is no socket: {error.strerror}; use ListenStream=") from None
    if sock.family != socket.AF_UNIX or not is_listening:
        sock.close()
        raise ActivationError(f"{what} is no listening UNIX socket; use ListenStream= with a path, Accept=no")
    sock.settimeout(0)
    return sock


def owner_of(sock: socket.socket, name: str, run_dir: Path) -> str:
    """Whose a socket is: a VM's, or `.daemon`; ActivationError if nothing tells."""
    path = Path(os.fsdecode(sock.getsockname()))
    if path == admin_path(run_dir):
        return NAME
    if path.parent == run_dir and path.suffix == SUFFIX:
        return path.stem
    if name and name != "unknown" and not name.endswith(".socket"):
        return name
    raise ActivationError(
        f"{path} is passed for no VM: it is not in {run_dir}; use ListenStream={run_dir}/<vm>{SUFFIX}, "
        "or FileDescriptorName=<vm>"
    )
