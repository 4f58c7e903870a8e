"""The daemon's alarms."""

import asyncio
from pathlib import Path

import pytest

from nvstore import Cost, Host
from vtpm.daemon.alarm import INTERVAL, Alarm


def test_alarm(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A backup that was never verified is logged at the start, and again a day later, not every hour."""
    now = [1.7e9]
    host = Host(tmp_path / "host", clock=lambda: now[0], passphrase_cost=Cost(64, 1, 1))
    host.providers.init("main")
    loop = asyncio.new_event_loop()
    alarm = Alarm(loop, host)
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
    alarm = Alarm(loop, host)
    alarm.look()
    assert "restore the provider" in caplog.text
    alarm.close()
    loop.close()
