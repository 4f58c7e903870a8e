"""Names of VMs are found without reading the registrations of the others."""

import shutil
from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from nvstore import Host, StateExists, UnknownState
from nvstore.files import File, OsFiles
from tests.nvstore.conftest import BLOBS, CHEAP, OTHER, VM, host_at


class CountingFiles(OsFiles):
    """Files that count what is read of registrations, and directories that are listed."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def open_to_read(self, path: Path, *, secret: bool = False) -> File:
        """Open a file, and count registrations."""
        self.count += path.suffix == ".vm"
        return super().open_to_read(path, secret=secret)

    def entries(self, directory: Path) -> list[str]:
        """List a directory, and count it unless it is that of the providers, which are few."""
        found = super().entries(directory)
        self.count += 0 if directory.name == "providers" else len(found)
        return found


@pytest.mark.parametrize("by", [str, lambda name: name])
def test_cost(directory: Path, host: Host, by: Callable[[str], str]) -> None:
    """Making a VM, and finding it, reads as much of others when there are twenty as when there are two."""
    del host
    costs = []
    files = CountingFiles()
    counted = Host(directory, files=files, passphrase_cost=CHEAP, backup_cost=CHEAP)
    for number in range(20):
        files.count = 0
        counted.create_state(uuid4(), f"vm{number}", BLOBS).close()
        counted.show_state(by(f"vm{number}"))
        costs.append(files.count)
    assert costs[1] == costs[-1]
    assert counted.names() == sorted(f"vm{number}" for number in range(20))


def test_taken(host: Host, directory: Path) -> None:
    """A name is one VM's; it is free again when that has another one, or is gone."""
    host.create_state(VM, "guest", BLOBS).close()
    with pytest.raises(StateExists, match=str(VM)):
        host.create_state(OTHER, "guest", BLOBS)
    host.rename("guest", "renamed")
    with pytest.raises(UnknownState):
        host.show_state("guest")
    host.create_state(OTHER, "guest", BLOBS).close()
    with pytest.raises(StateExists):
        host.rename("renamed", "guest")
    host.delete_state("guest")
    host.rename("renamed", "guest")
    assert host_at(directory).show_state("guest").vm == VM


def test_wrong_hint(host: Host, directory: Path) -> None:
    """A file of the index that was changed hides no VM from those who ask for it."""
    host.create_state(VM, "guest", BLOBS).close()
    for path in (directory / "vms/names").iterdir():
        path.write_text(str(OTHER))
    assert host.show_state("guest").vm == VM


@pytest.mark.parametrize("damage", ["absent", "incomplete", "wrong", "garbled"])
def test_index(host: Host, directory: Path, damage: str) -> None:
    """Without an index, as an earlier version left it, or with a wrong one, the registrations decide."""
    host.create_state(VM, "guest", BLOBS).close()
    host.create_state(OTHER, "other", BLOBS).close()
    names = directory / "vms/names"
    hints = {path: path.read_text() for path in names.iterdir() if path.name != "complete"}
    first = next(path for path, text in hints.items() if text == str(VM))
    if damage == "absent":
        shutil.rmtree(names)
    elif damage == "incomplete":
        (names / "complete").unlink()
        first.unlink()
    else:
        (names / "complete").unlink()
        first.write_text(str(OTHER) if damage == "wrong" else "none")

    again = host_at(directory)
    assert again.show_state("guest").vm == VM
    with pytest.raises(StateExists):
        again.create_state(UUID(int=7), "guest", BLOBS)
    assert again.show_state("guest").vm == VM
    assert first.read_text() == str(VM)
