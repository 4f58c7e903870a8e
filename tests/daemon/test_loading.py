"""Loading the program: vtpm/daemon/loading.py."""

import gc

import pytest

from vtpm.daemon.loading import loading


def test_no_garbage_is_looked_for_meanwhile() -> None:
    """The collector rests while the program is loaded, and never looks at what was loaded."""
    try:
        with loading():
            assert not gc.isenabled()
            loaded = [[]]  # type: ignore[var-annotated]
        assert gc.isenabled()
        assert gc.get_freeze_count() > 0
        assert all(found is not loaded for found in gc.get_objects())
    finally:
        gc.unfreeze()


def test_failure() -> None:
    """The collector works again when something cannot be loaded."""
    try:
        with pytest.raises(ImportError), loading():
            raise ImportError
        assert gc.isenabled()
    finally:
        gc.unfreeze()
