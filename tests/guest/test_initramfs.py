import gzip
import stat
import subprocess
from pathlib import Path

import pytest

from examples.guest import initramfs
from examples.guest.initramfs import Archive


class TestArchive:
    """The "newc" format of cpio"""

    def test_unpacked_by_another_program(self, tmp_path: Path) -> None:
        """Files, directories and links come out of busybox's cpio as they went in."""
        archive = Archive()
        archive.add("a/b/c", b"content", stat.S_IFREG | 0o640)
        archive.add("empty", b"")
        archive.link("a/link", "b/c")

        subprocess.run(["busybox", "cpio", "-i"], cwd=tmp_path, input=archive.octets(), check=True)

        assert (tmp_path / "a/link").read_bytes() == b"content"
        assert stat.S_IMODE((tmp_path / "a/b/c").stat().st_mode) == 0o640
        assert (tmp_path / "empty").read_bytes() == b""

    def test_twice(self) -> None:
        """A name that is there already stays as it is."""
        archive = Archive()
        archive.add("a", b"1")
        before = archive.octets()
        archive.add("a", b"2")

        assert archive.octets() == before


@pytest.mark.slow
def test_system_runs_from_its_own_files(tmp_path: Path) -> None:
    """The initramfs holds every library that its programs need."""
    subprocess.run(
        ["busybox", "cpio", "-i"], cwd=tmp_path, input=gzip.decompress(initramfs.system()), check=True
    )
    loader = tmp_path / "usr/lib64/ld-linux-x86-64.so.2"
    libraries = tmp_path / "usr/lib/x86_64-linux-gnu"

    needed = subprocess.run(
        [loader, "--inhibit-cache", "--library-path", libraries, "--list", tmp_path / "usr/bin/tpm2"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert "not found" not in needed
    outside = [line for line in needed.splitlines() if "=>" in line and str(tmp_path) not in line]
    assert outside == []
