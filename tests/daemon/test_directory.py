"""The directory of one TPM: vtpm/daemon/directory.py."""

import shutil
import uuid
from contextlib import suppress
from itertools import combinations
from pathlib import Path

import pytest

from nvstore import Host, NvstoreError
from vtpm.daemon.directory import NAME, PARTS, PROVIDER, DirectoryError, forget, opener

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


def test_unregistered_state(tmp_path: Path) -> None:
    """A state of which nothing else is left is enough."""
    made(tmp_path)
    for part in ("vms", "marks", "providers", "keys", "audit"):
        shutil.rmtree(tmp_path / part)
    with pytest.raises(DirectoryError, match="the mark or the registration of"):
        opener(tmp_path)()


@pytest.mark.parametrize("name", ["log.jsonl", "head"])
def test_log_without_its_part(tmp_path: Path, name: str) -> None:
    """A log that lacks its lines or its head cannot say that there was no TPM."""
    made(tmp_path)
    for part in STATE | {"providers", "keys"}:
        shutil.rmtree(tmp_path / part)
    (tmp_path / "audit" / name).unlink()
    with pytest.raises(DirectoryError, match="cannot tell whether there was one"):
        opener(tmp_path)()


def test_interrupted(tmp_path: Path) -> None:
    """A first start that ended after the key was made, or that failed then, can be repeated."""
    Host(tmp_path).providers.init(PROVIDER)
    with pytest.raises(NvstoreError):
        Host(tmp_path).create_state(uuid.uuid4(), NAME, {}, provider="another", allow_unverified=True)

    made(tmp_path)
    store = opener(tmp_path)()
    assert store.load() == {"permanent": b"first"}
    store.close()
