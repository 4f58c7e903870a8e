"""sd_notify(3)"""

import socket
from pathlib import Path

import pytest

from vtpm.daemon.readiness import VARIABLE, tell_ready


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """The message goes to the socket that the environment names, in either name space."""
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path if kind == "path" else "\0" + path)
        monkeypatch.setenv(VARIABLE, path if kind == "path" else "@" + path)
        tell_ready()

        assert listener.recv(100) == b"READY=1"


def test_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Without systemd nothing is said; one that does not listen is no reason to end."""
    monkeypatch.delenv(VARIABLE, raising=False)
    tell_ready()
    assert caplog.text == ""

    monkeypatch.setenv(VARIABLE, str(tmp_path / "gone"))
    tell_ready()
    assert "could not be told" in caplog.text
