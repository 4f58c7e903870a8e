"""The benchmark of the store measures what it says."""

import shutil
from pathlib import Path

import pytest

from tests.bench.store import measure_store


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("swtpm") is None, reason="swtpm is not installed")
def test_measure(tmp_path: Path) -> None:
    """Every round gives a figure of each kind, for the sizes that the state really has."""
    costs = measure_store(tmp_path, rounds=3)

    assert len(costs.bare) == len(costs.commit) == len(costs.swtpm) == len(costs.flushed) == 3
    assert min(*costs.bare, *costs.commit, *costs.swtpm, *costs.flushed, *costs.opening) > 0
    (state,) = (tmp_path / "store/states").glob("*.state")
    assert costs.size == state.stat().st_size
    assert costs.size >= 4 * costs.record
