"""Part 3, clause 30: capability commands."""

import json
from typing import Any

import pytest

from tests.scenarios import Client, Reply
from tests.sessions import start_session
from tests.spec.facts import CONSTANTS, FACTS
from vtpm.commands import COMMANDS
from vtpm.spec.attributes import TPMA_NV, TPMA_PERMANENT, TPMA_STARTUP_CLEAR
from vtpm.spec.constants import TPM_ALG, TPM_CAP, TPM_CC, TPM_HT, TPM_PS, TPM_PT, TPM_RH, TPM_SE, TPM_SU
from vtpm.spec.interface import CURVES
from vtpm.spec.nv import TPMS_NV_PUBLIC
from vtpm.state.profile import SWTPM_COMPATIBLE
from vtpm.wire.error import TPM_RC

A = TPM_ALG
COMMAND_FACTS = json.loads((FACTS / "commands.json").read_text())["commands"]
ALL = 0x7FFFFFFF


def capability(tpm: Client, kind: TPM_CAP, first: int = 0, count: int = ALL) -> Any:
    """The elements of a list that one response holds."""
    reply: Reply = tpm.get_capability(capability=kind, property=first, property_count=count)
    assert reply.rc == TPM_RC.SUCCESS
    assert reply.capability_data.capability is kind
    return reply.capability_data.data


def properties(tpm: Client, first: int, count: int = ALL) -> dict[int, int]:
    """The properties of one response by their tags."""
    found = capability(tpm, TPM_CAP.TPM_PROPERTIES, first, count)
    return {element.property: element.value for element in found}


def define(tpm: Client, *handles: int) -> None:
    """Define ordinary Indices that their owner reads and writes."""
    for handle in handles:
        public = TPMS_NV_PUBLIC(handle, A.SHA256, TPMA_NV(OWNERREAD=True, OWNERWRITE=True), b"", 8)
        assert tpm.nv_define_space(TPM_RH.OWNER, auth=b"", public_info=public).rc == TPM_RC.SUCCESS


class TestPaging:
    """30.2: how much of a list a response holds"""

    @pytest.mark.parametrize(
        ("first", "count", "expected", "more"),
        [
            (0x01000000, ALL, [0x01000001, 0x01000005, 0x01C00002], False),
            (0x01000000, 0, [], True),
            (0x01000000, 1, [0x01000001], True),
            (0x01000001, 1, [0x01000001], True),
            (0x01000002, 1, [0x01000005], True),
            (0x01000006, 1, [0x01C00002], False),
            (0x01C00003, 1, [], False),
            (0x01C00003, 0, [], False),
        ],
    )
    def test_from_the_first_on(
        self, tpm: Client, first: int, count: int, expected: list[int], *, more: bool
    ) -> None:
        """The elements from `property` or the next one on, at most as many as asked for; are there more?"""
        define(tpm, 0x01C00002, 0x01000001, 0x01000005)

        reply = tpm.get_capability(capability=TPM_CAP.HANDLES, property=first, property_count=count)

        assert list(reply.capability_data.data) == expected
        assert reply.more_data is more

    @pytest.mark.parametrize(
        ("kind", "first"),
        [
            (TPM_CAP.ALGS, 0),
            (TPM_CAP.HANDLES, 0x40000000),
            (TPM_CAP.HANDLES, 0),
            (TPM_CAP.COMMANDS, 0),
            (TPM_CAP.PP_COMMANDS, 0),
            (TPM_CAP.AUDIT_COMMANDS, 0),
            (TPM_CAP.TPM_PROPERTIES, TPM_PT.FAMILY_INDICATOR),
            (TPM_CAP.TPM_PROPERTIES, TPM_PT.PERMANENT),
            (TPM_CAP.PCR_PROPERTIES, 0),
            (TPM_CAP.ECC_CURVES, 0),
            (TPM_CAP.AUTH_POLICIES, 0x40000000),
        ],
    )
    def test_one_by_one(self, tpm: Client, kind: TPM_CAP, first: int) -> None:
        """Reading one element at a time, from the one after the last, gives the whole list."""
        whole = capability(tpm, kind, first)
        collected = []
        while True:
            reply = tpm.get_capability(capability=kind, property=first, property_count=1)
            (element,) = reply.capability_data.data
            collected.append(element)
            if not reply.more_data:
                break
            first = 1 + self.key_of(kind, element)

        assert tuple(collected) == whole

    @staticmethod
    def key_of(kind: TPM_CAP, element: Any) -> int:
        """By what a list is ordered."""
        if kind is TPM_CAP.COMMANDS:
            return int(element.commandIndex)
        for name in ("alg", "property", "tag", "handle"):
            if hasattr(element, name):
                return int(getattr(element, name))
        return int(element)

    def test_response_has_a_size(self, tpm: Client) -> None:
        """A list that does not fit into a response comes in parts."""
        define(tpm, *range(0x01000000, 0x01000000 + 300))

        reply = tpm.get_capability(capability=TPM_CAP.HANDLES, property=0x01000000, property_count=ALL)

        assert len(reply.capability_data.data) == (1024 - 8) // 4
        assert reply.more_data


class TestKinds:
    """30.2: what each kind of capability lists"""

    def test_algorithms(self, tpm: Client) -> None:
        """TPM_CAP_ALGS: with the attributes that the registry or libtpms gives."""
        found = {element.alg: element.alg_properties for element in capability(tpm, TPM_CAP.ALGS)}

        assert found.keys() == {*MEASURED_ALGORITHMS, A.SM3_256, A.SM4, A.SHA3_256, A.SHA3_384, A.SHA3_512}
        for alg, attributes in MEASURED_ALGORITHMS.items():
            assert found[alg] == attributes | REGISTRY_ADDS.get(alg, 0), alg

    def test_algorithms_from_a_large_value(self, tpm: Client) -> None:
        """An algorithm is a number of 16 bits, property one of 32."""
        assert capability(tpm, TPM_CAP.ALGS, 0x10001) == ()

    def test_commands(self, tpm: Client) -> None:
        """TPM_CAP_COMMANDS: TPMA_CC of every command of the table, as Part 3 has them."""
        found = capability(tpm, TPM_CAP.COMMANDS)

        by_code = {int(fact["code"], 16): fact for fact in COMMAND_FACTS}
        assert [attributes.commandIndex for attributes in found] == sorted(COMMANDS)
        for attributes in found:
            fact = by_code[attributes.commandIndex]
            assert int(fact["tpma_cc"]["value"], 16) == attributes, fact["name"]

    def test_commands_that_need_presence(self, tpm: Client) -> None:
        """TPM_CAP_PP_COMMANDS: only PP_Commands itself to begin with."""
        assert capability(tpm, TPM_CAP.PP_COMMANDS) == (TPM_CC.PP_Commands,)

    def test_audited_commands(self, tpm: Client) -> None:
        """TPM_CAP_AUDIT_COMMANDS: only SetCommandCodeAuditStatus to begin with."""
        assert capability(tpm, TPM_CAP.AUDIT_COMMANDS) == (TPM_CC.SetCommandCodeAuditStatus,)

    def test_curves(self, tpm: Client) -> None:
        """TPM_CAP_ECC_CURVES"""
        assert capability(tpm, TPM_CAP.ECC_CURVES) == tuple(sorted(CURVES))

    @pytest.mark.parametrize("count", [0, 1, 64])
    def test_pcr_banks(self, tpm: Client, count: int) -> None:
        """TPM_CAP_PCRS: always the whole allocation, with moreData NO; property must be zero."""
        whole = tpm.get_capability(capability=TPM_CAP.PCRS, property=0, property_count=count)
        banks = whole.capability_data.data

        assert not whole.more_data
        active = (A.SHA1, A.SHA256, A.SHA384, A.SHA512)
        assert {bank.hash: bank.pcr_select for bank in banks} == dict.fromkeys(active, b"\xff\xff\xff")
        reply = tpm.get_capability(capability=TPM_CAP.PCRS, property=1, property_count=1)
        assert reply.rc == TPM_RC.VALUE.parameter(2)

    def test_permanent_handles(self, tpm: Client) -> None:
        """TPM_CAP_HANDLES: every permanent handle."""
        assert capability(tpm, TPM_CAP.HANDLES, TPM_HT.PERMANENT << 24) == (
            TPM_RH.OWNER,
            TPM_RH.NULL,
            TPM_RH.TPM_RS_PW,
            TPM_RH.LOCKOUT,
            TPM_RH.ENDORSEMENT,
            TPM_RH.PLATFORM,
            TPM_RH.PLATFORM_NV,
            TPM_RH.ACT_0,
            TPM_RH.FW_OWNER,
            TPM_RH.FW_ENDORSEMENT,
            TPM_RH.FW_PLATFORM,
            TPM_RH.FW_NULL,
            TPM_RH.SVN_OWNER_BASE,
            TPM_RH.SVN_ENDORSEMENT_BASE,
            TPM_RH.SVN_PLATFORM_BASE,
            TPM_RH.SVN_NULL_BASE,
        )

    def test_permanent_handles_of_an_older_revision(self) -> None:
        """Before revision 1.83 there were no limited hierarchies."""
        tpm = Client(profile=SWTPM_COMPATIBLE)

        assert capability(tpm, TPM_CAP.HANDLES, TPM_HT.PERMANENT << 24)[-1] == TPM_RH.PLATFORM_NV
        assert capability(tpm, TPM_CAP.AUTH_POLICIES, TPM_RH.OWNER)[-1].handle == TPM_RH.PLATFORM

    def test_pcr_handles(self, tpm: Client) -> None:
        """TPM_CAP_HANDLES: a PCR's handle is its number."""
        assert capability(tpm, TPM_CAP.HANDLES, 0) == tuple(range(24))

    def test_loaded_sessions(self, tpm: Client) -> None:
        """TPM_CAP_HANDLES: sessions are listed by number, with handles of their kind."""
        kinds = (TPM_SE.POLICY, TPM_SE.HMAC, TPM_SE.TRIAL)
        started = [start_session(tpm, kind).handle for kind in kinds]

        assert started == [0x03000000, 0x02000001, 0x03000002]
        assert capability(tpm, TPM_CAP.HANDLES, TPM_HT.LOADED_SESSION << 24) == tuple(started)
        assert capability(tpm, TPM_CAP.HANDLES, (TPM_HT.LOADED_SESSION << 24) + 2) == (0x03000002,)

    def test_saved_sessions(self, tpm: Client) -> None:
        """TPM_CAP_HANDLES: the TPM has forgotten what kind a saved session is of."""
        tpm.tpm.reset.saved_sessions |= {7: 20, 3: 21}

        assert capability(tpm, TPM_CAP.HANDLES, TPM_HT.SAVED_SESSION << 24) == (0x02000003, 0x02000007)
        assert capability(tpm, TPM_CAP.HANDLES, (TPM_HT.SAVED_SESSION << 24) + 4) == (0x02000007,)

    @pytest.mark.parametrize("kind", [0x10, 0x7F, 0x82, 0x90, 0xFF])
    def test_handles_of_unknown_type(self, tpm: Client, kind: int) -> None:
        """A handle type of which there can be none is TPM_RC_HANDLE."""
        reply = tpm.get_capability(capability=TPM_CAP.HANDLES, property=kind << 24, property_count=1)

        assert reply.rc == TPM_RC.HANDLE.parameter(2)

    def test_auth_policies(self, tpm: Client) -> None:
        """TPM_CAP_AUTH_POLICIES: of the entities that can have one, from a permanent handle on."""
        found = capability(tpm, TPM_CAP.AUTH_POLICIES, TPM_RH.OWNER)

        handles = (
            TPM_RH.OWNER,
            TPM_RH.LOCKOUT,
            TPM_RH.ENDORSEMENT,
            TPM_RH.PLATFORM,
            TPM_RH.ACT_0,
            TPM_RH.FW_OWNER,
            TPM_RH.FW_ENDORSEMENT,
            TPM_RH.FW_PLATFORM,
            TPM_RH.SVN_OWNER_BASE,
            TPM_RH.SVN_ENDORSEMENT_BASE,
            TPM_RH.SVN_PLATFORM_BASE,
        )
        assert tuple(policy.handle for policy in found) == handles
        assert {(policy.policy_hash.hash_alg, policy.policy_hash.digest) for policy in found} == {
            (A.NULL, b"")
        }
        reply = tpm.get_capability(capability=TPM_CAP.AUTH_POLICIES, property=0, property_count=1)
        assert reply.rc == TPM_RC.VALUE.parameter(2)

    def test_auth_policy_of_a_limited_hierarchy(self, tpm: Client) -> None:
        """TPM_CAP_AUTH_POLICIES: it is that of its base."""
        tpm.set_primary_policy(TPM_RH.ENDORSEMENT, auth_policy=bytes(range(32)), hash_alg=A.SHA256).check()
        found = capability(tpm, TPM_CAP.AUTH_POLICIES, TPM_RH.OWNER)

        assert {policy.handle for policy in found if policy.policy_hash.digest == bytes(range(32))} == {
            TPM_RH.ENDORSEMENT,
            TPM_RH.FW_ENDORSEMENT,
            TPM_RH.SVN_ENDORSEMENT_BASE,
        }

    @pytest.mark.parametrize("kind", [TPM_CAP.PUB_KEYS, TPM_CAP.SPDM_SESSION_INFO, TPM_CAP.VENDOR_PROPERTY])
    def test_absent_kind(self, tpm: Client, kind: TPM_CAP) -> None:
        """A kind of which this TPM has nothing is TPM_RC_VALUE."""
        reply = tpm.get_capability(capability=kind, property=0, property_count=1)

        assert reply.rc == TPM_RC.VALUE.parameter(1)

    def test_pcr_properties(self, tpm: Client) -> None:
        """TPM_CAP_PCR_PROPERTIES: what libtpms reports for a PC Client TPM."""
        found = {element.tag: element.pcr_select for element in capability(tpm, TPM_CAP.PCR_PROPERTIES)}

        names = CONSTANTS["TPM_PT_PCR"]
        for name, expected in PCR_PROPERTIES.items():
            select = int.from_bytes(found.pop(int(names[name], 16)), "little")
            assert [index for index in range(24) if select >> index & 1] == expected, name
        assert found == {}


DRTM = [17, 18, 19, 20, 21, 22]
STATIC = list(range(16))
PCR_PROPERTIES = {
    "TPM_PT_PCR_SAVE": STATIC,
    "TPM_PT_PCR_EXTEND_L0": [*STATIC, 16, 23],
    "TPM_PT_PCR_RESET_L0": [16, 23],
    "TPM_PT_PCR_EXTEND_L1": [*STATIC, 16, 20, 23],
    "TPM_PT_PCR_RESET_L1": [16, 23],
    "TPM_PT_PCR_EXTEND_L2": list(range(24)),
    "TPM_PT_PCR_RESET_L2": [16, 20, 21, 22, 23],
    "TPM_PT_PCR_EXTEND_L3": [*STATIC, 16, 17, 18, 19, 20, 23],
    "TPM_PT_PCR_RESET_L3": [16, 23],
    "TPM_PT_PCR_EXTEND_L4": [*STATIC, 16, 17, 18, 23],
    "TPM_PT_PCR_RESET_L4": DRTM,
    "TPM_PT_PCR_NO_INCREMENT": [16, 21, 22, 23],
    "TPM_PT_PCR_DRTM_RESET": DRTM,
    "TPM_PT_PCR_POLICY": [20, 21, 22],
    "TPM_PT_PCR_AUTH": [20, 21, 22],
}
"""Measured on libtpms 0.9.2."""


MEASURED_ALGORITHMS = {
    A.RSA: 0x009,
    A.TDES: 0x002,
    A.SHA1: 0x004,
    A.HMAC: 0x104,
    A.AES: 0x002,
    A.MGF1: 0x404,
    A.KEYEDHASH: 0x30C,
    A.XOR: 0x006,
    A.SHA256: 0x004,
    A.SHA384: 0x004,
    A.SHA512: 0x004,
    A.RSASSA: 0x101,
    A.RSAES: 0x201,
    A.RSAPSS: 0x101,
    A.OAEP: 0x201,
    A.ECDSA: 0x101,
    A.ECDH: 0x401,
    A.ECDAA: 0x101,
    A.SM2: 0x501,
    A.ECSCHNORR: 0x101,
    A.ECMQV: 0x401,
    A.KDF1_SP800_56A: 0x404,
    A.KDF2: 0x404,
    A.KDF1_SP800_108: 0x404,
    A.ECC: 0x009,
    A.SYMCIPHER: 0x008,
    A.CAMELLIA: 0x002,
    A.CMAC: 0x102,
    A.CTR: 0x202,
    A.OFB: 0x202,
    A.CBC: 0x202,
    A.CFB: 0x202,
    A.ECB: 0x202,
}
"""TPMA_ALGORITHM on libtpms 0.9.2."""

REGISTRY_ADDS = {A.OAEP: 0x004, A.SYMCIPHER: 0x002}
"""Bits that the TCG Algorithm Registry gives and libtpms does not."""


class TestProperties:
    """Part 2, 6.13: TPM_CAP_TPM_PROPERTIES"""

    @pytest.mark.parametrize(
        ("first", "lowest", "highest"),
        [
            (0, TPM_PT.FAMILY_INDICATOR, TPM_PT.FIRMWARE_MAX_SVN),
            (TPM_PT.MANUFACTURER, TPM_PT.MANUFACTURER, TPM_PT.FIRMWARE_MAX_SVN),
            (TPM_PT.PERMANENT, TPM_PT.PERMANENT, TPM_PT.AUDIT_COUNTER_1),
        ],
    )
    def test_groups(self, tpm: Client, first: int, lowest: int, highest: int) -> None:
        """A response has properties of one group only."""
        reply = tpm.get_capability(capability=TPM_CAP.TPM_PROPERTIES, property=first, property_count=ALL)
        tags = [element.property for element in reply.capability_data.data]

        assert (tags[0], tags[-1]) == (lowest, highest)
        assert not reply.more_data

    @pytest.mark.parametrize("first", [TPM_PT.ML_PARAMETER_SETS + 1, 0x1FF, 0x300, 0xFFFFFFFF])
    def test_beyond_a_group(self, tpm: Client, first: int) -> None:
        """After the last property of a group there is none."""
        assert properties(tpm, first) == {}

    def test_identity(self, tpm: Client) -> None:
        """A TPM 2.0 of specification version 185, for PC Clients."""
        fixed = properties(tpm, TPM_PT.FAMILY_INDICATOR)

        assert fixed[TPM_PT.FAMILY_INDICATOR].to_bytes(4, "big") == b"2.0\0"
        assert (fixed[TPM_PT.LEVEL], fixed[TPM_PT.REVISION]) == (0, 185)
        assert fixed[TPM_PT.MANUFACTURER].to_bytes(4, "big") == b"VTPM"
        assert fixed[TPM_PT.PS_FAMILY_INDICATOR] == TPM_PS.PC
        assert fixed[TPM_PT.TOTAL_COMMANDS] == fixed[TPM_PT.LIBRARY_COMMANDS] == len(COMMANDS)

    @pytest.mark.parametrize(
        ("tag", "least"),
        [
            (TPM_PT.HR_TRANSIENT_MIN, 3),
            (TPM_PT.HR_PERSISTENT_MIN, 9),
            (TPM_PT.HR_LOADED_MIN, 3),
            (TPM_PT.ACTIVE_SESSIONS_MAX, 64),
            (TPM_PT.PCR_COUNT, 24),
            (TPM_PT.PCR_SELECT_MIN, 3),
            (TPM_PT.NV_BUFFER_MAX, 512),
            (TPM_PT.INPUT_BUFFER, 1024),
            (TPM_PT.MAX_DIGEST, 48),
        ],
    )
    def test_minimums(self, tpm: Client, tag: int, least: int) -> None:
        """PC Client Platform TPM Profile: what there must be at least."""
        assert properties(tpm, tag, 1)[tag] >= least

    def test_counts(self, tpm: Client) -> None:
        """Variable properties count what there is."""
        before = properties(tpm, TPM_PT.PERMANENT)
        define(tpm, 0x01000001, 0x01000002)
        start_session(tpm)
        tpm.tpm.reset.saved_sessions[5] = 17
        after = properties(tpm, TPM_PT.PERMANENT)

        changes = {tag: after[tag] - before[tag] for tag in after if after[tag] != before[tag]}
        assert changes.pop(TPM_PT.NV_COUNTERS_AVAIL) < 0
        assert changes == {
            TPM_PT.HR_NV_INDEX: 2,
            TPM_PT.HR_LOADED: 1,
            TPM_PT.HR_LOADED_AVAIL: -1,
            TPM_PT.HR_ACTIVE: 2,
            TPM_PT.HR_ACTIVE_AVAIL: -2,
        }

    def test_attributes(self, tpm: Client) -> None:
        """TPMA_PERMANENT and TPMA_STARTUP_CLEAR of a new TPM."""
        variable = properties(tpm, TPM_PT.PERMANENT)

        enabled = TPMA_STARTUP_CLEAR(phEnable=True, shEnable=True, ehEnable=True, phEnableNV=True)
        assert variable[TPM_PT.PERMANENT] == TPMA_PERMANENT(tpmGeneratedEPS=True)
        assert variable[TPM_PT.STARTUP_CLEAR] == enabled

    def test_orderly(self, tpm: Client) -> None:
        """TPMA_STARTUP_CLEAR.orderly: was the last shutdown orderly?"""
        tpm.power_cycle(shutdown=TPM_SU.CLEAR)
        assert TPMA_STARTUP_CLEAR(properties(tpm, TPM_PT.STARTUP_CLEAR, 1)[TPM_PT.STARTUP_CLEAR]).orderly
        tpm.power_cycle(shutdown=None)
        assert not TPMA_STARTUP_CLEAR(properties(tpm, TPM_PT.STARTUP_CLEAR, 1)[TPM_PT.STARTUP_CLEAR]).orderly


class TestFailureMode:
    """30.2.1: what a TPM in failure mode still says of itself"""

    REQUIRED = range(TPM_PT.MANUFACTURER, TPM_PT.FIRMWARE_VERSION_2 + 1)

    def test_whose_it_is(self, tpm: Client) -> None:
        """The properties from the manufacturer to the firmware version are as before the failure."""
        before = properties(tpm, TPM_PT.MANUFACTURER, len(self.REQUIRED))
        tpm.tpm.fail("a test")

        found: dict[int, int] = {}
        for tag in self.REQUIRED:
            found |= properties(tpm, tag, 1)
        assert found == before

    @pytest.mark.parametrize("kind", [TPM_CAP.ALGS, TPM_CAP.HANDLES, TPM_CAP.COMMANDS])
    def test_other_kinds(self, tpm: Client, kind: TPM_CAP) -> None:
        """There is no value of another kind, nor any with a session; TPM_RC_FAILURE."""
        session = start_session(tpm)
        tpm.tpm.fail("a test")
        given = {"property": TPM_PT.MANUFACTURER, "property_count": 1}

        codes = [
            tpm.get_capability(capability=kind, **given).rc,
            tpm.get_capability(capability=TPM_CAP.TPM_PROPERTIES, **given, sessions=[session]).rc,
        ]

        assert codes == [TPM_RC.FAILURE] * 2

    def test_before_and_after(self, tpm: Client) -> None:
        """What comes before begins with the manufacturer; after the firmware version there is nothing."""
        tpm.tpm.fail("a test")

        assert list(properties(tpm, 0, 1)) == [TPM_PT.MANUFACTURER]
        assert properties(tpm, TPM_PT.FIRMWARE_VERSION_2 + 1, 1) == {}

    FIRST = (0, *range(TPM_PT.MANUFACTURER - 1, TPM_PT.FIRMWARE_VERSION_2 + 2), 0x200, 0xFFFFFFFF)

    @pytest.mark.parametrize("count", [0, 1, 2, 6, 0xFFFFFFFF])
    @pytest.mark.parametrize("first", FIRST)
    def test_more_data(self, tpm: Client, first: int, count: int) -> None:
        """One property at most at a time, and moreData says whether others follow it."""
        tpm.tpm.fail("a test")
        there = [tag for tag in self.REQUIRED if tag >= first]
        reply = tpm.get_capability(capability=TPM_CAP.TPM_PROPERTIES, property=first, property_count=count)
        found = [element.property for element in reply.capability_data.data]

        assert found == there[: min(count, 1)]
        assert reply.more_data is (len(there) > len(found))

    def test_loop(self, tpm: Client) -> None:
        """Who asks on as long as there is more finds all properties."""
        tpm.tpm.fail("a test")
        found, more = [0], True
        while more:
            reply = tpm.get_capability(
                capability=TPM_CAP.TPM_PROPERTIES, property=found[-1] + 1, property_count=8
            )
            found += [element.property for element in reply.capability_data.data]
            more = reply.more_data

        assert found[1:] == list(self.REQUIRED)


class TestTestParms:
    """30.3"""

    @pytest.mark.parametrize(
        ("parameters", "expected"),
        [
            ("0025 0006 0080 0043", TPM_RC.SUCCESS),
            ("0025 0006 0081 0043", TPM_RC.VALUE),
            ("0025 0006 0080 0011", TPM_RC.MODE),
            ("0025 0009 0080 0043", TPM_RC.SYMMETRIC),
            ("0001 0010 0010 0800 00000000", TPM_RC.SUCCESS),
            ("0001 0010 0010 0801 00000000", TPM_RC.VALUE),
            ("0001 0010 0014 000b 0c00 00000000", TPM_RC.SUCCESS),
            ("0001 0010 0018 000b 0c00 00000000", TPM_RC.VALUE),
            ("0023 0010 0018 000b 0004 0010", TPM_RC.SUCCESS),
            ("0023 0010 0018 000b 0007 0010", TPM_RC.CURVE),
            ("0023 0010 0018 0099 0004 0010", TPM_RC.HASH),
            ("0023 0010 0014 000b 0004 0010", TPM_RC.SCHEME),
            ("0008 0005 000b", TPM_RC.SUCCESS),
            ("0008 0010", TPM_RC.SUCCESS),
            ("0007 0010", TPM_RC.TYPE),
        ],
    )
    def test_octets(self, tpm: Client, parameters: str, expected: TPM_RC) -> None:
        """What is wrong with parameters is what is wrong with them as those of an object."""
        octets = bytes.fromhex(parameters)
        head = b"\x80\x01" + (10 + len(octets)).to_bytes(4, "big") + TPM_CC.TestParms.to_bytes(4, "big")

        code = int.from_bytes(tpm.send(head + octets)[6:], "big")

        assert code == (expected.parameter(1) if expected else TPM_RC.SUCCESS)


class TestSetCapability:
    """30.4"""

    @pytest.mark.parametrize("set_capability", [TPM_CAP.ALGS, TPM_CAP.VENDOR_PROPERTY])
    def test_nothing_can_be_set(self, tpm: Client, set_capability: int) -> None:
        """There is no capability that can be set, so whatever names one cannot be read."""
        data = b"\0\4" + set_capability.to_bytes(4, "big")
        area = bytes.fromhex("00000009400000090000010000")
        body = TPM_RH.OWNER.to_bytes(4, "big") + area + data
        head = b"\x80\x02" + (10 + len(body)).to_bytes(4, "big") + TPM_CC.SetCapability.to_bytes(4, "big")

        code = int.from_bytes(tpm.send(head + body)[6:], "big")

        assert code == TPM_RC.SELECTOR.parameter(1)
