"""One connection to the control socket of a VM: QEMU's, as a rule."""

import asyncio
import logging
import os
import socket
from collections.abc import Mapping
from functools import partial
from typing import Any, Final, Protocol

from vtpm.control import messages
from vtpm.control.connection import Connection
from vtpm.control.messages import TPM_RESULT, Request, Result
from vtpm.daemon.carried import Carried
from vtpm.daemon.channel import Outlet
from vtpm.daemon.lane import Defect, Lane

log = logging.getLogger(__name__)

READ_SIZE: Final = 1 << 16
MAX_DESCRIPTORS: Final = 4
PATIENCE: Final = 0.5
"""Seconds in which the rest of a request must come, as with swtpm."""


class Addressee(Protocol):
    """What a client talks to: `vtpm.daemon.endpoint.Endpoint`."""

    @property
    def name(self) -> str:
        """The VM's."""

    @property
    def lane(self) -> Lane:
        """The queue of the TPM."""

    def answer(self, request: Request, descriptor: socket.socket | None) -> Any:
        """Carry a request out; within a step of the lane."""

    def must_leave_loop(self, request: Request) -> bool:
        """Would other TPMs wait for this request?"""

    def client_gone(self, *, shut_down: bool) -> None:
        """The client has disconnected, perhaps after SHUTDOWN."""


class ControlClient:
    """One connection to the control socket."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket, endpoint: Addressee) -> None:
        sock.settimeout(0)
        self._loop = loop
        self._sock = sock
        self._endpoint = endpoint
        self._connection = Connection()
        self._outlet = Outlet(loop, sock)
        self._descriptors: list[socket.socket] = []
        self._patience: asyncio.TimerHandle | None = None
        self._is_open = True
        self._passes_descriptors = sock.family == socket.AF_UNIX
        loop.add_reader(sock.fileno(), self._readable)

    def close(self, *, shut_down: bool = False) -> None:
        """End the connection."""
        if not self._is_open:
            return
        self._is_open = False
        if self._patience is not None:
            self._patience.cancel()
        self._outlet.close()
        self._drop_descriptors()
        self._loop.remove_reader(self._sock.fileno())
        self._sock.close()
        self._endpoint.client_gone(shut_down=shut_down)

    def pause(self) -> None:
        """Read nothing for now."""
        self._loop.remove_reader(self._sock.fileno())
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def proceed(self) -> None:
        """Read on, after `pause` or `hand_over`."""
        self._loop.add_reader(self._sock.fileno(), self._readable)
        self._outlet.proceed()
        self._await_rest()

    def hand_over(self) -> Carried:
        """The connection, paused and with no request under way, for another process to go on with."""
        self._outlet.pause()
        facts = {"position": self._connection.position(), "pending": self._outlet.pending}
        return Carried(facts, {"control": self._sock.fileno()})

    def go_on(self, facts: Mapping[str, Any]) -> None:
        """Go on where `hand_over` was called; while it is paused."""
        self._connection.move_to(**facts["position"])
        self._outlet.take(facts["pending"])

    def _readable(self) -> None:
        try:
            octets = self._receive()
        except BlockingIOError:
            return
        except OSError:
            octets = b""
        if not octets:
            self.close()
            return
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        self._take(self._connection.receive_data(octets))
        if self._is_open:
            self._await_rest()

    def _await_rest(self) -> None:
        if self._connection.is_waiting:
            self._patience = self._loop.call_later(PATIENCE, self._give_up)

    def _receive(self) -> bytes:
        """Read octets, and the descriptors that come with them."""
        if not self._passes_descriptors:
            return self._sock.recv(READ_SIZE)
        octets, descriptors, _flags, _address = socket.recv_fds(self._sock, READ_SIZE, MAX_DESCRIPTORS)
        for descriptor in descriptors:
            try:
                self._descriptors.append(socket.socket(fileno=descriptor))
            except OSError:
                log.warning("%s: a descriptor that is no socket was passed", self._endpoint.name)
                os.close(descriptor)
        return octets

    def _give_up(self) -> None:
        self._patience = None
        self._take(self._connection.give_up())

    def _take(self, received: list[Request]) -> None:
        for request in received:
            descriptor = None
            if isinstance(request, messages.SetDataFd) and self._descriptors:
                descriptor = self._descriptors.pop(0)
            self._endpoint.lane.enter(partial(self._begin, request, descriptor))
        self._drop_descriptors()

    def _drop_descriptors(self) -> None:
        """Close descriptors that no request asked for."""
        for descriptor in self._descriptors:
            descriptor.close()
        self._descriptors.clear()

    def _begin(self, request: Request, descriptor: socket.socket | None) -> None:
        self._endpoint.lane.run(
            partial(self._endpoint.answer, request, descriptor),
            partial(self._reply, request),
            on_thread=self._endpoint.must_leave_loop(request),
        )

    def _reply(self, request: Request, response: Any) -> None:
        if response is None or not self._is_open:
            return
        if isinstance(response, Defect):
            response = Result(TPM_RESULT.FAIL)
        try:
            self._outlet.send(self._connection.send(response))
        except OSError:
            self.close()
            return
        if isinstance(request, messages.Shutdown):
            self.close(shut_down=True)
