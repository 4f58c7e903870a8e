"""Programs of the system that nvstore runs; what is secret goes through pipes, never through arguments."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

SECONDS: Final = 60
"""After that, a program that does not answer counts as failed."""


class ProgramFailed(Exception):  # noqa: N818 an error is called by what is wrong
    """A program is not there, or ended with an error; the text is what it said."""


DIRECTORIES: Final = (
    "/usr/bin",
    "/bin",
    "/usr/sbin",
    "/sbin",
    "/usr/local/bin",
    "/run/current-system/sw/bin",
)
"""Where programs are looked for, whatever PATH says: they are given keys."""


def _path_of(program: str) -> str:
    for directory in DIRECTORIES:
        if os.access(path := Path(directory) / program, os.X_OK):
            return str(path)
    msg = f"{program} is not installed in {', '.join(DIRECTORIES)}"
    raise ProgramFailed(msg)


def run_program(command: Sequence[str], given: bytes) -> bytes:
    """Return what a program writes when it is given this, or raise ProgramFailed."""
    path = _path_of(command[0])
    try:
        done = subprocess.run(  # noqa: S603 - fixed programs
            [path, *command[1:]], input=given, capture_output=True, timeout=SECONDS, check=True
        )
    except OSError as error:
        msg = f"{path}: {error.strerror}"
        raise ProgramFailed(msg) from None
    except subprocess.TimeoutExpired:
        msg = f"{command[0]} did not end within {SECONDS} s"
        raise ProgramFailed(msg) from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().splitlines() or ["it gave no reason"]
        raise ProgramFailed(said[-1]) from None
    return done.stdout
