"""
One VM's sockets: the control channel that QEMU connects to, and the data channel whose descriptor it passes.

A client is served at a time; another one waits until it has gone, as with swtpm.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from vtpm.control import messages
from vtpm.control.connection import Connection
from vtpm.control.messages import SUCCESS, TPM_RESULT, Request, Result
from vtpm.daemon import requests
from vtpm.daemon.channel import DataChannel, Outlet
from vtpm.daemon.device import Device
from vtpm.daemon.lane import Defect, Lane

log = logging.getLogger(__name__)

READ_SIZE: Final = 1 << 16
MAX_DESCRIPTORS: Final = 4
PATIENCE: Final = 0.5
"""Seconds in which the rest of a request must come, as with swtpm."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How an endpoint behaves at the ends of things."""

    ends_with_control: bool = True
    """Does the TPM lose its power when the control client disconnects without SHUTDOWN?"""
    rejected_locality: int | None = None
    one_command: bool = False
    """Does the data connection end after one command?"""


class Endpoint:
    """
    The control socket of one device.

    `ended` is called when the control client has gone; with True, after SHUTDOWN.
    `data_ended` is called when the data client has gone.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        device: Device,
        lane: Lane,
        listener: socket.socket | None,
        *,
        policy: Policy = Policy(),
        others_wait: Callable[[], bool],
        ended: Callable[[bool], None] = lambda _: None,
        data_ended: Callable[[], None] = lambda: None,
    ) -> None:
        self.device = device
        self.lane = lane
        self.data: DataChannel | None = None
        self._loop = loop
        self._listener = listener
        self._policy = policy
        self._others_wait = others_wait
        self._ended = ended
        self._data_ended = data_ended
        self._client: ControlClient | None = None
        self._accepting = False
        self._is_closed = False
        self._listen()

    @property
    def is_in_use(self) -> bool:
        """Is a hypervisor connected, or the TPM powered?"""
        return self._client is not None or self.device.is_running

    def serve(self, sock: socket.socket) -> None:
        """Serve a client that is connected already."""
        if self._accepting and self._listener is not None:
            self._loop.remove_reader(self._listener.fileno())
            self._accepting = False
        self._client = ControlClient(self._loop, sock, self)

    def serve_data(self, sock: socket.socket, closed: Callable[[], None] = lambda: None) -> bool:
        """Take a socket for the data channel; False if there is one."""
        if self.data is not None:
            return False

        def gone() -> None:
            self.data = None
            closed()
            self._data_ended()

        self.data = DataChannel(
            self._loop,
            sock,
            self.device,
            self.lane,
            others_wait=self._others_wait,
            closed=gone,
            one_command=self._policy.one_command,
        )
        return True

    async def close(self) -> None:
        """Serve nobody any more, end the TPM's run."""
        self._is_closed = True
        if self._accepting and self._listener is not None:
            self._loop.remove_reader(self._listener.fileno())
        if self._listener is not None:
            self._listener.close()
        await self.lane.idle()
        if self._client is not None:
            self._client.close()
        if self.data is not None:
            self.data.close()
        self.lane.enter(partial(self.lane.run, self.device.close, lambda _: None, on_thread=True))
        await self.lane.idle()

    def answer(self, request: Request, descriptor: socket.socket | None) -> Any:
        """Carry a request out; within a step of the lane."""
        if isinstance(request, messages.SetDataFd):
            return self._set_data_fd(descriptor)
        response = requests.answer(self.device, request, rejected_locality=self._policy.rejected_locality)
        if isinstance(response, messages.BufferSize) and self.data is not None:
            self.data.set_maximum(response.buffersize)
        return response

    def must_leave_loop(self, request: Request) -> bool:
        """Would other TPMs wait for this request?"""
        return (
            not isinstance(request, messages.Malformed)
            and request.command in requests.SLOW
            and self._others_wait()
        )

    def client_gone(self, *, shut_down: bool) -> None:
        """The control client has disconnected, perhaps after SHUTDOWN."""
        self._client = None
        if shut_down or self._policy.ends_with_control:
            if self.data is not None:
                self.data.close()
            self.lane.enter(
                partial(self.lane.run, self.device.close, self._run_over, on_thread=self._others_wait())
            )
        self._listen()
        self._ended(shut_down)

    def _run_over(self, _result: Any) -> None:
        log.info("%s: the TPM's run has ended", self.device.name)

    def _set_data_fd(self, descriptor: socket.socket | None) -> Result:
        if descriptor is None:
            return Result(TPM_RESULT.BAD_PARAMETER if self.data is None else TPM_RESULT.IOERROR)
        if not self.serve_data(descriptor):
            descriptor.close()
            return Result(TPM_RESULT.IOERROR)
        return SUCCESS

    def _listen(self) -> None:
        if self._listener is not None and not self._accepting and not self._is_closed:
            self._accepting = True
            self._loop.add_reader(self._listener.fileno(), self._accept)

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            sock, _ = self._listener.accept()
        except BlockingIOError:
            return
        except OSError as error:
            log.warning("%s: a client could not be accepted: %s", self.device.name, error)
            return
        self.serve(sock)


class ControlClient:
    """One connection to the control socket."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket, endpoint: Endpoint) -> None:
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
        if self._is_open and self._connection.is_waiting:
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
                log.warning("%s: a descriptor that is no socket was passed", self._endpoint.device.name)
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
