"""The old process's side of a hand-over: vtpm/daemon/replacement.py has the protocol."""

import asyncio
import json
import logging
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from nvstore import NvstoreError
from vtpm.daemon.admin import peer_of
from vtpm.daemon.admin_server import AdminServer
from vtpm.daemon.errors import OperatorError
from vtpm.daemon.readiness import VARIABLE, tell_replaced
from vtpm.daemon.replacement import (
    LENGTH,
    Carried,
    ReplacementError,
    common_version,
    decode,
    encode,
)
from vtpm.daemon.supervisor import Supervisor

log = logging.getLogger(__name__)

PAUSE_LIMIT: Final = 10.0
"""Seconds that guests may wait; a new process that is not ready then does not take over."""

MAX_REPLY: Final = 1 << 16
NOTHING: Final = Carried({}, {})


class Link:
    """The connection to the new process."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        self._loop = loop
        self._sock = sock

    async def answer(self, facts: dict[str, Any], descriptor: int) -> None:
        """Answer its request."""
        await self._send(json.dumps({"result": facts}).encode() + b"\n", [descriptor])

    async def send(self, step: str, carried: Carried = NOTHING) -> None:
        """Send a frame."""
        frame = encode(step, carried.facts, list(carried.descriptors))
        await self._send(LENGTH.pack(len(frame)) + frame, list(carried.descriptors.values()))

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
            part = await self._loop.sock_recv(self._sock, count - len(octets))
            if not part:
                raise ReplacementError("the new daemon ended before it had taken over")
            octets += part
        return octets

    async def _send(self, octets: bytes, descriptors: list[int]) -> None:
        while True:
            try:
                count = socket.send_fds(self._sock, [octets], descriptors)
            except BlockingIOError:
                await self._writable()
            else:
                break
        await self._loop.sock_sendall(self._sock, octets[count:])

    async def _writable(self) -> None:
        reached = asyncio.Event()
        self._loop.add_writer(self._sock.fileno(), reached.set)
        try:
            await reached.wait()
        finally:
            self._loop.remove_writer(self._sock.fileno())


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
            await self._ongoing
        except asyncio.CancelledError:
            log.warning("this daemon ends, and was not replaced")
        except (ReplacementError, OperatorError, NvstoreError, OSError) as error:
            log.error("this daemon goes on, and was not replaced: %s", error)  # noqa: TRY400 - no defect
        finally:
            self._ongoing = None

    async def end(self) -> None:
        """End a hand-over that is under way, unless that is the other side's to say by now."""
        if self._ongoing is not None:
            if not self._is_committed:
                self._ongoing.cancel()
            await asyncio.wait([self._ongoing])

    async def _hand_over(self, sock: socket.socket, version: int) -> None:
        link = Link(self._loop, sock)
        facts = {
            "version": version,
            "states": self._supervisor.open_states(),
            "notify": os.environ.get(VARIABLE),
        }
        process = os.pidfd_open(os.getpid())
        try:
            await link.answer(facts, process)
        finally:
            os.close(process)
        await link.expect("begin")
        try:
            await self._pass_on(link)
            self._is_committed = True
            await link.send("go")
            await link.expect("taken")
            self.is_replaced = True
        finally:
            self._is_committed = False
            if not self.is_replaced:
                self._supervisor.proceed()
                self._supervisor.rescan()
                self._admin().proceed()
        log.warning("this daemon was replaced by process %d", peer_of(sock)[0])
        tell_replaced(peer_of(sock)[0])
        self._admin().refuse("the daemon was replaced in the meantime; try again")
        self._replaced()

    async def _pass_on(self, link: Link) -> None:
        """All up to `ready`; what prevents it is told to the new process."""
        await self._admin().pause()
        try:
            async with asyncio.timeout(PAUSE_LIMIT):
                await self._supervisor.pause()
                for carried in self._supervisor.hand_over():
                    await link.send("vm", carried)
                await link.send("end", self._rest())
                await link.expect("ready")
        except TimeoutError:
            reason = f"the new daemon was not ready within {PAUSE_LIMIT:g} s, for which guests would wait"
            await self._stay(link, reason)
            raise ReplacementError(reason) from None
        except (OperatorError, NvstoreError, OSError) as error:
            await self._stay(link, str(error))
            raise
        except asyncio.CancelledError:
            await self._stay(link, "it was told to end")
            raise

    @staticmethod
    async def _stay(link: Link, reason: str) -> None:
        with suppress(OSError):  # it has ended already
            await link.send("stay", Carried({"reason": reason}, {}))
