"""Asking the daemon at its own socket, by which `vtpm` tells it of changes: a line of JSON each way."""

import json
import os
import socket
import struct
from pathlib import Path
from typing import Any, Final

from vtpm.daemon.errors import OperatorError

NAME: Final = ".daemon"
"""Its name in the run directory; no VM's socket begins with a dot."""

TIMEOUT: Final = 10.0
MAX_LINE: Final = 1 << 20
CREDENTIALS: Final = struct.Struct("3i")
"""Linux, include/linux/socket.h: struct ucred."""


class AdminError(OperatorError):
    """The daemon refused, or did not answer; the text gives cause and remedy."""


def admin_path(run_dir: Path) -> Path:
    """Where the daemon of a run directory listens."""
    return run_dir / NAME


def connect(run_dir: Path, timeout: float) -> socket.socket | None:
    """A connection to the daemon, None if there is none; AdminError if this user may not have one."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(timeout)
    try:
        sock.connect(str(admin_path(run_dir)))
    except OSError as error:
        sock.close()
        if isinstance(error, (FileNotFoundError, ConnectionRefusedError, NotADirectoryError)):
            return None
        raise AdminError(f"the daemon cannot be reached: {error.strerror}; run as its user") from None
    return sock


def request_of(request: str, **arguments: Any) -> bytes:
    """The line that asks."""
    return json.dumps({"do": request, **arguments}).encode() + b"\n"


def result_of(line: bytes) -> Any:
    """What a line answers; AdminError if it refuses, or is none."""
    try:
        answer = json.loads(line)
    except ValueError:
        raise AdminError("the daemon did not answer; look into its log") from None
    if "error" in answer:
        raise AdminError(str(answer["error"]))
    return answer["result"]


def ask(run_dir: Path, request: str, *, timeout: float = TIMEOUT, **arguments: Any) -> Any:
    """Ask the daemon; None if there is none, AdminError if it refuses, or is silent for `timeout` seconds."""
    sock = connect(run_dir, timeout)
    if sock is None:
        return None
    with sock:
        try:
            sock.sendall(request_of(request, **arguments))
            with sock.makefile("rb") as stream:
                line = stream.readline(MAX_LINE)
        except OSError:
            line = b""
    return result_of(line)


def peer_of(sock: socket.socket) -> tuple[int, int]:
    """The process and the user at the other end of a UNIX socket, as they were when it was connected."""
    octets = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    process, user, _group = CREDENTIALS.unpack(octets)
    return process, user


def is_trusted(sock: socket.socket) -> bool:
    """Is at the other end a process of this user, or of root?"""
    return peer_of(sock)[1] in {0, os.geteuid()}
