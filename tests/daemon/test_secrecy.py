"""Core dumps: vtpm/daemon/secrecy.py."""

import subprocess
import sys

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
