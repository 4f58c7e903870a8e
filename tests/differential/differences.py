"""The differences that are explained, in one table for each judge, which every run reads."""

import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from tests.differential.conditions import CONDITIONS
from tests.differential.pair import Exchange, Pair

TABLES = ("differences.toml", "reference.toml")
"""The tables: beside swtpm, and beside a peer that follows the TCG's reference code."""


@dataclass(frozen=True)
class Difference:
    """One explained difference: patterns for command and codes, and the clause that explains it."""

    name: str
    commands: tuple[str, ...]
    theirs: str
    ours: str
    what: str
    condition: str
    ends: bool
    """Do the states of the two differ from then on, so that the stream ends?"""
    clause: str
    reason: str

    def explains(self, exchange: Exchange, pair: Pair) -> bool:
        """Is it this difference?"""
        command, theirs, ours, what = exchange.key
        return (
            any(fnmatchcase(command, pattern) for pattern in self.commands)
            and fnmatchcase(theirs, self.theirs)
            and fnmatchcase(ours, self.ours)
            and fnmatchcase(what, self.what)
            and CONDITIONS[self.condition](exchange, pair)
        )


def table(name: str) -> list[Difference]:
    """All explained differences of a table, in order."""
    rows = tomllib.loads(Path(__file__).with_name(name).read_text())["difference"]
    return [
        Difference(
            name=row["name"],
            commands=tuple(row["commands"]),
            theirs=row["theirs"],
            ours=row["ours"],
            what=row.get("what", "code"),
            condition=row.get("condition", "always"),
            ends=row["ends"],
            clause=row["clause"],
            reason=row["reason"],
        )
        for row in rows
    ]
