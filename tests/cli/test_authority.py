"""`vtpm authority` and `vtpm platform`, as an operator uses them, with openssl as the other authority."""

import json
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography import x509

from nvstore import Host
from tests.cli.hypervisor import Hypervisor
from tests.cli.test_vm import Installation
from vtpm.manufacture.templates import PLATFORM_CERTIFICATE
from vtpm.spec.constants import TPM_RH
from vtpm.wire.error import TPM_RC

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed"),
]
ROOT = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-384 -nodes -subj /CN=root -days 9 "
USAGE = "-addext keyUsage=critical,keyCertSign,cRLSign -keyout ca.key -out ca.pem"


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    """An installation with a VM, and the key and certificate of another authority."""
    made = Installation(tmp_path)
    made.run("provider", "init", "main")
    made.run("create", "guest", "--allow-unverified")
    subprocess.run(shlex.split(ROOT + USAGE), cwd=tmp_path, check=True, capture_output=True)
    return made


def platform_of(installation: Installation) -> x509.Certificate:
    """The platform certificate that the store holds."""
    (found,) = json.loads(installation.run("platform", "show", "guest", "--json"))
    return x509.load_pem_x509_certificate(found["certificate"].encode())


def answered(installation: Installation, told: str) -> str:
    """The certificate that openssl makes of a request, by the line that the command has told."""
    (line,) = told.splitlines()
    subprocess.run(shlex.split(line), cwd=installation.directory, check=True, capture_output=True)
    return shlex.split(line)[-1]


class TestAuthority:
    """The local authority, certified by another one"""

    def test_subordinate(self, installation: Installation) -> None:
        """Openssl certifies the authority, and then verifies what it certifies, up to the root."""
        place = installation.directory
        file = answered(installation, installation.run("authority", "csr", str(place / "authority.csr")))
        assert "certified by CN=root" in installation.run("authority", "install", file)
        installation.run("ek", "renew", "guest")
        installation.run("platform", "renew", "guest")
        shown = [
            *json.loads(installation.run("ek", "guest", "--json")),
            *json.loads(installation.run("platform", "show", "guest", "--json")),
        ]
        for item in shown:
            (place / "leaf.pem").write_text(item["certificate"])
            verify = [
                "openssl",
                "verify",
                "-x509_strict",
                "-CAfile",
                "ca.pem",
                "-untrusted",
                file,
                "leaf.pem",
            ]
            subprocess.run(verify, cwd=place, check=True, capture_output=True)
        assert len(shown) == 3
        told = json.loads(installation.run("authority", "show", "--json"))
        assert told["issuer"] == "CN=root"
        assert told["provider"] == "main"

    def test_life(self, installation: Installation) -> None:
        """It is made once, moved to another provider, and replaced when it is asked for."""
        before = json.loads(installation.run("authority", "show", "--json"))
        assert "replace it" in installation.run("authority", "init", status=1)
        installation.run("provider", "init", "second")
        assert "verif" in installation.run("authority", "move", "second", status=1)
        backup = str(installation.directory / "second.backup")
        secret = ["--passphrase-file", str(installation.passphrase)]
        installation.run("provider", "backup", "second", "--out", backup, *secret)
        installation.run("provider", "verify", backup, *secret)
        installation.run("authority", "move", "second")
        assert json.loads(installation.run("authority", "show", "--json"))["provider"] == "second"
        words = ["--name", "another", "--provider", "second"]
        assert "CN=another: made" in installation.run("authority", "init", "--replace", "--yes", *words)
        after = json.loads(installation.run("authority", "show", "--json"))
        assert after["serial"] != before["serial"]
        ops = [entry["op"] for entry in Host(installation.directory / "state").audit.entries()]
        assert {"secret-put", "secret-move"} <= set(ops)

    def test_rekey(self, installation: Installation) -> None:
        """`vtpm rekey --all` puts its key under the new key of a rotated provider, and ends the rotation."""
        place, secret = installation.directory, ["--passphrase-file", str(installation.passphrase)]
        for name in ("first", "second"):
            installation.run("provider", "backup", "main", "--out", str(place / name), *secret)
            installation.run("provider", "verify", str(place / name), *secret)
            if name == "first":
                installation.run("provider", "rotate", "main")
        installation.run("provider", "rotate", "main", "--promote")
        assert "1 VMs and 1 secrets rekeyed" in installation.run("rekey", "--all")
        assert json.loads(installation.run("provider", "show", "main", "--json"))["state"] == "active"

    @pytest.mark.parametrize(
        ("words", "why"),
        [
            (["init", "--pkcs11-module", "/m"], "give all of"),
            (["init", "--pin-file", "/p"], "a PIN needs"),
            (
                [
                    "init",
                    "--replace",
                    "--yes",
                    *shlex.split("--pkcs11-module /m --pkcs11-token t --pkcs11-key k"),
                ],
                "/m",
            ),
            (["install", "/etc/hostname"], "no certificates in PEM"),
            (["seal"], "nothing is to be done"),
            (["move", "none"], "none"),
        ],
    )
    def test_refused(self, installation: Installation, words: list[str], why: str) -> None:
        """What cannot be done is said, and the authority stays what it is."""
        before = installation.run("authority", "show")
        status = 2 if "give" in why or "PIN" in why else 1
        assert why in installation.run("authority", *words, status=status)
        assert installation.run("authority", "show") == before


class TestPlatform:
    """The platform certificate can be replaced, while the VM runs and while it does not"""

    @pytest.mark.parametrize("is_running", [True, False])
    def test_renew(self, installation: Installation, *, is_running: bool) -> None:
        """A new one of the host's authority names the platform, is read at once, and is locked."""
        before = platform_of(installation)
        assert "QEMU, QEMU, 1" in installation.run("platform", "show", "guest")
        words = ["platform", "renew", "guest", "--platform", "A maker,A model,2"]
        if is_running:
            with installation.serving(), Hypervisor(installation.run_dir / "guest.sock") as guest:
                installation.run(*words)
                index = PLATFORM_CERTIFICATE
                size = guest.nv_read_public(index).check().nv_public.data_size
                read = guest.nv_read(index, index, size=min(size, 1024), offset=0).check().data
                assert guest.nv_write(TPM_RH.PLATFORM, index, data=b"x", offset=0).rc == TPM_RC.NV_LOCKED
                assert b"A model" in read
        else:
            installation.run(*words)
        after = platform_of(installation)
        assert after.public_key() == before.public_key()
        assert after.serial_number != before.serial_number
        assert "A maker, A model, 2" in installation.run("platform", "show", "guest")
        installation.run("platform", "renew", "guest")
        assert "A maker, A model, 2" in installation.run("platform", "show", "guest")

    def test_other_authority(self, installation: Installation) -> None:
        """A request that openssl answers becomes the certificate; one of an endorsement key is refused."""
        place = installation.directory
        told = installation.run(
            "platform", "csr", "guest", str(place / "platform.csr"), "--platform", "M,m,1"
        )
        file = answered(installation, told)
        installation.run("platform", "install", "guest", file)
        assert platform_of(installation).issuer.rfc4514_string() == "CN=root"
        assert "M, m, 1" in installation.run("platform", "show", "guest")
        assert "2.23.133.8.1 is absent" in installation.run("ek", "install", "guest", file, status=1)
        leaf = place / "leaf.pem"
        leaf.write_text(json.loads(installation.run("ek", "guest", "--json"))[0]["certificate"])
        assert "2.23.133.8.2 is absent" in installation.run(
            "platform", "install", "guest", str(leaf), status=1
        )

    def test_bare(self, installation: Installation) -> None:
        """A TPM without keys has no platform certificate, and gets none."""
        installation.run("create", "bare", "--allow-unverified", "--bare")
        assert "no platform certificate" in installation.run("platform", "show", "bare", status=1)
        assert "none to certify" in installation.run("platform", "renew", "bare", status=1)

    def test_keys(self, installation: Installation) -> None:
        """Other keys than the usual ones are made where they are asked for, each with a certificate."""
        installation.run("create", "other", "--allow-unverified", "--ek", "p521", "--ek", "p256")
        told = json.loads(installation.run("ek", "other", "--json"))
        assert [(item["key"], item["handle"], item["index"]) for item in told] == [
            ("ECC NIST_P256", "0x8101000a", "0x01c0000a"),
            ("ECC NIST_P521", "0x81010018", "0x01c00018"),
        ]
        create = ["create", "third", "--allow-unverified"]
        assert "given twice" in installation.run(*create, "--ek", "p256", "--ek", "p256", status=2)
        assert "seeds alone" in installation.run(*create, "--ek", "p256", "--bare", status=2)


@pytest.mark.skipif(shutil.which("swtpm_localca") is None, reason="swtpm-tools is not installed")
class TestTool:
    """`create_certs_tool`, as swtpm's own authority is called"""

    @pytest.fixture
    def configuration(self, tmp_path: Path) -> Path:
        """A configuration of swtpm_setup's, with an authority of its own."""
        ca = tmp_path / "ca"
        ca.mkdir()
        (tmp_path / "localca.conf").write_text(
            f"statedir = {ca}\nsigningkey = {ca}/key.pem\n"
            f"issuercert = {ca}/cert.pem\ncertserial = {ca}/serial\n"
        )
        options = "--platform-manufacturer QEMU\n--platform-version 2.1\n--platform-model QEMU\n"
        (tmp_path / "localca.options").write_text(options)
        conf = tmp_path / "swtpm_setup.conf"
        conf.write_text(
            f"create_certs_tool = {shutil.which('swtpm_localca')}\n"
            f"create_certs_tool_config = {tmp_path}/localca.conf\n"
            f"create_certs_tool_options = {tmp_path}/localca.options\n"
        )
        return conf

    def test_signs(self, installation: Installation, configuration: Path) -> None:
        """Its certificates are in the new TPM, and in one that is renewed; openssl verifies them."""
        place, tool = installation.directory, ["--certs-tool", str(configuration)]
        installation.run("create", "other", "--allow-unverified", *tool)
        installation.run("ek", "renew", "guest", *tool)
        shown = [
            *json.loads(installation.run("ek", "other", "--json")),
            *json.loads(installation.run("ek", "guest", "--json")),
            *json.loads(installation.run("platform", "show", "other", "--json")),
        ]
        for item in shown:
            (place / "leaf.pem").write_text(item["certificate"])
            root, issuer = "ca/swtpm-localca-rootca-cert.pem", "ca/cert.pem"
            verify = ["openssl", "verify", "-CAfile", root, "-untrusted", issuer, "leaf.pem"]
            subprocess.run(verify, cwd=place, check=True, capture_output=True)
        assert len(shown) == 5

    def test_refused(self, installation: Installation, configuration: Path) -> None:
        """A tool that fails, or a file that names none, leaves no TPM."""
        create = ["create", "other", "--allow-unverified", "--certs-tool", str(configuration)]
        configuration.write_text("create_certs_tool = /bin/false\n")
        assert "/bin/false ended with 1" in installation.run(*create, status=1)
        configuration.write_text("# nothing\n")
        assert "names no create_certs_tool" in installation.run(*create, status=2)
        configuration.write_bytes(b"\xff = \xff")
        assert "names no create_certs_tool" in installation.run(*create, status=2)
        configuration.unlink()
        configuration.mkdir()
        assert "is a directory" in installation.run(*create, status=2)
        assert "other" not in installation.run("list")
