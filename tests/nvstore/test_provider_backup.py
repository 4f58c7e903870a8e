"""Backups in PKCS#12: what operators' tools read, and the keys come back from it."""

import subprocess
from pathlib import Path

import pytest

from nvstore import BackupDamaged, Host, UnfitPassphrase, WeakPassphrase, WrongPassphrase
from nvstore.provider.backup_file import Format
from tests.nvstore.conftest import BLOBS, PASSPHRASE, VM, host_at, rewrite

pytestmark = pytest.mark.slow  # PBKDF2 takes its time

LONG = b"a passphrase of some length"


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Host:
    """A host with a provider and its backup in PKCS#12 beside it."""
    host = host_at(tmp_path_factory.mktemp("origin") / "host")
    host.providers.init("main")
    host.providers.backup("main", host.directory.parent / "main.p12", LONG, form=Format.PKCS12)
    return host


@pytest.fixture
def p12(origin: Host) -> Path:
    """The backup."""
    return origin.directory.parent / "main.p12"


class TestPkcs12:
    """RFC 7292"""

    def test_round_trip(self, origin: Host, p12: Path, tmp_path: Path) -> None:
        """It counts as a backup in every respect, and brings the provider to another host."""
        kdk_id = origin.providers.show("main").kdk_id
        assert origin.providers.verify(p12, LONG).kdk_id == kdk_id
        assert origin.providers.show("main").state == "active"
        fresh = host_at(tmp_path / "fresh")
        fresh.providers.restore(p12, LONG)
        assert fresh.providers.show("main").kdk_id == kdk_id
        assert fresh.providers.key("main", bytes.fromhex(kdk_id)) == origin.providers.key(
            "main", bytes.fromhex(kdk_id)
        )
        fresh.create_state(VM, "guest", BLOBS).close()

    def test_other_tools_read_it(self, origin: Host, p12: Path) -> None:
        """OpenSSL opens it with the passphrase, and shows provider and key id; and shows no KDK."""
        command = ["openssl", "pkcs12", "-in", str(p12), "-passin", f"pass:{LONG.decode()}", "-noenc"]
        shown = subprocess.run(command, capture_output=True, check=True, text=True).stdout
        assert "BEGIN PRIVATE KEY" in shown
        text = subprocess.run(
            ["openssl", "x509", "-noout", "-text"], input=shown, capture_output=True, check=True, text=True
        ).stdout
        kdk_id = origin.providers.show("main").kdk_id
        assert "key provider main" in text
        assert kdk_id in text
        assert origin.providers.key("main", bytes.fromhex(kdk_id)).hex() not in text + shown

    def test_passphrases(self, origin: Host, p12: Path, tmp_path: Path) -> None:
        """A wrong one is told apart; one that is too short for PBKDF2, or no text, is refused."""
        for wrong in (b"another passphrase of some length", b"\xff\xfe\xfd" * 8, b""):
            with pytest.raises(WrongPassphrase):
                origin.providers.verify(p12, wrong)
        with pytest.raises(WeakPassphrase, match="16"):
            origin.providers.backup("main", tmp_path / "x", b"15 octets long.", form=Format.PKCS12)
        with pytest.raises(UnfitPassphrase):
            origin.providers.backup("main", tmp_path / "x", b"\xff" * 20, form=Format.PKCS12)
        assert not (tmp_path / "x").exists()

    @pytest.mark.parametrize("at", [0, 30, 900, -60])
    def test_altered(self, origin: Host, p12: Path, tmp_path: Path, at: int) -> None:
        """A bit that changed anywhere is found."""
        octets = bytearray(p12.read_bytes())
        octets[at] ^= 1
        (tmp_path / "altered").write_bytes(octets)
        with pytest.raises((BackupDamaged, WrongPassphrase)):
            origin.providers.verify(tmp_path / "altered", LONG)

    def test_foreign(self, origin: Host, tmp_path: Path) -> None:
        """A PKCS#12 file of something else is no backup."""
        key, crt, p12 = (str(tmp_path / name) for name in ("key", "crt", "p12"))
        for command in (
            f"req -x509 -newkey ec -pkeyopt group:P-256 -nodes -keyout {key} -out {crt} -subj /O=x",
            f"pkcs12 -export -inkey {key} -in {crt} -out {p12} -passout pass:correct-horse",
        ):
            subprocess.run(["openssl", *command.split()], capture_output=True, check=True)
        with pytest.raises(BackupDamaged, match="no keys of a provider"):
            origin.providers.verify(Path(p12), b"correct-horse")


def test_requirement_travels(origin: Host, tmp_path: Path) -> None:
    """That hosts must seal with a TPM is part of a backup, in both formats."""
    del origin
    host = host_at(tmp_path / "h")
    host.providers.init("main")
    rewrite(host, "main", require_host_tpm=True)
    provider = tmp_path / "h/providers/main.provider"
    for form in Format:
        host.providers.backup("main", tmp_path / form.value, LONG, form=form)
        assert host.providers.open_backup(tmp_path / form.value, LONG).require_host_tpm
    assert not host_at(tmp_path / "g").providers.list()
    assert PASSPHRASE not in provider.read_bytes()
