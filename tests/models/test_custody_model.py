"""Custody and migration of a TPM: every state of custody.pml, with the decisions of the code (custody.py)."""

from itertools import product
from pathlib import Path

import pytest

from tests.models.promela import search
from vtpm.daemon.device.custody import Holding, Outcome, Relation, decide

HOSTILE = ("HOSTS=2", "STRETCHES=5")

RUNS = {
    "honest": ("HONEST",),
    "two hosts": HOSTILE,
    "two blobs kept": ("HOSTS=2", "STRETCHES=4", "KEPT=2"),
    "three hosts": ("HOSTS=3", "STRETCHES=4"),
    "forger": ("HOSTS=2", "STRETCHES=4", "FORGER"),
}
"""What is looked at exhaustively."""

MUTANTS = {
    "COUNTED": ("monotone", HOSTILE),
    "SAME_STRETCH": ("monotone", HOSTILE),
    "START_GOES_ON": ("monotone", HOSTILE),
    "AWAY_TAKES_BACK": ("went_away", HOSTILE),
    "CLEAR": ("is_sealed", HOSTILE),
    "WORD_STAYS": ("is_sealed", HOSTILE),
    "NOTED_AFTER": ("is_noted", HOSTILE),
    "START_ARRIVED": ("single", ("HONEST", "SINGLE_ALONE")),
    "START_AWAY": ("single", ("HONEST", "SINGLE_ALONE")),
    "KEPT_AT_ONCE": ("single", ("HONEST", "SINGLE_ALONE")),
    "GIVEN_AT_ONCE": ("goes_back", ("HONEST",)),
}
"""Rules that are taken out, and the property that this violates first."""


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A directory with the decisions of the code, as the model includes them."""
    members = [member for members in (Holding, Relation, Outcome) for member in members]
    expression = Outcome.REFUSED.name
    for holding, relation, is_same, is_later in product(Holding, Relation, (0, 1), (0, 1)):
        outcome = decide(holding, relation, is_same=bool(is_same), is_later=bool(is_later))
        row = f"(h) == {holding:d} && (r) == {relation:d} && (s) == {is_same} && (l) == {is_later}"
        expression = f"(({row}) -> {outcome:d} : {expression})"
    lines = [*(f"#define {member.name} {member:d}" for member in members)]
    lines.append(f"#define OUTCOME(h, r, s, l) {expression}")
    (tmp_path / "decisions.h").write_text("\n".join(lines) + "\n")
    return tmp_path


@pytest.mark.parametrize("run", RUNS)
def test_holds(work: Path, run: str, record_property: pytest.FixtureRequest) -> None:
    """Every property holds in every state."""
    found = search("custody.pml", work, *RUNS[run])
    record_property("states", found.states)  # type: ignore[operator]
    print(f"custody, {run}: {found.states} states")  # noqa: T201 - shown by -s and -rP
    assert found.violated == ""
    assert found.states > 10_000


@pytest.mark.parametrize("mutant", MUTANTS)
def test_mutant(work: Path, mutant: str) -> None:
    """A rule that is taken out is missed by its property."""
    name, defined = MUTANTS[mutant]
    assert name in search("custody.pml", work, *defined, mutant).violated
