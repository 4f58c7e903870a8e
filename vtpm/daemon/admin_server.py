"""The daemon's own socket: vtpm/daemon/admin.py asks, a handler answers."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from vtpm.daemon import nowait
from vtpm.daemon.admin import MAX_LINE, AdminError, is_trusted

READ_SIZE: Final = 1 << 16

Handler = Callable[..., Awaitable[Any]]


class AdminServer:
    """
    Answers `ask` in the daemon; a handler refuses by raising one of `refusals`.

    A handler among `callers` is given the connection, too, and talks on by itself.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        handlers: Mapping[str, Handler],
        callers: Mapping[str, Handler],
        refusals: tuple[type[Exception], ...],
    ) -> None:
        self._loop = loop
        self._handlers = handlers
        self._callers = callers
        self._refusals = refusals
        self._connections: set[asyncio.Task[None]] = set()
        self._working: set[asyncio.Task[Any]] = set()
        self._is_open = asyncio.Event()
        self._refusal = ""
        self._listener: socket.socket | None = None

    @property
    def descriptor(self) -> int:
        """The listening socket's."""
        assert self._listener is not None
        return self._listener.fileno()

    def start(self, listener: socket.socket) -> None:
        """Begin to answer."""
        self._listener = listener
        self.proceed()

    async def pause(self) -> None:
        """Begin nothing new, and wait until every request that is under way is answered."""
        self._loop.remove_reader(self.descriptor)
        self._is_open.clear()
        while self._working:
            await asyncio.wait(self._working)

    def proceed(self) -> None:
        """Answer again."""
        self._is_open.set()
        self._loop.add_reader(self.descriptor, self._accept)

    def refuse(self, refusal: str) -> None:
        """Answer all that wait, and whatever comes, that it is not done, and why."""
        self._refusal = refusal
        self._is_open.set()

    async def close(self) -> None:
        """Answer no more."""
        if self._listener is not None:
            self._loop.remove_reader(self.descriptor)
            self._listener.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            sock = nowait.accept(self._listener)
        except OSError:
            return
        if not is_trusted(sock):
            sock.close()
            return
        task = self._loop.create_task(self._serve(sock))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, sock: socket.socket) -> None:
        with sock:
            try:
                answer = await self._answer(sock, await self._line(sock))
                if answer is not None:
                    await nowait.send_later(self._loop, sock, json.dumps(answer).encode() + b"\n")
            except OSError:  # the client has gone
                pass

    async def _line(self, sock: socket.socket) -> bytes:
        line = b""
        while not line.endswith(b"\n") and len(line) < MAX_LINE:
            octets = await nowait.receive_later(self._loop, sock, READ_SIZE)
            if not octets:
                break
            line += octets
        return line

    async def _answer(self, sock: socket.socket, line: bytes) -> dict[str, Any] | None:
        try:
            request = json.loads(line)
            name = request.pop("do")
            if name in self._callers:
                await self._callers[name](sock, **request)
                return None
            return {"result": await self._work(self._handlers[name], request)}
        except self._refusals as error:
            return {"error": str(error)}
        except (ValueError, KeyError, TypeError, AttributeError):
            return {"error": "the request was not understood; use the `vtpm` of the daemon's version"}

    async def _work(self, handler: Handler, arguments: Mapping[str, Any]) -> Any:
        await self._is_open.wait()
        if self._refusal:
            raise AdminError(self._refusal)
        task = asyncio.ensure_future(handler(**arguments))
        self._working.add(task)
        task.add_done_callback(self._working.discard)
        return await task
