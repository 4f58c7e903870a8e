"""Linux's own tests of its TPM driver (tools/testing/selftests/tpm2), in a guest."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from examples.guest.initramfs import Archive, compressed, with_programs
from examples.guest.machine import Firmware, Machine, TpmDevice
from examples.guest.tpm_server import swtpm, vtpm
from tests.clients.simulators import reference_chosen

pytestmark = [pytest.mark.slow, pytest.mark.conformance]

LIMIT = 240
TESTS = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vtpm/selftests/tpm2"
PYTHON = Path("/usr/bin/python3")

# The files of the modules that the tests and what runs them import.
LIST_MODULES = """
import importlib.util, runpy, sys, unittest.async_case, unittest.main
import tpm2_tests
print(importlib.util.find_spec("unittest.__main__").origin)
for module in list(sys.modules.values()):
    file = getattr(module, "__file__", None)
    if file is not None:
        print(file)
"""
JOB = """
cd /selftests
LC_ALL=C.UTF-8 python3 -B -m unittest -v tpm2_tests >/tmp/said 2>&1
report_file said /tmp/said
"""


def python_with_its_modules() -> bytes:
    """An archive with Debian's Python and what the tests import from its library."""
    listing = subprocess.run(
        [PYTHON, "-B", "-c", LIST_MODULES], cwd=TESTS, capture_output=True, text=True, check=True
    ).stdout
    files = [Path(line) for line in listing.splitlines() if not line.startswith(str(TESTS))]
    return with_programs(PYTHON, *files)


def scripts() -> bytes:
    """An archive with the tests."""
    archive = Archive()
    for path in TESTS.glob("*.py"):
        archive.add(f"selftests/{path.name}", path.read_bytes())
    return compressed(archive)


@pytest.mark.parametrize("device", TpmDevice)
def test_selftests(directory: Path, device: TpmDevice) -> None:
    """Each test of the driver passes with the TPM behind it."""
    if not (TESTS / "tpm2_tests.py").exists():
        pytest.skip("Linux's tests are not there; .ci/setup --conformance fetches them")
    additions = (python_with_its_modules(), scripts())
    machine = Machine(directory, Firmware.SEABIOS, device, additions=additions)
    with (swtpm if reference_chosen() else vtpm)(directory) as tpm:
        said = machine.boot(JOB, tpm, LIMIT).text("said")

    there = set(re.findall(r"def (test_\w+)\(", (TESTS / "tpm2_tests.py").read_text()))
    passed = set(re.findall(r"^(test_\w+) .*\.\.\. ok$", said, re.MULTILINE))
    assert there
    assert passed == there, said
