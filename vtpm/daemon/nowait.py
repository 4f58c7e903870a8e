"""
Octets to and from a socket that somebody else may hold as well, and its end: the only way to either.

The flags of a socket belong to its open file description, which a client that passed the socket shares:
it can clear O_NONBLOCK at any moment, and set time-outs.
So every call here says itself that it must not wait (MSG_DONTWAIT in send(2) and recv(2)).

To close a socket may wait, too, if that is the last reference: to one that lingers (SO_LINGER), to a file
of a file system that its user serves, or to a socket in whose queue such descriptors are.
Whatever a client passes is therefore received, never left for the kernel to discard, and closed on a thread.
"""

import _thread
import array
import asyncio
import os
import select
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

SEND_FLAGS: Final = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL
RECEIVE_FLAGS: Final = socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC

ROOM: Final = 2048
"""Octets for what comes beside octets: 253 descriptors (Linux, SCM_MAX_FD) and the sender's credentials."""

SCM_PIDFD: Final = 4
"""Linux, include/linux/socket.h: a descriptor of the sender, where SO_PASSPIDFD is set."""

DESCRIPTORS: Final = frozenset({socket.SCM_RIGHTS, SCM_PIDFD})
HAS_LEFT: Final = select.POLLHUP | select.POLLERR

Closable = socket.socket | int


def send(sock: socket.socket, octets: bytes | bytearray) -> int:
    """Send what the peer takes now, and give how much; BlockingIOError if nothing."""
    return sock.send(octets, SEND_FLAGS)


def send_with(sock: socket.socket, octets: bytes, descriptors: list[int]) -> int:
    """Send as `send` does, with descriptors that belong to the first octet."""
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))
    return sock.sendmsg([octets], [rights] if descriptors else [], SEND_FLAGS)


def receive(sock: socket.socket, count: int) -> bytes:
    """At most `count` octets from a socket that passes no descriptors; BlockingIOError if none are there."""
    return sock.recv(count, RECEIVE_FLAGS)


def receive_with(sock: socket.socket, count: int) -> tuple[bytes, list[int]]:
    """At most `count` octets, and every descriptor that came with them; BlockingIOError if none are there."""
    octets, beside, _flags, _address = sock.recvmsg(count, ROOM, RECEIVE_FLAGS)
    return octets, _descriptors(beside) if beside else []


def accept(listener: socket.socket) -> socket.socket:
    """The next client; BlockingIOError if there is none. Whoever passed the listener may hold it, too."""
    listener.settimeout(0)
    sock, _ = listener.accept()
    sock.settimeout(0)
    return sock


def has_left(sock: socket.socket) -> bool:
    """Has the peer closed its end, whatever it sent before?"""
    poll = select.poll()
    poll.register(sock, 0)
    return any(event & HAS_LEFT for _, event in poll.poll(0))


def stream_of(descriptor: int, beside: socket.socket) -> socket.socket | None:
    """
    The socket of a descriptor that came over `beside`, if commands can be read from it; otherwise None.

    That takes a connected local stream: another kind of socket can linger, loses the ends of messages,
    or accepts connections.
    Its peer must not be one of the sockets of the directory in which `beside` listens:
    responses would be taken for requests there.
    """
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError:
        return None
    try:
        is_fit = (
            sock.family == socket.AF_UNIX
            and sock.type == socket.SOCK_STREAM
            and not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            and not _are_neighbors(sock.getpeername(), beside.getsockname())
        )
    except OSError:  # it is not connected
        is_fit = False
    if not is_fit:
        sock.detach()
        return None
    return sock


async def receive_later(loop: asyncio.AbstractEventLoop, sock: socket.socket, count: int) -> bytes:
    """At most `count` octets, as soon as there are some; empty at the end."""
    while True:
        try:
            return receive(sock, count)
        except BlockingIOError:
            await _ready(loop.add_reader, loop.remove_reader, sock)


async def send_later(
    loop: asyncio.AbstractEventLoop, sock: socket.socket, octets: bytes, descriptors: list[int] | None = None
) -> None:
    """Send all octets, as the peer takes them."""
    rest = memoryview(octets)
    while rest:
        try:
            rest = rest[send_with(sock, bytes(rest), descriptors or []) :]
        except BlockingIOError:
            await _ready(loop.add_writer, loop.remove_writer, sock)
        else:
            descriptors = None


class Disposer:
    """
    Closes what clients of one VM shared or passed, on threads of its own.

    While `is_busy` a former client holds such a close up, and no other one is to be accepted:
    so a VM holds up one thread, and as many descriptors as one client passes.
    `closed` is called when something was closed.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, closed: Callable[[], None]) -> None:
        self._loop = loop
        self._when_closed = closed
        self.count = 0
        """Threads that are about to close something."""

    @property
    def is_busy(self) -> bool:
        """Is something not closed yet?"""
        return self.count > 0

    def dispose(self, *things: Closable) -> None:
        """Close sockets and descriptors; a peer sees the end of a socket now."""
        if not things:
            return
        for thing in things:
            if isinstance(thing, socket.socket):
                with suppress(OSError):  # it is not connected any more
                    thing.shutdown(socket.SHUT_RDWR)
        self.count += 1
        _thread.start_new_thread(self._close, (things,))  # Thread.start would wait until it runs

    def _close(self, things: tuple[Closable, ...]) -> None:
        for thing in things:
            with suppress(OSError):
                os.close(thing.detach() if isinstance(thing, socket.socket) else thing)
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._closed)

    def _closed(self) -> None:
        self.count -= 1
        self._when_closed()


def _descriptors(beside: list[tuple[int, int, bytes]]) -> list[int]:
    found: list[int] = []
    for level, kind, octets in beside:
        if level == socket.SOL_SOCKET and kind in DESCRIPTORS:
            numbers = array.array("i")
            numbers.frombytes(octets[: len(octets) - len(octets) % numbers.itemsize])
            found += numbers
    return found


def _are_neighbors(peer: str | bytes, own: str | bytes) -> bool:
    """Are both names of sockets, by path, in one directory?"""
    if not peer or not own:
        return False
    return Path(os.fsdecode(peer)).parent == Path(os.fsdecode(own)).parent


async def _ready(add: Callable[..., None], remove: Callable[[int], object], sock: socket.socket) -> None:
    reached = asyncio.Event()
    add(sock.fileno(), reached.set)
    try:
        await reached.wait()
    finally:
        remove(sock.fileno())
