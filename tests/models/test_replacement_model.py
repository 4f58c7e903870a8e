"""A daemon takes over: every state of replacement.pml, with the course that the code has."""

from itertools import product
from pathlib import Path

import pytest

from tests.models.promela import search
from vtpm.daemon.replacement.course import AFTER, Course, Event

IMPOSSIBLE = 9

MUTANTS = {
    "READS_WHILE_PAUSED": "of_old==memory",
    "HANDS_OVER_AT_WORK": "of_old==memory",
    "GOES_ON_AFTER_GO": "of_old==memory",
    "KILLS_BLINDLY": "of_old==memory",
    "DOES_NOT_AWAIT_DEATH": "of_old==memory",
    "TAKEN_AFTERWARDS": "of_old==memory",
    "IGNORES_WORD": "of_new==memory",
    "WORD_AFTERWARDS": "of_new==memory",
    "TAKES_WHAT_CAME": "got_end",
    "DROPS_QUEUE": "is_queued",
    "NEVER_PROCEEDS": "is_paused",
    "WAITS_FOREVER": "is_paused",
}
"""Rules that are taken out, and what the violated property speaks of."""


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A directory with the course of the code, as the model includes it."""
    expression = "IMPOSSIBLE"
    for course, event in product(Course, Event):
        if (course, event) in AFTER:
            row = f"(s) == {course:d} && (e) == {event:d}"
            expression = f"({row} -> {AFTER[course, event]:d} : {expression})"
    lines = [f"#define {member.name} {member:d}" for member in (*Course, *Event)]
    lines += [f"#define IMPOSSIBLE {IMPOSSIBLE}", f"#define AFTER(s, e) {expression}"]
    (tmp_path / "course.h").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_holds(work: Path, record_property: pytest.FixtureRequest) -> None:
    """No command is lost or executed twice, no request stays without an answer, and the daemon can end."""
    found = search("replacement.pml", work)
    record_property("states", found.states)  # type: ignore[operator]
    print(f"replacement: {found.states} states")  # noqa: T201 - shown by -s and -rP
    assert found.violated == ""
    assert found.states > 100_000


@pytest.mark.parametrize("mutant", MUTANTS)
def test_mutant(work: Path, mutant: str) -> None:
    """A rule that is taken out is missed by its property."""
    assert MUTANTS[mutant] in search("replacement.pml", work, mutant).violated
