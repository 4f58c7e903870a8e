"""The daemon's alarms."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest

from nvstore import Cost, Host
from vtpm.daemon.alarm import INTERVAL, Alarm


class AtOnce(Executor):
    """Does what is submitted before `submit` returns."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Do it."""
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def test_alarm(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A backup that was never verified is logged at the start, and again a day later, not every hour."""
    now = [1.7e9]
    host = Host(tmp_path / "host", clock=lambda: now[0], passphrase_cost=Cost(64, 1, 1))
    host.providers.init("main")
    loop = asyncio.new_event_loop()
    alarm = Alarm(loop, AtOnce(), host)
    alarm.look()
    assert [record.getMessage() for record in caplog.records] == [
        f"alarm: {host.providers.show('main').warnings[0]}"
    ]
    for _ in range(24):
        assert len(caplog.records) == 1
        now[0] += INTERVAL
        alarm.look()
    assert len(caplog.records) == 2
    alarm.close()
    loop.close()


def test_what_cannot_be_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A damaged provider is logged, and stops nothing."""
    host = Host(tmp_path / "host", passphrase_cost=Cost(64, 1, 1))
    host.providers.init("main")
    (tmp_path / "host/providers/main.provider").write_text("{}")
    loop = asyncio.new_event_loop()
    alarm = Alarm(loop, AtOnce(), host)
    alarm.look()
    assert "restore the provider" in caplog.text
    alarm.close()
    loop.close()
