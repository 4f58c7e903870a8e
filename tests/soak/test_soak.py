"""The kill loop, for a moment."""

from pathlib import Path

import pytest

from tests.soak.__main__ import soak


@pytest.mark.slow
def test_soak(tmp_path: Path) -> None:
    """Whenever a writer or a TPM is killed, everything acknowledged is there."""
    summary = soak(tmp_path / "host", 3, seed=1)

    assert "none lost" in summary
    assert "soak: 0 kills" not in summary
