"""
One VM's sockets: the control channel that QEMU connects to, and the data channel whose descriptor it passes.

A client is served at a time; another one waits until it has gone, as with swtpm.
Where a gate keeps the socket, it waits for a while only: see `vtpm.daemon.door`.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from nvstore import Store
from vtpm.control import messages
from vtpm.control.messages import SUCCESS, TPM_RESULT, Request, Result
from vtpm.daemon import nowait, requests
from vtpm.daemon.admin import peer_of
from vtpm.daemon.carried import Carried
from vtpm.daemon.channel import DataChannel
from vtpm.daemon.control_client import ControlClient
from vtpm.daemon.device.device import Device
from vtpm.daemon.door import Door
from vtpm.daemon.lane import Lane
from vtpm.daemon.peer import Gate

log = logging.getLogger(__name__)


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
    `begun` is called with the number of the process that has the TPM from now on.
    `gate` says who may connect; without one, everybody whom the socket's mode lets connect.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        device: Device,
        lane: Lane,
        listener: socket.socket | None,
        *,
        policy: Policy = Policy(),
        gate: Gate | None = None,
        others_wait: Callable[[], bool],
        ended: Callable[[bool], None] = lambda _: None,
        data_ended: Callable[[], None] = lambda: None,
        begun: Callable[[int], None] = lambda _: None,
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
        self._begun = begun
        self._process = 0
        self._client: ControlClient | None = None
        self._disposer = nowait.Disposer(loop, self._disposed)
        self._door = (
            None
            if gate is None
            else Door(
                loop, gate, is_served=lambda: not self._is_free, serve=self.serve, closed=self._disposed
            )
        )
        self._accepting = False
        self._is_closed = False
        self._is_paused = False
        self._listen()

    @property
    def name(self) -> str:
        """The VM's."""
        return self.device.name

    @property
    def is_in_use(self) -> bool:
        """Is a hypervisor connected, or the TPM powered?"""
        return self._client is not None or self.device.is_running

    @property
    def has_guest(self) -> bool:
        """Would somebody lose the TPM if this process ended?"""
        return self._client is not None and (self.data is not None or self.device.is_running)

    def pause(self) -> None:
        """Read nothing from anybody and begin nothing for now; the command under way ends."""
        self._is_paused = True
        self._stop_listening()
        if self._door is not None:
            self._door.pause()
        for connection in (self._client, self.data):
            if connection is not None:
                connection.pause()

    def proceed(self) -> None:
        """Go on after `pause`, or after `hand_over` and `go_on`."""
        if not self._is_paused:
            return
        self._is_paused = False
        for connection in (self._client, self.data):
            if connection is not None:
                connection.proceed()
        if self._door is not None:
            self._door.go_on()
            self._door.proceed()
            self._limit_silence()
        self._listen()

    def hand_over(self) -> Carried:
        """
        Sockets and TPM, while paused and with an idle lane, for another process to go on with.

        DeviceError if the TPM cannot be handed over now; `proceed` goes on here in any case.
        """
        assert self._listener is not None
        device = self.device.hand_over()
        facts: dict[str, Any] = {"device": device.facts}
        descriptors = {"listener": self._listener.fileno(), **device.descriptors}
        for name, connection in (("control", self._client), ("data", self.data)):
            if connection is not None:
                part = connection.hand_over()
                facts[name] = part.facts
                descriptors |= part.descriptors
        waiting = [] if self._door is None else self._door.waiting
        facts["waiting"] = len(waiting)
        descriptors |= {f"waiting{number}": sock.fileno() for number, sock in enumerate(waiting)}
        return Carried(facts, descriptors)

    def go_on(self, carried: Carried, store: Store | None) -> None:
        """Go on, while paused, where another process called `hand_over`; DeviceError if that cannot be."""
        facts = carried.facts
        self.device.go_on(facts["device"], store)
        if "control" in facts:
            passed = passed_socket(carried, "passed") if "passed" in carried.descriptors else None
            control = passed_socket(carried, "control")
            self._process = peer_of(control)[0]
            self._client = ControlClient(self._loop, control, self, self._disposer)
            self._client.pause()
            self._client.go_on(facts["control"], passed)
        if "data" in facts:
            self.serve_data(passed_socket(carried, "data"))
            assert self.data is not None
            self.data.go_on(facts["data"])
            self._begun(self._process)
        for number in range(facts.get("waiting", 0)):  # a daemon of before let them wait at the socket
            sock = passed_socket(carried, f"waiting{number}")
            if self._door is None:
                self._disposer.dispose(sock)
            else:
                self._door.keep(sock)
        if self._door is not None:
            self._door.pause()

    def serve(self, sock: socket.socket) -> None:
        """Serve a client that is connected already."""
        if self._door is None:
            self._stop_listening()
        self._process = peer_of(sock)[0] if sock.family == socket.AF_UNIX else 0
        self._client = ControlClient(self._loop, sock, self, self._disposer)
        self._limit_silence()

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
            self._disposer,
            others_wait=self._others_wait,
            closed=gone,
            one_command=self._policy.one_command,
        )
        if self._is_paused:
            self.data.pause()
        return True

    async def close(self) -> None:
        """Serve nobody any more, end the TPM's run."""
        self._is_closed = True
        self._stop_listening()
        if self._listener is not None:
            self._listener.close()
        if self._door is not None:
            self._door.close()
        for connection in (self._client, self.data):
            if connection is not None:
                connection.pause()  # only what is under way is waited for
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
        if self._door is not None:
            self._door.client_gone()
            if not self._is_closed and not self._is_paused:
                self._door.proceed()
        self._ended(shut_down)

    def _limit_silence(self) -> None:
        """Disconnect the client in time if it neither gives a data channel nor has the TPM powered."""
        client = self._client
        if self._door is not None and client is not None:
            self._door.listen_for(
                lambda: self.data is not None or self.device.is_running or self.lane.is_busy, client.close
            )

    def _run_over(self, _result: Any) -> None:
        log.info("%s: the TPM's run has ended", self.device.name)

    def _set_data_fd(self, descriptor: socket.socket | None) -> Result:
        if descriptor is None:
            return Result(TPM_RESULT.BAD_PARAMETER if self.data is None else TPM_RESULT.IOERROR)
        if not self.serve_data(descriptor):
            self._disposer.dispose(descriptor)
            return Result(TPM_RESULT.IOERROR)
        self._begun(self._process)
        return SUCCESS

    def _listen(self) -> None:
        if self._listener is None or self._accepting or self._is_closed or self._is_paused:
            return
        if self._door.is_full if self._door is not None else not self._is_free:
            return
        self._accepting = True
        self._loop.add_reader(self._listener.fileno(), self._accept)

    @property
    def _is_free(self) -> bool:
        """Is no client served, and nothing of the one before still to be closed?"""
        return self._client is None and not self._disposer.is_busy

    def _disposed(self) -> None:
        """Something that a former client left is closed."""
        self._listen()
        if self._door is not None and not self._is_closed and not self._is_paused:
            self._door.proceed()

    def _stop_listening(self) -> None:
        if self._accepting:
            assert self._listener is not None
            self._loop.remove_reader(self._listener.fileno())
            self._accepting = False

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            sock = nowait.accept(self._listener)
        except BlockingIOError:
            return
        except OSError as error:
            log.warning("%s: a client could not be accepted: %s", self.device.name, error)
            return
        if self._door is None:
            self.serve(sock)
        else:
            self._door.enter(sock)
            if self._door.is_full:
                self._stop_listening()


def passed_socket(carried: Carried, name: str) -> socket.socket:
    """The socket of a descriptor that another process has passed."""
    return socket.socket(fileno=carried.descriptors[name])
