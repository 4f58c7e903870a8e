"""The new process's side of a hand-over: vtpm/daemon/replacement/messages.py has the protocol."""

import os
import select
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from vtpm.daemon.admin import MAX_LINE, AdminError, connect, is_trusted, request_of, result_of
from vtpm.daemon.carried import Carried
from vtpm.daemon.readiness import VARIABLE
from vtpm.daemon.replacement.messages import (
    LENGTH,
    MAX_DESCRIPTORS,
    MAX_FRAME,
    REQUEST,
    VERSIONS,
    WENT_ON,
    WITH_WORD,
    ReplacementError,
    decode,
    encode,
)

PATIENCE: Final = 60.0
"""Seconds to wait for the old process."""

DEATH: Final = 10.0
"""Seconds in which a process whose sockets are closed has died."""


class ConnectionEndedError(Exception):
    """The old process has closed the connection, which only its death does without a word."""


class Successor:
    """The connection to the process that runs, from the request until this one has taken over."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._process = -1
        self._word = -1
        self.states: list[str] = []
        """The UUIDs of the states that the old process has open."""

    def ask(self) -> None:
        """Ask for the hand-over; ReplacementError if the old process refuses."""
        if not is_trusted(self._sock):
            raise ReplacementError("the daemon that runs is another user's; run as its user")
        try:
            self._sock.sendall(request_of(REQUEST, versions=sorted(VERSIONS)))
            line, descriptors = self._receive(1)
            while not line.endswith(b"\n") and len(line) < MAX_LINE:
                line += self._receive(1)[0]
        except (OSError, ConnectionEndedError):
            raise ReplacementError("the daemon that runs does not answer; look into its log") from None
        try:
            facts = result_of(line)
        except AdminError as error:
            raise ReplacementError(f"the daemon that runs goes on: {error}") from None
        if len(descriptors) != (2 if facts["version"] >= WITH_WORD else 1):
            raise ReplacementError(
                "the daemon that runs does not say what process it is, and goes on; shut the guests down, "
                "end it by `vtpm stop`, then start this one"
            )
        self._process, self._word = (*descriptors, -1)[:2]
        self.states = facts["states"]
        if facts["notify"] is not None:
            os.environ[VARIABLE] = facts["notify"]

    def begin(self) -> Iterator[Carried]:
        """Have guests wait, and give what each VM has; the last one has the daemon's own listening socket."""
        try:
            self._send("begin", process=os.getpid())
            while True:
                step, carried = self._expect("vm", "end")
                yield carried
                if step == "end":
                    return
        except TimeoutError:
            raise ReplacementError(
                f"the daemon that runs did not hand over within {PATIENCE:g} s; look into its log"
            ) from None
        except (OSError, ConnectionEndedError):
            raise ReplacementError(
                "the daemon that ran ended before it had handed over; start this one again"
            ) from None

    def take(self) -> None:
        """Take over, now that all is loaded; ReplacementError if the old process goes on."""
        try:
            self._send("ready")
            self._expect("go")
        except (OSError, ConnectionEndedError):
            if not select.select([self._process], [], [], DEATH)[0]:
                raise ReplacementError(
                    "the connection to the daemon has ended, and it has not: it goes on; look into its log, "
                    "then try again"
                ) from None
            if self._word != -1 and os.pread(self._word, 1, 0) == WENT_ON:
                raise ReplacementError(
                    "the daemon that ran went on without this one, and has ended since: start this one again"
                ) from None
        with suppress(OSError):  # it has died, and all is here
            self._send("taken")
        os.close(self._process)
        if self._word != -1:
            os.close(self._word)
        self._sock.close()

    def _send(self, step: str, **facts: int) -> None:
        frame = encode(step, facts, [])
        self._sock.sendall(LENGTH.pack(len(frame)) + frame)

    def _expect(self, *steps: str) -> tuple[str, Carried]:
        octets, descriptors = self._receive(LENGTH.size)
        (length,) = LENGTH.unpack(octets)
        if length > MAX_FRAME:
            raise ReplacementError(
                "the daemon that runs does not keep to the protocol, and goes on; shut the guests down, "
                "end it by `vtpm stop`, then start this one"
            )
        frame, _ = self._receive(length)
        step, carried = decode(frame, descriptors)
        if step == "stay":
            raise ReplacementError(f"the daemon that runs goes on: {carried.facts.get('reason')}")
        if step not in steps:
            raise ReplacementError(f"the daemon that runs sent {step} where {steps[0]} was due")
        return step, carried

    def _receive(self, count: int) -> tuple[bytes, list[int]]:
        octets, descriptors, flags, _ = socket.recv_fds(
            self._sock, count, MAX_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
        )
        if flags & socket.MSG_CTRUNC:
            raise ReplacementError("descriptors were lost; raise the limit of open files (ulimit -n)")
        while octets and len(octets) < count:
            part = self._sock.recv(count - len(octets))
            if not part:
                break
            octets += part
        if len(octets) < count:
            raise ConnectionEndedError
        return octets, descriptors


def successor_of(run_dir: Path) -> Successor | None:
    """The connection to the daemon of a run directory, asked to hand over; None if there is no daemon."""
    sock = connect(run_dir, PATIENCE)
    if sock is None:
        return None
    successor = Successor(sock)
    successor.ask()
    return successor
