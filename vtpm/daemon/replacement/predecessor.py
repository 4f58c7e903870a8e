"""The old process's side of a hand-over: vtpm/daemon/replacement/messages.py has the protocol."""

import asyncio
import json
import logging
import os
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from nvstore import NvstoreError
from vtpm.daemon import nowait
from vtpm.daemon.admin import peer_of
from vtpm.daemon.admin_server import AdminServer
from vtpm.daemon.carried import Carried
from vtpm.daemon.errors import OperatorError
from vtpm.daemon.readiness import VARIABLE, tell_replaced
from vtpm.daemon.replacement.course import Course, Event, course_after
from vtpm.daemon.replacement.messages import (
    LENGTH,
    WENT_ON,
    WITH_WORD,
    ReplacementError,
    common_version,
    decode,
    encode,
)
from vtpm.daemon.supervisor import Supervisor

log = logging.getLogger(__name__)

LOADING_LIMIT: Final = 120.0
"""Seconds in which a new process has loaded what it can while guests are served."""

TAKING_LIMIT: Final = 5.0
"""Seconds in which a new process that may go on says that it does; one that does not is killed."""

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

    async def answer(self, facts: dict[str, Any], descriptors: list[int]) -> None:
        """Answer its request."""
        line = json.dumps({"result": facts}).encode() + b"\n"
        await nowait.send_later(self._loop, self._sock, line, descriptors)

    async def send(self, step: str, carried: Carried = NOTHING) -> None:
        """Send a frame."""
        frame = encode(step, carried.facts, list(carried.descriptors))
        descriptors = list(carried.descriptors.values())
        await nowait.send_later(self._loop, self._sock, LENGTH.pack(len(frame)) + frame, descriptors)

    async def expect(self, step: str) -> dict[str, Any]:
        """Receive a frame, and give its facts; ReplacementError unless it is that step."""
        (length,) = LENGTH.unpack(await self._receive(LENGTH.size))
        if length > MAX_REPLY:
            raise ReplacementError("the new daemon does not keep to the protocol")
        came, carried = decode(await self._receive(length), [])
        if came != step:
            raise ReplacementError(f"the new daemon sent {came} where {step} was due")
        return dict(carried.facts)

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
        self.course = Course.SERVING
        self._loop = loop
        self._supervisor = supervisor
        self._admin = admin
        self._rest = rest
        self._replaced = replaced
        self._ongoing: asyncio.Task[None] | None = None

    @property
    def is_replaced(self) -> bool:
        """Does the new process serve?"""
        return self.course is Course.REPLACED

    @property
    def is_ongoing(self) -> bool:
        """Is a new process about to take over, or has one?"""
        return self._ongoing is not None or self.is_replaced

    async def hand_over(self, sock: socket.socket, versions: list[int]) -> None:
        """Answer the request to hand over, and do it."""
        if self.is_ongoing:
            raise ReplacementError(
                "another new daemon is about to take over; wait until it has, then try again"
            )
        version = common_version(versions)
        self._ongoing = self._loop.create_task(self._hand_over(sock, version))
        try:
            await asyncio.wait([self._ongoing])
        finally:
            self._ongoing = None

    async def end(self) -> None:
        """End a hand-over that is under way, unless that is the other side's to say by now."""
        if self._ongoing is not None:
            if self.course is not Course.COMMITTED:
                self._ongoing.cancel()
            await asyncio.wait([self._ongoing])

    def _advance(self, event: Event) -> None:
        self.course = course_after(self.course, event)

    async def _hand_over(self, sock: socket.socket, version: int) -> None:
        """The hand-over; where it does not take place, that is logged and told to the new process."""
        link = Link(self._loop, sock)
        process = peer_of(sock)[0]
        word = os.memfd_create("vtpm-word", os.MFD_CLOEXEC)
        os.ftruncate(word, len(WENT_ON))
        try:
            successor = await self._introduce(link, version, word, process)
            try:
                await self._pass_on(link, successor, word)
            finally:
                os.close(successor)
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
            self._leave(process)
            return
        finally:
            os.close(word)
        log.error("this daemon was not replaced: %s", reason)
        with suppress(OSError):  # the new one has ended, or does not read
            async with asyncio.timeout(LAST_WORDS):
                await link.send("stay", Carried({"reason": reason}, {}))

    async def _introduce(self, link: Link, version: int, word: int, connected: int) -> int:
        """
        All that happens while guests are served; a descriptor of the new process.

        That is the one that has `connected`, unless it says that it is another one.
        """
        states, notify = self._supervisor.open_states(), os.environ.get(VARIABLE)
        own = os.pidfd_open(os.getpid())
        descriptors = [own, word] if version >= WITH_WORD else [own]
        try:
            async with asyncio.timeout(LOADING_LIMIT):
                await link.answer({"version": version, "states": states, "notify": notify}, descriptors)
                facts = await link.expect("begin")
            successor = open_process(facts.get("process", connected))
        except BaseException as error:
            self._advance(event_of(error))
            raise
        finally:
            os.close(own)
        self._advance(Event.BEGUN)
        return successor

    async def _pass_on(self, link: Link, successor: int, word: int) -> None:
        """All that happens while guests wait; they are served here again unless it ends well."""
        try:
            await self._offer(link)
        except BaseException as error:
            self._advance(event_of(error))
            self._go_on(word)
            raise
        if await self._is_taken(link, successor):
            self._advance(Event.TOOK)
            return
        self._advance(Event.ENDED)
        self._go_on(word)
        raise ReplacementError("the new daemon ended, or was ended, before it had taken over")

    async def _offer(self, link: Link) -> None:
        """Send all that there is, and wait until it is loaded."""
        async with asyncio.timeout(PAUSE_LIMIT):
            await self._admin().pause()
            await self._supervisor.pause()
            for carried in self._supervisor.hand_over():
                await link.send("vm", carried)
            await link.send("end", self._rest())
            self._advance(Event.PASSED)
            await link.expect("ready")
        self._advance(Event.READIED)

    async def _is_taken(self, link: Link, successor: int) -> bool:
        """
        Let the new process go on; whether it does.

        One that does not say so in time, or anything else, has ended by then: it goes on at no later time.
        """
        taking = self._loop.create_task(let_go(link))
        await asyncio.wait([taking], timeout=TAKING_LIMIT)
        if not taking.done() or taking.exception() is not None:
            log.error("the new daemon does not take over, and is ended")
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(successor, signal.SIGKILL)
            await readable(self._loop, successor)
        try:
            await taking
        except (ReplacementError, OSError):
            return False
        return True

    def _go_on(self, word: int) -> None:
        """Serve guests again; the word says so first, for a new process that outlives this one."""
        os.pwrite(word, WENT_ON, 0)
        self._supervisor.proceed()
        self._admin().proceed()
        self._loop.call_soon(self._supervisor.rescan)

    def _leave(self, process: int) -> None:
        log.warning("this daemon was replaced by process %d", process)
        tell_replaced(process)
        self._admin().refuse("the daemon was replaced in the meantime; try again")
        self._replaced()


async def let_go(link: Link) -> None:
    """Say that the new process may go on, and wait until it says that it does."""
    await link.send("go")
    await link.expect("taken")


def open_process(number: object) -> int:
    """A descriptor of the new process; ReplacementError if it is not there, or is another user's."""
    try:
        descriptor = os.pidfd_open(int(str(number)))
        owner = Path(f"/proc/{number}").stat().st_uid
    except (OSError, ValueError):
        raise ReplacementError("the new daemon does not say which process it is; start it again") from None
    if owner not in {0, os.geteuid()}:
        os.close(descriptor)
        raise ReplacementError("the new daemon names a process of another user; start it again")
    return descriptor


async def readable(loop: asyncio.AbstractEventLoop, descriptor: int) -> None:
    """Wait until a descriptor can be read: for that of a process, until it has ended."""
    reached = asyncio.Event()
    loop.add_reader(descriptor, reached.set)
    try:
        await reached.wait()
    finally:
        loop.remove_reader(descriptor)


def event_of(error: BaseException) -> Event:
    """What an exception before `go` means for the hand-over."""
    if isinstance(error, asyncio.CancelledError):
        return Event.TERMINATED
    return Event.LATE if isinstance(error, TimeoutError) else Event.ENDED
