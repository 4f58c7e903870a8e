"""A data channel: a socket on which a client sends TPM commands and reads responses."""

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from vtpm.control.frames import Frame, Framing
from vtpm.daemon.carried import Carried
from vtpm.daemon.device.device import Device, Result, refusal
from vtpm.daemon.lane import Defect, Lane

log = logging.getLogger(__name__)

READ_SIZE: Final = 1 << 16
QUIET: Final = 0.1
"""Seconds to wait for the rest of a command that is too large anyway."""


class Outlet:
    """The writing half of a socket: sends at once, and keeps what the peer does not take yet."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        self._loop = loop
        self._sock = sock
        self._pending = bytearray()

    @property
    def pending(self) -> bytes:
        """What the peer has not taken yet."""
        return bytes(self._pending)

    def pause(self) -> None:
        """Keep what waits for now."""
        if self._pending:
            self._loop.remove_writer(self._sock.fileno())

    def proceed(self) -> None:
        """Send on, after `pause`."""
        if self._pending:
            self._loop.add_writer(self._sock.fileno(), self._flush)

    def take(self, pending: bytes) -> None:
        """While it is paused: what another process had `pending`."""
        self._pending += pending

    def send(self, octets: bytes) -> None:
        """Send octets, after those that wait; OSError if the peer is gone."""
        if self._pending:
            self._pending += octets
            return
        try:
            count = self._sock.send(octets)
        except BlockingIOError:
            count = 0
        if count < len(octets):
            self._pending += octets[count:]
            self._loop.add_writer(self._sock.fileno(), self._flush)

    def close(self) -> None:
        """Send nothing more."""
        if self._pending:
            self._loop.remove_writer(self._sock.fileno())
            self._pending.clear()

    def _flush(self) -> None:
        try:
            count = self._sock.send(self._pending)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        del self._pending[:count]
        if not self._pending:
            self._loop.remove_writer(self._sock.fileno())


class DataChannel:
    """
    One client's stream of commands.

    `others_wait` says whether other TPMs would wait for a commit, so that it must run on a thread.
    `closed` is called once, when the client has gone.
    With `one_command` the connection ends with the first response.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        device: Device,
        lane: Lane,
        *,
        others_wait: Callable[[], bool],
        closed: Callable[[], None],
        one_command: bool = False,
    ) -> None:
        sock.settimeout(0)
        self._loop = loop
        self._sock = sock
        self._device = device
        self._lane = lane
        self._others_wait = others_wait
        self._closed = closed
        self._one_command = one_command
        self._framing = Framing(device.set_buffer_size(0))
        self._outlet = Outlet(loop, sock)
        self._quiet: asyncio.TimerHandle | None = None
        self._is_open = True
        loop.add_reader(sock.fileno(), self._readable)

    def close(self) -> None:
        """End the connection."""
        if not self._is_open:
            return
        self._is_open = False
        if self._quiet is not None:
            self._quiet.cancel()
        self._outlet.close()
        self._loop.remove_reader(self._sock.fileno())
        self._sock.close()
        self._closed()

    def pause(self) -> None:
        """Read nothing for now."""
        self._loop.remove_reader(self._sock.fileno())
        if self._quiet is not None:
            self._quiet.cancel()
            self._quiet = None

    def proceed(self) -> None:
        """Read on, after `pause` or `hand_over`."""
        self._loop.add_reader(self._sock.fileno(), self._readable)
        self._outlet.proceed()
        if self._framing.is_draining:
            self._quiet = self._loop.call_later(QUIET, self._give_up)

    def hand_over(self) -> Carried:
        """The connection, paused and with no command under way, for another process to go on with."""
        self._outlet.pause()
        facts = {"position": self._framing.position(), "pending": self._outlet.pending}
        return Carried(facts, {"data": self._sock.fileno()})

    def go_on(self, facts: Mapping[str, Any]) -> None:
        """Go on where `hand_over` was called; while it is paused."""
        self._framing.move_to(**facts["position"])
        self._outlet.take(facts["pending"])

    def set_maximum(self, size: int) -> None:
        """The largest command in octets from now on."""
        self._framing.maximum = size

    def _readable(self) -> None:
        try:
            octets = self._sock.recv(READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            octets = b""
        if not octets:
            self.close()
            return
        if self._quiet is not None:
            self._quiet.cancel()
            self._quiet = None
        if not self._lane.is_busy and self._framing.is_one_command(octets):
            self._execute_now(octets)
            return
        for frame in self._framing.receive_data(octets):
            self._lane.enter(partial(self._begin, frame))
        if self._framing.is_draining:
            self._quiet = self._loop.call_later(QUIET, self._give_up)

    def _execute_now(self, command: bytes) -> None:
        """The shortest way for a command that arrived whole while nothing else is under way."""
        device = self._device
        if device.is_costly(command):
            self._begin(Frame(command))
            return
        try:
            result = device.run(command)
        except Exception as error:  # noqa: BLE001 - a defect must not stop the other TPMs of this process
            self._lane.report(error)
            result = Result(refusal(), {})
        if result.changes:
            self._conclude(partial(self._reply, Frame(command)), result)
            return
        self._send(result.response)

    def _give_up(self) -> None:
        self._quiet = None
        for frame in self._framing.give_up():
            self._lane.enter(partial(self._begin, frame))

    def _begin(self, frame: Frame) -> None:
        """Execute a command: the light ones here and now."""
        device = self._device
        done = partial(self._reply, frame)
        if device.is_costly(frame.command):
            self._lane.run(partial(device.execute, frame.command, frame.locality), done, on_thread=True)
            return
        self._lane.run(
            partial(device.run, frame.command, frame.locality), partial(self._conclude, done), on_thread=False
        )

    def _conclude(self, done: Callable[[bytes | Defect], None], result: Result | Defect) -> None:
        if isinstance(result, Defect):
            done(result)
        elif result.changes:
            self._lane.run(partial(self._device.conclude, result), done, on_thread=self._others_wait())
        else:
            done(result.response)

    def _reply(self, frame: Frame, response: bytes | Defect) -> None:
        if self._is_open:
            self._send(frame.reply(refusal() if isinstance(response, Defect) else response))

    def _send(self, octets: bytes) -> None:
        try:
            self._outlet.send(octets)
        except OSError:
            self.close()
            return
        if self._one_command:
            self.close()
