"""
The order in which the work of one TPM is done: one piece at a time, some of it on a worker thread.

Light work runs at once on the event loop, costly work on a thread, so that no TPM waits for another one's.
While a piece runs on a thread, what arrives for the same TPM waits in order.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, Final

log = logging.getLogger(__name__)

Work = Callable[[], Any]
Done = Callable[[Any], None]


class Defect:
    """The result of work that raised an exception, which no work should: a defect of this program."""


DEFECT: Final = Defect()


class Lane:
    """The queue of one TPM; `failed` is told of work that raised an exception."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, executor: Executor, failed: Callable[[str], None]
    ) -> None:
        self._loop = loop
        self._executor = executor
        self._failed = failed
        self._waiting: deque[Callable[[], None]] = deque()
        self.is_busy = False

    def enter(self, step: Callable[[], None]) -> None:
        """Take a step now, or after the work that is under way; it may begin work by `start`."""
        if self.is_busy:
            self._waiting.append(step)
        else:
            step()

    def run(self, work: Work, done: Done, *, on_thread: bool) -> None:
        """Do a piece of work, then call `done` with its result or DEFECT; called from within a step."""
        if not on_thread:
            done(self._attempt(work))
            return
        self.is_busy = True
        self._loop.run_in_executor(self._executor, self._attempt, work).add_done_callback(
            lambda future: self._finish(future, done)
        )

    async def idle(self) -> None:
        """Wait until everything that has been entered is done."""
        reached = self._loop.create_future()
        self.enter(lambda: reached.set_result(None))
        await reached

    def report(self, error: Exception) -> None:
        """Work raised an exception, which is a defect of this program: its TPM fails until the next reset."""
        log.error("a defect of this program: the TPM that met it fails until its next reset", exc_info=error)
        self._failed(f"{type(error).__name__} outside the engine")

    def _attempt(self, work: Work) -> Any:
        try:
            return work()
        except Exception as error:  # noqa: BLE001 - a defect must not stop the other TPMs of this process
            self.report(error)
            return DEFECT

    def _finish(self, future: "asyncio.Future[Any]", done: Done) -> None:
        self.is_busy = False
        if future.cancelled():
            return
        done(future.result())
        while self._waiting and not self.is_busy:
            self._waiting.popleft()()
