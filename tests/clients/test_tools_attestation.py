"""tpm2-tools 5.4: attestation (Part 3, clause 18), credentials and audit."""

import hashlib
import struct

import pytest

from tests.clients.simulators import Tools

pytestmark = pytest.mark.slow

NONCE = "deadbeefcafe"
RESTRICTED = "sign|restricted|fixedtpm|fixedparent|sensitivedataorigin|userwithauth"


@pytest.fixture(params=["rsa2048:rsassa-sha256:null", "ecc256:ecdsa-sha256:null"])
def signer(request: pytest.FixtureRequest, tools: Tools) -> Tools:
    """The tools, with a restricted signing key in key.ctx and key.pem."""
    tools(f"createprimary -C e -G {request.param} -a '{RESTRICTED}' -c key.ctx -Q")
    tools("readpublic -c key.ctx -f pem -o key.pem -Q")
    return tools


class TestQuote:
    """Part 3, 18.4: TPM2_Quote"""

    def test_checkquote(self, signer: Tools) -> None:
        """A quote is accepted with its nonce and PCR values."""
        signer(f"pcrextend 16:sha256={'22' * 32}")
        signer(f"quote -c key.ctx -l sha256:0,16+sha1:1 -q {NONCE} -m message -s signature -o pcrs -g sha256")

        checked = signer(f"checkquote -u key.pem -m message -s signature -f pcrs -g sha256 -q {NONCE}")
        assert hashlib.sha256(bytes(32) + b"\x22" * 32).hexdigest().upper() in checked

    def test_wrong_nonce(self, signer: Tools) -> None:
        """A quote for another nonce is refused."""
        signer(f"quote -c key.ctx -l sha256:0 -q {NONCE} -m message -s signature -o pcrs -g sha256")

        refusal = signer.refused("checkquote -u key.pem -m message -s signature -f pcrs -g sha256 -q 00")
        assert "nonce" in refusal

    def test_changed(self, signer: Tools) -> None:
        """A changed quote is refused."""
        signer(f"quote -c key.ctx -l sha256:0 -q {NONCE} -m message -s signature -o pcrs -g sha256")
        message = bytearray(signer.read("message"))
        message[-1] ^= 1
        signer.write("message", bytes(message))

        assert "ERROR" in signer.refused(
            f"checkquote -u key.pem -m message -s signature -f pcrs -g sha256 -q {NONCE}"
        )

    def test_pss(self, tools: Tools) -> None:
        """A quote can have a signature with PSS padding."""
        tools(f"createprimary -C e -G rsa2048:rsapss-sha256:null -a '{RESTRICTED}' -c key.ctx -Q")
        tools("readpublic -c key.ctx -f pem -o key.pem -Q")
        tools("quote -c key.ctx -l sha256:0 --scheme rsapss -m message -f plain -s signature -g sha256")

        tools.openssl(
            "dgst -sha256 -verify key.pem -sigopt rsa_padding_mode:pss -signature signature message"
        )

    def test_printed(self, signer: Tools) -> None:
        """The attestation structure names its kind and the nonce."""
        signer(f"quote -c key.ctx -l sha256:0 -q {NONCE} -m message -s signature -g sha256")

        printed = signer("print -t TPMS_ATTEST message")
        assert "ff544347" in printed
        assert NONCE in printed


class TestCertify:
    """Part 3, 18.2, 18.3 and 18.7: certified objects, creations and times"""

    def test_object(self, signer: Tools) -> None:
        """A key is certified by its name."""
        signer("createprimary -C o -G ecc -c object.ctx -Q")
        signer("readpublic -c object.ctx -n name -Q")
        signer("certify -c object.ctx -C key.ctx -g sha256 -o attestation -f plain -s signature")

        assert signer.read("name") in signer.read("attestation")

    def test_creation(self, signer: Tools) -> None:
        """A creation is certified with the ticket that it gave, and not with another hash."""
        signer("createprimary -C o -G ecc -c object.ctx --creation-data data -d hash -t ticket -Q")
        command = "certifycreation -C key.ctx -c object.ctx -d hash -t ticket -g sha256 -o signature"
        signer(f"{command} --attestation attestation")
        assert signer.read("hash") in signer.read("attestation")

        signer.write("hash", bytes(32))
        assert "ticket" in signer.refused(f"{command} --attestation attestation")

    def test_time(self, signer: Tools) -> None:
        """The clock is attested."""
        signer(f"gettime -c key.ctx -q {NONCE} -g sha256 -o signature --attestation attestation")

        assert bytes.fromhex(NONCE) in signer.read("attestation")


# In numbers, as the tools have no name for x509sign; the others are those of a signing key.
SIGNS_CERTIFICATES = 0x000C0072


EMPTY_PASSWORD = bytes.fromhex("40000009 0000 00 0000")
ANSWER_TO_PASSWORD = bytes.fromhex("0000 01 0000")
NULL_SCHEME = bytes.fromhex("0010")
# What asks for the same command again (Part 2, 6.6.3), as libtpms does at the first use of a key.
RETRY = bytes.fromhex("00000922")


def certify_x509(key: int, partial: bytes) -> bytes:
    """The octets of TPM2_CertifyX509 for a key with an empty password that certifies itself."""
    body = struct.pack(">III", key, key, 2 * len(EMPTY_PASSWORD)) + 2 * EMPTY_PASSWORD
    body += bytes(2) + NULL_SCHEME + struct.pack(">H", len(partial)) + partial
    return struct.pack(">HII", 0x8002, 10 + len(body), 0x197) + body


def sized(octets: bytes, count: int) -> list[bytes]:
    """So many sized buffers (TPM2B), and what comes after them."""
    found = []
    for _ in range(count):
        end = 2 + int.from_bytes(octets[:2])
        found.append(octets[2:end])
        octets = octets[end:]
    return [*found, octets]


class TestCertificate:
    """Part 3, 18.8: TPM2_CertifyX509, and the certificate of the endorsement key"""

    def test_x509(self, tools: Tools) -> None:
        """The TPM completes the partial certificate that a tool made, and signs the digest of the whole."""
        tools(f"createprimary -C o -G ecc256:ecdsa-sha256:null -a {SIGNS_CERTIFICATES:#x} -c key.ctx -Q")
        tools("evictcontrol -C o -c key.ctx 0x81010001 -Q")
        tools("certifyX509certutil -o partial -d 30")
        tools.write("command", certify_x509(0x81010001, tools.read("partial")))
        tools("send -o response command")
        if tools.read("response")[6:10] == RETRY:
            tools("send -o response command")

        response = tools.read("response")
        assert response[6:10] == bytes(4)
        _added, digest, rest = sized(response[14:], 2)
        tools.write("digest", digest)
        tools.write("signature", rest[: -2 * len(ANSWER_TO_PASSWORD)])
        tools("verifysignature -c key.ctx -d digest -s signature -Q")

    def test_endorsement(self, tools: Tools) -> None:
        """The certificate is found in the NV Index where the PC Client profile puts it."""
        tools.openssl("req -x509 -newkey rsa:2048 -nodes -keyout key.pem -subj /CN=EK -outform DER -out made")
        attributes = "ppwrite|ppread|ownerread|authread|no_da|platformcreate|writedefine"
        tools(f"nvdefine -C p -s {len(tools.read('made'))} -a '{attributes}' 0x1c00002 -Q")
        tools("nvwrite -C p -i made 0x1c00002")
        tools("getekcertificate --raw -o found")

        assert tools.read("found") == tools.read("made")


class TestCredential:
    """Part 3, 12.5 and 12.6: TPM2_MakeCredential, TPM2_ActivateCredential"""

    @pytest.mark.parametrize("algorithm", ["rsa", "ecc"])
    def test_activation(self, tools: Tools, algorithm: str) -> None:
        """A credential for a key is released by the TPM that has the key and the EK, and by no other key."""
        tools(f"createek -c ek.ctx -G {algorithm} -u ek.pub")
        tools("createak -C ek.ctx -c ak.ctx -G ecc -g sha256 -s ecdsa -u ak.pub -n ak.name -Q")
        tools.write("secret", b"a credential of at most 32 octet")
        tools(f"makecredential -u ek.pub -s secret -n {tools.read('ak.name').hex()} -o credential")

        tools("startauthsession --policy-session -S session")
        tools("policysecret -S session -c e")
        tools("activatecredential -c ak.ctx -C ek.ctx -i credential -o released -P session:session")
        tools("flushcontext session")
        assert tools.read("released") == tools.read("secret")

        tools("createak -C ek.ctx -c ak.ctx -G ecc -g sha256 -s ecdsa -u ak.pub -n ak.name -Q")
        tools("startauthsession --policy-session -S session")
        tools("policysecret -S session -c e")
        assert "integrity check failed" in tools.refused(
            "activatecredential -c ak.ctx -C ek.ctx -i credential -o released -P session:session"
        )

    def test_made_by_the_tpm(self, tools: Tools) -> None:
        """The TPM makes a credential itself."""
        tools("createek -c ek.ctx -G rsa -u ek.pub")
        tools("createak -C ek.ctx -c ak.ctx -u ak.pub -n ak.name -Q")
        tools.write("secret", b"secret")
        tools(f"makecredential -u ek.pub -s secret -n {tools.read('ak.name').hex()} -o credential")

        assert tools.read("credential")

    def test_ak_quotes(self, tools: Tools) -> None:
        """An attestation key made under the EK quotes."""
        tools("createek -c ek.ctx -G rsa -u ek.pub")
        tools("createak -C ek.ctx -c ak.ctx -G rsa -g sha256 -s rsassa -u ak.pem -f pem -n ak.name -Q")
        tools(f"quote -c ak.ctx -l sha256:0,1,2 -q {NONCE} -m message -s signature -o pcrs -g sha256")

        tools(f"checkquote -u ak.pem -m message -s signature -f pcrs -g sha256 -q {NONCE}")


class TestAudit:
    """Part 3, 18.5, 18.6 and 21.2: session audit and command audit"""

    def test_session_digest(self, signer: Tools) -> None:
        """The digest of an audit session is attested."""
        signer("startauthsession -S session --hmac-session")
        signer("sessionconfig --enable-audit session")
        signer("getrandom -S session 8 -o random --rphash rp --cphash cp")
        signer("getsessionauditdigest -c key.ctx -g sha256 -m message -s signature -S session")

        assert signer.read("message").startswith(bytes.fromhex("ff544347 8016"))

    def test_command_digest(self, signer: Tools) -> None:
        """The digest of audited commands is attested, and grows with them."""
        signer("setcommandauditstatus TPM2_CC_GetRandom")
        messages = []
        for name in ("one", "two"):
            signer("getrandom 8 -o random")
            signer(f"getcommandauditdigest -c key.ctx -g sha256 -m {name} -s signature")
            messages.append(signer.read(name))

        assert messages[0].startswith(bytes.fromhex("ff544347 8015"))
        assert messages[0][-32:] != bytes(32)
