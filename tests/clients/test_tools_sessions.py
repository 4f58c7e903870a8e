"""tpm2-tools 5.4: sessions with encryption, bound, salted and audited."""

import pytest

from tests.clients.simulators import Tools

pytestmark = pytest.mark.slow

ENCRYPTING = {
    "salted": "--tpmkey-context primary.ctx",
    "bound": "--bind-context primary.ctx --bind-auth primaryauth",
    "both": "--tpmkey-context primary.ctx --bind-context primary.ctx --bind-auth primaryauth",
}

# As many sessions as tpm2-abrmd allows a client.
BROKERED = 4


@pytest.fixture(params=["rsa", "ecc"])
def primary(request: pytest.FixtureRequest, tools: Tools) -> Tools:
    """The tools, with a storage key, which also salts and binds sessions, in primary.ctx."""
    tools(f"createprimary -C o -G {request.param} -p primaryauth -c primary.ctx -Q")
    return tools


class TestHmac:
    """Part 1, "Session-based authorizations"."""

    def test_hmac_authorization(self, primary: Tools) -> None:
        """A password goes into an HMAC, and never over the wire."""
        primary("startauthsession -S session --hmac-session")
        primary(
            "create -C primary.ctx -P session:session+primaryauth -i- -u key.pub -r key.priv -Q",
            stdin=b"data",
        )

        assert "authorization" in primary.refused(
            "create -C primary.ctx -P session:session+wrong -G ecc -u key.pub -r key.priv"
        )

    @pytest.mark.parametrize("options", ENCRYPTING.values(), ids=ENCRYPTING)
    def test_encrypted(self, primary: Tools, options: str) -> None:
        """A secret goes in and comes out through a session that encrypts both ways."""
        primary(f"startauthsession -S session --hmac-session {options}")
        primary("sessionconfig --enable-encrypt --enable-decrypt session")
        primary(
            "create -C primary.ctx -P session:session+primaryauth -i- -p secret -u key.pub -r key.priv -Q",
            stdin=b"data",
        )
        primary("load -C primary.ctx -P primaryauth -u key.pub -r key.priv -c key.ctx -Q")

        assert primary("unseal -c key.ctx -p session:session+secret") == "data"

    @pytest.mark.parametrize("digest", ["sha1", "sha256", "sha384", "sha512"])
    def test_digests(self, primary: Tools, digest: str) -> None:
        """A session has any of the hash algorithms."""
        primary(f"startauthsession -S session --hmac-session -g {digest}")

        primary("create -C primary.ctx -P session:session+primaryauth -G ecc -u key.pub -r key.priv -Q")

    def test_encrypted_random(self, primary: Tools) -> None:
        """A session that authorizes nothing encrypts a response."""
        primary("startauthsession -S session --hmac-session --tpmkey-context primary.ctx -G aes")
        primary("sessionconfig --enable-encrypt session")

        assert len(primary("getrandom -S session --hex 16")) == 32

    def test_exclusive(self, primary: Tools) -> None:
        """An audit session stays exclusive while no other command comes between."""
        primary("startauthsession -S session --audit-session")

        assert len(primary("getrandom -S session --hex 16")) == 32

    def test_policy_session_encrypts(self, primary: Tools) -> None:
        """A salted policy session unseals and encrypts at once."""
        primary("startauthsession -S session")
        primary("policypcr -S session -l sha256:16 -L policy")
        primary("flushcontext session")
        primary("create -C primary.ctx -P primaryauth -i- -L policy -u key.pub -r key.priv -Q", stdin=b"data")
        primary("load -C primary.ctx -P primaryauth -u key.pub -r key.priv -c key.ctx -Q")
        primary("startauthsession -S session --policy-session --tpmkey-context primary.ctx")
        primary("sessionconfig --enable-encrypt session")
        primary("policypcr -S session -l sha256:16")

        assert primary("unseal -c key.ctx -p session:session") == "data"

    def test_flushed(self, primary: Tools) -> None:
        """A flushed session is known no more."""
        primary("startauthsession -S session --hmac-session")
        primary("flushcontext session")

        assert "ERROR" in primary.refused("getrandom -S session 8")

    def test_saved_sessions(self, tools: Tools) -> None:
        """Sessions that the tools saved are listed, and flushed."""
        for number in range(BROKERED):
            tools(f"startauthsession -S session{number} --hmac-session")

        assert tools("getcap handles-saved-session").count("0x") == BROKERED
        tools("flushcontext -s")
        assert tools("getcap handles-saved-session") == ""
