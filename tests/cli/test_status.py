"""`vtpm status`: what it says of a domain that runs without its TPM; tests/libvirt has it with libvirt."""

import os
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

import nvstore
from vtpm.cli import libvirt
from vtpm.cli.libvirt import facts_of
from vtpm.cli.place import Place
from vtpm.daemon.guests import GuestRecord
from vtpm.libvirt.definition import Definition

VM = UUID("11111111-2222-3333-4444-555555555555")

DOMAIN = """<domain type='kvm'><name>guest</name><uuid>{vm}</uuid>
<os><type arch='x86_64' machine='q35'>hvm</type></os><devices><tpm model='tpm-crb'>
<backend type='external'>
<source type='unix' mode='connect' path='{socket}'/></backend></tpm></devices></domain>"""


class Domain:
    """A domain that is defined, and runs or not."""

    def __init__(self, socket: Path, *, runs: bool) -> None:
        self.name, self.uuid, self.is_persistent, self.is_active = "guest", VM, True, runs
        self._definition = Definition(DOMAIN.format(vm=VM, socket=socket))

    def definition(self) -> Definition:
        """What is defined."""
        return self._definition

    def running_definition(self) -> Definition | None:
        """What its run has."""
        return self._definition if self.is_active else None


class Hypervisor:
    """One whose guests run as this user."""

    def user_of_guests(self) -> None:
        """Nobody else."""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A host with a TPM for the domain."""
    host = nvstore.Host(tmp_path / "state")
    host.providers.init("main")
    host.create_state(VM, "guest", {"permanent": b"1"}, allow_unverified=True).close()
    (tmp_path / "run").mkdir()
    return Place(str(tmp_path / "state"), str(tmp_path / "run"))


def problems(
    place: Place, monkeypatch: pytest.MonkeyPatch, served: dict[str, Any], *, runs: bool = True
) -> list[str]:
    """What is said to be wrong, by a daemon's answer."""
    monkeypatch.setattr("vtpm.cli.vm.daemon_status", lambda _: served)
    monkeypatch.setattr(libvirt, "custody_problem", lambda *_: "")
    domain = Domain(place.run_dir / "guest.sock", runs=runs)
    found: list[str] = facts_of(place, Hypervisor(), domain)["problems"]  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize("served", [{}, {"guest": {"connected": False}}])
def test_lost(place: Place, monkeypatch: pytest.MonkeyPatch, served: dict[str, Any]) -> None:
    """Libvirt alone tells that a domain runs, whether a new daemon serves its TPM or none."""
    (problem, *_) = problems(place, monkeypatch, served)
    assert "runs without its TPM" in problem
    assert "start it again" in problem


def test_noted(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the daemon has noted of the process is said once, and not twice."""
    record = GuestRecord(place.run_dir)
    record.begin()
    record.came("guest", os.getpid())
    record.end()
    found = [problem for problem in problems(place, monkeypatch, {}) if "without its TPM" in problem]
    assert len(found) == 1
    assert f"process {os.getpid()}" in found[0]


def test_all_is_well(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A domain that is connected, or off, lacks nothing."""
    assert problems(place, monkeypatch, {"guest": {"connected": True, "process": None}}) == []
    assert problems(place, monkeypatch, {"guest": {"connected": False}}, runs=False) == []


def test_not_served(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a daemon that runs, nobody is sent to start another one."""
    (problem,) = problems(place, monkeypatch, {"other": {"connected": False}}, runs=False)
    assert "though a daemon runs" in problem
