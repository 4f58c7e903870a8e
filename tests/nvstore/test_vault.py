"""Secrets of a host's own, under the keys of its providers."""

import hmac
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from nvstore import (
    BadName,
    Host,
    KeyFileMissing,
    KeyInUse,
    NvstoreError,
    ProviderInUse,
    ProviderLocked,
    ProviderMissing,
    ProviderUnverified,
    SecretAltered,
    SecretDamaged,
    SecretMissing,
    UnsafeFile,
    examine,
)
from nvstore.doctor import Level
from nvstore.keys import context
from tests.nvstore.conftest import BLOBS, PASSPHRASE, VM, host_at, verify

SECRET = b"-----BEGIN PRIVATE KEY-----"
NAME = "authority"


@pytest.fixture
def path(host: Host, directory: Path) -> Path:
    """The file of a secret."""
    host.vault.put(NAME, SECRET)
    return directory / "vault" / f"{NAME}.secret"


class TestKept:
    """What is put in comes out, and nothing else"""

    def test_again(self, host: Host, path: Path, directory: Path) -> None:
        """Another process gets it; its file holds nothing of it and is the owner's alone."""
        assert host_at(directory).vault.get(NAME) == SECRET
        assert SECRET not in path.read_bytes()
        assert path.stat().st_mode & 0o777 == 0o600
        assert NAME in host.vault
        assert host.vault.show(NAME).provider == "main"
        assert host.vault.names() == [NAME]

    def test_missing(self, host: Host) -> None:
        """One that was never put is an error, not an empty one."""
        with pytest.raises(SecretMissing, match="other"):
            host.vault.get("other")
        with pytest.raises(SecretMissing):
            host.vault.remove("other")

    def test_replaced_and_removed(self, host: Host, path: Path) -> None:
        """A second one takes the place of the first; a removed one is gone."""
        host.vault.put(NAME, b"another")
        assert host.vault.get(NAME) == b"another"
        host.vault.remove(NAME)
        assert not path.exists()
        assert NAME not in host.vault

    def test_format(self, path: Path, directory: Path) -> None:
        """FORMAT.md, 7: an implementation written from the document alone opens it."""
        document = json.loads(path.read_bytes())
        sealed = bytes.fromhex(document.pop("box"))
        provider = json.loads((directory / "providers/main.provider").read_bytes())
        seal = provider["keys"][0]["seals"][0]
        host_key = bytes.fromhex(Path(seal["path"]).read_text())
        kdk_id = bytes.fromhex(document["kdk_id"])

        def opened(key: bytes, label: bytes, octets: bytes, associated: bytes) -> bytes:
            k = hmac.digest(key, context(label, octets[:32]) + b"\1", "sha512")
            assert octets[32:64] == k[32:]
            return AESGCM(k[:32]).decrypt(bytes(12), octets[64:], associated)

        bound = context(b"main", kdk_id, b"binding", b"\2", b"\0")
        kdk = opened(host_key, b"nvstore v1 host seal", bytes.fromhex(seal["box"]), bound)
        key = hmac.digest(kdk, context(b"nvstore v1 secret key", kdk_id, NAME.encode()) + b"\1", "sha512")
        associated = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        assert opened(key[:32], b"nvstore v1 secret", sealed, associated) == SECRET

    @pytest.mark.parametrize("name", ["", "../main", "a/b", ".hidden", "x" * 65])
    def test_name(self, host: Host, name: str) -> None:
        """A name that is no file's is refused."""
        with pytest.raises(BadName):
            host.vault.put(name, SECRET)


class TestRefused:
    """What is wrong with a secret has a name, a cause and a remedy"""

    @pytest.mark.parametrize("field", ["name", "provider", "kdk_id", "written", "box"])
    def test_field(self, host: Host, path: Path, field: str) -> None:
        """No field can be altered unnoticed."""
        document = json.loads(path.read_bytes())
        value = document[field]
        document[field] = ("1" if value[0] == "0" else "0") + value[1:]
        path.write_text(json.dumps(document))
        with pytest.raises(NvstoreError) as raised:
            host.vault.get(NAME)
        assert raised.value.code in {"secret-altered", "secret-damaged", "key-missing"}

    def test_swapped(self, host: Host, path: Path) -> None:
        """The file of another secret is refused in its place."""
        host.vault.put("second", b"second")
        path.write_bytes(path.with_name("second.secret").read_bytes())
        with pytest.raises(SecretDamaged, match="second"):
            host.vault.get(NAME)
        document = json.loads(path.read_bytes())
        path.write_text(json.dumps({**document, "name": NAME}))
        with pytest.raises(SecretAltered):
            host.vault.get(NAME)

    @pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff", b'{"format":"nvstore secret"}'])
    def test_damaged(self, host: Host, path: Path, content: bytes) -> None:
        """A file that is none is an error, and the doctor tells of it."""
        path.write_bytes(content)
        with pytest.raises(SecretDamaged):
            host.vault.get(NAME)
        findings = [finding for finding in examine(host).findings if finding.subject == f"secret {NAME}"]
        assert [finding.level for finding in findings] == [Level.ERROR]

    def test_readable_by_others(self, host: Host, path: Path) -> None:
        """One that others can read is refused."""
        path.chmod(0o644)
        with pytest.raises(UnsafeFile):
            host.vault.get(NAME)

    def test_provider(self, path: Path, directory: Path) -> None:
        """Without the provider's key it does not open."""
        (directory / "keys/main.key").unlink()
        with pytest.raises(KeyFileMissing):
            host_at(directory).vault.get(NAME)
        assert path.exists()

    def test_locked(self, host: Host, path: Path, directory: Path) -> None:
        """Under a passphrase that was not given it is locked, and the doctor warns of it."""
        host.providers.reseal("main", passphrase=PASSPHRASE)
        assert host.vault.get(NAME) == SECRET
        other = host_at(directory)
        with pytest.raises(ProviderLocked):
            other.vault.get(NAME)
        assert Level.WARNING in {f.level for f in examine(other).findings if f.subject == f"secret {NAME}"}
        other.providers.unlock("main", PASSPHRASE)
        assert other.vault.get(NAME) == SECRET
        assert path.exists()

    def test_unproven_provider(self, tmp_path: Path) -> None:
        """As a state, it is put under a provider whose backup was verified, unless that is waived."""
        host = host_at(tmp_path / "new")
        with pytest.raises(ProviderMissing):
            host.vault.put(NAME, SECRET)
        host.providers.init("main")
        with pytest.raises(ProviderUnverified):
            host.vault.put(NAME, SECRET)
        host.vault.put(NAME, SECRET, allow_unverified=True)
        assert host.vault.get(NAME) == SECRET


class TestRotation:
    """A secret follows the key of its provider"""

    def test_renew(self, host: Host, path: Path, tmp_path: Path) -> None:
        """It is put under the new key; before that the rotation is not over, and the old key not retired."""
        old = bytes.fromhex(host.vault.show(NAME).kdk_id)
        new = host.rotations.begin("main")
        verify(host, "main", tmp_path / "second.backup")
        host.rotations.promote("main")
        host.rekeying.finish_rotations()
        assert host.providers.show("main").state == "rotating"
        assert host.vault.stale("main") == [NAME]
        assert host.vault.stale("other") == []
        with pytest.raises(KeyInUse, match=NAME):
            host.rotations.retire("main", old)

        assert host.vault.renew() == [NAME]
        host.rekeying.finish_rotations()

        assert host.providers.show("main").state == "active"
        assert host.vault.show(NAME).kdk_id == new.hex()
        host.rotations.retire("main", old)
        assert host.vault.get(NAME) == SECRET
        assert host.vault.renew() == []
        assert path.exists()

    def test_move(self, host: Host, path: Path, tmp_path: Path) -> None:
        """Its provider is not deleted before it was moved to another one."""
        host.providers.init("second")
        verify(host, "second", tmp_path / "second.backup")
        host.steps.disable("main")
        with pytest.raises(ProviderInUse, match=NAME):
            host.steps.schedule_deletion("main")

        assert host.vault.move(NAME, "second").provider == "second"

        host.steps.schedule_deletion("main")
        assert host.vault.get(NAME) == SECRET
        assert path.exists()

    def test_drill(self, host: Host, path: Path, tmp_path: Path) -> None:
        """A drill of the backup opens it, too, and fails where it is altered."""
        host.create_state(VM, "guest", BLOBS).close()
        backup = tmp_path / "main.backup"
        assert host.drill(backup, PASSPHRASE).opened == ("guest", f"secret {NAME}")
        document = json.loads(path.read_bytes())
        path.write_text(json.dumps({**document, "written": "2026-01-01T00:00:00Z"}))
        with pytest.raises(NvstoreError, match=f"secret {NAME}"):
            host.drill(backup, PASSPHRASE)

    def test_audit(self, host: Host, path: Path) -> None:
        """Each change is noted, with the key's id and without the secret."""
        host.vault.remove(NAME)
        noted = [entry for entry in host.audit.entries() if entry["op"].startswith("secret-")]
        assert [entry["op"] for entry in noted] == ["secret-put", "secret-remove"]
        assert noted[0]["kdk_id"]
        assert SECRET.decode() not in json.dumps(noted)
        assert not path.exists()
