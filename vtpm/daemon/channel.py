"""A data channel: a socket on which a client sends TPM commands and reads responses."""

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from vtpm.control.frames import Frame, Framing
from vtpm.daemon import nowait
from vtpm.daemon.carried import Carried
from vtpm.daemon.conversation import READ_SIZE, UNDER_WAY, Conversation
from vtpm.daemon.device.device import Device, Result, refusal
from vtpm.daemon.lane import Defect, Lane

log = logging.getLogger(__name__)

QUIET: Final = 0.1
"""Seconds to wait for the rest of a command that is too large anyway."""


class DataChannel(Conversation):
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
        disposer: nowait.Disposer,
        *,
        others_wait: Callable[[], bool],
        closed: Callable[[], None],
        one_command: bool = False,
    ) -> None:
        super().__init__(loop, sock, lane, patience=QUIET)
        self._device = device
        self._disposer = disposer
        self._others_wait = others_wait
        self._closed = closed
        self._one_command = one_command
        self._framing = Framing(device.set_buffer_size(0))

    def hand_over(self) -> Carried:
        """The connection, paused and with no command under way, for another process to go on with."""
        self._outlet.pause()
        facts = {"position": self._framing.position(), "pending": self._outlet.pending}
        return Carried(facts, {"data": self._sock.fileno()})

    def go_on(self, facts: Mapping[str, Any]) -> None:
        """Go on where `hand_over` was called; while it is paused."""
        self._framing.move_to(**facts["position"])
        self._outlet.pending = facts["pending"]

    def set_maximum(self, size: int) -> None:
        """The largest command in octets from now on."""
        self._framing.maximum = size

    def receive(self) -> bytes:
        """Octets from the socket; a client that passes descriptors here is disconnected."""
        if not self._passes_descriptors:
            return nowait.receive(self._sock, READ_SIZE)
        octets, descriptors = nowait.receive_with(self._sock, READ_SIZE)
        if descriptors:
            log.warning("%s: descriptors came with a command; the client is disconnected", self._device.name)
            self._disposer.dispose(*descriptors)
            return b""
        return octets

    def feed(self, octets: bytes) -> None:
        """Take octets that have come."""
        self._framing.feed(octets)

    def take(self) -> Frame | None:
        """The next command that has come whole."""
        return self._framing.take()

    def give_up(self) -> list[Frame]:
        """An oversize command whose rest does not come."""
        return self._framing.give_up()

    @property
    def has_octets(self) -> bool:
        """Have octets come that are in no command yet?"""
        return self._framing.has_octets

    @property
    def is_waiting(self) -> bool:
        """Is the rest of an oversize command awaited?"""
        return self._framing.is_draining

    def ended(self) -> None:
        """The connection is over."""
        self._disposer.dispose(self._sock)
        self._closed()

    def received(self, octets: bytes) -> None:
        """Octets have come; a command that came whole while nothing else is under way begins now."""
        if self._lane.is_busy or not self._framing.is_one_command(octets):
            super().received(octets)
            return
        if self._device.is_costly(octets):
            self._stage = UNDER_WAY
            self.begin(Frame(octets))
            return
        try:
            result = self._device.run(octets)
        except Exception as error:  # noqa: BLE001 - a defect must not stop the other TPMs of this process
            self._lane.report(error)
            result = Result(refusal(), {})
        if result.changes:
            self._stage = UNDER_WAY
            self._conclude(partial(self._reply, Frame(octets)), result)
            return
        self._send(result.response)

    def begin(self, frame: Frame) -> None:
        """Execute a command: the light ones here and now."""
        device = self._device
        done = partial(self._reply, frame)
        if device.is_costly(frame.command):
            work = partial(device.execute, frame.command, frame.locality)
            self._lane.compute(work, done, is_lengthy=device.is_lengthy(frame.command))
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
        self._send(frame.reply(refusal() if isinstance(response, Defect) else response))

    def _send(self, octets: bytes) -> None:
        self.answer(octets)
        if self._one_command:
            self.close()
