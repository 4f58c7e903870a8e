"""Clients at a TPM's socket beside the one that is served: who is let in, who waits, and for how long."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from functools import partial
from typing import Final

from vtpm.control.messages import TPM_RESULT
from vtpm.daemon.nowait import Disposer, receive_with, send
from vtpm.daemon.peer import Gate

SILENCE: Final = 30.0
"""
Seconds in which a client has given a data channel or had the TPM powered.

QEMU gives its channel at once, and may then wait for INIT as long as it likes, as at the end of a migration.
"""

BUSY: Final = 5.0
"""Seconds that a client waits for the end of another one, as QEMU does at a quick restart of a domain."""

MOST: Final = 4
"""Clients that wait at a time; more are turned away at once."""

MOST_ENDING: Final = 64
"""Clients that were turned away and are not closed yet, since they passed what takes long to close."""

READ_SIZE: Final = 1 << 16
FAILED: Final = int(TPM_RESULT.FAIL).to_bytes(4, "big")
"""The result that every request of the control protocol begins its answer with."""


class Door:
    """
    What stands between a socket and its TPM; `serve` is called with a client when there is none.

    `closed` is called when one that was turned away is closed.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        gate: Gate,
        *,
        is_served: Callable[[], bool],
        serve: Callable[[socket.socket], None],
        closed: Callable[[], None],
    ) -> None:
        self._loop, self._gate = loop, gate
        self._is_served, self._serve = is_served, serve
        self._waiting: dict[socket.socket, asyncio.TimerHandle] = {}
        self._silence: asyncio.TimerHandle | None = None
        self._disposer = Disposer(loop, closed)

    @property
    def is_full(self) -> bool:
        """Do so many wait for their end that no more are let in?"""
        return self._disposer.count >= MOST_ENDING

    @property
    def waiting(self) -> list[socket.socket]:
        """Clients that wait for the end of the one that is served."""
        return list(self._waiting)

    def enter(self, sock: socket.socket) -> None:
        """Take a client that has connected: serve it, have it wait, or turn it away."""
        if not self._gate.admits(sock):
            turn_away(sock, self._disposer)
        elif not self._is_served():
            self._serve(sock)
        else:
            self.keep(sock)

    def keep(self, sock: socket.socket) -> None:
        """Have a client wait that was let in."""
        if len(self._waiting) >= MOST:
            self._give_up(sock)
        else:
            self._waiting[sock] = self._loop.call_later(BUSY, self._give_up, sock)

    def proceed(self) -> None:
        """Serve the client that has waited longest; nobody is served now."""
        if self._waiting and not self._is_served():
            sock = next(iter(self._waiting))
            self._waiting.pop(sock).cancel()
            self._serve(sock)

    def listen_for(self, is_used: Callable[[], bool], end: Callable[[], None]) -> None:
        """Call `end` if the client that is served is not `is_used` in time; instead of an earlier one."""
        self.client_gone()
        self._silence = self._loop.call_later(SILENCE, partial(self._look, is_used, end))

    def client_gone(self) -> None:
        """The client that was served has gone."""
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None

    def pause(self) -> None:
        """Let nobody's time run out for now."""
        self.client_gone()
        for timer in self._waiting.values():
            timer.cancel()

    def go_on(self) -> None:
        """After `pause`: the time of those that wait begins again."""
        for sock in self._waiting:
            self._waiting[sock] = self._loop.call_later(BUSY, self._give_up, sock)

    def close(self) -> None:
        """Turn all away that wait."""
        self.pause()
        for sock in self._waiting:
            turn_away(sock, self._disposer)
        self._waiting.clear()

    def _give_up(self, sock: socket.socket) -> None:
        self._waiting.pop(sock, None)
        self._gate.turned_away(sock)
        turn_away(sock, self._disposer)

    def _look(self, is_used: Callable[[], bool], end: Callable[[], None]) -> None:
        if is_used():
            self.listen_for(is_used, end)
        else:
            self._gate.note(f"a client that gave no data channel in {SILENCE:.0f} s is disconnected")
            end()


def turn_away(sock: socket.socket, disposer: Disposer) -> None:
    """Answer that a request has failed, and disconnect; what the client has sent is not looked at."""
    with contextlib.suppress(OSError):
        with contextlib.suppress(BlockingIOError):
            _, descriptors = receive_with(sock, READ_SIZE)  # else the client would see a reset, and no answer
            disposer.dispose(*descriptors)
        send(sock, FAILED)
    disposer.dispose(sock)
