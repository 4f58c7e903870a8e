"""Keys and certificates of a new TPM, judged by tpm2-tools, tpm2-pytss and openssl."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from vtpm.daemon.authority.certifier import LocalCertifier
from vtpm.daemon.background import Background
from vtpm.engine.tpm import Tpm
from vtpm.manufacture.certificates import Authority, Model
from vtpm.manufacture.identity import model_of, specification_of
from vtpm.manufacture.provision import provision
from vtpm.manufacture.templates import EK, PLATFORM_CERTIFICATE
from vtpm.spec.constants import TPM_ALG

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("tpm2_getekcertificate") is None, reason="tpm2-tools is not installed"),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed"),
]

INDICES = [key.value.certificate for key in EK]
EK_OID, PLATFORM_OID = "2.23.133.8.1", "2.23.133.8.2"


class Platform:
    """A TPM that has every key, served at a port, and the programs that look at it."""

    def __init__(self, directory: Path, tcti: str) -> None:
        self.directory, self.tcti = directory, tcti

    def run(self, *words: str) -> str:
        """Run a program to its end, and give what it said."""
        environment = {**os.environ, "TPM2TOOLS_TCTI": self.tcti}
        done = subprocess.run(
            words, cwd=self.directory, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def read(self, index: int) -> Path:
        """The file to which tpm2_nvread has written an Index."""
        file = self.directory / f"{index:08x}.der"
        self.run("tpm2_nvread", f"0x{index:08x}", "-o", str(file))
        return file

    def text(self, index: int) -> str:
        """What openssl says of the certificate in an Index."""
        return self.run("openssl", "x509", "-inform", "DER", "-in", str(self.read(index)), "-noout", "-text")


def served(directory: Path, keys: Mapping[str, bytes], root: Authority) -> Iterator[Platform]:
    """A TPM with these blobs, and the authority's certificate beside it."""
    directory.mkdir()
    (directory / "root.pem").write_bytes(root.certificate.public_bytes(Encoding.PEM))
    with Background(os.urandom, blobs=keys) as server:
        yield Platform(directory, f"swtpm:host=127.0.0.1,port={server.swtpm_port}")


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A TPM with every endorsement key there is, and certificates of an authority."""
    root = Authority.make(ec.generate_private_key(ec.SECP384R1()), "an authority", 1, datetime.now(UTC))
    tpm = Tpm.manufacture(os.urandom)
    certifier = LocalCertifier(
        root, "a guest", model_of(tpm), Model("A maker", "A model", "3"), specification_of(tpm)
    )
    provision(tpm, certifier, keys=list(EK), srk=True, banks=[TPM_ALG.SHA256, TPM_ALG.SHA384])
    yield from served(tmp_path_factory.mktemp("certificates") / "work", tpm.snapshot(), root)


class TestChain:
    """TCG EK Credential Profile, 3.2"""

    @pytest.mark.parametrize("index", [*INDICES, PLATFORM_CERTIFICATE], ids=lambda index: f"{index:08x}")
    def test_verifies(self, platform: Platform, index: int) -> None:
        """Openssl verifies each of them strictly, from the Index up to the authority."""
        file = platform.read(index)
        pem = file.with_suffix(".pem")
        platform.run("openssl", "x509", "-inform", "DER", "-in", str(file), "-out", str(pem))
        assert "OK" in platform.run("openssl", "verify", "-x509_strict", "-CAfile", "root.pem", str(pem))

    @pytest.mark.parametrize("key", EK)
    def test_key(self, platform: Platform, key: EK) -> None:
        """The certificate's key is the one at the persistent handle, as tpm2_readpublic prints it."""
        platform.run("tpm2_readpublic", "-c", f"0x{key.value.handle:08x}", "-f", "pem", "-o", "key.pem")
        file = str(platform.read(key.value.certificate))
        certified = platform.run("openssl", "x509", "-inform", "DER", "-in", file, "-noout", "-pubkey")
        told = platform.run("openssl", "pkey", "-pubin", "-in", "key.pem")
        assert certified == told

    @pytest.mark.parametrize("key", EK)
    def test_attributes(self, platform: Platform, key: EK) -> None:
        """3.1.2, 3.2: maker, model, version; purpose; usage by the kind of key; no authority."""
        text = platform.text(key.value.certificate)
        assert "DirName:/2.23.133.2.1=id:5654504D/2.23.133.2.2=vtpm/2.23.133.2.3=id:" in text
        assert EK_OID in text
        assert PLATFORM_OID not in text
        assert "CA:FALSE" in text
        usage = "Key Encipherment" if key.name.startswith("RSA") else "Key Agreement"
        assert f"X509v3 Key Usage: critical\n                {usage}\n" in text
        assert "X509v3 Subject Directory Attributes:" in text
        assert "X509v3 Authority Key Identifier:" in text

    def test_specification(self, platform: Platform) -> None:
        """3.1.3: the family, level and revision are what the TPM's capabilities say."""
        file = str(platform.read(INDICES[0]))
        lines = platform.run("openssl", "asn1parse", "-inform", "DER", "-in", file).splitlines()
        at = next(i for i, line in enumerate(lines) if "Subject Directory Attributes" in line)
        inside = lines[at + 1].rpartition(":")[2]
        (platform.directory / "attributes.der").write_bytes(bytes.fromhex(inside))
        told = platform.run("openssl", "asn1parse", "-inform", "DER", "-in", "attributes.der")
        values = [line.split(":", 3)[-1] for line in told.splitlines() if "prim" in line]
        fixed = platform.run("tpm2_getcap", "properties-fixed")
        revision = fixed.split("TPM2_PT_REVISION:")[1].split("value:")[1].split()[0]
        level = int(fixed.split("TPM2_PT_LEVEL:")[1].split("raw:")[1].split()[0], 0)
        assert values[0].strip() == "2.23.133.2.16"
        assert values[1:] == ["2.0", f"{level:02X}", f"{round(float(revision) * 100):02X}"]

    def test_platform(self, platform: Platform) -> None:
        """The platform's certificate names the platform, and is for nothing else."""
        text = platform.text(PLATFORM_CERTIFICATE)
        assert "DirName:/2.23.133.5.1.1=A maker/2.23.133.5.1.4=A model/2.23.133.5.1.5=3" in text
        assert PLATFORM_OID in text
        assert EK_OID not in text


class TestPlaces:
    """2.2: where keys and certificates are"""

    def test_getekcertificate(self, platform: Platform) -> None:
        """tpm2_getekcertificate finds those of the low range, which verify."""
        platform.run("tpm2_getekcertificate", "-o", "rsa.der", "-o", "ecc.der")
        for name, index in (("rsa.der", 0x01C00002), ("ecc.der", 0x01C0000A)):
            assert (platform.directory / name).read_bytes() == platform.read(index).read_bytes()

    @pytest.mark.parametrize(("algorithm", "handle"), [("rsa", 0x81010001), ("ecc", 0x8101000A)])
    def test_createek(self, platform: Platform, algorithm: str, handle: int) -> None:
        """tpm2_createek makes the same key from its own template, which is that of the low range."""
        platform.run("tpm2_createek", "-c", "ek.ctx", "-G", algorithm, "-u", "made.pub")
        platform.run("tpm2_readpublic", "-c", f"0x{handle:08x}", "-o", "kept.pub")
        assert (platform.directory / "made.pub").read_bytes() == (
            platform.directory / "kept.pub"
        ).read_bytes()
        platform.run("tpm2_flushcontext", "-t")

    @pytest.mark.parametrize("index", [*INDICES, PLATFORM_CERTIFICATE], ids=lambda index: f"{index:08x}")
    def test_locked(self, platform: Platform, index: int) -> None:
        """2.2.1.5.1: written, locked, the platform's to write, anybody's to read."""
        told = platform.run("tpm2_nvreadpublic", f"0x{index:08x}")
        attributes = set(told.split("friendly:")[-1].split()[0].split("|"))
        assert attributes == {
            *("ppwrite", "writedefine", "ppread", "ownerread", "authread", "no_da"),
            *("platformcreate", "writelocked", "written"),
        }

    def test_storage_root_key(self, platform: Platform) -> None:
        """TCG TPM v2.0 Provisioning Guidance, 7.5.1: the attributes that its template gives it."""
        told = platform.run("tpm2_readpublic", "-c", "0x81000001")
        flags = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt"
        assert f"value: {flags}" in told
        assert "raw: 0x30472" in told

    def test_banks(self, platform: Platform) -> None:
        """The banks that were asked for are active, and no others."""
        told = platform.run("tpm2_getcap", "pcrs")
        active = {line.split(":")[0].strip(" -") for line in told.splitlines() if "[ 0" in line}
        assert active == {"sha256", "sha384"}

    def test_pytss(self, platform: Platform) -> None:
        """tpm2-pytss reads the same octets through ESAPI, with the Index's own empty authorization."""
        tss = pytest.importorskip("tpm2_pytss", reason="tpm2-pytss is not installed")
        expected = platform.read(0x01C00016).read_bytes()
        with tss.ESAPI(platform.tcti) as esys:
            index = esys.tr_from_tpmpublic(0x01C00016)
            public, _name = esys.nv_read_public(index)
            size = public.nvPublic.dataSize
            octets = b"".join(
                bytes(esys.nv_read(index, min(512, size - at), at, auth_handle=index))
                for at in range(0, size, 512)
            )
        assert octets == expected
