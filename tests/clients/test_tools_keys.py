"""tpm2-tools 5.4: keys, and what they are used for."""

import hashlib
import hmac

import pytest

from tests.clients.simulators import Tools

pytestmark = pytest.mark.slow

MESSAGE = b"a message to sign, hash or encrypt"


@pytest.fixture
def primary(tools: Tools) -> Tools:
    """The tools, with an ECC storage key of the owner hierarchy in primary.ctx and a message."""
    tools("createprimary -C o -G ecc -c primary.ctx -Q")
    tools.write("message", MESSAGE)
    return tools


def load(tools: Tools, options: str) -> None:
    """Make a key under primary.ctx and load it into key.ctx."""
    tools(f"create -C primary.ctx {options} -u key.pub -r key.priv -Q")
    tools("load -C primary.ctx -u key.pub -r key.priv -c key.ctx -Q")


class TestHierarchies:
    """Part 3, 24.1: TPM2_CreatePrimary"""

    @pytest.mark.parametrize("hierarchy", ["o", "e", "p", "n"])
    def test_deterministic(self, tools: Tools, hierarchy: str) -> None:
        """The same template gives the same key from the seed of a hierarchy."""
        names = []
        for _ in range(2):
            tools(f"createprimary -C {hierarchy} -G ecc -c primary.ctx -Q")
            tools("readpublic -c primary.ctx -n name -Q")
            names.append(tools.read("name"))

        assert names[0] == names[1]

    @pytest.mark.parametrize("algorithm", ["rsa2048", "rsa3072", "ecc256", "ecc384"])
    def test_algorithms(self, tools: Tools, algorithm: str) -> None:
        """Storage keys exist in RSA and ECC."""
        tools(f"createprimary -C o -G {algorithm} -c primary.ctx -Q")

        assert "restricted|decrypt" in tools("readpublic -c primary.ctx")

    def test_unique(self, tools: Tools) -> None:
        """Octets in the template's unique field give another key."""
        tools("createprimary -C o -G ecc -c primary.ctx -Q")
        tools("readpublic -c primary.ctx -n one -Q")
        tools.write("unique", bytes([32, 0]) + b"x" * 32 + bytes([32, 0]) + b"y" * 32)
        tools("createprimary -C o -G ecc -u unique -c primary.ctx -Q")
        tools("readpublic -c primary.ctx -n two -Q")

        assert tools.read("one") != tools.read("two")


class TestSign:
    """Part 3, clause 20: signatures"""

    @pytest.mark.parametrize("scheme", ["rsassa", "rsapss"])
    @pytest.mark.parametrize("digest", ["sha1", "sha256", "sha384", "sha512"])
    def test_rsa(self, primary: Tools, scheme: str, digest: str) -> None:
        """The TPM and openssl accept an RSA signature, and the TPM refuses it for another message."""
        load(primary, "-G rsa2048")
        primary(f"sign -c key.ctx -g {digest} -s {scheme} -o signature message")

        primary(f"verifysignature -c key.ctx -g {digest} -m message -s signature -Q")
        primary("readpublic -c key.ctx -f pem -o key.pem -Q")
        primary(f"sign -c key.ctx -g {digest} -s {scheme} -f plain -o plain message")
        padding = "-sigopt rsa_padding_mode:pss" if scheme == "rsapss" else ""
        primary.openssl(f"dgst -{digest} -verify key.pem -signature plain {padding} message")
        primary.write("message", b"another message")
        assert "signature is not valid" in primary.refused(
            f"verifysignature -c key.ctx -g {digest} -m message -s signature"
        )

    @pytest.mark.parametrize(
        ("curve", "digest"), [("ecc256", "sha256"), ("ecc384", "sha384"), ("ecc256", "sha1")]
    )
    def test_ecdsa(self, primary: Tools, curve: str, digest: str) -> None:
        """The TPM and openssl accept an ECDSA signature."""
        load(primary, f"-G {curve}:ecdsa-{digest}")
        primary(f"sign -c key.ctx -g {digest} -o signature message")

        primary(f"verifysignature -c key.ctx -g {digest} -m message -s signature -Q")
        primary("readpublic -c key.ctx -f pem -o key.pem -Q")
        primary(f"sign -c key.ctx -g {digest} -f plain -o plain message")
        primary.openssl(f"dgst -{digest} -verify key.pem -signature plain message")

    def test_external(self, primary: Tools) -> None:
        """A signature that openssl made is accepted with the public key alone."""
        primary.openssl("ecparam -name prime256v1 -genkey -noout -out private.pem")
        primary.openssl("ec -in private.pem -pubout -out public.pem")
        primary.openssl("dgst -sha256 -sign private.pem -out signature message")

        primary("loadexternal -C o -G ecc -u public.pem -c external.ctx -Q")
        primary("verifysignature -c external.ctx -g sha256 -m message -s signature -f ecdsa -Q")

    def test_external_private(self, primary: Tools) -> None:
        """A private key that openssl made signs in the TPM."""
        primary.openssl("genrsa -out private.pem 2048")
        primary.openssl("rsa -in private.pem -pubout -out public.pem")

        primary("loadexternal -C n -G rsa -r private.pem -c external.ctx -Q")
        primary("sign -c external.ctx -g sha256 -s rsassa -f plain -o plain message")
        primary.openssl("dgst -sha256 -verify public.pem -signature plain message")

    def test_restricted(self, primary: Tools) -> None:
        """A restricted key signs what the TPM hashed, and nothing that looks like an attestation."""
        attributes = "restricted|sign|fixedtpm|fixedparent|sensitivedataorigin|userwithauth"
        load(primary, f"-G ecc:ecdsa-sha256:null -a '{attributes}'")
        primary("hash -C o -g sha256 -o digest -t ticket message")
        primary("sign -c key.ctx -g sha256 -d -t ticket -o signature digest")
        primary("verifysignature -c key.ctx -g sha256 -m message -s signature -Q")

        assert "ticket" in primary.refused("sign -c key.ctx -g sha256 -d -o signature digest")


class TestEncrypt:
    """Part 3, clauses 14 and 15: asymmetric and symmetric primitives"""

    @pytest.mark.parametrize("scheme", ["oaep", "rsaes"])
    def test_rsa(self, primary: Tools, scheme: str) -> None:
        """What was encrypted to an RSA key comes back."""
        load(primary, "-G rsa2048")
        primary(f"rsaencrypt -c key.ctx -s {scheme} -o cipher message")
        primary(f"rsadecrypt -c key.ctx -s {scheme} -o plain cipher")

        assert primary.read("plain") == MESSAGE

    def test_rsa_by_openssl(self, primary: Tools) -> None:
        """What openssl encrypted with OAEP is decrypted."""
        load(primary, "-G rsa2048")
        primary("readpublic -c key.ctx -f pem -o key.pem -Q")
        oaep = "-pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256"
        primary.openssl(f"pkeyutl -encrypt -pubin -inkey key.pem {oaep} -in message -out cipher")
        primary("rsadecrypt -c key.ctx -s oaep -o plain cipher")

        assert primary.read("plain") == MESSAGE

    @pytest.mark.parametrize("key", ["aes128", "aes256"])
    @pytest.mark.parametrize("mode", ["cfb", "cbc", "ctr", "ofb", "ecb"])
    def test_symmetric(self, primary: Tools, key: str, mode: str) -> None:
        """AES in each mode agrees with openssl, which gets the same key."""
        secret = bytes(range(int(key[3:]) // 8))
        plain = b"sixteen octets, " * 3
        primary.write("secret", secret)
        primary.write("iv", bytes(range(16)))
        primary.write("plain", plain)
        primary("import -C primary.ctx -G aes -i secret -u key.pub -r key.priv -Q")
        primary("load -C primary.ctx -u key.pub -r key.priv -c key.ctx -Q")
        primary(f"encryptdecrypt -c key.ctx -G {mode} -t iv -o cipher plain")
        iv = "" if mode == "ecb" else f"-iv {bytes(range(16)).hex()}"
        primary.openssl(f"enc -aes-{key[3:]}-{mode} -K {secret.hex()} {iv} -nopad -in plain -out expected")

        assert primary.read("cipher") == primary.read("expected")
        primary(f"encryptdecrypt -d -c key.ctx -G {mode} -t iv -o again cipher")
        assert primary.read("again") == plain


class TestHash:
    """Part 3, clause 15 and 17: digests and HMAC"""

    @pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha384", "sha512"])
    @pytest.mark.parametrize("size", [0, 100, 1024, 5000])
    def test_hash(self, tools: Tools, algorithm: str, size: int) -> None:
        """A digest is the one that other software computes, in one command or in a sequence."""
        tools.write("data", b"x" * size)
        tools(f"hash -C o -g {algorithm} -o digest data")

        assert tools.read("digest") == hashlib.new(algorithm, b"x" * size).digest()

    @pytest.mark.parametrize("size", [10, 5000])
    def test_hmac(self, primary: Tools, size: int) -> None:
        """An HMAC is the one of the imported key."""
        primary.write("secret", b"k" * 32)
        primary.write("data", b"x" * size)
        primary("import -C primary.ctx -G hmac -i secret -u key.pub -r key.priv -Q")
        primary("load -C primary.ctx -u key.pub -r key.priv -c key.ctx -Q")
        primary("hmac -c key.ctx -g sha256 -o mac data")

        assert primary.read("mac") == hmac.digest(b"k" * 32, b"x" * size, "sha256")


class TestKeyAgreement:
    """Part 3, 14.4 to 14.7: ECDH"""

    def test_keygen_and_zgen(self, primary: Tools) -> None:
        """Both sides of a one-pass agreement come to the same point."""
        load(primary, "-G ecc:ecdh")
        primary("ecdhkeygen -u ephemeral -o one -c key.ctx")
        primary("ecdhzgen -u ephemeral -o two -c key.ctx")

        assert primary.read("one") == primary.read("two")

    def test_parameters(self, tools: Tools) -> None:
        """The parameters of a curve are those of its standard: the order of P-256 among them."""
        tools("geteccparameters ecc256 -o parameters")

        order = "FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551"
        assert bytes.fromhex(order) in tools.read("parameters")

    def test_ephemeral(self, tools: Tools) -> None:
        """An ephemeral point comes with its counter."""
        tools("ecephemeral -u point -t counter ecc256")

        assert len(tools.read("counter")) == 2

    def test_two_phases(self, primary: Tools) -> None:
        """Static keys agree on the point that one phase gives; an ephemeral key serves one time."""
        load(primary, "-G ecc:ecdh")
        primary("ecephemeral -u own -t counter ecc256")
        primary("ecdhkeygen -u other -o expected -c key.ctx")
        count = int.from_bytes(primary.read("counter"), "little")
        agree = f"zgen2phase -c key.ctx --static-public other --ephemeral-public own -t {count}"
        primary(f"{agree} --output-Z1 static --output-Z2 ephemeral")

        assert primary.read("static") == primary.read("expected")
        assert primary.read("ephemeral") not in (primary.read("static"), primary.read("own"))
        assert "value is out of range" in primary.refused(f"{agree} --output-Z1 static --output-Z2 ephemeral")

    def test_commit(self, primary: Tools) -> None:
        """A commitment for ECDAA has its counter, and its points when a point is given."""
        load(primary, "-G ecc:ecdaa")
        primary("commit -c key.ctx -t counter --eccpoint-K K --eccpoint-L L -u E")

        assert len(primary.read("counter")) == 2


class TestObjects:
    """Part 3, clauses 12, 13 and 28: objects, duplication, persistence"""

    def test_wrong_auth(self, primary: Tools) -> None:
        """A key with a password does not sign without it."""
        load(primary, "-G ecc:ecdsa -p secret")
        primary("sign -c key.ctx -p secret -g sha256 -o signature message")

        assert "authorization HMAC check failed" in primary.refused(
            "sign -c key.ctx -p wrong -g sha256 -o signature message"
        )

    def test_change_auth(self, primary: Tools) -> None:
        """A changed password is the one of the new private area."""
        load(primary, "-G ecc:ecdsa -p old")
        primary("changeauth -c key.ctx -C primary.ctx -p old -r key.priv new")
        primary("load -C primary.ctx -u key.pub -r key.priv -c key.ctx -Q")

        primary("sign -c key.ctx -p new -g sha256 -o signature message")

    def test_evict_control(self, primary: Tools) -> None:
        """A persistent object answers at its handle, until it is evicted."""
        load(primary, "-G ecc:ecdsa")
        primary("evictcontrol -C o -c key.ctx 0x81000042 -Q")
        primary("sign -c 0x81000042 -g sha256 -o signature message")
        assert "0x81000042" in primary("getcap handles-persistent")

        primary("evictcontrol -C o -c 0x81000042 -Q")
        assert primary("getcap handles-persistent") == ""

    def test_seal(self, primary: Tools) -> None:
        """Sealed octets come back with the password alone."""
        primary("create -C primary.ctx -i- -p secret -u key.pub -r key.priv -Q", stdin=b"sealed octets")
        primary("load -C primary.ctx -u key.pub -r key.priv -c key.ctx -Q")

        assert primary("unseal -c key.ctx -p secret") == "sealed octets"
        assert "authorization HMAC check failed" in primary.refused("unseal -c key.ctx -p wrong")

    def test_wrong_parent(self, primary: Tools) -> None:
        """A private area does not load under another parent."""
        primary("create -C primary.ctx -G ecc:ecdsa -u key.pub -r key.priv -Q")
        primary("createprimary -C o -G rsa -c other.ctx -Q")

        assert "integrity check failed" in primary.refused(
            "load -C other.ctx -u key.pub -r key.priv -c key.ctx"
        )

    def test_import_of_an_openssl_key(self, primary: Tools) -> None:
        """A key made by openssl becomes a child of a storage key and signs."""
        primary.openssl("genrsa -out private.pem 2048")
        primary.openssl("rsa -in private.pem -pubout -out public.pem")
        primary("import -C primary.ctx -G rsa -i private.pem -u key.pub -r key.priv -Q")
        primary("load -C primary.ctx -u key.pub -r key.priv -c key.ctx -Q")
        primary("sign -c key.ctx -g sha256 -s rsassa -f plain -o plain message")

        primary.openssl("dgst -sha256 -verify public.pem -signature plain message")

    @pytest.mark.parametrize("inner", ["", "-G aes -o inner.key"])
    def test_duplicate(self, primary: Tools, inner: str) -> None:
        """A key duplicated to a new parent loads there and signs, with and without an inner wrapping."""
        primary("createprimary -C o -G rsa -c parent.ctx -Q")
        primary("startauthsession -S session")
        primary("policycommandcode -S session -L policy TPM2_CC_Duplicate -Q")
        primary("flushcontext session")
        attributes = "sensitivedataorigin|userwithauth|decrypt|sign"
        if not inner:
            inner = "-G null"
        load(primary, f"-G ecc -L policy -a '{attributes}'")
        primary("startauthsession -S session --policy-session")
        primary("policycommandcode -S session TPM2_CC_Duplicate -Q")
        primary(f"duplicate -C parent.ctx -c key.ctx {inner} -p session:session -r copy.priv -s seed")
        primary("flushcontext session")
        key = "-k inner.key" if "aes" in inner else ""
        primary(f"import -C parent.ctx -u key.pub -r new.priv -i copy.priv -s seed {key} -L policy -Q")
        primary("load -C parent.ctx -u key.pub -r new.priv -c new.ctx -Q")
        primary("sign -c new.ctx -g sha256 -o signature message")

        primary("verifysignature -c key.ctx -g sha256 -m message -s signature -Q")

    def test_encode_and_print(self, primary: Tools) -> None:
        """The files of a key are what tpm2_print and tpm2_encodeobject read."""
        load(primary, "-G ecc:ecdsa")

        assert "ecdsa" in primary("print -t TPM2B_PUBLIC key.pub")
        primary("encodeobject -C primary.ctx -u key.pub -r key.priv -o key.pem")
        assert b"BEGIN TSS2 PRIVATE KEY" in primary.read("key.pem")
