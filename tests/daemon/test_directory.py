"""The directory of one TPM: vtpm/daemon/directory.py."""

import shutil
from contextlib import suppress
from itertools import combinations
from pathlib import Path

import pytest

from nvstore import NvstoreError
from vtpm.daemon.directory import PARTS, DirectoryError, forget, opener

STATE = {"states", "vms", "marks"}


def made(directory: Path) -> None:
    """Make a TPM's store there."""
    store = opener(directory)()
    store.commit({"permanent": b"first"})
    store.close()


@pytest.mark.parametrize("more", [set(), {"audit"}, {"providers"}, {"keys"}, {"providers", "keys"}])
def test_none_in_place_of_another(tmp_path: Path, more: set[str]) -> None:
    """Where audit log, provider or key are left of a TPM, no other one is made, and nothing is written."""
    made(tmp_path)
    for part in STATE | more:
        shutil.rmtree(tmp_path / part)
    before = {path for path in tmp_path.rglob("*") if path.is_file() and path.name != "lock"}

    with pytest.raises(DirectoryError, match="start over on purpose"):
        opener(tmp_path)()
    assert {path for path in tmp_path.rglob("*") if path.is_file() and path.name != "lock"} == before


def test_any_part_left(tmp_path: Path) -> None:
    """Whatever two of the parts with something in them are removed, the next start is no new TPM."""
    for number, gone in enumerate(combinations(["states", "vms", "marks", "audit"], 2)):
        directory = tmp_path / str(number)
        directory.mkdir()
        made(directory)
        for part in gone:
            shutil.rmtree(directory / part)
        with suppress(NvstoreError, DirectoryError):
            store = opener(directory)()
            assert store.load() == {"permanent": b"first"}
            store.close()


def test_start_over(tmp_path: Path) -> None:
    """After its parts were removed on purpose, a new one is made, as in an empty directory."""
    made(tmp_path)
    forget(tmp_path)
    assert not any((tmp_path / part).exists() for part in PARTS)

    store = opener(tmp_path)()
    assert store.load() == {}
    store.close()
