"""Core dumps: vtpm/daemon/secrecy.py."""

import ctypes
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from vtpm.daemon import secrecy

SCRIPT = """
import ctypes, resource
from vtpm.daemon.secrecy import forbid_dumps
before = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)
forbid_dumps()
print(before, ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), *resource.getrlimit(resource.RLIMIT_CORE))
"""


def test_dumps() -> None:
    """PR_GET_DUMPABLE turns from 1 to 0, and the limit of core dumps is 0."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["1", "0", "0", "0"]


PROGRAM = """
import ctypes, resource, sys
import {module} as program
try:
    program.main()
except SystemExit:
    pass
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), *resource.getrlimit(resource.RLIMIT_CORE))
"""


@pytest.mark.parametrize(
    "module", ["vtpm.cli.main", "vtpm.compat.swtpm", "vtpm.compat.setup", "vtpm.compat.ioctl"]
)
def test_programs(tmp_path: Path, module: str) -> None:
    """Every program that may hold a key forbids dumps before it looks at its arguments."""
    words = [sys.executable, "-c", PROGRAM.format(module=module), "--version"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=tmp_path)

    assert done.stdout.splitlines()[-1].split() == ["0", "0", "0"]


CHANGE = """
import ctypes, os, pwd
from nvstore import courier
from vtpm.cli import caller
from vtpm.compat import swtpm
libc = ctypes.CDLL(None)
def changed(*_):
    libc.prctl(4, 1, 0, 0, 0)
courier.act_as_owner = changed
os.initgroups = os.setgid = os.setuid = changed
os.geteuid = lambda: 0
for change in (lambda: caller.become_owner("/", []), lambda: swtpm.become("0")):
    change()
    print(libc.prctl(3, 0, 0, 0, 0))
"""


def test_change_of_user() -> None:
    """A change of user, after which the kernel may allow dumps again, does not leave them allowed."""
    done = subprocess.run([sys.executable, "-c", CHANGE], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["0", "0"]


@pytest.mark.parametrize("may", [False, True])
def test_lock_under_a_limit(monkeypatch: pytest.MonkeyPatch, *, may: bool) -> None:
    """Nothing is locked under a limit that what is asked for later would reach."""
    calls = []

    class Libc:
        def mlockall(self, flags: int) -> int:
            calls.append(flags)
            return 0

    monkeypatch.setattr(resource, "getrlimit", lambda _: (8 << 20, 8 << 20))
    monkeypatch.setattr(secrecy, "_may_lock", lambda: may)
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: Libc())

    assert secrecy.lock_memory() is may
    assert calls == ([7] if may else [])
