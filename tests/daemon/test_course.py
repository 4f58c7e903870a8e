"""The old side of a hand-over, through its whole course, with new processes that go wrong at every step."""

import asyncio
import json
import os
import signal
import socket
from contextlib import suppress
from typing import Any, Final

import pytest

from vtpm.daemon.carried import Carried
from vtpm.daemon.replacement import predecessor
from vtpm.daemon.replacement.course import AFTER, Course, Event, course_after
from vtpm.daemon.replacement.messages import LENGTH, WENT_ON, ReplacementError, encode
from vtpm.daemon.replacement.predecessor import Predecessor

SHORT = 0.05
"""Seconds of every limit: what is late here is what never comes."""

BEGIN, READY, TAKEN = "begin", "ready", "taken"
CLOSE, WRONG, SILENT, STOPPED, TERM, KILLED = "close", "wrong", "silent", "stopped", "term", "killed"
Script = tuple[str, ...]

SCRIPTS: dict[Script, Course] = {
    **{(last,): Course.SERVING for last in (CLOSE, WRONG, SILENT, TERM, KILLED)},
    **{(BEGIN, last): Course.SERVING for last in (CLOSE, WRONG, SILENT, TERM, KILLED, STOPPED)},
    **{(BEGIN, READY, last): Course.SERVING for last in (CLOSE, WRONG, SILENT, KILLED, STOPPED)},
    (BEGIN, READY, TAKEN): Course.REPLACED,
    (BEGIN, READY, TAKEN, CLOSE): Course.REPLACED,
    (BEGIN, READY, TAKEN, KILLED): Course.REPLACED,
    (BEGIN, READY, TERM, TAKEN): Course.REPLACED,
    (BEGIN, READY, TERM, SILENT): Course.SERVING,
}
"""What a new process does, and where the hand-over ends."""


class World:
    """What the old process has beside the hand-over."""

    def __init__(self) -> None:
        self.happened: list[str] = []
        self.at_rest = asyncio.Event()

    def open_states(self) -> list[str]:
        """None."""
        return []

    async def pause(self) -> None:
        """Have guests wait; for ever if a TPM works."""
        self.happened.append("pause")
        await self.at_rest.wait()

    def hand_over(self) -> list[Carried]:
        """One VM."""
        return [Carried({"name": "vm"}, {})]

    def proceed(self) -> None:
        """Serve guests."""
        self.happened.append("proceed")

    def rescan(self) -> None:
        """Nothing."""

    def refuse(self, refusal: str) -> None:
        """Answer what waits."""
        del refusal


class NewProcess:
    """The new process: it does each step of a script when the old one's frames before it have come."""

    BEFORE: Final = {1: ["vm", "end"], 2: ["go"]}

    def __init__(self, sock: socket.socket, told: int) -> None:
        self._sock, self._told = sock, told

    def keep_to(self, script: Script) -> None:
        """Do all steps, and then nothing."""
        self._sock.recv(1 << 16)
        for number, step in enumerate(script):
            if step not in {CLOSE, KILLED} or number != 1:
                for expected in self.BEFORE.get(number, []):
                    assert self._frame() == expected
            self._step(step)
        signal.pause()

    def _step(self, step: str) -> None:
        if step == CLOSE:
            self._sock.close()
        elif step in {STOPPED, KILLED}:
            os.kill(os.getpid(), signal.SIGSTOP if step == STOPPED else signal.SIGKILL)
        elif step == TERM:
            os.write(self._told, b"t")
        elif step != SILENT:
            frame = encode(step, {}, [])
            self._sock.sendall(LENGTH.pack(len(frame)) + frame)

    def _frame(self) -> str:
        (length,) = LENGTH.unpack(self._sock.recv(LENGTH.size, socket.MSG_WAITALL))
        return str(json.loads(self._sock.recv(length, socket.MSG_WAITALL))["step"])


@pytest.fixture
def trail(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Course, Event]]:
    """The transitions of the code, as they happen."""
    passed: list[tuple[Course, Event]] = []

    def noted(course: Course, event: Event) -> Course:
        passed.append((course, event))
        return course_after(course, event)

    monkeypatch.setattr(predecessor, "course_after", noted)
    for name in ("LOADING_LIMIT", "TAKING_LIMIT", "PAUSE_LIMIT", "LAST_WORDS"):
        monkeypatch.setattr(predecessor, name, 10 * SHORT)
    monkeypatch.setattr(predecessor, "tell_replaced", lambda _: None)
    return passed


class Run:
    """A hand-over to a new process that keeps to a script."""

    def __init__(self, script: Script, monkeypatch: pytest.MonkeyPatch, *, is_busy: bool = False) -> None:
        self.script, self.world, self.words = script, World(), list[bytes]()
        if not is_busy:
            self.world.at_rest.set()
        self.replaced = False
        monkeypatch.setattr(os, "pwrite", self._pwrite)

    def _pwrite(self, descriptor: int, octets: bytes, offset: int) -> int:
        self.world.happened.append("word")
        self.words.append(octets)
        return os.pwritev(descriptor, [octets], offset)

    async def hand_over(self) -> Predecessor:
        """Do it; the old side as it is afterwards."""
        ours, theirs = socket.socketpair()
        ours.settimeout(0)
        reads, writes = os.pipe()
        process = os.fork()
        if process == 0:  # pragma: no cover - another process
            with suppress(BaseException):
                ours.close()
                NewProcess(theirs, writes).keep_to(self.script)
            os._exit(0)
        theirs.close()
        os.close(writes)
        loop = asyncio.get_running_loop()
        world: Any = self.world
        old = Predecessor(loop, world, lambda: world, lambda: Carried({}, {}), self._replaced)

        def peer(_sock: socket.socket) -> tuple[int, int]:
            return process, os.getuid()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(predecessor, "peer_of", peer)
            loop.add_reader(reads, lambda: self._told(loop, reads, old))
            try:
                await asyncio.wait_for(old.hand_over(ours, [1, 2]), 30)
            finally:
                loop.remove_reader(reads)
                ours.close()
                os.close(reads)
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
                await asyncio.to_thread(os.waitpid, process, 0)
        return old

    def _told(self, loop: asyncio.AbstractEventLoop, reads: int, old: Predecessor) -> None:
        loop.remove_reader(reads)
        self._ending = loop.create_task(old.end())

    def _replaced(self) -> None:
        self.replaced = True


@pytest.mark.parametrize("script", SCRIPTS, ids="-".join)
def test_course(script: Script, trail: list[tuple[Course, Event]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every trace is one of the model's, and guests are served by exactly one process at its end."""
    run = Run(script, monkeypatch)
    old = asyncio.run(run.hand_over())
    assert old.course is SCRIPTS[script]
    assert set(trail) <= set(AFTER)
    ended = Course.SERVING
    for course, event in trail:
        assert course is ended
        ended = AFTER[course, event]
    assert ended is old.course
    was_paused = Event.BEGUN in {event for _, event in trail}
    assert run.replaced is old.is_replaced is (old.course is Course.REPLACED)
    if was_paused and not old.is_replaced:
        assert run.world.happened[-3:] == ["word", "proceed", "proceed"]
        assert run.words == [WENT_ON]
    else:
        assert "word" not in run.world.happened


def test_a_tpm_that_works(trail: list[tuple[Course, Event]], monkeypatch: pytest.MonkeyPatch) -> None:
    """A TPM that is not at rest in time keeps its process; guests are served again."""
    run = Run((BEGIN, SILENT), monkeypatch, is_busy=True)
    old = asyncio.run(run.hand_over())
    assert old.course is Course.SERVING
    assert trail[-1] == (Course.PAUSING, Event.LATE)
    assert run.world.happened[-3:] == ["word", "proceed", "proceed"]


@pytest.mark.parametrize("course", Course)
def test_what_cannot_happen(course: Course) -> None:
    """An event that has no place is an error with a name, whatever it is."""
    for event in Event:
        if (course, event) not in AFTER:
            with pytest.raises(ReplacementError, match="cannot come"):
                course_after(course, event)
