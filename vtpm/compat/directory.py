"""The directory of the entry points, for a PATH on which programs look for swtpm."""

import os
import sys
from pathlib import Path
from typing import Final

PROGRAMS: Final = {
    "swtpm": "vtpm.compat.swtpm",
    "swtpm_setup": "vtpm.compat.setup",
    "swtpm_ioctl": "vtpm.compat.ioctl",
}
"""The programs, and the module that each runs."""


def script_of(module: str) -> str:
    """
    An entry point.

    Its first line names the interpreter itself, so that the process has the script's name.
    """
    return f"#!{sys.executable} -I\nfrom {module} import main\n\nmain()\n"


def make_directory(candidates: list[Path]) -> Path:
    """The first of the directories that has, or can be given, the entry points; OSError if none."""
    failure: OSError | None = None
    for directory in candidates:
        try:
            fill(directory)
        except OSError as error:
            failure = error
        else:
            return directory
    assert failure is not None
    raise failure


def fill(directory: Path) -> None:
    """Make the entry points that are missing or belong to another installation."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, module in PROGRAMS.items():
        path, script = directory / name, script_of(module)
        if path.is_file() and path.read_text() == script and os.access(path, os.X_OK):
            continue
        beside = directory / f".{name}.{os.getpid()}"
        beside.write_text(script)
        beside.chmod(0o755)
        beside.replace(path)
