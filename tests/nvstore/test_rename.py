"""Another name for a VM."""

import uuid
from pathlib import Path

import pytest

from nvstore import BadName, Host, StateExists, UnknownState

FIRST, SECOND = uuid.UUID(int=1), uuid.UUID(int=2)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host with two VMs."""
    host = Host(tmp_path)
    host.providers.init("main")
    for vm, name in ((FIRST, "first"), (SECOND, "second")):
        host.create_state(vm, name, {"a": b"1"}, allow_unverified=True).close()
    return host


def test_renamed(host: Host) -> None:
    """The state is found under the new name alone, and the audit log has both."""
    host.rename("first", "third")

    with host.open_state("third") as store:
        assert (store.vm, store.load()) == (FIRST, {"a": b"1"})
    with pytest.raises(UnknownState):
        host.show_state("first")
    entry = host.audit.entries()[-1]
    assert (entry["op"], entry["formerly"], entry["name"]) == ("rename", "first", "third")


def test_same_name(host: Host) -> None:
    """Its own name may be given again."""
    host.rename("first", "first")
    assert host.show_state(FIRST).name == "first"


@pytest.mark.parametrize(("name", "error"), [("second", StateExists), ("a/b", BadName)])
def test_refused(host: Host, name: str, error: type[Exception]) -> None:
    """Neither another VM's name nor one that is none."""
    with pytest.raises(error):
        host.rename("first", name)
    assert host.show_state(FIRST).name == "first"
