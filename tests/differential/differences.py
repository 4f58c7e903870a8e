"""The differences that are explained: `differences.toml`, which every run reads."""

import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from tests.differential.conditions import CONDITIONS
from tests.differential.pair import Exchange, Pair

TABLE = Path(__file__).with_name("differences.toml")


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


def table() -> list[Difference]:
    """All explained differences, in order."""
    rows = tomllib.loads(TABLE.read_text())["difference"]
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
