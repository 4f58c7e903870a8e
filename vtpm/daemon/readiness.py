"""Telling systemd of a service (sd_notify(3)); nothing where no systemd has started it."""

import logging
import os
import socket

log = logging.getLogger(__name__)

VARIABLE = "NOTIFY_SOCKET"


def tell_ready() -> None:
    """Say that whatever waits for this service can go on."""
    tell("READY=1")


def tell_replaced(process: int) -> None:
    """Say that another process is the service from now on; to be called before this one ends."""
    tell(f"MAINPID={process}")


def tell(message: str) -> None:
    """Say something to whoever started this service."""
    address = os.environ.get(VARIABLE)
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        try:
            sock.sendto(message.encode(), address)
        except OSError as error:
            log.warning("systemd could not be told %s: %s", message, error.strerror)
