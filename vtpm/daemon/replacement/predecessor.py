"""The old process's side of a hand-over: vtpm/daemon/replacement/messages.py has the protocol."""

import asyncio
import json
import logging
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from nvstore import NvstoreError
from vtpm.daemon import nowait
from vtpm.daemon.admin import peer_of
from vtpm.daemon.admin_server import AdminServer
from vtpm.daemon.carried import Carried
from vtpm.daemon.errors import OperatorError
from vtpm.daemon.readiness import VARIABLE, tell_replaced
from vtpm.daemon.replacement.messages import (
    LENGTH,
    ReplacementError,
    common_version,
    decode,
    encode,
)
from vtpm.daemon.supervisor import Supervisor

log = logging.getLogger(__name__)

PAUSE_LIMIT: Final = 10.0
"""Seconds that guests may wait; a new process that has not taken over by then does not."""

LAST_WORDS: Final = 1.0
"""Seconds in which the new process is told that it does not take over."""

MAX_REPLY: Final = 1 << 16
NOTHING: Final = Carried({}, {})


class Link:
    """The connection to the new process."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        self._loop = loop
        self._sock = sock

    async def answer(self, facts: dict[str, Any], descriptor: int) -> None:
        """Answer its request."""
        line = json.dumps({"result": facts}).encode() + b"\n"
        await nowait.send_later(self._loop, self._sock, line, [descriptor])

    async def send(self, step: str, carried: Carried = NOTHING) -> None:
        """Send a frame."""
        frame = encode(step, carried.facts, list(carried.descriptors))
        descriptors = list(carried.descriptors.values())
        await nowait.send_later(self._loop, self._sock, LENGTH.pack(len(frame)) + frame, descriptors)

    async def expect(self, step: str) -> None:
        """Receive a frame; ReplacementError unless it is that step."""
        (length,) = LENGTH.unpack(await self._receive(LENGTH.size))
        if length > MAX_REPLY:
            raise ReplacementError("the new daemon does not keep to the protocol")
        came, _ = decode(await self._receive(length), [])
        if came != step:
            raise ReplacementError(f"the new daemon sent {came} where {step} was due")

    async def _receive(self, count: int) -> bytes:
        octets = b""
        while len(octets) < count:
            part = await nowait.receive_later(self._loop, self._sock, count - len(octets))
            if not part:
                raise ReplacementError("the new daemon ended before it had taken over")
            octets += part
        return octets


class Predecessor:
    """
    Hands everything over to a process that asks for it.

    `rest` is what there is beside the VMs; `replaced` is called once the new process serves.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        supervisor: Supervisor,
        admin: Callable[[], AdminServer],
        rest: Callable[[], Carried],
        replaced: Callable[[], None],
    ) -> None:
        self.is_replaced = False
        self._loop = loop
        self._supervisor = supervisor
        self._admin = admin
        self._rest = rest
        self._replaced = replaced
        self._ongoing: asyncio.Task[None] | None = None
        self._is_committed = False

    async def hand_over(self, sock: socket.socket, versions: list[int]) -> None:
        """Answer the request to hand over, and do it."""
        if self._ongoing is not None or self.is_replaced:
            raise ReplacementError("another new daemon is about to take over; wait until it has, or end it")
        version = common_version(versions)
        self._ongoing = self._loop.create_task(self._hand_over(sock, version))
        try:
            await asyncio.wait([self._ongoing])
        finally:
            self._ongoing = None

    async def end(self) -> None:
        """End a hand-over that is under way, unless that is the other side's to say by now."""
        if self._ongoing is not None:
            if not self._is_committed:
                self._ongoing.cancel()
            await asyncio.wait([self._ongoing])

    async def _hand_over(self, sock: socket.socket, version: int) -> None:
        """The hand-over; where it does not take place, that is logged and told to the new process."""
        link = Link(self._loop, sock)
        try:
            await self._introduce(link, version)
            await self._pass_on(link)
        except asyncio.CancelledError:
            reason = "it was told to end"
        except TimeoutError:
            reason = (
                f"guests would wait longer than {PAUSE_LIMIT:g} s; look at the new daemon, "
                "or try again when the TPMs have less to do"
            )
        except (OperatorError, NvstoreError, OSError) as error:
            reason = str(error)
        else:
            self._leave(peer_of(sock)[0])
            return
        log.error("this daemon was not replaced: %s", reason)
        with suppress(OSError):  # the new one has ended, or does not read
            async with asyncio.timeout(LAST_WORDS):
                await link.send("stay", Carried({"reason": reason}, {}))

    async def _introduce(self, link: Link, version: int) -> None:
        """All that happens while guests are served."""
        states, notify = self._supervisor.open_states(), os.environ.get(VARIABLE)
        process = os.pidfd_open(os.getpid())
        try:
            await link.answer({"version": version, "states": states, "notify": notify}, process)
        finally:
            os.close(process)
        await link.expect("begin")

    async def _pass_on(self, link: Link) -> None:
        """All that happens while guests wait; they are served here again unless it ends well."""
        try:
            await self._admin().pause()
            async with asyncio.timeout(PAUSE_LIMIT):
                await self._supervisor.pause()
                for carried in self._supervisor.hand_over():
                    await link.send("vm", carried)
                await link.send("end", self._rest())
                await link.expect("ready")
            self._is_committed = True
            await link.send("go")
            await link.expect("taken")
            self.is_replaced = True
        finally:
            self._is_committed = False
            if not self.is_replaced:
                self._supervisor.proceed()
                self._admin().proceed()
                self._loop.call_soon(self._supervisor.rescan)

    def _leave(self, process: int) -> None:
        log.warning("this daemon was replaced by process %d", process)
        tell_replaced(process)
        self._admin().refuse("the daemon was replaced in the meantime; try again")
        self._replaced()
