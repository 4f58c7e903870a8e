"""The stand-in for a TPM's socket hands on what passes, and sees all of it."""

import os
import tempfile
from pathlib import Path

import pytest

from tests.bench.memory import Guest, serving
from tests.bench.proxy import recording
from vtpm.spec.constants import TPM_CC


@pytest.mark.slow
def test_record() -> None:
    """Each command is recorded once, in order, with the time of its answer; so are control commands."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("XDG_RUNTIME_DIR", "/tmp")) as name:
        directory = Path(name)
        with (
            serving(directory / "vtpm", 1),
            recording(directory / "socket", directory / "vtpm/run/vm-0.sock") as (path, record),
        ):
            guest = Guest(path)
            guest.boot()
            guest.close()

    sent = [TPM_CC(code) for code, _ in record.commands]
    assert sent[:26] == [TPM_CC.Startup, *[TPM_CC.PCR_Extend] * 24, TPM_CC.NV_UndefineSpace]
    assert sent[-1] is TPM_CC.EvictControl
    assert len(record.control) == 2
    assert min(record.control + [seconds for _, seconds in record.commands]) > 0
