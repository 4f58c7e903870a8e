"""tpm2-openssl's provider: OpenSSL makes keys in the TPM and uses them."""

import os
import subprocess

import pytest

from tests.clients.simulators import Tools

pytestmark = pytest.mark.slow

MESSAGE = b"a message to sign or encrypt"
ALGORITHMS = {
    "RSA": "RSA -pkeyopt bits:2048",
    "EC-256": "EC -pkeyopt group:P-256",
    "EC-384": "EC -pkeyopt group:P-384",
}


class Provider:
    """The openssl program with keys in a TPM, and the same program without, which judges."""

    def __init__(self, tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tools = tools
        monkeypatch.setenv("TPM2OPENSSL_TCTI", tools.tcti)
        tools.write("message", MESSAGE)

    def __call__(self, command: str) -> str:
        """Run openssl with the provider."""
        subcommand, _, rest = command.partition(" ")
        return self.tools.openssl(
            f"{subcommand} -provider tpm2 -provider default -propquery ?provider=tpm2 {rest}"
        )

    def refused(self, command: str) -> str:
        """Run openssl with the provider, to no success; what it said."""
        with pytest.raises(AssertionError) as refusal:
            self(command)
        return str(refusal.value)

    def generate(self, algorithm: str, password: str = "") -> None:
        """Make a key in key.pem, which is of use to its TPM alone, and its public part in public.pem."""
        option = f"-pkeyopt user-auth:{password}" if password else ""
        self(f"genpkey -algorithm {algorithm} {option} -out key.pem")
        assert b"BEGIN TSS2 PRIVATE KEY" in self.tools.read("key.pem")
        self(f"pkey -in key.pem -passin pass:{password} -pubout -out public.pem")


@pytest.fixture
def provider(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> Provider:
    """OpenSSL with a TPM of its own."""
    listing = ["openssl", "list", "-providers", "-provider", "default", "-provider", "tpm2"]
    environment = {**os.environ, "TPM2OPENSSL_TCTI": tools.tcti}
    if (
        "TPM 2.0 Provider"
        not in subprocess.run(listing, env=environment, capture_output=True, text=True, check=False).stdout
    ):
        pytest.skip("tpm2-openssl is not installed")
    return Provider(tools, monkeypatch)


class TestSignature:
    """Part 3, 20.2: TPM2_Sign"""

    @pytest.mark.parametrize("algorithm", ALGORITHMS.values(), ids=ALGORITHMS)
    @pytest.mark.parametrize("digest", ["sha256", "sha384"])
    def test_verified_without_the_tpm(self, provider: Provider, algorithm: str, digest: str) -> None:
        """What the TPM signed is accepted with the public key, and not for another message."""
        provider.generate(algorithm)
        provider(f"dgst -{digest} -sign key.pem -out signature message")

        verify = f"dgst -{digest} -verify public.pem -signature signature message"
        assert "Verified OK" in provider.tools.openssl(verify)
        provider.tools.write("message", b"another message")
        with pytest.raises(AssertionError, match="openssl dgst"):
            provider.tools.openssl(verify)

    def test_pss(self, provider: Provider) -> None:
        """An RSA key signs with PSS padding too."""
        provider.generate(ALGORITHMS["RSA"])
        provider("dgst -sha256 -sigopt rsa_padding_mode:pss -sign key.pem -out signature message")

        judge = "dgst -sha256 -sigopt rsa_padding_mode:pss -verify public.pem -signature signature message"
        assert "Verified OK" in provider.tools.openssl(judge)

    def test_persistent(self, provider: Provider) -> None:
        """A key that tpm2-tools made persistent is used by its handle."""
        provider.tools(
            "createprimary -C o -G ecc256:ecdsa -a sign|fixedtpm|fixedparent|"
            "sensitivedataorigin|userwithauth -c key.ctx -Q"
        )
        provider.tools("evictcontrol -C o -c key.ctx 0x81000010 -Q")
        provider.tools("readpublic -c key.ctx -f pem -o public.pem -Q")
        provider("dgst -sha256 -sign handle:0x81000010 -out signature message")

        judge = "dgst -sha256 -verify public.pem -signature signature message"
        assert "Verified OK" in provider.tools.openssl(judge)


class TestCertificate:
    """PKCS #10 and X.509 with keys of the TPM"""

    @pytest.mark.parametrize("algorithm", ALGORITHMS.values(), ids=ALGORITHMS)
    def test_self_signed(self, provider: Provider, algorithm: str) -> None:
        """A certificate that the TPM's key signed for itself holds its public key and is valid."""
        provider.generate(algorithm)
        provider("req -new -x509 -key key.pem -subj /CN=TPM -out certificate.pem")

        judge = provider.tools.openssl
        assert judge("verify -CAfile certificate.pem certificate.pem") == "certificate.pem: OK\n"
        assert judge("x509 -in certificate.pem -noout -pubkey") == provider.tools.read("public.pem").decode()

    @pytest.mark.parametrize("algorithm", ALGORITHMS.values(), ids=ALGORITHMS)
    def test_request(self, provider: Provider, algorithm: str) -> None:
        """A request is signed by the key that it is for."""
        provider.generate(algorithm)
        provider("req -new -key key.pem -subj /CN=TPM -out request.pem")

        provider.tools.openssl("req -in request.pem -verify -noout")
        public = provider.tools.openssl("req -in request.pem -noout -pubkey")
        assert public == provider.tools.read("public.pem").decode()


class TestSecrets:
    """Part 3, 14.3 and 14.5: TPM2_RSA_Decrypt, TPM2_ECDH_ZGen"""

    def test_decrypt(self, provider: Provider) -> None:
        """What was encrypted to the public key comes back with the key's password, and with no other."""
        provider.generate(ALGORITHMS["RSA"], password="right")
        provider.tools.openssl("pkeyutl -encrypt -pubin -inkey public.pem -in message -out cipher")
        decrypt = "pkeyutl -decrypt -inkey key.pem -in cipher -out plain"
        provider(f"{decrypt} -passin pass:right")

        assert provider.tools.read("plain") == MESSAGE
        assert "authorization HMAC check failed" in provider.refused(f"{decrypt} -passin pass:wrong")

    def test_derive(self, provider: Provider) -> None:
        """Two sides of ECDH, one of them in the TPM, come to the same secret."""
        provider.generate(ALGORITHMS["EC-256"])
        judge = provider.tools.openssl
        judge(f"genpkey -algorithm {ALGORITHMS['EC-256']} -out peer.pem")
        judge("pkey -in peer.pem -pubout -out peer_public.pem")
        provider("pkeyutl -derive -inkey key.pem -peerkey peer_public.pem -out one")
        judge("pkeyutl -derive -inkey peer.pem -peerkey public.pem -out two")

        assert provider.tools.read("one") == provider.tools.read("two")


def test_another_tpm(provider: Provider) -> None:
    """After a new owner's seed the key's file is of no use."""
    provider.generate(ALGORITHMS["EC-256"])
    provider.tools("clear")

    # TPM_RC_INTEGRITY of parameter 1
    assert "0x000001df" in provider.refused("dgst -sha256 -sign key.pem -out signature message")
