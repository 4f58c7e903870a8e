"""Telling systemd that a service is ready (sd_notify(3)); nothing where no systemd has started it."""

import logging
import os
import socket

log = logging.getLogger(__name__)

VARIABLE = "NOTIFY_SOCKET"


def tell_ready() -> None:
    """Say that whatever waits for this service can go on."""
    address = os.environ.get(VARIABLE)
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        try:
            sock.sendto(b"READY=1", address)
        except OSError as error:
            log.warning("systemd could not be told that the service is ready: %s", error.strerror)
