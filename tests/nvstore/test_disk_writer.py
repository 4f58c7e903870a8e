"""Somebody who has read the whole disk and writes it once, with no key: what he tries beside test_chain."""

import json
import os
import shutil
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from nvstore import AuditBroken, Host, KeyUncertified, ProviderAltered, UnknownState, UnsafeFile
from nvstore.audit.line import End
from nvstore.courier import Named
from nvstore.document import pretty
from tests.nvstore.conftest import BLOBS, OTHER, PASSPHRASE, VM, host_at, verify

THIRD = UUID("11111111-1111-4111-8111-111111111111")
SEAL = b"what seals this host's keys"


@pytest.fixture
def sealed(directory: Path, tmp_path: Path) -> Host:
    """A host whose key a passphrase seals, with a VM under it."""
    host = host_at(directory)
    host.providers.init("main", passphrase=SEAL)
    verify(host, "main", tmp_path / "main.backup")
    host.create_state(VM, "guest", BLOBS).close()
    return host


def change(directory: Path, **members: Any) -> None:
    """Write these members of the provider's file."""
    path = directory / "providers/main.provider"
    path.write_text(json.dumps(json.loads(path.read_text()) | members))


@pytest.mark.usefixtures("sealed")
@pytest.mark.parametrize("mac", [{}, {"mac": ""}])
def test_seals_of_a_later_file(directory: Path, mac: dict[str, str]) -> None:
    """What was sealed as part of an authenticated file opens no file of the first version."""
    path = directory / "providers/main.provider"
    document = json.loads(path.read_text()) | {"version": 1, "state": "disabled", "backups": []}
    del document["mac"]
    path.write_text(json.dumps(document | mac))
    before = path.read_bytes()
    again = host_at(directory)
    with pytest.raises(ProviderAltered):
        again.providers.unlock("main", SEAL)
    with pytest.raises(ProviderAltered):
        again.create_state(OTHER, "other", BLOBS)
    with pytest.raises(ProviderAltered):
        again.providers.show("main")
    assert path.read_bytes() == before


@pytest.mark.usefixtures("sealed")
@pytest.mark.parametrize("is_there", [False, True])
def test_an_emptied_log(directory: Path, *, is_there: bool) -> None:
    """A log of which nothing is left does not pass for one that was never begun."""
    audit = directory / "audit"
    (audit / "log.jsonl").write_bytes(b"")
    if not is_there:
        (audit / "log.jsonl").unlink()
    fields = {"lines": 0, "size": 0, "first": 1, "hash": "0" * 64, "provider": "", "kdk_id": "", "key": ""}
    (audit / "head").write_bytes(pretty("nvstore audit end", fields))
    again = host_at(directory)
    again.providers.unlock("main", SEAL)
    with pytest.raises(AuditBroken, match="counts no line"):
        again.audit.verify(again.providers)
    again.create_state(OTHER, "other", BLOBS).close()
    with pytest.raises(AuditBroken, match="nothing was left"):
        again.audit.verify(again.providers)
    again.audit.restart("it was emptied", again.providers)
    assert again.audit.verify(again.providers).lines > 0


@pytest.mark.usefixtures("sealed")
def test_a_forged_beginning(directory: Path) -> None:
    """Lines that needed no key are told apart from those that did."""
    again = host_at(directory)
    again.providers.unlock("main", SEAL)
    assert again.audit.verify(again.providers).unkeyed == 0
    fields = {"time": "2026-01-01T00:00:00Z", "actor": "root", "op": "provider-init", "result": "done"}
    line = End().line(fields)
    end = {"lines": 1, "size": len(line), "first": 1, "hash": End().after(line).hash}
    (directory / "audit/log.jsonl").write_bytes(line)
    head = pretty("nvstore audit end", {**end, "provider": "", "kdk_id": "", "key": ""})
    (directory / "audit/head").write_bytes(head)
    again.rename(VM, "renamed")
    verified = again.audit.verify(again.providers)
    assert (verified.lines, verified.authentic, verified.unkeyed) == (3, 3, 1)


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("name", ["head", "log.jsonl"])
def test_a_log_that_is_no_file(directory: Path, name: str) -> None:
    """It is put aside as any other that is broken."""
    path = directory / "audit" / name
    path.unlink()
    os.mkfifo(path)
    again = host_at(directory)
    with pytest.raises(UnsafeFile):
        again.audit.verify()
    aside = again.audit.restart("it was replaced")
    assert (aside / name).is_fifo()
    assert again.audit.verify().lines > 0


def test_dots_through_a_link(tmp_path: Path) -> None:
    """A path out of a file leads where its text does, so that no link of the service's takes part."""
    service, out = tmp_path / "service", tmp_path / "out"
    named = Named([out / "file", out / "link/../word"], service)
    through = service / "link/../../out/file"
    assert through in named
    assert named.as_meant(through) == out / "file"
    assert named.as_meant(out / "link/../word") == out / "link/../word"
    assert named.as_meant(out / "link/../word.new") == out / "link/../word.new"


@pytest.mark.parametrize("kind", ["empty", "noise", "fields", "fifo", "directory", "link"])
def test_a_registration_that_cannot_be_read(host: Host, directory: Path, kind: str) -> None:
    """It hinders no other VM, and its own VM opens by its UUID; a directory has to be removed for that."""
    host.create_state(VM, "guest", BLOBS).close()
    host.create_state(OTHER, "other", BLOBS).close()
    path = directory / f"vms/{VM}.vm"
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(directory / f"vms/{OTHER}.vm")
    else:
        path.write_bytes({"empty": b"", "noise": b"\xff" * 100, "fields": b"{}"}[kind])
    again = host_at(directory)
    assert again.uuids() == {"other": OTHER, str(VM): VM}
    assert again.names() == sorted(["other", str(VM)])
    assert [status.name for status in again.list_states()] == sorted(["other", str(VM)])
    assert again.rekeying.stale() == []
    assert again._users_of([again.providers.current("main")], "main") == sorted(["other", str(VM)])
    again.open_state("other").close()
    again.create_state(THIRD, "third", BLOBS).close()
    with pytest.raises(UnknownState):
        again.open_state("nobody")
    if kind == "directory":
        path.rmdir()
    again.open_state(VM).close()
    assert host_at(directory).uuids() == {"guest": VM, "other": OTHER, "third": THIRD}


def test_a_vm_whose_registration_cannot_be_read_is_deleted(host: Host, directory: Path) -> None:
    """Its state goes whole, and its registration with it."""
    host.create_state(VM, "guest", BLOBS).close()
    path = directory / f"vms/{VM}.vm"
    path.write_bytes(b"\xff" * 100)
    host_at(directory).delete_state(VM)
    assert not path.exists()
    host_at(directory).create_state(VM, "guest", BLOBS).close()


def test_a_registration_with_the_uuid_of_another_vm(host: Host, directory: Path, tmp_path: Path) -> None:
    """Rekeying by it writes over no other VM's registration."""
    host.create_state(VM, "guest", BLOBS).close()
    host.create_state(OTHER, "other", BLOBS).close()
    host.providers.init("second")
    verify(host, "second", tmp_path / "second.backup")
    paths = [directory / f"vms/{vm}.vm" for vm in (VM, OTHER)]
    paths[0].write_text(json.dumps(json.loads(paths[0].read_text()) | {"uuid": str(OTHER)}))
    before = paths[1].read_bytes()
    host_at(directory).rekeying.rekey([VM], provider="second")
    assert paths[1].read_bytes() == before
    assert json.loads(paths[0].read_text())["uuid"] == str(VM)


@pytest.mark.parametrize("raised", [{"main": "garbage"}, {"main": "2026-01-01"}, {"main": 5}, [], "x"])
def test_alarms(directory: Path, raised: Any) -> None:
    """What cannot be read of them silences no alarm, and stops nothing."""
    host_at(directory).providers.init("main")
    (directory / "providers/alarms").write_bytes(pretty("nvstore provider alarms", {"raised": raised}))
    assert host_at(directory).providers.raise_alarms()


def test_secret_of_a_provider_that_was_exchanged(host: Host, directory: Path, tmp_path: Path) -> None:
    """A secret is not put under a key that does not succeed its own."""
    host.vault.put("ca", b"secret", provider="main")
    host.providers.restore(tmp_path / "main.backup", PASSPHRASE, name="copy")
    evil = host_at(tmp_path / "evil")
    evil.providers.init("main", key_file=directory / "keys/planted.key")
    verify(evil, "main", tmp_path / "evil.backup")
    shutil.copyfile(tmp_path / "evil/providers/main.provider", directory / "providers/main.provider")
    again = host_at(directory)
    before = (directory / "vault/ca.secret").read_bytes()
    with pytest.raises(KeyUncertified):
        again.vault.renew()
    with pytest.raises(KeyUncertified):
        again.vault.move("ca", "main")
    assert (directory / "vault/ca.secret").read_bytes() == before


@pytest.mark.usefixtures("host")
def test_a_file_without_keys(directory: Path, tmp_path: Path) -> None:
    """Of a file without keys, which nothing authenticates, a restored provider has nothing."""
    path = directory / "providers/main.provider"
    document = json.loads(path.read_text())
    other: dict[str, Any] = {
        "host_id": "11" * 16,
        "name": "b",
        "kdk_ids": [],
        "acknowledged": None,
        "challenge": "",
    }
    backup = {**document["backups"][0], "path": "/nowhere", "drilled": "2026-01-01T00:00:00Z"}
    change(
        directory,
        keys=[],
        state="destroyed",
        mac="",
        hosts=[other],
        backups=[backup],
        retired=[{name: document["keys"][0][name] for name in ("kdk_id", "epoch", "created")}],
        rotation={"successor": document["current"], "begun": "2026-01-01T00:00:00Z", "promoted": None},
        delete_after="2020-01-01T00:00:00Z",
        default_for=["", "others"],
    )
    again = host_at(directory)
    again.providers.restore(tmp_path / "main.backup", PASSPHRASE)
    after = json.loads(path.read_text())
    assert after["hosts"] == []
    assert [b["path"] for b in after["backups"]] == [str(tmp_path / "main.backup")]
    assert after["default_for"] == [""]
    assert (after["rotation"], after["delete_after"]) == (None, None)
