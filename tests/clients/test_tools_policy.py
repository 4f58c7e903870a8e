"""tpm2-tools 5.4: each policy command, in trial sessions and in sessions that satisfy the policy."""

import hashlib
import struct

import pytest

from tests.clients.simulators import Tools

pytestmark = pytest.mark.slow

POLICY_FAILED = "a policy check failed"


class Policies:
    """Seals a secret to a policy, and tries to unseal it in a session that had the same commands."""

    def __init__(self, tools: Tools) -> None:
        self.tools = tools
        tools("createprimary -C o -G ecc -c primary.ctx -Q")

    def begin(self, *, trial: bool) -> None:
        """Start session.ctx."""
        self.tools(f"startauthsession -S session {'' if trial else '--policy-session'}")

    def end(self) -> None:
        """Flush session.ctx."""
        self.tools("flushcontext session")

    def seal(self, *steps: str, auth: str = "") -> None:
        """Seal to the policy that the steps make in a trial session."""
        self.begin(trial=True)
        for step in steps:
            self.tools(f"{step} -S session -L policy")
        self.end()
        attributes = "-a 'fixedtpm|fixedparent'" if not auth else f"-p {auth}"
        self.tools(
            f"create -C primary.ctx -i- -L policy {attributes} -u sealed.pub -r sealed.priv -Q",
            stdin=b"the secret",
        )
        self.tools("load -C primary.ctx -u sealed.pub -r sealed.priv -c sealed.ctx -Q")

    def unseals(self, *steps: str, auth: str = "") -> None:
        """The steps satisfy the policy."""
        self.begin(trial=False)
        for step in steps:
            self.tools(f"{step} -S session")
        assert self.tools(f"unseal -c sealed.ctx -p session:session{auth}") == "the secret"
        self.end()

    def refuses(self, *steps: str, because: str = POLICY_FAILED) -> None:
        """The steps do not satisfy the policy."""
        self.begin(trial=False)
        for step in steps:
            self.tools(f"{step} -S session")
        assert because in self.tools.refused("unseal -c sealed.ctx -p session:session")
        self.end()


@pytest.fixture
def policies(tools: Tools) -> Policies:
    """Policies with a TPM of their own."""
    return Policies(tools)


class TestPcr:
    """Part 3, 23.7: TPM2_PolicyPCR"""

    @pytest.mark.parametrize("bank", ["sha1", "sha256", "sha384", "sha512"])
    def test_extended(self, policies: Policies, bank: str) -> None:
        """A secret sealed to PCRs is there while they have their values, and gone when one is extended."""
        policies.seal(f"policypcr -l {bank}:0,7,16")
        policies.unseals(f"policypcr -l {bank}:0,7,16")

        policies.tools(f"pcrevent 16 {policies.tools.directory}/policy")
        policies.refuses(f"policypcr -l {bank}:0,7,16")

        policies.tools("pcrreset 16")
        policies.unseals(f"policypcr -l {bank}:0,7,16")

    def test_short_form(self, policies: Policies) -> None:
        """The tools' own form of a PCR session does the same."""
        policies.seal("policypcr -l sha256:1,2")

        assert policies.tools("unseal -c sealed.ctx -p pcr:sha256:1,2") == "the secret"

    def test_changed_within_session(self, policies: Policies) -> None:
        """Any PCR that changes after the session looked at some makes the session worthless."""
        policies.seal("policypcr -l sha256:16")
        policies.begin(trial=False)
        policies.tools("policypcr -l sha256:16 -S session")
        policies.tools(f"pcrextend 8:sha256={'11' * 32}")

        assert "PCR have changed" in policies.tools.refused("unseal -c sealed.ctx -p session:session")

    def test_values_from_a_file(self, policies: Policies) -> None:
        """A digest for values to come is computed from a file."""
        policies.tools("pcrread sha256:16 -o values")
        policies.seal("policypcr -l sha256:16 -f values")

        policies.unseals("policypcr -l sha256:16")


class TestAuthValue:
    """Part 3, 23.16 and 23.17: TPM2_PolicyAuthValue, TPM2_PolicyPassword"""

    def test_auth_value(self, policies: Policies) -> None:
        """The object's authorization value goes into the session's HMAC."""
        policies.seal("policyauthvalue", auth="pass")

        policies.unseals("policyauthvalue", auth="+pass")
        policies.refuses("policyauthvalue", because="the authorization HMAC check failed")

    def test_password(self, policies: Policies) -> None:
        """The object's authorization value is given in the clear."""
        policies.seal("policypassword", auth="pass")

        policies.unseals("policypassword", auth="+pass")
        policies.refuses("policypassword", because="the authorization HMAC check failed")


class TestCommandAndObject:
    """Part 3, 23.11 to 23.14: what an authorization is good for"""

    def test_command_code(self, policies: Policies) -> None:
        """Another command than the policy's is refused."""
        policies.seal("policycommandcode TPM2_CC_Unseal")
        policies.unseals("policycommandcode TPM2_CC_Unseal")

        policies.seal("policycommandcode TPM2_CC_NV_Read")
        policies.refuses("policycommandcode TPM2_CC_NV_Read", because="the command code in a policy")

    @pytest.mark.parametrize(
        ("step", "code"),
        [
            ("policycphash --cphash sized", 0x16E),
            ("policynamehash -n digest", 0x170),
            ("policytemplate --template-hash digest", 0x190),
        ],
    )
    def test_digest(self, policies: Policies, step: str, code: int) -> None:
        """The digest of the command's parameters, names or template goes into the policy."""
        policies.tools.write("digest", b"d" * 32)
        policies.tools.write("sized", bytes([0, 32]) + b"d" * 32)
        policies.begin(trial=True)
        policies.tools(f"{step} -S session -L policy")
        policies.end()

        expected = hashlib.sha256(bytes(32) + code.to_bytes(4) + b"d" * 32).digest()
        assert policies.tools.read("policy") == expected

    @pytest.mark.parametrize("step", ["policycphash --cphash sized", "policynamehash -n digest"])
    def test_other_digest(self, policies: Policies, step: str) -> None:
        """A command with other parameters or objects is refused."""
        policies.tools.write("digest", b"d" * 32)
        policies.tools.write("sized", bytes([0, 32]) + b"d" * 32)
        policies.seal(step)

        policies.refuses(step)

    def test_locality(self, policies: Policies) -> None:
        """A locality other than the policy's is refused."""
        policies.seal("policylocality zero")
        policies.unseals("policylocality zero")

        policies.seal("policylocality three")
        policies.refuses("policylocality three", because="bad locality")


class TestSecretAndSignature:
    """Part 3, 23.3 to 23.5: TPM2_PolicySigned, TPM2_PolicySecret, TPM2_PolicyTicket"""

    def test_secret(self, policies: Policies) -> None:
        """The owner's password has to be shown."""
        policies.tools("changeauth -c o ownerauth")
        policies.tools("createprimary -C o -P ownerauth -G ecc -c primary.ctx -Q")
        policies.seal("policysecret -c o ownerauth")
        policies.unseals("policysecret -c o ownerauth")

        policies.begin(trial=False)
        assert "authorization failure" in policies.tools.refused("policysecret -S session -c o wrong")

    def test_secret_ticket(self, policies: Policies) -> None:
        """A ticket stands for the authorization until it expires."""
        policies.seal("policysecret -c o")
        policies.begin(trial=False)
        policies.tools("policysecret -S session -c o -t -3600 --ticket ticket --timeout timeout -x")
        policies.end()
        policies.tools("createprimary -C o -G ecc -c primary.ctx -Q")
        policies.tools.write("ownername", struct.pack(">I", 0x40000001))

        policies.unseals("policyticket -n ownername --ticket ticket --timeout timeout")

    def test_signed(self, policies: Policies) -> None:
        """The holder of a key signs the session's nonce."""
        tools = policies.tools
        tools.openssl("genrsa -out signer.pem 2048")
        tools.openssl("rsa -in signer.pem -pubout -out signer.pub")
        tools("loadexternal -C o -G rsa -u signer.pub -c signer.ctx -Q")
        tools.write("to_sign", bytes(4))
        tools.openssl("dgst -sha256 -sign signer.pem -out signature to_sign")
        step = "policysigned -g sha256 -s signature -f rsassa -c signer.ctx"
        policies.seal(step)
        policies.unseals(step)

        tools.write("to_sign", bytes(5))
        tools.openssl("dgst -sha256 -sign signer.pem -out signature to_sign")
        policies.begin(trial=False)
        assert "signature is not valid" in tools.refused(f"{step} -S session")

    def test_authorize(self, policies: Policies) -> None:
        """A signed policy takes the place of another one."""
        tools = policies.tools
        tools.openssl("genrsa -out signer.pem 2048")
        tools.openssl("rsa -in signer.pem -pubout -out signer.pub")
        tools("loadexternal -G rsa -C o -u signer.pub -c signer.ctx -n signer.name -Q")
        policies.seal("policyauthorize -n signer.name")

        policies.begin(trial=True)
        tools("policypcr -S session -l sha256:16 -L approved")
        policies.end()
        tools.openssl("dgst -sha256 -sign signer.pem -out signature approved")
        tools("verifysignature -c signer.ctx -g sha256 -m approved -s signature -f rsassa -t ticket")
        policies.unseals("policypcr -l sha256:16", "policyauthorize -i approved -n signer.name -t ticket")

        tools(f"pcrextend 16:sha256={'11' * 32}")
        policies.begin(trial=False)
        tools("policypcr -S session -l sha256:16")
        assert "value is out of range" in tools.refused(
            "policyauthorize -S session -i approved -n signer.name -t ticket"
        )


class TestOr:
    """Part 3, 23.6: TPM2_PolicyOR"""

    def test_branches(self, policies: Policies) -> None:
        """Each branch satisfies the policy, and what is no branch does not."""
        tools = policies.tools
        for name, pcr in (("one", 15), ("two", 16)):
            policies.begin(trial=True)
            tools(f"policypcr -S session -l sha256:{pcr} -L {name}")
            policies.end()
        step = "policyor -l sha256:one,two"
        policies.seal("policypcr -l sha256:15", step)

        for pcr in (15, 16):
            policies.unseals(f"policypcr -l sha256:{pcr}", step)
        policies.begin(trial=False)
        tools("policypcr -S session -l sha256:14")
        assert "value is out of range" in tools.refused(f"{step} -S session")

    def test_restart(self, policies: Policies) -> None:
        """Part 3, 11.2: a restarted session begins anew."""
        policies.seal("policypcr -l sha256:16")
        policies.begin(trial=False)
        policies.tools("policycommandcode -S session TPM2_CC_Quote")
        policies.tools("policyrestart -S session")
        policies.tools("policypcr -S session -l sha256:16")

        assert policies.tools("unseal -c sealed.ctx -p session:session") == "the secret"

    def test_get_digest(self, policies: Policies) -> None:
        """Part 3, 23.18: the digest of a session is that of the trial session with the same commands."""
        policies.seal("policypcr -l sha256:16")
        policies.begin(trial=False)
        policies.tools("policypcr -S session -l sha256:16")
        policies.tools("getpolicydigest -S session -o digest")

        assert policies.tools.read("digest") == policies.tools.read("policy")


class TestNv:
    """Part 3, 23.9, 23.20 and 23.22: policies that look at NV Indices and at the clock"""

    def test_nv(self, policies: Policies) -> None:
        """The contents of an NV Index are compared."""
        tools = policies.tools
        tools("nvdefine -C o -s 1 -a 'ownerread|ownerwrite|authread|authwrite' 0x1500001 -Q")
        tools("nvwrite -C o -i- 0x1500001", stdin=b"\x05")
        tools.write("operand", b"\x04")
        policies.seal("policynv -i operand 0x1500001 ugt")
        policies.unseals("policynv -i operand 0x1500001 ugt")

        tools("nvwrite -C o -i- 0x1500001", stdin=b"\x04")
        policies.begin(trial=False)
        assert "policy" in tools.refused("policynv -S session -i operand 0x1500001 ugt")

    def test_nv_written(self, policies: Policies) -> None:
        """An Index may be written once by a policy that says that it was not."""
        tools = policies.tools
        policies.begin(trial=True)
        tools("policynvwritten -S session -L policy c")
        policies.end()
        tools("nvdefine -C o -s 4 -a 'authread|policywrite' -L policy 0x1500001 -Q")
        tools.write("data", b"once")
        policies.begin(trial=False)
        tools("policynvwritten -S session c")
        tools("nvwrite -P session:session -C 0x1500001 -i data 0x1500001")
        policies.end()

        assert tools("nvread 0x1500001") == "once"
        policies.begin(trial=False)
        tools("policynvwritten -S session c")
        assert "policy" in tools.refused("nvwrite -P session:session -C 0x1500001 -i data 0x1500001")

    def test_authorize_nv(self, policies: Policies) -> None:
        """The policy that an NV Index holds takes the place of another one."""
        tools = policies.tools
        tools("nvdefine -C o -s 34 -a 'authread|authwrite|ownerwrite|ownerread' -p nvauth 0x1500001 -Q")
        policies.begin(trial=True)
        tools("policypcr -S session -l sha256:16 -L approved")
        policies.end()
        tools("nvwrite -P nvauth -i- 0x1500001", stdin=b"\x00\x0b" + tools.read("approved"))
        policies.seal("policyauthorizenv -P nvauth -C 0x1500001 0x1500001")

        policies.unseals("policypcr -l sha256:16", "policyauthorizenv -P nvauth -C 0x1500001 0x1500001")

    def test_counter_timer(self, policies: Policies) -> None:
        """The number of resets is compared."""
        policies.seal("policycountertimer --ult resets=1000")
        policies.unseals("policycountertimer --ult resets=1000")

        policies.begin(trial=False)
        assert "policy" in policies.tools.refused("policycountertimer -S session --ugt resets=1000")


class TestDuplication:
    """Part 3, 23.15: TPM2_PolicyDuplicationSelect"""

    def test_parent(self, policies: Policies) -> None:
        """A key is duplicated to the parent that the policy names, and to no other."""
        tools = policies.tools
        for name, algorithm in (("parent", "rsa"), ("other", "ecc384")):
            tools(f"createprimary -C o -G {algorithm} -c {name}.ctx -Q")
            tools(f"readpublic -c {name}.ctx -n {name}.name -Q")
        policies.begin(trial=True)
        tools("policyduplicationselect -S session -N parent.name -L policy -Q")
        policies.end()
        tools(
            "create -C primary.ctx -G ecc -L policy -a 'sensitivedataorigin|sign' -u key.pub -r key.priv -Q"
        )
        tools("load -C primary.ctx -u key.pub -r key.priv -c key.ctx -n key.name -Q")

        policies.begin(trial=False)
        tools("policyduplicationselect -S session -N parent.name -n key.name -Q")
        tools("duplicate -C parent.ctx -c key.ctx -G null -p session:session -r copy.priv -s seed")
        policies.end()
        policies.begin(trial=False)
        tools("policyduplicationselect -S session -N parent.name -n key.name -Q")
        refusal = tools.refused(
            "duplicate -C other.ctx -c key.ctx -G null -p session:session -r copy.priv -s seed"
        )
        assert POLICY_FAILED in refusal


class TestPrimaryPolicy:
    """Part 3, 24.3: TPM2_SetPrimaryPolicy"""

    def test_owner(self, tools: Tools) -> None:
        """A hierarchy is authorized by its policy."""
        tools("startauthsession -S session")
        tools("policypcr -S session -l sha256:16 -L policy")
        tools("flushcontext session")
        tools("setprimarypolicy -C o -L policy -g sha256")
        tools("changeauth -c o ownerauth")

        tools("startauthsession -S session --policy-session")
        tools("policypcr -S session -l sha256:16")
        tools("createprimary -C o -P session:session -G ecc -c primary.ctx -Q")


def test_createpolicy(tools: Tools) -> None:
    """tpm2_createpolicy computes what a trial session gives."""
    tools("createpolicy --policy-pcr -l sha256:0,1 -L one")
    tools("startauthsession -S session")
    tools("policypcr -S session -l sha256:0,1 -L two")

    assert tools.read("one") == tools.read("two")
