"""One connection to the control socket of a VM: QEMU's, as a rule."""

import asyncio
import logging
import socket
from collections.abc import Mapping
from functools import partial
from typing import Any, Final, Protocol

from vtpm.control import messages
from vtpm.control.connection import Connection
from vtpm.control.messages import TPM_RESULT, Request, Result
from vtpm.daemon import nowait
from vtpm.daemon.carried import Carried
from vtpm.daemon.conversation import READ_SIZE, Conversation
from vtpm.daemon.lane import Defect, Lane

log = logging.getLogger(__name__)

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


class ControlClient(Conversation):
    """
    One connection to the control socket.

    Of the descriptors that a client passes the first one is kept for its next SET_DATAFD.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        endpoint: Addressee,
        disposer: nowait.Disposer,
    ) -> None:
        super().__init__(loop, sock, endpoint.lane, patience=PATIENCE)
        self._endpoint = endpoint
        self._disposer = disposer
        self._connection = Connection()
        self._passed: socket.socket | None = None
        self._has_warned = False
        self._shut_down = False

    def hand_over(self) -> Carried:
        """The connection, paused and with no request under way, for another process to go on with."""
        self._outlet.pause()
        facts = {"position": self._connection.position(), "pending": self._outlet.pending}
        descriptors = {"control": self._sock.fileno()}
        if self._passed is not None:
            descriptors["passed"] = self._passed.fileno()
        return Carried(facts, descriptors)

    def go_on(self, facts: Mapping[str, Any], passed: socket.socket | None = None) -> None:
        """Go on where `hand_over` was called, with the descriptor that was kept; while it is paused."""
        self._connection.move_to(**facts["position"])
        self._outlet.pending = facts["pending"]
        self._passed = passed

    def receive(self) -> bytes:
        """Read octets, and the descriptors that come with them."""
        if not self._passes_descriptors:
            return nowait.receive(self._sock, READ_SIZE)
        octets, descriptors = nowait.receive_with(self._sock, READ_SIZE)
        for descriptor in descriptors:
            sock = None if self._passed is not None else nowait.stream_of(descriptor, self._sock)
            if sock is not None:
                self._passed = sock
                continue
            self._disposer.dispose(descriptor)
            if not self._has_warned:
                self._has_warned = True
                log.warning(
                    "%s: a descriptor was passed that is no connected local stream socket, or one too many; "
                    "it is closed",
                    self._endpoint.name,
                )
        return octets

    def feed(self, octets: bytes) -> None:
        """Take octets that have come."""
        self._connection.feed(octets)

    def take(self) -> Request | None:
        """The next request that has come whole."""
        return self._connection.take()

    def give_up(self) -> list[Request]:
        """The request whose rest does not come."""
        return self._connection.give_up()

    @property
    def has_octets(self) -> bool:
        """Have octets come that are in no request yet?"""
        return self._connection.has_octets

    @property
    def is_waiting(self) -> bool:
        """Is the rest of a request awaited?"""
        return self._connection.is_waiting

    def begin(self, request: Request) -> None:
        """Carry a request out."""
        descriptor = None
        if isinstance(request, messages.SetDataFd):
            descriptor, self._passed = self._passed, None
        self._lane.run(
            partial(self._endpoint.answer, request, descriptor),
            partial(self._reply, request),
            on_thread=self._endpoint.must_leave_loop(request),
        )
        if not self._connection.has_octets:
            self._drop_descriptor()

    def ended(self) -> None:
        """The connection is over."""
        self._drop_descriptor()
        self._disposer.dispose(self._sock)
        self._endpoint.client_gone(shut_down=self._shut_down)

    def _drop_descriptor(self) -> None:
        """Close the descriptor that no request asked for."""
        if self._passed is not None:
            self._disposer.dispose(self._passed)
            self._passed = None

    def _reply(self, request: Request, response: Any) -> None:
        if isinstance(response, Defect):
            response = Result(TPM_RESULT.FAIL)
        is_shutdown = isinstance(request, messages.Shutdown)
        if is_shutdown and self._is_open:
            self._shut_down = True
        self.answer(b"" if response is None else self._connection.send(response))
        if is_shutdown:
            self.close()
