import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory whose path leaves room for the name of a UNIX socket (108 octets)."""
    with tempfile.TemporaryDirectory(prefix="guest-", dir=os.environ.get("XDG_RUNTIME_DIR", "/tmp")) as name:
        yield Path(name)
