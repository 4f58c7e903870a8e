"""The daemon's own socket, by which `vtpm` tells it of changes: a line of JSON asks, another one answers."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from vtpm.daemon.errors import OperatorError

NAME: Final = ".daemon"
"""Its name in the run directory; no VM's socket begins with a dot."""

TIMEOUT: Final = 10.0
MAX_LINE: Final = 1 << 20


class AdminError(OperatorError):
    """The daemon refused, or did not answer; the text gives cause and remedy."""


def admin_path(run_dir: Path) -> Path:
    """Where the daemon of a run directory listens."""
    return run_dir / NAME


def ask(run_dir: Path, request: str, *, timeout: float = TIMEOUT, **arguments: Any) -> Any:
    """Ask the daemon; None if there is none, AdminError if it refuses, or is silent for `timeout` seconds."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout)
        try:
            sock.connect(str(admin_path(run_dir)))
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            return None
        except OSError as error:
            raise AdminError(f"the daemon cannot be reached: {error.strerror}; run as its user") from None
        try:
            sock.sendall(json.dumps({"do": request, **arguments}).encode() + b"\n")
            with sock.makefile("rb") as stream:
                answer = json.loads(stream.readline(MAX_LINE))
        except (OSError, ValueError):
            raise AdminError("the daemon did not answer; look into its log") from None
    if "error" in answer:
        raise AdminError(str(answer["error"]))
    return answer["result"]


Handler = Callable[..., Awaitable[Any]]


class AdminServer:
    """Answers `ask` in the daemon; a handler refuses by raising one of `refusals`."""

    def __init__(self, handlers: dict[str, Handler], refusals: tuple[type[Exception], ...]) -> None:
        self._handlers = handlers
        self._refusals = refusals
        self._server: asyncio.Server | None = None

    async def start(self, listener: socket.socket) -> None:
        """Begin to answer."""
        self._server = await asyncio.start_unix_server(self._serve, sock=listener, limit=MAX_LINE)

    async def close(self) -> None:
        """Answer no more."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answer = await self._answer(await reader.readline())
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        except (OSError, ValueError):  # the client has gone, or sent a line without end
            pass
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            handler = self._handlers[request.pop("do")]
            return {"result": await handler(**request)}
        except self._refusals as error:
            return {"error": str(error)}
        except (ValueError, KeyError, TypeError, AttributeError):
            return {"error": "the request was not understood; use the `vtpm` of the daemon's version"}
