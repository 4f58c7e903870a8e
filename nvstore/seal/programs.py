"""Programs of the system that nvstore runs; what is secret goes through pipes, never through arguments."""

import subprocess
from collections.abc import Sequence
from typing import Final

SECONDS: Final = 60
"""After that, a program that does not answer counts as failed."""


class ProgramFailed(Exception):  # noqa: N818 an error is called by what is wrong
    """A program is not there, or ended with an error; the text is what it said."""


def run_program(command: Sequence[str], given: bytes) -> bytes:
    """Return what a program writes when it is given this, or raise ProgramFailed."""
    try:
        done = subprocess.run(command, input=given, capture_output=True, timeout=SECONDS, check=True)  # noqa: S603 - fixed programs
    except FileNotFoundError:
        msg = f"{command[0]} is not installed"
        raise ProgramFailed(msg) from None
    except subprocess.TimeoutExpired:
        msg = f"{command[0]} did not end within {SECONDS} s"
        raise ProgramFailed(msg) from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().splitlines() or ["it gave no reason"]
        raise ProgramFailed(said[-1]) from None
    return done.stdout
