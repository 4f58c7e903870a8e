"""tpm2-tools 5.4: PCRs, capabilities, hierarchies, dictionary attack, clock: what administers a TPM."""

import hashlib
import re
import struct

import pytest

from tests.clients.simulators import Tools

pytestmark = pytest.mark.slow


class TestRandom:
    """Part 3, clause 16: random numbers"""

    def test_length(self, tools: Tools) -> None:
        """As many octets come as were asked for, and others the next time."""
        one, two = (tools("getrandom --hex 32") for _ in range(2))

        assert len(one) == len(two) == 64
        assert one != two

    def test_stir(self, tools: Tools) -> None:
        """Additional entropy is accepted."""
        tools.write("entropy", b"x" * 100)

        tools("stirrandom entropy")


class TestPcr:
    """Part 3, clause 22: PCRs"""

    @pytest.mark.parametrize("bank", ["sha1", "sha256", "sha384", "sha512"])
    def test_extend(self, tools: Tools, bank: str) -> None:
        """A PCR becomes the hash of its value and the digest, in its bank alone."""
        size = hashlib.new(bank).digest_size
        tools(f"pcrextend 8:{bank}={'ab' * size}")
        tools(f"pcrread {bank}:8 -o value")

        assert tools.read("value") == hashlib.new(bank, bytes(size) + b"\xab" * size).digest()

    def test_event(self, tools: Tools) -> None:
        """An event is hashed and extended in every bank."""
        tools.write("event", b"an event")
        listed = tools("pcrevent 8 event")

        for bank in ("sha1", "sha256", "sha384", "sha512"):
            digest = hashlib.new(bank, b"an event").digest()
            assert f"{bank}: {digest.hex()}" in listed
            tools(f"pcrread {bank}:8 -o value")
            assert tools.read("value") == hashlib.new(bank, bytes(len(digest)) + digest).digest()

    def test_reset(self, tools: Tools) -> None:
        """PCR 16 and 23 can be reset, PCR 0 cannot."""
        tools(f"pcrextend 16:sha256={'11' * 32}")
        tools("pcrreset 16 23")
        tools("pcrread sha256:16 -o value")

        assert tools.read("value") == bytes(32)
        assert "bad locality" in tools.refused("pcrreset 0")

    def test_initial_values(self, tools: Tools) -> None:
        """The dynamic PCRs 17 to 22 begin with ones, all others with zeros (PC Client profile)."""
        listed = dict(re.findall(r"(\d+) *: (0x[0-9A-F]+)", tools("pcrread sha256")))

        for pcr in range(24):
            assert listed[str(pcr)] == "0x" + ("FF" if 17 <= pcr <= 22 else "00") * 32

    def test_allocate(self, tools: Tools) -> None:
        """Another set of banks is accepted for the next reset, and changes nothing before."""
        selected = tools("pcrallocate sha256:all+sha1:none")

        assert re.search(r"sha1: \[ *\]", selected)
        assert "0 :" in tools("pcrread sha1:0")


class TestCapabilities:
    """Part 3, 30.2: TPM2_GetCapability"""

    @pytest.mark.parametrize(
        ("capability", "shows"),
        [
            ("algorithms", "sha256"),
            ("commands", "TPM2_CC_NV_Write"),
            ("properties-fixed", "TPM2_PT_FAMILY_INDICATOR"),
            ("properties-variable", "TPM2_PT_HR_PERSISTENT"),
            ("pcrs", "sha256"),
            ("ecc-curves", "TPM2_ECC_NIST_P256"),
            ("handles-pcr", "0x17"),
            ("handles-permanent", "0x40000007"),
        ],
    )
    def test_shows(self, tools: Tools, capability: str, shows: str) -> None:
        """A capability lists what a TPM must have."""
        assert shows in tools(f"getcap {capability}")

    @pytest.mark.parametrize(
        "capability",
        [
            "handles-transient",
            "handles-persistent",
            "handles-nv-index",
            "handles-loaded-session",
            "handles-saved-session",
        ],
    )
    def test_empty(self, tools: Tools, capability: str) -> None:
        """A new TPM holds nothing."""
        assert tools(f"getcap {capability}") == ""

    def test_family(self, tools: Tools) -> None:
        """The family is 2.0."""
        assert 'value: "2.0"' in tools("getcap properties-fixed")

    @pytest.mark.parametrize("parameters", ["rsa2048", "ecc256", "ecc384", "aes256cfb"])
    def test_supported(self, tools: Tools, parameters: str) -> None:
        """Part 3, 30.3: supported parameters are known to be."""
        tools(f"testparms {parameters}")

    def test_not_supported(self, tools: Tools) -> None:
        """Part 3, 30.3: parameters that are not supported are refused."""
        assert "ERROR" in tools.refused("testparms rsa512")


class TestSelfTest:
    """Part 3, clause 10: testing"""

    def test_full(self, tools: Tools) -> None:
        """A full test passes."""
        tools("selftest -f")

        assert "success" in tools("gettestresult")

    def test_incremental(self, tools: Tools) -> None:
        """Algorithms are tested one by one."""
        assert re.search("status: +(success|complete)", tools("incrementalselftest sha256 rsassa ecdsa"))


class TestHierarchies:
    """Part 3, clause 24: hierarchies"""

    @pytest.mark.parametrize("hierarchy", ["o", "e", "p", "l"])
    def test_change_auth(self, tools: Tools, hierarchy: str) -> None:
        """A hierarchy's password is changed, and changed again by who knows it."""
        tools(f"changeauth -c {hierarchy} one")
        tools(f"changeauth -c {hierarchy} -p one two")

        assert "authorization" in tools.refused(f"changeauth -c {hierarchy} -p one three")

    def test_lockout_auth(self, tools: Tools) -> None:
        """One wrong password of lockout is one too many, until the recovery time is over."""
        tools("changeauth -c l secret")
        assert "authorization" in tools.refused("clear -c l wrong")

        assert "lockout mode" in tools.refused("clear -c l secret")

    def test_clear(self, tools: Tools) -> None:
        """Clear changes the owner's primaries, removes persistent objects and keeps the platform's."""
        names = {}
        for hierarchy in ("o", "p"):
            tools(f"createprimary -C {hierarchy} -G ecc -c primary.ctx -Q")
            tools(f"readpublic -c primary.ctx -n {hierarchy} -Q")
            names[hierarchy] = tools.read(hierarchy)
        tools("createprimary -C o -G ecc -c primary.ctx -Q")
        tools("evictcontrol -C o -c primary.ctx 0x81000001 -Q")
        tools("clear")

        assert tools("getcap handles-persistent") == ""
        for hierarchy, same in (("o", False), ("p", True)):
            tools(f"createprimary -C {hierarchy} -G ecc -c primary.ctx -Q")
            tools("readpublic -c primary.ctx -n name -Q")
            assert (tools.read("name") == names[hierarchy]) == same

    def test_clear_control(self, tools: Tools) -> None:
        """Clear is disabled by lockout, and enabled by the platform alone."""
        tools("clearcontrol -C l s")

        assert "command is disabled" in tools.refused("clear")
        assert "ERROR" in tools.refused("clearcontrol -C l c")
        tools("clearcontrol -C p c")
        tools("clear")

    def test_disabled(self, tools: Tools) -> None:
        """A disabled hierarchy makes no primaries."""
        tools("hierarchycontrol -C o shEnable clear")

        assert "hierarchy is not enabled" in tools.refused("createprimary -C o -G ecc -c primary.ctx")

    @pytest.mark.parametrize(("tool", "hierarchy"), [("changeeps", "e"), ("changepps", "p")])
    def test_new_seed(self, tools: Tools, tool: str, hierarchy: str) -> None:
        """A new seed gives other primaries."""
        names = []
        for _ in range(2):
            tools(f"createprimary -C {hierarchy} -G ecc -c primary.ctx -Q")
            tools("readpublic -c primary.ctx -n name -Q")
            names.append(tools.read("name"))
            tools(tool)

        assert names[0] != names[1]


class TestDictionaryAttack:
    """Part 3, clause 25: dictionary attack"""

    def test_lockout(self, tools: Tools) -> None:
        """After so many wrong passwords the right one is refused too, until lockout is reset."""
        tools("dictionarylockout -s -n 2 -t 1000 -l 1000")
        tools("createprimary -C o -G ecc -c primary.ctx -Q")
        tools("create -C primary.ctx -i- -p right -u key.pub -r key.priv -Q", stdin=b"data")
        tools("load -C primary.ctx -u key.pub -r key.priv -c key.ctx -Q")
        for _ in range(2):
            assert "authorization" in tools.refused("unseal -c key.ctx -p wrong")

        assert "lockout mode" in tools.refused("unseal -c key.ctx -p right")
        tools("dictionarylockout -c")
        assert tools("unseal -c key.ctx -p right") == "data"

    def test_parameters(self, tools: Tools) -> None:
        """The parameters are what the capabilities show."""
        tools("dictionarylockout -s -n 5 -t 60 -l 120")

        shown = tools("getcap properties-variable")
        assert re.search(r"MAX_AUTH_FAIL: 0x5\b", shown)
        assert re.search(r"LOCKOUT_INTERVAL: 0x3C\b", shown)
        assert re.search(r"LOCKOUT_RECOVERY: 0x78\b", shown)


class TestClock:
    """Part 3, clause 29: clocks"""

    def test_advances(self, tools: Tools) -> None:
        """The clock goes forward."""
        times = [int(re.findall(r"clock: (\d+)", tools("readclock"))[0]) for _ in range(2)]

        assert times[1] >= times[0]

    def test_set(self, tools: Tools) -> None:
        """The clock can be set forward, and not back."""
        tools("setclock 100000000")

        assert int(re.findall(r"clock: (\d+)", tools("readclock"))[0]) >= 100000000
        assert "value is out of range" in tools.refused("setclock 1")

    def test_rate(self, tools: Tools) -> None:
        """The rate is adjusted."""
        tools("clockrateadjust s")
        tools("clockrateadjust f")


class TestStartup:
    """Part 3, clause 9: start-up and shutdown"""

    @pytest.mark.parametrize("option", ["", "-c"])
    def test_shutdown(self, tools: Tools, option: str) -> None:
        """Both kinds of shutdown are accepted."""
        tools(f"shutdown {option}")

    def test_again(self, tools: Tools) -> None:
        """A second start-up is answered with TPM_RC_INITIALIZE, which the tool takes for success."""
        tools("startup -c")


class TestOther:
    """What belongs to no chapter"""

    def test_send(self, tools: Tools) -> None:
        """Octets are sent as they are, and the response comes back."""
        tools.write("command", bytes.fromhex("8001 0000000c 0000017b 0008"))
        tools("send -o response command")

        response = tools.read("response")
        assert response[:12] == bytes.fromhex("8001 00000014 00000000 0008")
        assert len(response) == 20

    def test_malformed(self, tools: Tools) -> None:
        """A command that ends too early is answered with a response code."""
        tools.write("command", bytes.fromhex("8001 0000000b 0000017b 00"))
        tools("send -o response command")

        # TPM_RC_INSUFFICIENT of parameter 1
        assert tools.read("response") == bytes.fromhex("8001 0000000a 000001da")

    def test_eventlog(self, tools: Tools) -> None:
        """A log leads to the PCR values that the TPM has after the same events."""
        digest = hashlib.sha256(b"an event").digest()
        body = b"Spec ID Event03\0" + struct.pack("<IBBBBIHHB", 0, 0, 2, 0, 2, 1, 0x000B, 32, 0)
        header = struct.pack("<II20sI", 0, 3, b"", len(body)) + body
        event = struct.pack("<IIIH32sI", 4, 13, 1, 0x000B, digest, len(b"an event")) + b"an event"
        tools.write("log", header + event)
        tools(f"pcrextend 4:sha256={digest.hex()}")
        tools("pcrread sha256:4 -o value")

        assert f"4  : 0x{tools.read('value').hex()}" in tools("eventlog log")

    def test_rc_decode(self, tools: Tools) -> None:
        """A response code has the text that these tests look for."""
        assert "authorization HMAC check failed" in tools("rc_decode 0x98e")
