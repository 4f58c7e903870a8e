"""Every command names its clause of Part 3, and so does a test of it."""

import json
import re
from functools import cache
from pathlib import Path

import pytest

from tests.commands.recorder import LISTED, entry_of, faults
from tests.spec.facts import FACTS
from vtpm.commands import COMMANDS, Command
from vtpm.spec.constants import TPM_CC
from vtpm.wire.error import TPM_RC

CLAUSE = re.compile(r"(?<![\d.])\d\d?\.\d+(?!\d|\.\d)")
TESTS = Path(__file__).parents[1]
OF_NO_COMMAND = """
    4.3 5.2 5.3 5.4 5.5 5.6 5.7 5.8 5.9 6.1 6.2 8.2 9.2 10.1 15.1 18.1 19.1
    21.1 22.1 22.9 22.10 22.11 23.1 23.2 25.1 31.1 31.2
"""
"""
The clauses of Part 3 that require something of a TPM like this one and are not those of a command.

Others introduce (4.1, 17.1), explain the code (4.4, 8.3), or are of what is absent (27.1, 32.1).
"""


@cache
def clauses_of_tests() -> frozenset[str]:
    """The clauses that the tests of commands and of the engine name."""
    places = (TESTS / "commands", TESTS / "engine")
    paths = {path for place in places for path in place.glob("test_*.py")} - {Path(__file__)}
    return frozenset(clause for path in paths for clause in CLAUSE.findall(path.read_text()))


@pytest.mark.parametrize("command", COMMANDS.values(), ids=lambda command: command.name)
def test_command(command: Command) -> None:
    """What the handler says it does begins with the clause, or clauses, of Part 3; tests name them."""
    clauses = CLAUSE.findall((command.run.__doc__ or "").split(":")[0])

    assert clauses
    assert set(clauses) <= clauses_of_tests()


def test_other_clauses() -> None:
    """So do tests of what is required of more than one command, or of none."""
    assert set(OF_NO_COMMAND.split()) <= clauses_of_tests()


class TestResponseCodes:
    """`response_codes.toml`, which a run of all tests of commands is compared with"""

    def test_commands(self) -> None:
        """Every command is listed; a code is returned or never is, and that for a reason."""
        assert sorted(LISTED) == sorted(command.name for command in COMMANDS.values())
        for name, listed in LISTED.items():
            entry = entry_of(name)
            assert listed.keys() <= {"returns", "never"}, name
            assert len(listed.get("returns", ())) == len(set(entry.returns.values())), name
            assert not set(entry.returns.values()) & set(entry.never.values()), name
            assert all(listed.get("never", {}).values()), name

    def test_complete(self) -> None:
        """Every code that Part 3 and the reference code name for a command is listed, at some place."""
        for fact in json.loads((FACTS / "commands.json").read_text())["commands"]:
            name = {"MAC": "HMAC", "MAC_Start": "HMAC_Start"}.get(fact["name"][5:], fact["name"][5:])
            if name not in LISTED:
                continue
            named = {code.removeprefix("TPM_RC_") for code in fact["errors"]} & TPM_RC.__members__.keys()
            entry = entry_of(name)
            assert named <= {text.split()[0] for text in [*entry.returns, *entry.never]}, name

    def test_faults(self) -> None:
        """A code that no test sees is a fault, and so is one that is seen though it is said not to occur."""
        entries = {TPM_CC[name]: entry_of(name) for name in LISTED}
        complete: dict[int, frozenset[int]] = {
            code: frozenset(entry.returns.values()) for code, entry in entries.items()
        }
        incomplete = complete | {TPM_CC.Unseal: frozenset({TPM_RC.TYPE.handle(1)})}
        odd = complete | {TPM_CC.Startup: complete[TPM_CC.Startup] | {TPM_RC.NV_UNINITIALIZED}}

        assert faults(complete) == []
        assert faults(incomplete) == ["Unseal: no test sees ATTRIBUTES handle 1"]
        assert faults(odd) == ["Startup: NV_UNINITIALIZED occurs after all"]
