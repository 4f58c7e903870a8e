"""The local certificate authority: its key under the key provider, in a token, or in a file."""

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from nvstore import Cost, Host, NvstoreError, ProviderMissing, ProviderUnverified
from vtpm.daemon.authority.local import CERTIFICATE, KEY, SECRET, AuthorityError, LocalAuthority, host_beside
from vtpm.daemon.authority.token import TokenError, TokenPlace
from vtpm.manufacture.certificates import Authority, AuthorityKey

CHEAP = Cost(64, 1, 1)
PASSPHRASE = b"correct horse battery"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
SOFTHSM = next(
    (
        path
        for path in map(
            Path, ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so")
        )
        if path.exists()
    ),
    None,
)
PIN = "1234"


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host whose provider has a verified backup."""
    host = Host(tmp_path / "state", passphrase_cost=CHEAP, backup_cost=CHEAP)
    host.providers.init("main")
    host.providers.backup("main", tmp_path / "main.backup", PASSPHRASE)
    host.providers.verify(tmp_path / "main.backup", PASSPHRASE)
    return host


@pytest.fixture
def local(host: Host) -> LocalAuthority:
    """The authority of that host, which is not made yet."""
    return LocalAuthority(host.directory / "authority", host)


def plain_key(local: LocalAuthority) -> bytes:
    """The authority as older versions kept it: its key in a file."""
    LocalAuthority(local.directory, None).open()
    return (local.directory / KEY).read_bytes()


def name(text: str) -> x509.Name:
    """A name with nothing but this."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def check(authority: Authority) -> None:
    """The authority's key is that of its certificate: what it signs verifies."""
    request = authority.request("other")
    assert x509.load_pem_x509_csr(request).public_key() == authority.certificate.public_key()
    assert x509.load_pem_x509_csr(request).is_signature_valid


class TestSealed:
    """The key is a secret of the host, under its provider"""

    def test_made_once(self, local: LocalAuthority, host: Host) -> None:
        """It is made when it is first needed; no file holds its key."""
        first = local.open()
        check(first)
        assert local.open().certificate == first.certificate
        assert SECRET in host.vault
        files = [path for path in host.directory.rglob("*") if path.is_file()]
        assert not [path for path in files if b"PRIVATE KEY" in path.read_bytes()]
        assert local.describe()["provider"] == "main"

    def test_rotation(self, local: LocalAuthority, host: Host, tmp_path: Path) -> None:
        """After its provider's key was rotated and the old one retired, it is the same authority."""
        before = local.open().certificate
        old = bytes.fromhex(host.vault.show(SECRET).kdk_id)
        host.rotations.begin("main")
        host.providers.backup("main", tmp_path / "second.backup", PASSPHRASE)
        host.providers.verify(tmp_path / "second.backup", PASSPHRASE)
        host.rotations.promote("main")
        assert host.vault.renew("main") == [SECRET]
        host.rotations.retire("main", old)
        assert local.open().certificate == before
        check(local.open())

    def test_provider(self, tmp_path: Path) -> None:
        """Without a provider, or one whose backup was read back, none is made, and no file with a key."""
        host = Host(tmp_path / "new", passphrase_cost=CHEAP)
        local = LocalAuthority(host.directory / "authority", host)
        with pytest.raises(ProviderMissing):
            local.open()
        host.providers.init("main")
        with pytest.raises(ProviderUnverified):
            local.open()
        assert list(local.directory.iterdir()) == []
        check(LocalAuthority(local.directory, host, allow_unverified=True).open())

    def test_without_its_provider(self, local: LocalAuthority, host: Host) -> None:
        """With the provider's key lost, the error is the provider's; nothing is made in its place."""
        certificate = local.open().certificate
        (host.directory / "keys/main.key").unlink()
        other = Host(host.directory)
        with pytest.raises(NvstoreError, match=r"main\.key"):
            LocalAuthority(local.directory, other).open()
        assert local.describe()["serial"] == f"{certificate.serial_number:x}"

    def test_key_lost(self, local: LocalAuthority, host: Host) -> None:
        """A certificate without its key is an error that says what to restore; so is one of another key."""
        local.open()
        host.vault.remove(SECRET)
        with pytest.raises(AuthorityError, match=r"authority\.secret"):
            local.open()
        certificate = (local.directory / CERTIFICATE).read_bytes()
        local.make("second", None, replace=True)
        (local.directory / CERTIFICATE).write_bytes(certificate)
        with pytest.raises(AuthorityError, match="is not that of the authority's key"):
            local.open()
        (local.directory / CERTIFICATE).write_bytes(b"none")
        with pytest.raises(AuthorityError, match="restore it from a backup"):
            local.open()

    def test_interrupted(self, local: LocalAuthority) -> None:
        """Power lost between key and certificate: the key is certified when it is next needed."""
        key = local.open().certificate.public_key()
        (local.directory / CERTIFICATE).unlink()
        assert local.open().certificate.public_key() == key

    def test_replaced(self, local: LocalAuthority) -> None:
        """A new authority is made on purpose only; the certificate of the old one is kept."""
        first = local.open().certificate
        with pytest.raises(AuthorityError, match="replace"):
            local.make("second", None)
        second = local.make("second", None, replace=True).certificate
        assert second.public_key() != first.public_key()
        assert local.open().certificate == second
        kept = local.directory / f"authority-{first.serial_number:x}.pem"
        assert x509.load_pem_x509_certificate(kept.read_bytes()) == first

    def test_removed(self, local: LocalAuthority, host: Host) -> None:
        """Given up, its key is gone and its certificate kept; the next one that is needed is another."""
        first = local.open().certificate
        local.remove()
        assert SECRET not in host.vault
        assert not local.exists
        assert (local.directory / f"authority-{first.serial_number:x}.pem").exists()
        with pytest.raises(AuthorityError, match="nothing is to be done"):
            local.remove()
        assert local.open().certificate.public_key() != first.public_key()


class TestMigration:
    """A key in a file, as older versions had it"""

    def test_first_use(self, local: LocalAuthority, host: Host, caplog: pytest.LogCaptureFixture) -> None:
        """It is put under the provider at the first use, audited, said, and the file is gone."""
        plain_key(local)
        before = (local.directory / CERTIFICATE).read_bytes()
        check(local.open())
        assert not (local.directory / KEY).exists()
        assert (local.directory / CERTIFICATE).read_bytes() == before
        assert host.audit.entries()[-1]["op"] == "authority-seal"
        assert host.audit.entries()[-1]["provider"] == "main"
        assert "whoever has a copy of the file can still sign" in caplog.text

    def test_explicitly(self, local: LocalAuthority) -> None:
        """Or when it is asked for, which is refused where there is nothing to do."""
        with pytest.raises(AuthorityError, match="nothing is to be done"):
            local.seal()
        plain_key(local)
        local.seal()
        assert not (local.directory / KEY).exists()
        with pytest.raises(AuthorityError, match="already"):
            local.seal()

    def test_interrupted(self, local: LocalAuthority) -> None:
        """Power lost before the file was removed: the next use removes it. Another key's file is refused."""
        pem = plain_key(local)
        local.open()
        (local.directory / KEY).write_bytes(pem)
        check(local.open())
        assert not (local.directory / KEY).exists()
        other = ec.generate_private_key(ec.SECP384R1())
        (local.directory / KEY).write_bytes(
            other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        with pytest.raises(AuthorityError, match="move the one away"):
            local.open()
        assert (local.directory / KEY).exists()

    @pytest.mark.parametrize("content", [b"", b"no key"])
    def test_no_key(self, local: LocalAuthority, content: bytes) -> None:
        """A file that is no key stays, and the error names it."""
        plain_key(local)
        (local.directory / KEY).write_bytes(content)
        with pytest.raises(AuthorityError, match=r"authority\.key"):
            local.open()
        assert (local.directory / KEY).read_bytes() == content

    def test_beside(self, local: LocalAuthority, tmp_path: Path) -> None:
        """Programs in swtpm's place use the provider that lies beside the authority, if there is one."""
        beside = host_beside(local.directory)
        assert beside is not None
        assert beside.directory == local.directory.parent
        assert host_beside(tmp_path / "authority") is None
        Host(tmp_path / "empty")
        assert host_beside(tmp_path / "empty/authority") is None


def certified(
    local: LocalAuthority, key: AuthorityKey | None = None, *, is_authority: bool = True
) -> tuple[bytes, bytes]:
    """What another authority makes of the request: the certificate, and that of the root."""
    root_key = ec.generate_private_key(ec.SECP256R1())
    root = Authority.make(root_key, "root", 7, NOW).certificate
    request = x509.load_pem_x509_csr(local.request("subordinate"))
    public = request.public_key() if key is None else key.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey | rsa.RSAPublicKey)
    made = (
        x509.CertificateBuilder()
        .subject_name(request.subject)
        .issuer_name(root.subject)
        .public_key(public)
        .serial_number(8)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=900))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .sign(root_key, SHA256())
    )
    return made.public_bytes(Encoding.PEM), root.public_bytes(Encoding.PEM)


class TestSubordinate:
    """Another authority certifies this one"""

    def test_install(self, local: LocalAuthority) -> None:
        """Its certificate is taken, with those above it; what is certified then names it as the issuer."""
        own, root = certified(local)
        assert local.install(own + root).issuer == name("root")
        assert local.open().certificate.subject == name("subordinate")
        check(local.open())
        assert local.describe()["certificate"].count("BEGIN CERTIFICATE") == 2

    def test_refused(self, local: LocalAuthority) -> None:
        """One of another key, of no authority, or in the wrong order changes nothing."""
        before = local.open().certificate
        own, root = certified(local)
        _, other_root = certified(local)
        other = certified(local, ec.generate_private_key(ec.SECP384R1()))[0]
        for octets, why in (
            (other, "not of this authority's key"),
            (certified(local, is_authority=False)[0], "not one of an authority"),
            (root + own, "not of this authority's key"),
            (own + other_root, "is not signed by"),
            (b"nothing", "no certificates"),
        ):
            with pytest.raises(AuthorityError, match=why):
                local.install(octets)
        assert local.open().certificate == before


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TokenPlace:
    """A token of SoftHSM's, without a key."""
    pytest.importorskip("pkcs11", reason="python-pkcs11 is not installed")
    if SOFTHSM is None or shutil.which("softhsm2-util") is None:
        pytest.skip("softhsm2 is not installed")
    (tmp_path / "tokens").mkdir()
    configuration = tmp_path / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {tmp_path}/tokens\nlog.level = ERROR\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(configuration))
    make = ["softhsm2-util", "--init-token", "--free", "--label", "vtpm", "--pin", PIN, "--so-pin", "5678"]
    subprocess.run(make, check=True, capture_output=True)
    return TokenPlace(str(SOFTHSM), "vtpm", "authority", PIN)


TOKEN_PROGRAM = """
import sys
from pathlib import Path
from nvstore import Host
from vtpm.daemon.authority.local import LocalAuthority
from vtpm.daemon.authority.token import TokenPlace
host = Host(sys.argv[1])
local = LocalAuthority(host.directory / "authority", host)
if len(sys.argv) > 2:
    local.make("of a token", TokenPlace(*sys.argv[2:]))
Path(sys.argv[1], "request").write_bytes(local.request("subordinate"))
"""
"""SoftHSM reads its configuration once in a process, so each of its tokens needs a process of its own."""


def run_with_token(*words: str) -> "subprocess.CompletedProcess[str]":
    """Run the program to its end."""
    return subprocess.run(
        [sys.executable, "-c", TOKEN_PROGRAM, *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.environ.get("PYTHONPATH", "")},
    )


@pytest.mark.slow
class TestToken:
    """PKCS #11: the key signs in the token, and the PIN is under the provider"""

    def test_made(self, local: LocalAuthority, host: Host, token: TokenPlace) -> None:
        """A key is made there, certifies itself, and is found again; no file of ours has it or its PIN."""
        words = [token.module, token.token, token.label, PIN]
        made = run_with_token(str(host.directory), *words)
        assert made.returncode == 0, made.stderr
        again = run_with_token(str(host.directory))
        assert again.returncode == 0, again.stderr
        request = x509.load_pem_x509_csr((host.directory / "request").read_bytes())
        assert request.is_signature_valid
        certificate = x509.load_pem_x509_certificate((local.directory / CERTIFICATE).read_bytes())
        certificate.verify_directly_issued_by(certificate)
        assert request.public_key() == certificate.public_key()
        for path in host.directory.rglob("*"):
            assert not path.is_file() or PIN.encode() not in path.read_bytes().split(b'"')
        assert PIN not in repr(token)
        assert PIN not in str(token)

    @pytest.mark.parametrize("kind", ["rsa", "p256"])
    def test_key_that_is_there(
        self, local: LocalAuthority, host: Host, token: TokenPlace, tmp_path: Path, kind: str
    ) -> None:
        """A key that the token has already is used, be it of RSA or on another curve."""
        key: AuthorityKey = ec.generate_private_key(ec.SECP256R1())
        if kind == "rsa":
            key = rsa.generate_private_key(65537, 2048)
        pem = tmp_path / "imported.pem"
        pem.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        give = ["softhsm2-util", "--import", str(pem), "--token", "vtpm", "--label", token.label]
        subprocess.run([*give, "--id", "01", "--pin", PIN], check=True, capture_output=True)

        made = run_with_token(str(host.directory), token.module, token.token, token.label, PIN)

        assert made.returncode == 0, made.stderr
        certificate = x509.load_pem_x509_certificate((local.directory / CERTIFICATE).read_bytes())
        assert certificate.public_key() == key.public_key()
        certificate.verify_directly_issued_by(certificate)

    @pytest.mark.parametrize(
        ("changed", "why"),
        [
            ({"token": "other"}, "no such token"),
            ({"pin": "999999"}, "PIN is refused"),
            ({"module": "/nonexistent/module.so"}, "no such library"),
            ({"module": "/bin/true"}, "see to the token"),
        ],
    )
    def test_refused(
        self, local: LocalAuthority, token: TokenPlace, changed: dict[str, str], why: str
    ) -> None:
        """What is wrong with the token is said, and nothing was made."""
        words = {**token.to_json(), **changed}
        refused = run_with_token(str(local.directory.parent), *words.values())
        assert "TokenError" in refused.stderr
        assert why in refused.stderr
        assert not local.exists

    def test_without_provider(self, tmp_path: Path, token: TokenPlace) -> None:
        """Its PIN has no place without a provider, so it is refused; a key that is not there is, too."""
        with pytest.raises(TokenError, match="no such key"):
            token.key()
        with pytest.raises(AuthorityError, match="needs a key provider"):
            LocalAuthority(tmp_path / "alone", None).make("name", token)
