"""Between an old daemon and a new one, to see every step of a hand-over, and to end one of them at any."""

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from tests.daemon.living import LIMIT
from vtpm.daemon.replacement.messages import LENGTH, decode

STEPS = (
    ("new", "replace"),
    ("old", "answer"),
    ("new", "begin"),
    ("old", "vm"),
    ("old", "end"),
    ("new", "ready"),
    ("old", "go"),
    ("new", "taken"),
)
"""Who says what, of one VM."""


class Relay:
    """Takes the place of the daemon's own socket."""

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / ".daemon"
        self._kept = run_dir / ".kept"

    def __enter__(self) -> Self:
        self._path.rename(self._kept)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._path))
        self._listener.listen()
        self._listener.settimeout(LIMIT)
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self._path.unlink(missing_ok=True)
        self._kept.rename(self._path)

    def run(self, at: Callable[[str], None], last: str = "taken") -> list[str]:
        """Pass steps on up to the last, or until one side ends it; `at` is called before each. The steps."""
        steps = []
        new, _ = self._listener.accept()
        with new, socket.socket(socket.AF_UNIX) as old:
            old.connect(str(self._kept))
            for sock in (new, old):
                sock.settimeout(LIMIT)
            for side, expected in STEPS:
                source, target = (new, old) if side == "new" else (old, new)
                octets, descriptors = self._message(source, is_line=expected in ("replace", "answer"))
                if not octets:
                    break
                step = expected
                if expected not in ("replace", "answer"):
                    step, _ = decode(octets[LENGTH.size :], descriptors)
                steps.append(step)
                at(step)
                with suppress(OSError):  # it was ended
                    socket.send_fds(target, [octets[:1]], descriptors)
                    target.sendall(octets[1:])
                for descriptor in descriptors:
                    os.close(descriptor)
                if step in ("stay", last):
                    break
        return steps

    @staticmethod
    def _message(sock: socket.socket, *, is_line: bool) -> tuple[bytes, list[int]]:
        """A line or a frame with its descriptors; empty at the end."""
        try:
            octets, descriptors, _, _ = socket.recv_fds(sock, 1, 8)
            if is_line:
                while octets and not octets.endswith(b"\n"):
                    octets += sock.recv(1)
                return octets, descriptors
            if octets:
                octets += sock.recv(LENGTH.size - 1, socket.MSG_WAITALL)
                octets += sock.recv(LENGTH.unpack(octets)[0], socket.MSG_WAITALL)
        except ConnectionError:
            return b"", []
        return octets, descriptors
