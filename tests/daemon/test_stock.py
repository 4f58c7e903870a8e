"""Primes made ahead of need."""

import asyncio
import os
from collections.abc import Iterator

import pytest

from vtpm.daemon import stock
from vtpm.daemon.stock import PrimeStock

pytestmark = pytest.mark.slow


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture
def primes(loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch) -> Iterator[PrimeStock]:
    monkeypatch.setattr(stock, "DELAY", 0.0)
    monkeypatch.setattr(stock, "SIZE", 4)
    primes = PrimeStock(loop)
    yield primes
    primes.close()


async def until_full(primes: PrimeStock) -> None:
    async with asyncio.timeout(60):
        while not primes.pool.is_full:  # noqa: ASYNC110 - a thread fills it, and tells nobody
            await asyncio.sleep(0.01)


class TestPrimeStock:
    """A bounded pool that idle time fills."""

    def test_fills_by_itself(self, loop: asyncio.AbstractEventLoop, primes: PrimeStock) -> None:
        """Once the process has lived for a while."""
        loop.run_until_complete(until_full(primes))
        assert primes.pool.is_full

    def test_is_filled_again_after_use(self, loop: asyncio.AbstractEventLoop, primes: PrimeStock) -> None:
        """Each prime is given out once."""
        loop.run_until_complete(until_full(primes))
        taken = {primes.pool.take(1024, 65537) for _ in range(4)}
        assert len(taken) == 4
        assert None not in taken
        loop.run_until_complete(until_full(primes))
        assert primes.pool.take(1024, 65537) not in taken

    def test_tpms_take_from_it(self, primes: PrimeStock) -> None:
        """Both those that are made and those that are restored."""
        made = primes.manufacture(entropy=os.urandom)
        restored = primes.restore(made.snapshot(), os.urandom)
        assert made.prime_pool is primes.pool
        assert restored.prime_pool is primes.pool

    def test_makes_nothing_after_the_end(self, loop: asyncio.AbstractEventLoop, primes: PrimeStock) -> None:
        """A process that ends waits for no prime but the one under way."""
        loop.run_until_complete(until_full(primes))
        primes.close()
        primes.pool.take(1024, 65537)
        loop.run_until_complete(asyncio.sleep(0.05))
        assert not primes.pool.is_full
