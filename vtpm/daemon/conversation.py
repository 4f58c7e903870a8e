"""
One client's requests: read, carried out in the TPM's lane one at a time, answered.

A conversation is in one of these states:

| state | what it waits for | it reads |
|---|---|---|
| RESTING | octets | yes, unless paused |
| ENTERED | the lane, where it has entered a step | no |
| UNDER_WAY | the end of its request | no |
| UNREAD | the peer, which has not taken the answer yet | no |
| DUE | the next turn of the event loop, since another request has come whole | no |

So of one client there are at most one reading of octets, one request under way and one answer in memory;
everything else stays in the socket, and then with the client.
Of several requests that come in one reading each has a turn of its own, between which others are served.
They are dropped when the client is seen to have closed its end; a request that is under way ends.

`pause` leaves RESTING, UNREAD and UNDER_WAY; the last becomes RESTING or UNREAD with the answer.
DUE becomes RESTING at once, ENTERED when the lane reaches the step, which then does nothing.
What was read and not begun stays as octets, and `proceed` or another process goes on with it.
"""

import asyncio
import enum
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final

from vtpm.daemon import nowait
from vtpm.daemon.lane import Lane

READ_SIZE: Final = 1 << 16


class Stage(enum.Enum):
    """What a conversation waits for."""

    RESTING = enum.auto()
    ENTERED = enum.auto()
    UNDER_WAY = enum.auto()
    UNREAD = enum.auto()
    DUE = enum.auto()


RESTING, ENTERED, UNDER_WAY, UNREAD, DUE = Stage
"""What every request asks for: to find a member in an Enum costs as much as a function call."""


class Outlet:
    """
    The writing half of a socket: sends at once, and keeps what the peer does not take yet.

    `taken` is called when it has taken all, `lost` when it has gone.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        taken: Callable[[], None],
        lost: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._taken = taken
        self._lost = lost
        self._is_writing = False
        self.pending = b""
        """What the peer has not taken yet."""

    def pause(self) -> None:
        """Keep what waits for now."""
        if self._is_writing:
            self._is_writing = False
            self._loop.remove_writer(self._sock.fileno())

    def proceed(self) -> None:
        """Send on, after `pause`."""
        if self.pending and not self._is_writing:
            self._is_writing = True
            self._loop.add_writer(self._sock.fileno(), self._flush)

    def send(self, octets: bytes) -> None:
        """Send octets, when nothing is pending; OSError if the peer is gone."""
        try:
            count = nowait.send(self._sock, octets)
        except BlockingIOError:
            count = 0
        if count < len(octets):
            self.pending = octets[count:]
            self.proceed()

    def close(self) -> None:
        """Send nothing more."""
        self.pause()
        self.pending = b""

    def _flush(self) -> None:
        try:
            count = nowait.send(self._sock, self.pending)
        except BlockingIOError:
            return
        except OSError:
            self._lost()
            return
        self.pending = self.pending[count:]
        if not self.pending:
            self.pause()
            self._taken()


class Conversation(ABC):
    """
    The connection to one client, whose requests go through `lane`.

    `patience` is how many seconds the rest of a request may take, before `give_up`.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, sock: socket.socket, lane: Lane, *, patience: float
    ) -> None:
        sock.settimeout(0)
        self._loop = loop
        self._sock = sock
        self._lane = lane
        self._patience = patience
        self._outlet = Outlet(loop, sock, self._go_on, self.close)
        self._stage = RESTING
        self._passes_descriptors = sock.family == socket.AF_UNIX
        self._is_open = True
        self._is_paused = False
        self._is_reading = False
        self._is_given_up = False
        self._rest_due: asyncio.TimerHandle | None = None
        self._next_turn: asyncio.Handle | None = None
        self._read()

    @abstractmethod
    def receive(self) -> bytes:
        """Octets from the socket; BlockingIOError if there are none."""

    @abstractmethod
    def feed(self, octets: bytes) -> None:
        """Take octets that have come."""

    @abstractmethod
    def take(self) -> Any:
        """The next request that has come whole, None if there is none."""

    @abstractmethod
    def give_up(self) -> Any:
        """A request in a list, of what has come of one when the rest does not; empty if nothing has."""

    @property
    @abstractmethod
    def has_octets(self) -> bool:
        """Have octets come that `take` has not taken?"""

    @property
    @abstractmethod
    def is_waiting(self) -> bool:
        """Is the rest of a request awaited, which must come in time?"""

    @abstractmethod
    def begin(self, request: Any) -> None:
        """Carry a request out, within a step of the lane; `answer` must follow, once."""

    @abstractmethod
    def ended(self) -> None:
        """The connection is over: dispose of the socket."""

    def close(self) -> None:
        """End the connection."""
        if not self._is_open:
            return
        self._is_open = False
        self._outlet.close()
        self._stop()
        self.ended()

    def pause(self) -> None:
        """Read nothing and begin nothing for now."""
        self._is_paused = True
        self._stop()
        if self._stage is DUE:
            self._stage = RESTING

    def proceed(self) -> None:
        """Go on after `pause`."""
        self._is_paused = False
        self._outlet.proceed()
        if self._stage is RESTING:
            self._go_on()

    def answer(self, octets: bytes) -> None:
        """The request under way is over; `octets` are its answer, if it has one."""
        if not self._is_open:
            return
        if octets:
            try:
                self._outlet.send(octets)
            except OSError:
                self.close()
                return
        self._go_on()

    def received(self, octets: bytes) -> None:
        """Octets have come while the conversation rested."""
        self.feed(octets)
        self._enter()

    def _readable(self) -> None:
        if self._stage is not RESTING:  # what comes now waits in the socket
            self._is_reading = False
            self._loop.remove_reader(self._sock.fileno())
            return
        try:
            octets = self.receive()
        except BlockingIOError:
            return
        except OSError:
            octets = b""
        if not octets:
            self.close()
            return
        if self._rest_due is not None:
            self._rest_due.cancel()
            self._rest_due = None
        self.received(octets)

    def _enter(self) -> None:
        """Begin the next request when the lane is free."""
        self._stage = ENTERED
        self._lane.enter(self._step)

    def _step(self) -> None:
        if not self._is_open:
            return
        if self._is_paused:
            self._stage = RESTING
            return
        request = self.take()
        if request is None and self._is_given_up:
            request = next(iter(self.give_up()), None)
        self._is_given_up = False
        if request is None:
            self._rest()
            return
        self._stage = UNDER_WAY
        try:
            self.begin(request)
        except Exception:  # a defect, which the lane reports: no answer will come
            self.close()
            raise

    def _go_on(self) -> None:
        """After an answer: the next request has its turn later, if there is one."""
        if not self._is_open:
            return
        if self._outlet.pending:
            self._stage = UNREAD
        elif self._is_paused:
            self._stage = RESTING
        elif self.has_octets:
            self._stage = DUE
            self._next_turn = self._loop.call_soon(self._turn)
        else:
            self._rest()

    def _turn(self) -> None:
        self._next_turn = None
        if nowait.has_left(self._sock):
            self.close()
        else:
            self._enter()

    def _rest(self) -> None:
        self._stage = RESTING
        if not self._is_reading:
            self._read()
        if self.is_waiting:
            self._rest_due = self._loop.call_later(self._patience, self._lose_patience)

    def _lose_patience(self) -> None:
        self._rest_due = None
        self._is_given_up = True
        self._enter()

    def _read(self) -> None:
        self._is_reading = True
        self._loop.add_reader(self._sock.fileno(), self._readable)

    def _stop(self) -> None:
        if self._is_reading:
            self._is_reading = False
            self._loop.remove_reader(self._sock.fileno())
        if self._rest_due is not None:
            self._rest_due.cancel()
            self._rest_due = None
        if self._next_turn is not None:
            self._next_turn.cancel()
            self._next_turn = None
