"""vtpm/trace/fields.py: values that a TPM would refuse are shown as far as they can be read."""

import pytest

from tests.trace.conversation import explained
from vtpm.caller.messages import request_of
from vtpm.commands import COMMANDS
from vtpm.spec.constants import TPM_CC
from vtpm.trace.event import Event, Kind
from vtpm.trace.tracer import Tracer

OWNER, PCR_16, SESSION = 0x40000001, 16, 0x03000000
PASSWORD = bytes.fromhex("40000009 0000 01 0000")


def fields(code: TPM_CC, parameters: str, *handles: int, area: bytes = b"") -> list[str]:
    """The lines of a command's parameters, given in hex."""
    request = request_of(COMMANDS[code], handles, area, bytes.fromhex(parameters))
    skipped = 1 + len(handles) + bool(area)
    return [line.strip() for line in Tracer().explain(Event(Kind.COMMAND, request))[skipped:]]


@pytest.mark.parametrize(
    ("code", "parameters", "handles", "lines"),
    [
        pytest.param(
            TPM_CC.PCR_Extend,
            "00000001 0099 aabb",
            [PCR_16],
            [
                "digests[0].hash_alg: 0x0099 (refused here: TPM_RC_HASH)",
                "digests[0].digest: hash_alg has no member; what is left: 2 octets, hidden",
            ],
            id="union without a member",
        ),
        pytest.param(
            TPM_CC.PCR_Extend,
            "00000002 000b" + "11" * 32,
            [PCR_16],
            [
                "digests[0].hash_alg: TPM_ALG_SHA256",
                f"digests[0].digest: 32 octets {'11' * 32}",
                "digests: the octets end too early, after 1 of 2 elements; what is left: empty",
            ],
            id="list with fewer elements",
        ),
        pytest.param(TPM_CC.PCR_Extend, "00000000", [PCR_16], ["digests: none"], id="empty list"),
        pytest.param(
            TPM_CC.PCR_Extend,
            "00000001 000b 1122",
            [PCR_16],
            [
                "digests[0].hash_alg: TPM_ALG_SHA256",
                "digests[0].digest: the octets end too early; what is left: 2 octets, hidden",
            ],
            id="digest with fewer octets",
        ),
        pytest.param(TPM_CC.PolicyGetDigest, "", [0x80000001], [], id="handle that is no session"),
        pytest.param(
            TPM_CC.NV_DefineSpace,
            "0000 0010 01800001 000b 00000201 0000 0008 aabb",
            [OWNER],
            [
                "auth: empty",
                "public_info.nv_index: NV Index 0x01800001",
                "public_info.name_alg: TPM_ALG_SHA256",
                "public_info.attributes: PPWRITE reserved 0x200 (refused here: TPM_RC_RESERVED_BITS)",
                "public_info.auth_policy: empty",
                "public_info.data_size: 8",
                "public_info: octets are left over; what is left: 2 octets, hidden",
            ],
            id="reserved bits, and a size that is too large",
        ),
        pytest.param(
            TPM_CC.NV_DefineSpace,
            "0000 0000",
            [OWNER],
            ["auth: empty", "public_info: empty"],
            id="structure that is empty",
        ),
        pytest.param(
            TPM_CC.NV_DefineSpace,
            "0000 0004 01800001",
            [OWNER],
            [
                "auth: empty",
                "public_info.nv_index: NV Index 0x01800001",
                "public_info.name_alg: the octets end too early; what is left: empty",
            ],
            id="structure that is cut",
        ),
        pytest.param(
            TPM_CC.PolicyAuthorize,
            "0041" + "22" * 65 + "0000 0000 8022 40000007 0000",
            [SESSION],
            [
                f"approved_policy: 65 octets {'22' * 64}…, more than the 64 allowed",
                "policy_ref: empty",
                "key_sign: empty",
                "check_ticket.tag: TPM_ST_VERIFIED",
                "check_ticket.hierarchy: TPM_RH_NULL",
                "check_ticket.hmac: empty",
            ],
            id="buffer that is too large, and an empty member",
        ),
        pytest.param(
            TPM_CC.SelfTest, "02", [], ["full_test: 2 (refused here: TPM_RC_VALUE)"], id="neither yes nor no"
        ),
        pytest.param(
            TPM_CC.ClockRateAdjust,
            "fe",
            [OWNER],
            ["rate_adjust: TPM_CLOCK_MEDIUM_SLOWER"],
            id="negative number",
        ),
        pytest.param(
            TPM_CC.IncrementalSelfTest,
            "00000002 000b 0001",
            [],
            ["to_test: TPM_ALG_SHA256, TPM_ALG_RSA"],
            id="list of numbers with names",
        ),
        pytest.param(
            TPM_CC.PCR_Read,
            "00000002 000b 03 810000 0004 03 000000",
            [],
            [
                "pcr_selection_in[0].hash: TPM_ALG_SHA256",
                "pcr_selection_in[0].pcr_select: PCR 0 7",
                "pcr_selection_in[1].hash: TPM_ALG_SHA1",
                "pcr_selection_in[1].pcr_select: no PCR",
            ],
            id="selections of PCR",
        ),
        pytest.param(
            TPM_CC.CreateLoaded,
            "0006 0002 5555 0000 000e 0008 000b 00000040 0000 0010 0000",
            [OWNER],
            [
                "in_sensitive.user_auth: 2 octets, hidden",
                "in_sensitive.data: empty",
                "in_public.type: TPM_ALG_KEYEDHASH",
                "in_public.name_alg: TPM_ALG_SHA256",
                "in_public.object_attributes: userWithAuth",
                "in_public.auth_policy: empty",
                "in_public.parameters.scheme.scheme: TPM_ALG_NULL",
                "in_public.unique: empty",
            ],
            id="template",
        ),
    ],
)
def test_parameters(code: TPM_CC, parameters: str, handles: list[int], lines: list[str]) -> None:
    """Reading goes on after a value that is refused, and ends with a line where it must."""
    area = PASSWORD if COMMANDS[code].authorizations else b""

    assert fields(code, parameters, *handles, area=area) == lines


@pytest.mark.parametrize(
    ("octets", "last"),
    [
        (
            "80020000001200000126 4000000a ffffffff",
            "sessions: the octets end too early; what is left: 4 octets, hidden",
        ),
        (
            "80020000001700000126 4000000a 00000005 40000009 00",
            "session 1: the octets end too early; what is left: 1 octet, hidden",
        ),
        (
            "80020000001b00000126 4000000a 00000009 40000009 0000 01 0004",
            "session 1: the octets end too early; what is left: 2 octets, hidden",
        ),
    ],
)
def test_authorization_area(octets: str, last: str) -> None:
    """An authorization area that cannot be read is said to be so."""
    assert explained(octets)[-1].strip() == last


@pytest.mark.parametrize(
    ("response", "last"),
    [
        (
            "80020000000e00000000 000000ff",
            "sessions: the octets end too early; what is left: 4 octets, hidden",
        ),
        (
            "80020000000f00000000 00000001 00",
            "random_bytes: the octets end too early; what is left: 1 octet, hidden",
        ),
    ],
)
def test_response(response: str, last: str) -> None:
    """So are the parameters of a response."""
    assert explained("80010000000c0000017b0008", response)[-1].strip() == last
