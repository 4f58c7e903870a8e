"""`vtpm provider`, as an operator uses it."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_vm import Installation

pytestmark = pytest.mark.slow


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    """An installation with a provider that may be used."""
    installation = Installation(tmp_path)
    installation.run("provider", "init", "main")
    installation.run("provider", "backup", "main", "--out", str(tmp_path / "b"), *secret(installation))
    installation.run("provider", "verify", str(tmp_path / "b"), *secret(installation))
    return installation


def secret(installation: Installation) -> list[str]:
    """The options that give its passphrase."""
    return ["--passphrase-file", str(installation.passphrase)]


def told(installation: Installation, *words: str) -> Any:
    """What a command says in JSON."""
    return json.loads(installation.run("provider", *words, "--json"))


def test_life_cycle(installation: Installation) -> None:
    """A provider is disabled, scheduled for deletion and kept; a VM that needs it is named."""
    installation.run("create", "vm")
    assert told(installation, "disable", "main")["state"] == "disabled"
    assert "needed by vm" in installation.run("provider", "delete", "main", status=1)
    installation.run("delete", "vm", "--yes")
    assert "needed by the secret 'authority'" in installation.run("provider", "delete", "main", status=1)
    installation.run("authority", "remove", "--yes")
    assert "at least 7" in installation.run("provider", "delete", "main", "--days", "1", status=1)
    assert told(installation, "delete", "main")["state"] == "pending-deletion"
    assert "before" in installation.run("provider", "destroy", "main", "--yes", status=1)
    assert "pending-deletion" in installation.run("create", "vm", status=1)
    assert told(installation, "delete", "main", "--cancel")["state"] == "disabled"
    assert told(installation, "enable", "main")["state"] == "active"


def test_groups(installation: Installation) -> None:
    """A group of VMs has a default of its own."""
    installation.run("provider", "init", "other")
    installation.run("provider", "default", "other", "--group", "lab")
    made = installation.run("create", "vm", "--group", "lab", "--allow-unverified", "--json")
    assert json.loads(made)["provider"] == "other"
    assert told(installation, "show", "other")["groups"] == ["lab"]
    assert told(installation, "show")["name"] == "main"


def test_restore_elsewhere(installation: Installation, tmp_path: Path) -> None:
    """A drill opens what is here; a dry run changes nothing; restoring brings the provider to a new host."""
    installation.run("create", "vm")
    backup = str(tmp_path / "b")
    assert told(installation, "drill", backup, *secret(installation))["opened"] == ["vm", "secret authority"]
    (tmp_path / "elsewhere").mkdir()
    elsewhere = Installation(tmp_path / "elsewhere")
    assert "would restore" in elsewhere.run("provider", "restore", backup, "--dry-run", *secret(installation))
    assert told(elsewhere, "list") == []
    sealed = ["--seal-passphrase-file", str(elsewhere.passphrase)]
    said = elsewhere.run("provider", "restore", backup, *secret(installation), *sealed)
    assert "main: active" in said
    assert told(elsewhere, "show", "main")["seal"] == "passphrase"
    assert "proved nothing" in elsewhere.run("provider", "drill", backup, *secret(installation))


def test_shares(installation: Installation, tmp_path: Path) -> None:
    """Any two of three shares open a backup, each is checked alone, and one is not enough."""
    shares = tmp_path / "shares"
    words = ("provider", "backup", "main", "--out", str(tmp_path / "p12"), "--format", "pkcs12")
    installation.run(*words, "--shares", "2/3", "--shares-dir", str(shares))
    files = sorted(map(str, shares.iterdir()))
    assert [fact["index"] for fact in told(installation, "share", *files)] == [1, 2, 3]
    given = ["--share", files[2], "--share", files[0]]
    assert told(installation, "verify", str(tmp_path / "p12"), *given)["recorded"]
    assert "only 1" in installation.run("provider", "verify", str(tmp_path / "p12"), *given[:2], status=1)
    Path(files[0]).write_text(Path(files[0]).read_text().replace('"index": 1', '"index": 2'))
    assert "committed" in installation.run("provider", "share", files[0], status=1)
    assert "3/5" in installation.run(*words, "--shares", "5/3", "--shares-dir", str(shares), status=2)


def test_reseal(installation: Installation, tmp_path: Path) -> None:
    """A second seal beside the first opens when the first is lost."""
    installation.run("create", "vm")
    word = str(installation.passphrase)
    installation.run("provider", "reseal", "main", "--seal-passphrase-file", word, "--keep")
    assert told(installation, "show", "main")["seal"] == "key-file, passphrase"
    (tmp_path / "state/keys/main.key").unlink()
    out = ["--out", str(tmp_path / "again"), *secret(installation)]
    assert "passphrase" in installation.run("provider", "backup", "main", *out, status=1)
    installation.run("provider", "backup", "main", "--unlock-file", word, *out)


def test_hosts(installation: Installation, tmp_path: Path) -> None:
    """A provider is handed to another host, which acknowledges its key and makes VMs under it."""
    (tmp_path / "other").mkdir()
    other = Installation(tmp_path / "other")
    identity, package, ack = (str(tmp_path / name) for name in ("identity", "package", "ack"))
    host_id = json.loads(other.run("provider", "enroll", "--out", identity, "--json"))["host_id"]
    assert host_id in other.run("provider", "enroll")
    push = ("provider", "push", "main", "--to", identity, "--out", package)
    assert host_id in installation.run(*push, "--host-id", "00" * 16, status=1)
    kdk_id = told(installation, "show", "main")["kdk_id"]
    assert kdk_id in installation.run(*push, "--host-id", host_id)
    assert "proves" in other.run("provider", "receive", package, "--out", ack, status=1)
    assert "main: active" in other.run("provider", "receive", package, "--kdk-id", kdk_id, "--out", ack)
    assert kdk_id in installation.run("provider", "acknowledge", ack)
    assert told(installation, "show", "main")["hosts"][0]["kdk_ids"] == [kdk_id]
    other.run("create", "vm")
