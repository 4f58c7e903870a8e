"""The audit log: what was done with keys and states, in a chain that shows every change."""

import json
from pathlib import Path

import pytest

from nvstore import Audit, AuditBroken, Host, NvstoreError, RolledBack
from nvstore.files import OsFiles
from nvstore.testing import FaultyFiles, PowerLoss
from tests.nvstore.conftest import BLOBS, PASSPHRASE, VM


@pytest.fixture
def log(directory: Path) -> Path:
    """The file of the log."""
    return directory / "audit/log.jsonl"


def test_what_is_noted(host: Host, state: Path) -> None:
    """Operations and refusals, with actor, VM, provider, kdk_id, generation and result."""
    old = state.read_bytes()
    with host.open_state(VM) as store:
        store.commit({"a": b"1"})
    state.write_bytes(old)
    with pytest.raises(RolledBack):
        host.open_state(VM)
    host.revert_state(VM, reason="ticket 17")
    host.delete_state(VM)
    entries = host.audit.entries()
    assert [(e["op"], e["result"]) for e in entries] == [
        ("provider-init", "done"),
        ("provider-backup", "done"),
        ("provider-verify", "done"),
        ("create", "done"),
        ("open", "rolled-back"),
        ("revert", "done"),
        ("delete", "done"),
    ]
    kdk_id = host.providers.show("main").kdk_id
    revert = entries[5]
    assert (revert["vm"], revert["provider"], revert["kdk_id"]) == (str(VM), "main", kdk_id)
    assert (revert["generation"], revert["reason"]) == ("7", "ticket 17")
    assert revert["actor"]
    assert host.audit.verify()[0] == 7


def test_no_secret(host: Host, state: Path, log: Path) -> None:
    """The log has no key, passphrase or content."""
    assert state.exists()
    kdk = host.providers.key("main", bytes.fromhex(host.providers.show("main").kdk_id))
    content = log.read_bytes()
    for secret in (PASSPHRASE, kdk.hex().encode(), BLOBS["permanent"], BLOBS["permanent"].hex().encode()):
        assert secret not in content


@pytest.mark.parametrize("line", [0, 1, 3])
def test_every_change_breaks_the_chain(host: Host, state: Path, log: Path, line: int) -> None:
    """A line that was changed, removed, doubled or moved is found."""
    assert state.exists()
    lines = log.read_bytes().splitlines(keepends=True)
    assert host.audit.verify()[0] == len(lines) == 4
    changed = lines[line].replace(b"done", b"DONE")
    for altered in (
        [*lines[:line], changed, *lines[line + 1 :]],
        [*lines[:line], *lines[line + 1 :]],
        [*lines[: line + 1], *lines[line:]],
        [*lines[:line], lines[line][:-5], *lines[line + 1 :]],
    ):
        log.write_bytes(b"".join(altered))
        with pytest.raises(AuditBroken):
            host.audit.verify()
    log.write_bytes(b"".join(lines))
    assert host.audit.verify()[0] == 4


def test_a_cut_end(host: Host, state: Path, log: Path) -> None:
    """The head remembers lines that are gone; operations go on to say so."""
    assert state.exists()
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:-1]))
    with pytest.raises(AuditBroken, match="missing"):
        host.audit.verify()
    with pytest.raises(AuditBroken):
        host.delete_state(VM)


def test_power_loss_at_every_operation() -> None:
    """After power loss the chain is whole, and has every entry that was acknowledged."""
    directory = Path("/audit")

    def run(files: FaultyFiles) -> int:
        done = 0
        audit = Audit(directory, files, lambda: 0.0)
        try:
            for number in range(3):
                with audit.entry("test", number=number):
                    pass
                done += 1
        except PowerLoss:
            pass
        return done

    files = FaultyFiles()
    assert run(files) == 3
    for at in range(len(files.operations)):
        crashed = FaultyFiles(power_loss_at=at)
        done = run(crashed)
        for image in crashed.images(seed=at):
            audit = Audit(directory, FaultyFiles(image), lambda: 0.0)
            with audit.entry("after"):
                pass
            assert audit.verify()[0] in {done + 1, done + 2}
            assert [e["op"] for e in audit.entries()][-1] == "after"


def test_a_failure_that_cannot_be_noted_stays_itself(tmp_path: Path) -> None:
    """The error of an operation is told, whatever happens to the log."""
    audit = Audit(tmp_path / "audit", OsFiles(), lambda: 0.0)
    with audit.entry("first"):
        pass
    (tmp_path / "audit/log.jsonl").unlink()
    (tmp_path / "audit/log.jsonl").mkdir()
    with pytest.raises(NvstoreError) as raised, audit.entry("second"):
        raise RolledBack(VM, 1, 2)
    assert json.loads((tmp_path / "audit/head").read_text())["lines"] == 1
    assert raised.value.code in {"rolled-back", "unsafe-file"}
