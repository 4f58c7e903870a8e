"""vtpm/cli/trace.py: `vtpm trace`."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from vtpm.cli.main import cli

PROGRAM = [sys.executable, "-c", "from vtpm.cli.main import main; main()"]
HEX = "80010000000c0000017b0008\n80010000000e00000000 0002 1122\n"
LINES = """\
1 > TPM2_GetRandom (Part 3, 16.1)
      bytes_requested: 8
1 < TPM_RC_SUCCESS
      random_bytes: 2 octets, hidden
"""


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """A capture in hex."""
    path = tmp_path / "capture"
    path.write_text(HEX)
    return path


def test_file(capture: Path) -> None:
    """A file is explained."""
    done = CliRunner().invoke(cli, ["trace", str(capture)])

    assert (done.exit_code, done.output) == (0, LINES)


def test_secrets(capture: Path) -> None:
    """Secrets are shown on demand."""
    done = CliRunner().invoke(cli, ["trace", "--show-secrets", str(capture)])

    assert done.output == LINES.replace("2 octets, hidden", "2 octets 1122")


@pytest.mark.slow
def test_standard_input() -> None:
    """A dash is standard input, which may be a pipe: lines come as soon as messages do."""
    command = [*PROGRAM, "trace", "-"]
    seen = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for line in HEX.splitlines(keepends=True):
            process.stdin.write(line)
            process.stdin.flush()
            seen += [process.stdout.readline() for _ in range(2)]
        process.stdin.close()
        seen.append(process.stdout.read())

    assert "".join(seen) == LINES


@pytest.mark.slow
def test_no_file(tmp_path: Path) -> None:
    """A file that is not there is an error with cause and remedy."""
    command = [*PROGRAM, "trace", str(tmp_path / "x")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr == f"vtpm: {tmp_path / 'x'}: No such file or directory; mend that and try again\n"
