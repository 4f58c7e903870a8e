"""
Telling the system's log where the audit log ends, after each of its lines.

The system's log is not the service's to write: it shows when an older copy of the audit log was put back,
and where it is sent to another host, it outlives this one.
"""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

SYSTEM_LOG: Final = "/dev/log"
PRIORITY: Final = 10 << 3 | 5
"""Facility authpriv, severity notice (RFC 5424, clause 6.2.1)."""
SHOWN: Final = ("op", "result", "vm", "provider")


def tell_system_log(number: int, head: str, entry: Mapping[str, Any], address: str = SYSTEM_LOG) -> None:
    """
    Send the number and the hash of a line, and what it is about; what cannot be sent is left out.

    Nobody is waited for: a system's log that does not read keeps no operation from going on.
    """
    about = " ".join(f"{name}={entry[name]}" for name in SHOWN if name in entry)
    message = f"<{PRIORITY}>vtpm-audit[{os.getpid()}]: {number} {head} {about}"
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(address)
        sock.send(message.encode(), socket.MSG_DONTWAIT)


def is_heard(address: str = SYSTEM_LOG) -> bool:
    """Whether there is a system's log that takes messages."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.connect(address)
    except OSError:
        return False
    return True
