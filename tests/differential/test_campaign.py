"""A sixth of the recorded campaign: swtpm and this TPM answer the same streams in the same way."""

import pytest

from tests.differential.campaign import Result, run
from tests.differential.conditions import CONDITIONS
from tests.differential.differences import TABLES, table
from tests.differential.judge import HAS_SWTPM, Swtpm

PARTS = 4
COMMANDS = 21_000 // PARTS
"""Of each part; together at least a sixth of the recorded campaign."""


@pytest.mark.slow
@pytest.mark.skipif(not HAS_SWTPM, reason="swtpm is not installed")
@pytest.mark.parametrize("part", range(PARTS))
def test_streams(part: int) -> None:
    """Every difference is in the table."""
    judge = Swtpm()
    try:
        result = run(1 + 1000 * part, COMMANDS, judge, Result())
    finally:
        judge.close()

    story = "\n".join(f"{key}: {result.examples[key]}" for key in result.unexplained)
    assert not result.unexplained, story
    assert result.commands >= COMMANDS
    # Streams that only fail would show little.
    assert result.successes > result.commands // 5


class TestTables:
    """differences.toml and reference.toml"""

    def test_conditions(self) -> None:
        """Every condition is named by a row, and every row has its reason and a name of its own."""
        tables = [table(name) for name in TABLES]

        assert {row.condition for rows in tables for row in rows} == set(CONDITIONS)
        for rows in tables:
            assert all(row.clause and row.reason for row in rows)
            assert len({row.name for row in rows}) == len(rows)
