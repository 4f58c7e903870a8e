"""Faults that swtpm's program has had, by their numbers."""

from pathlib import Path

import pytest

from vtpm.compat.arguments import ArgumentError, parse
from vtpm.compat.emulator import start_log, write_pid


class TestCve202028407:
    """CVE-2020-28407: a symbolic link where a file is to be written; also `tests/daemon/test_sockets.py`."""

    @pytest.fixture
    def precious(self, tmp_path: Path) -> Path:
        """A file that the link `link` beside it leads to."""
        precious = tmp_path / "precious"
        precious.write_text("content")
        (tmp_path / "link").symlink_to(precious)
        return precious

    @pytest.mark.parametrize("truncate", ["", ",truncate"])
    def test_log(self, precious: Path, truncate: str) -> None:
        """The log is not written through a link; the error says where."""
        link = precious.with_name("link")

        with pytest.raises(ArgumentError, match=f"--log file={link}"):
            start_log(parse(["--log", f"file={link}{truncate}"]))
        assert precious.read_text() == "content"

    def test_pid(self, precious: Path) -> None:
        """Nor is the number of the process."""
        with pytest.raises(OSError, match="symbolic links"):
            write_pid(parse(["--pid", f"file={precious.with_name('link')}"]))
        assert precious.read_text() == "content"
