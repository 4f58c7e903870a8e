"""The check-up of a host."""

from pathlib import Path

import pytest

from nvstore import Host, examine
from nvstore.doctor import Level
from nvstore.files import file_system_of
from tests.nvstore.conftest import BLOBS, OTHER, PASSPHRASE, VM, host_at


def test_all_is_well(host: Host, state: Path) -> None:
    """A host with a verified backup and an intact state has nothing to mend."""
    assert state.exists()
    checkup = examine(host)

    found = [finding for finding in checkup.findings if finding.subject != "disk"]
    assert [(finding.subject, finding.grade) for finding in found] == [("provider main", "note")]
    (vm,) = checkup.vms
    assert (vm.name, vm.state, vm.generation, vm.epoch) == ("guest", "intact", 5, 1)
    assert (vm.provider, vm.seal, vm.freshness, vm.lineage) == (
        "main",
        "key-file",
        "host's mark",
        "created here",
    )
    assert vm.last_verified is not None


def test_damage(host: Host, state: Path) -> None:
    """What is wrong with a state is an error, with its remedy; the others are looked at nevertheless."""
    host.create_state(OTHER, "other", BLOBS).close()
    state.write_bytes(bytes(state.stat().st_size))
    checkup = examine(host)

    assert checkup.level is Level.ERROR
    assert checkup.findings[0].subject == "VM guest"
    assert "vtpm state history guest" in checkup.findings[0].remedy
    assert {vm.name: vm.state for vm in checkup.vms} == {"guest": "corrupt-state", "other": "intact"}


def test_unverified(tmp_path: Path) -> None:
    """A provider without a verified backup is an error."""
    host = host_at(tmp_path)
    host.providers.init("main")
    (finding, *_) = examine(host).findings

    assert (finding.level, finding.subject) == (Level.ERROR, "provider main")
    assert "vtpm provider backup main" in finding.remedy


def test_no_provider(tmp_path: Path) -> None:
    """A host that cannot make VMs says how it can."""
    findings = {finding.subject: finding for finding in examine(host_at(tmp_path)).findings}

    assert "vtpm provider init" in findings["host"].remedy


def test_locked(tmp_path: Path) -> None:
    """A state that cannot be decrypted now is no error, but is told."""
    host = host_at(tmp_path / "host")
    host.providers.init("main", passphrase=PASSPHRASE)
    host.providers.unlock("main", PASSPHRASE)
    host.create_state(VM, "guest", BLOBS, allow_unverified=True).close()
    checkup = examine(host_at(tmp_path / "host"))

    assert [vm.state for vm in checkup.vms] == ["locked"]
    assert any(finding.problem.startswith("it was not decrypted") for finding in checkup.findings)


def test_copy(host: Host, state: Path) -> None:
    """Two VMs with the same secrets are told of."""
    assert state.exists()
    host.transfers.clone("guest", OTHER, "second", "copy", dict).close()
    findings = {finding.subject: finding for finding in examine(host).findings}

    assert "same secrets" in findings["VM second"].problem
    assert "VM guest" not in findings


def test_audit(host: Host, directory: Path) -> None:
    """So is an audit log that was changed."""
    log = directory / "audit/log.jsonl"
    log.write_bytes(log.read_bytes().replace(b"done", b"gone"))
    checkup = examine(host)

    assert ("audit log", Level.ERROR) in {(finding.subject, finding.level) for finding in checkup.findings}


@pytest.mark.parametrize(("path", "kind"), [("/proc/self", "proc"), ("/sys", "sysfs")])
def test_file_system(path: str, kind: str) -> None:
    """The mount that a directory is on is the innermost one."""
    assert file_system_of(Path(path)) == kind
