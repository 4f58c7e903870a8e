"""Which guests have a TPM, written down: vtpm/daemon/guests.py."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from vtpm.daemon import guests
from vtpm.daemon.guests import NAME, Guest, GuestRecord, noted_guests, without_tpm


@pytest.fixture
def process() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that lives until the test ends it."""
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


@pytest.fixture
def record(tmp_path: Path) -> GuestRecord:
    """The record of a daemon that has begun."""
    record = GuestRecord(tmp_path)
    record.begin()
    return record


def lost(run_dir: Path, served: dict[str, dict[str, object]] | None = None) -> dict[str, Guest]:
    """The guests that run without their TPM."""
    return without_tpm(noted_guests(run_dir), served or {})


def test_connected(record: GuestRecord, process: "subprocess.Popen[bytes]", tmp_path: Path) -> None:
    """Who is connected is noted for the owner alone; without its daemon it lacks its TPM."""
    record.came("vm", process.pid)
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600
    assert lost(tmp_path, {"vm": {"connected": True, "process": process.pid}}) == {}
    assert lost(tmp_path, {"vm": {"connected": True, "process": 1}})["vm"].process == process.pid
    assert lost(tmp_path, {"vm": {"connected": False}})["vm"].process == process.pid
    assert lost(tmp_path)["vm"].process == process.pid
    process.kill()
    process.wait()
    assert lost(tmp_path) == {}


def test_given_back(record: GuestRecord, process: "subprocess.Popen[bytes]", tmp_path: Path) -> None:
    """Whoever has disconnected lacks nothing, though it runs; nothing is left in the directory."""
    record.came("vm", process.pid)
    record.came("other", process.pid)
    record.went("vm")
    assert set(lost(tmp_path)) == {"other"}
    record.went("other")
    assert list(tmp_path.iterdir()) == []


def test_end(record: GuestRecord, process: "subprocess.Popen[bytes]", tmp_path: Path) -> None:
    """A daemon that ends disconnects its guests, which are still noted."""
    record.came("vm", process.pid)
    record.end()
    record.went("vm")
    assert set(lost(tmp_path)) == {"vm"}


def test_next_daemon(
    record: GuestRecord,
    process: "subprocess.Popen[bytes]",
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The daemon after one that died names who lost a TPM, and keeps that beside whoever connects next."""
    record.came("vm", process.pid)
    record.came("gone", 2**22 - 1)
    after = GuestRecord(tmp_path)
    after.begin()
    assert "vm: it runs without its TPM" in caplog.text
    assert "gone" not in caplog.text
    after.came("vm", os.getpid())
    assert lost(tmp_path, {"vm": {"connected": True, "process": os.getpid()}})["vm"].process == process.pid


def test_taken_over(
    record: GuestRecord,
    process: "subprocess.Popen[bytes]",
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A daemon that takes over has its guests' connections: they have lost nothing."""
    record.came("vm", process.pid)
    after = GuestRecord(tmp_path)
    after.came("vm", process.pid)
    before = (tmp_path / NAME).read_bytes()
    assert json.loads(before)["guests"][0]["process"] == process.pid
    after.begin()
    assert caplog.text == ""
    assert lost(tmp_path, {"vm": {"connected": True, "process": process.pid}}) == {}


def test_another_process(record: GuestRecord, tmp_path: Path, process: "subprocess.Popen[bytes]") -> None:
    """A process that has got the number of one that ended is another one: it began later."""
    record.came("vm", process.pid)
    facts = json.loads((tmp_path / NAME).read_text())
    facts["guests"][0]["noted"] -= 3600
    (tmp_path / NAME).write_text(json.dumps(facts))
    assert lost(tmp_path) == {}


def test_hidden(
    record: GuestRecord,
    tmp_path: Path,
    process: "subprocess.Popen[bytes]",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where /proc hides the processes of others, their numbers tell."""
    record.came("vm", process.pid)
    monkeypatch.setattr(guests, "PROC", tmp_path / "nothing")
    assert set(lost(tmp_path)) == {"vm"}
    process.kill()
    process.wait()
    assert lost(tmp_path) == {}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"boot": 1}',
        b'{"guests": [{"name": "vm"}]}',
        b'{"boot": "another boot", "guests": [{"name": "vm", "process": 1, "noted": 9e99}]}',
    ],
)
def test_unusable(tmp_path: Path, content: bytes) -> None:
    """A record of another boot, or of nobody's making, says nothing, and hinders no daemon."""
    (tmp_path / NAME).write_bytes(content)
    assert noted_guests(tmp_path) == []
    record = GuestRecord(tmp_path)
    record.begin()
    record.came("vm", os.getpid())
    assert set(lost(tmp_path)) == {"vm"}


def test_malformed_guest(tmp_path: Path, record: GuestRecord) -> None:
    """A number that is none of a process is refused as a whole."""
    record.came("vm", os.getpid())
    facts = json.loads((tmp_path / NAME).read_text())
    for number in (0, -1, "1", None, 2**70):
        facts["guests"][0]["process"] = number
        (tmp_path / NAME).write_text(json.dumps(facts))
        assert lost(tmp_path) == {}


def test_link(tmp_path: Path, record: GuestRecord) -> None:
    """No link is followed, neither for reading nor for writing."""
    other = tmp_path / "other"
    other.write_text("kept")
    for name in (NAME, NAME + ".new"):
        (tmp_path / name).symlink_to(other)
    assert noted_guests(tmp_path) == []
    record.came("vm", os.getpid())
    assert other.read_text() == "kept"
    assert set(lost(tmp_path)) == {"vm"}


def test_unwritable(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What cannot be noted stops no guest; the log says it."""
    record = GuestRecord(tmp_path / "nowhere")
    record.begin()
    record.came("vm", os.getpid())
    assert "cannot be noted" in caplog.text
