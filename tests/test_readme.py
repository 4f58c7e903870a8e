"""README's commands, run as they stand there."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from vtpm.state.profile import DEFAULT, SWTPM_COMPATIBLE

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
SERVERS = re.compile(r"^(\.venv/bin/)?vtpm (simulator|serve)\b")
SHORTENED = "…"
CAPTURE = "80010000000c000001440000\n80010000000a00000000\n"
"""Startup and its answer in hexadecimal, which is a trace too, whatever the name of its file."""

MAKES_GUEST, NEEDS_GUEST = "vtpm create guest\n", "vtpm state "
"""What is in the block that makes a VM's TPM, and in one that a reader comes to afterwards."""

LIMIT = 60

pytestmark = pytest.mark.slow


def blocks(language: str) -> list[str]:
    """The texts of all blocks of a language."""
    return [text for name, text in BLOCKS if name == language]


def lines_of(block: str) -> list[str]:
    """The commands of a block, without comments; those that go on over several lines as one."""
    joined = block.replace("\\\n", " ")
    return [line for line in (re.sub(r"\s+# .*", "", line).strip() for line in joined.splitlines()) if line]


class Shell:
    """A place like a fresh checkout, in which a reader types one command after the other."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.servers: list[subprocess.Popen[str]] = []
        self.env = {
            **os.environ,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "VTPM_STATE_DIR": str(place / "state"),
            "VTPM_RUN_DIR": str(place / "run"),
        }
        (place / ".venv").symlink_to(BIN.parent)
        for name in ("examples", "vtpm", "nvstore", "tests", "Makefile"):
            (place / name).symlink_to(ROOT / name)
        (place / "capture.pcapng").write_text(CAPTURE)
        passphrase = place / "passphrase"
        passphrase.write_text("correct horse battery staple")
        passphrase.chmod(0o600)

    def type(self, line: str) -> None:
        """Run a command to its end, or start a server and wait until it is ready."""
        if line.startswith("make "):
            line = line.replace("make ", "make --dry-run ", 1)
        if SERVERS.match(line):
            self.start(line)
            return
        done = subprocess.run(
            line,
            shell=True,
            cwd=self.place,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        assert done.returncode == 0, f"$ {line}\n{done.stdout}{done.stderr}"

    def start(self, line: str) -> None:
        """Start a server, which says when it is ready."""
        server = subprocess.Popen(
            f"exec {line}", shell=True, cwd=self.place, env=self.env, stdout=subprocess.PIPE, text=True
        )
        self.servers.append(server)
        assert server.stdout is not None
        said = server.stdout.readline()
        assert "ready" in said, f"$ {line}\n{said}"

    def close(self) -> None:
        """End the servers."""
        for server in self.servers:
            server.terminate()
            server.communicate(timeout=LIMIT)
        assert [server.returncode for server in self.servers] == [0] * len(self.servers)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path)
    yield shell
    shell.close()


@pytest.mark.parametrize("block", blocks("sh"), ids=lambda text: lines_of(text)[0][:40])
def test_commands(shell: Shell, block: str) -> None:
    """Every line of a block succeeds; those shortened with an ellipsis name options of a real program."""
    if NEEDS_GUEST in block:
        (making,) = [text for text in blocks("sh") if MAKES_GUEST in text]
        for line in lines_of(making):
            if not SERVERS.match(line):
                shell.type(line)
    for line in lines_of(block):
        if SHORTENED in line:
            assert shutil.which(line.split()[0], path=shell.env["PATH"]), line
        else:
            shell.type(line)


@pytest.mark.parametrize("block", blocks("python"), ids=lambda text: textwrap.shorten(text, 40))
def test_programs(shell: Shell, block: str) -> None:
    """Every Python program runs, from the checkout, without a word on standard error."""
    is_test = re.search(r"^def test_", block, re.MULTILINE)
    program = shell.place / "test_readme_example.py"
    program.write_text(block)
    options = ["-m", "pytest", "-q", "-p", "no:cacheprovider"] if is_test else []
    done = subprocess.run(
        [sys.executable, *options, program],
        cwd=shell.place,
        env={**shell.env, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr


def test_everything_is_read() -> None:
    """README has commands and a program, and shows no language that nothing here runs."""
    assert blocks("sh")
    assert blocks("python")
    assert {name for name, _ in BLOCKS} <= {"sh", "python", "text", "xml", "json", "toml", "ini"}


def test_counts() -> None:
    """The numbers of commands in README are those of the profiles."""
    row = next(line for line in README.splitlines() if line.startswith("| commands of Library"))
    ours, theirs = (int(cell) for cell in row.split("|")[2:4])
    assert len(DEFAULT.commands) == ours
    assert len(SWTPM_COMPATIBLE.commands) == theirs
