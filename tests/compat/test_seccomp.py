"""The filter of system calls: vtpm/compat/seccomp.py."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.compat.runs import serving
from vtpm.compat import seccomp
from vtpm.compat.arguments import ArgumentError
from vtpm.compat.description import capabilities
from vtpm.compat.directory import make_directory
from vtpm.compat.seccomp import action_of

HAS_BINDING = seccomp.binding() is not None
needs_binding = pytest.mark.skipif(not HAS_BINDING, reason="pyseccomp or libseccomp is not installed")
ACT = """
import os, sys
from vtpm.compat.seccomp import restrict
restrict(sys.argv[1])
os.execv("/bin/true", ["true"])
"""


@needs_binding
@pytest.mark.parametrize(("action", "status"), [("none", 0), ("log", 0), ("kill", -signal.SIGSYS)])
def test_forbidden(action: str, status: int) -> None:
    """A forbidden call ends the process, is logged, or passes."""
    done = subprocess.run([sys.executable, "-c", ACT, action], check=False, capture_output=True)
    assert done.returncode == status, done.stderr


@needs_binding
def test_default() -> None:
    """With the binding, a forbidden call ends the process unless another action is asked for."""
    assert [action_of(text) for text in (None, "log", "none")] == ["kill", "log", "none"]
    assert "cmdarg-seccomp" in capabilities(tpm2=True)


def test_without_binding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it there is no filter, and to ask for one is an error that says what to install."""
    monkeypatch.setattr(seccomp, "binding", lambda: None)
    assert [action_of(text) for text in (None, "none")] == ["none", "none"]
    with pytest.raises(ArgumentError, match=r"vtpm\[seccomp\]"):
        action_of("kill")
    with pytest.raises(ArgumentError, match="action=maim"):
        action_of("maim")


@needs_binding
@pytest.mark.slow
def test_server(tmp_path: Path) -> None:
    """A restricted server does all that is asked of it."""
    programs = make_directory([tmp_path / "programs"])
    (tmp_path / "s").mkdir()
    with serving(programs, tmp_path / "s", "--flags", "startup-clear") as server:
        server.ioctl("-h", "data")
        status = Path(f"/proc/{server.process.pid}/status").read_text().split()
        assert status[status.index("Seccomp:") + 1] == "2"
        for kind in ("permanent", "volatile"):
            server.ioctl("--save", kind, str(tmp_path / kind))
        server.ioctl("-v")
        server.ioctl("--stop")
        for kind in ("permanent", "volatile"):
            server.ioctl("--load", kind, str(tmp_path / kind))
        server.ioctl("-i")
        server.shut_down()
