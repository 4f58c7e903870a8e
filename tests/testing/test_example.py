"""examples/test_with_a_tpm.py: what the README shows works as it stands."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "test_with_a_tpm.py"


@pytest.mark.slow
def test_example() -> None:
    """All tests of the example pass, outside of this project's configuration."""
    plugin = ["-p", "no:vtpm", "-p", "vtpm.testing.plugin", "-p", "no:cacheprovider"]
    words = [*plugin, "-c", "/dev/null", "--rootdir", str(EXAMPLE.parent), "-q", str(EXAMPLE)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout
