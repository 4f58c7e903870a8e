"""A server's process: its event loop, its worker threads, its end by signal."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import uvloop

from vtpm.daemon.secrecy import forbid_dumps, lock_memory
from vtpm.daemon.stock import PrimeStock
from vtpm.state.profile import DEFAULT, Profile

log = logging.getLogger(__name__)

SWITCH_INTERVAL: Final = 0.0001
"""Seconds after which a worker thread gives way to the event loop, so that light commands stay quick."""


ENDING: Final = (signal.SIGTERM, signal.SIGINT)


class Process:
    """What the servers of one process share, new TPMs of `profile` among it; `stop` ends it."""

    def __init__(self, profile: Profile = DEFAULT) -> None:
        forbid_dumps()
        if not lock_memory():
            log.info("memory is not locked, so that keys may reach swap; raise RLIMIT_MEMLOCK to infinity")
        sys.setswitchinterval(SWITCH_INTERVAL)
        self.loop = uvloop.new_event_loop()
        self.executor = ThreadPoolExecutor(2 * (os.cpu_count() or 1) + 2, thread_name_prefix="tpm")
        self.computers = (
            ThreadPoolExecutor(1, thread_name_prefix="compute"),
            ThreadPoolExecutor(max(1, (os.cpu_count() or 1) - 1), thread_name_prefix="keys"),
        )
        """Few threads, for commands and for those that make keys: each delays the event loop."""
        self.tpms = PrimeStock(self.loop, profile)
        self._stopping = self.loop.create_future()
        self._held: list[int] = []
        for number in ENDING:
            signal.signal(number, lambda *_: sys.exit(0))  # the loop sees signals only while it runs

    def stop(self) -> None:
        """End the process in order, once everything under way is done."""
        if not self._stopping.done():
            self._stopping.set_result(None)

    def hold_signals(self) -> None:
        """Heed signals from now on only once `run` serves: what this process has must not end with it."""
        for number in ENDING:
            signal.signal(number, lambda received, _frame: self._held.append(received))

    def run(
        self,
        close: Callable[[], Awaitable[None]],
        ready: Callable[[], Any] = lambda: None,
        heed: Callable[[int], None] | None = None,
    ) -> None:
        """
        Serve until told to stop, then `close`; `ready` is called when signals are heeded.

        `heed` decides what a signal that asks for the end does; without it, that is the end.
        """
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_until_complete(self._run(close, ready, heed or (lambda _: self.stop())))
        finally:
            self.tpms.close()
            self.executor.shutdown(wait=True)
            for computer in self.computers:
                computer.shutdown(wait=True)
            self.loop.close()

    async def _run(
        self, close: Callable[[], Awaitable[None]], ready: Callable[[], Any], heed: Callable[[int], None]
    ) -> None:
        for number in ENDING:
            self.loop.add_signal_handler(number, heed, number)
        ready()
        for held in self._held:
            heed(held)
        await self._stopping
        await close()
