"""A Promela model put to spin: its states counted, or the assertion that a state violates."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final, NamedTuple

MODELS: Final = Path(__file__).parent
MEMORY: Final = 3000
"""Mebibytes for the states of one search."""

LIMIT: Final = 900
"""Seconds for one program; a search that takes so long has gone astray."""


class Search(NamedTuple):
    """What an exhaustive search has found."""

    states: int
    violated: str
    """The assertion that does not hold, as spin writes it; empty if all of them do."""


def search(model: str, work: Path, *defined: str) -> Search:
    """
    Look at every state of a model, with these macros defined.

    `work` holds what the model includes, and what is made of it.
    """
    shutil.copy(MODELS / model, work)
    macros = [f"-D{macro}" for macro in defined]
    run(work, "spin", *macros, "-a", model)
    run(work, "gcc", "-O1", "-DSAFETY", "-DNOCLAIM", "-DCOLLAPSE", f"-DMEMLIM={MEMORY}", "-o", "pan", "pan.c")
    said = run(work, "./pan", "-E", "-m400000")
    states = re.search(r"^ *([0-9.e+]+) states, stored", said, re.MULTILINE)
    assert states is not None, said
    assert "max search depth too small" not in said, said
    assert "Search not completed" not in said or "errors: 1" in said, said
    violated = re.search(r"assertion violated (.*) \(at depth", said)
    assert (violated is None) == ("errors: 0" in said), said
    return Search(int(float(states[1])), "" if violated is None else violated[1])


def run(work: Path, *command: str) -> str:
    """Run a program to its end; what it said."""
    done = subprocess.run(command, cwd=work, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
