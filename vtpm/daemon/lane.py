"""
The order in which the work of one TPM is done: one piece at a time, some of it on a worker thread.

Light work runs at once on the event loop, costly work on a thread, so that no TPM waits for another one's.

A lane is free, or busy with a piece of work on a thread; what enters a busy lane waits in order.
When the work ends, its `done` is called, then the steps, until one makes the lane busy or none is left.
Whatever `done` or a step raises is reported, and the next one follows: nothing ends this but the work itself.
A conversation enters one step at a time, which does nothing if its client has gone or is paused by then.
So `idle`, after everything that enters steps was paused, waits for the work under way alone.
Whoever waits for a lane may be canceled at any moment; the work is done all the same, and its result dropped.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from typing import Any, Final

log = logging.getLogger(__name__)

Work = Callable[[], Any]
Done = Callable[[Any], None]


class Defect:
    """The result of work that raised an exception, which no work should: a defect of this program."""


DEFECT: Final = Defect()


def complete(future: "asyncio.Future[Any]", result: Any) -> None:
    """Give a future its result, unless whoever waited for it was canceled."""
    if not future.done():
        future.set_result(result)


def refuse(future: "asyncio.Future[Any]", error: Exception) -> None:
    """Give a future its exception, unless whoever waited for it was canceled."""
    if not future.done():
        future.set_exception(error)


class Lane:
    """
    The queue of one TPM; `failed` is told of work that raised an exception.

    What waits for the store goes to `executor`, what computes to the first of `computers`, to the second
    what may take seconds; by default all to one.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        executor: Executor,
        failed: Callable[[str], None],
        computers: tuple[Executor, Executor] | None = None,
    ) -> None:
        self._loop = loop
        self._executor = executor
        self._computers = computers or (executor, executor)
        self._failed = failed
        self._waiting: deque[Callable[[], None]] = deque()
        self.is_busy = False

    def enter(self, step: Callable[[], None]) -> None:
        """Take a step now, or after the work that is under way; it may begin work by `run` or `compute`."""
        if self.is_busy:
            self._waiting.append(step)
        else:
            self._take(step)

    def run(self, work: Work, done: Done, *, on_thread: bool) -> None:
        """Do a piece of work, then call `done` with its result or DEFECT; called from within a step."""
        if not on_thread:
            done(self._attempt(work))
            return
        self._start(self._executor, work, done)

    def compute(self, work: Work, done: Done, *, is_lengthy: bool) -> None:
        """As `run`, for work that keeps a processor busy; what is lengthy holds up no other such work."""
        self._start(self._computers[is_lengthy], work, done)

    async def idle(self) -> None:
        """Wait until everything that has been entered is done."""
        reached = self._loop.create_future()
        self.enter(lambda: complete(reached, None))
        await reached

    def report(self, error: Exception) -> None:
        """Work raised an exception, which is a defect of this program: its TPM fails until the next reset."""
        log.error("a defect of this program: the TPM that met it fails until its next reset", exc_info=error)
        with suppress(Exception):  # what was reported above is the first cause
            self._failed(f"{type(error).__name__} outside the engine")

    def _start(self, executor: Executor, work: Work, done: Done) -> None:
        self.is_busy = True
        try:
            future = self._loop.run_in_executor(executor, self._attempt, work)
        except RuntimeError as error:  # the executor takes nothing more, as at the end of the process
            self.is_busy = False
            self.report(error)
            done(DEFECT)
            return
        future.add_done_callback(lambda ended: self._finish(ended, done))

    def _attempt(self, work: Work) -> Any:
        try:
            return work()
        except Exception as error:  # noqa: BLE001 - a defect must not stop the other TPMs of this process
            self.report(error)
            return DEFECT

    def _take(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:  # noqa: BLE001 - as above; and the steps after it must be taken
            self.report(error)

    def _finish(self, future: "asyncio.Future[Any]", done: Done) -> None:
        self.is_busy = False
        was_done = not future.cancelled() and future.exception() is None
        self._take(lambda: done(future.result() if was_done else DEFECT))
        while self._waiting and not self.is_busy:
            self._take(self._waiting.popleft())
