"""Primes for RSA keys, made ahead of need by a thread that gives way to all others."""

import asyncio
import os
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from vtpm.crypto.primes import PrimePool
from vtpm.daemon.clock import Entropy
from vtpm.engine.tpm import Tpm
from vtpm.state.profile import DEFAULT, Profile

DELAY: Final = 1.0
"""Seconds before the first prime is made: a process that is needed for less makes none."""

NICENESS: Final = 10
SIZE: Final = 32
"""Primes in stock: enough for 16 keys in a row."""


def _give_way() -> None:
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


class PrimeStock:
    """
    A pool of primes that is filled again after use, and the TPMs that take from it.

    It makes TPMs as the class `Tpm` does, new ones of its profile.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, profile: Profile = DEFAULT) -> None:
        self.pool = PrimePool(size=SIZE, taken=lambda: loop.call_soon_threadsafe(self._fill))
        self._loop = loop
        self._profile = profile
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="primes", initializer=_give_way)
        self._is_filling = False
        self._is_closed = False
        self._delay: asyncio.TimerHandle | None = loop.call_later(DELAY, self._begin)

    def close(self) -> None:
        """Make no more; waits for the one being made."""
        self._is_closed = True
        if self._delay is not None:
            self._delay.cancel()
        self._worker.shutdown(cancel_futures=True)

    def manufacture(self, *, entropy: Entropy) -> Tpm:
        """A new TPM."""
        tpm = Tpm.manufacture(entropy, self._profile)
        tpm.prime_pool = self.pool
        return tpm

    def restore(self, blobs: Mapping[str, bytes], entropy: Entropy) -> Tpm:
        """A TPM from its durable blobs; SavedStateError if they cannot be read."""
        tpm = Tpm.restore(blobs, entropy)
        tpm.prime_pool = self.pool
        return tpm

    def _begin(self) -> None:
        self._delay = None
        self._fill()

    def _fill(self) -> None:
        if self._is_filling or self._is_closed or self._delay is not None or self.pool.is_full:
            return
        self._is_filling = True
        self._loop.run_in_executor(self._worker, self.pool.add).add_done_callback(self._made)

    def _made(self, future: "asyncio.Future[None]") -> None:
        self._is_filling = False
        if not future.cancelled():
            future.result()
            self._fill()
