"""A hypervisor that attaches to a VM's control socket as QEMU does, and the guest's commands."""

import socket
from pathlib import Path
from typing import Self

from tests.scenarios import Caller
from vtpm.control.messages import CMD
from vtpm.spec.constants import TPM_SU

LIMIT = 30.0
SUCCESS = bytes(4)


class Hypervisor(Caller):
    """It is attached and powers the TPM on; the commands of the table are its methods."""

    def __init__(self, path: Path) -> None:
        self._control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._control.settimeout(LIMIT)
        self._control.connect(str(path))
        self._data, theirs = socket.socketpair()
        self._data.settimeout(LIMIT)
        with theirs:
            socket.send_fds(self._control, [CMD.SET_DATAFD.to_bytes(4, "big")], [theirs.fileno()])
            assert self._control.recv(4) == SUCCESS
        self.power_on()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._control.close()
        self._data.close()

    def power_on(self) -> None:
        """INIT, and what firmware does first."""
        self._control.sendall(CMD.INIT.to_bytes(4, "big") + bytes(4))
        assert self._control.recv(4) == SUCCESS
        self.startup(startup_type=TPM_SU.CLEAR).check()

    def power_off(self) -> None:
        """STOP."""
        self._control.sendall(CMD.STOP.to_bytes(4, "big"))
        assert self._control.recv(4) == SUCCESS

    def send(self, request: bytes, locality: int = 0) -> bytes:  # noqa: ARG002 - always locality 0
        """Send octets as they are."""
        self._data.sendall(request)
        response = b""
        while len(response) < 10 or len(response) < int.from_bytes(response[2:6], "big"):
            part = self._data.recv(4096)
            assert part, "the TPM has gone"
            response += part
        return response

    def name_of(self, handle: int) -> bytes:
        """Of no use to passwords, which are all that is used here."""
        return handle.to_bytes(4, "big")
