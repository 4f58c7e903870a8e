"""Numbers as the names that the specification gives them."""

from vtpm.spec.constants import TPM_ALG, TPM_CAP, TPM_CC, TPM_ECC_CURVE, TPM_HT, TPM_PT, TPM_PT_PCR, TPM_RH
from vtpm.wire.integers import Constant

PREFIXES = {"TPM_ECC_CURVE": "TPM_ECC", "TPM_CLOCK_ADJUST": "TPM_CLOCK"}
"""What names of constants begin with, where it is not the name of their type."""

HANDLE_TYPES = {
    TPM_HT.NV_INDEX: "NV Index",
    TPM_HT.HMAC_SESSION: "HMAC session",
    TPM_HT.POLICY_SESSION: "policy session",
    TPM_HT.EXTERNAL_NV: "external NV Index",
    TPM_HT.PERMANENT_NV: "permanent NV Index",
    TPM_HT.TRANSIENT: "transient object",
    TPM_HT.PERSISTENT: "persistent object",
    TPM_HT.AC: "attached component",
}

NUMBERS: dict[tuple[str, str], type[Constant]] = {
    ("IncrementalSelfTest", "to_test"): TPM_ALG,
    ("IncrementalSelfTest", "to_do_list"): TPM_ALG,
    ("SetCommandCodeAuditStatus", "set_list"): TPM_CC,
    ("SetCommandCodeAuditStatus", "clear_list"): TPM_CC,
    ("PP_Commands", "set_list"): TPM_CC,
    ("PP_Commands", "clear_list"): TPM_CC,
    ("PolicyCommandCode", "code"): TPM_CC,
    ("TPMS_ALG_PROPERTY", "alg"): TPM_ALG,
    ("TPMS_TAGGED_PROPERTY", "property"): TPM_PT,
    ("TPMS_TAGGED_PCR_SELECT", "tag"): TPM_PT_PCR,
    ("TPMS_COMMAND_AUDIT_INFO", "digest_alg"): TPM_ALG,
    ("TPMS_CREATION_DATA", "parent_name_alg"): TPM_ALG,
}
"""Fields of commands and structures that Part 2 types as constants, but reads as any number."""

CAPABILITIES: dict[int, type[Constant]] = {
    TPM_CAP.ALGS: TPM_ALG,
    TPM_CAP.COMMANDS: TPM_CC,
    TPM_CAP.PP_COMMANDS: TPM_CC,
    TPM_CAP.AUDIT_COMMANDS: TPM_CC,
    TPM_CAP.TPM_PROPERTIES: TPM_PT,
    TPM_CAP.PCR_PROPERTIES: TPM_PT_PCR,
    TPM_CAP.ECC_CURVES: TPM_ECC_CURVE,
}
"""Part 3, 30.2: what the number `property` of GetCapability, and the elements of its answer, stand for."""

TEXTS = frozenset(
    {
        TPM_PT.FAMILY_INDICATOR,
        TPM_PT.MANUFACTURER,
        TPM_PT.VENDOR_STRING_1,
        TPM_PT.VENDOR_STRING_2,
        TPM_PT.VENDOR_STRING_3,
        TPM_PT.VENDOR_STRING_4,
        TPM_PT.PS_FAMILY_INDICATOR,
    }
)
"""Properties whose value is four characters."""

SMALL = 1_000_000


def constant_name(kind: type[Constant], value: int) -> str:
    """The name of a constant, or its number if it has none."""
    if value not in kind._value2member_map_:
        return f"0x{value:0{2 * kind.octets}X}"
    return f"{PREFIXES.get(kind.__name__, kind.__name__)}_{kind(value).name}"


def number_name(value: int) -> str:
    """A number as people write it: large ones are masks and addresses."""
    return str(value) if -SMALL < value < SMALL else f"0x{value:X}"


def command_name(code: int) -> str:
    """The name of a command."""
    return f"TPM2_{TPM_CC(code).name}" if code in TPM_CC._value2member_map_ else f"command 0x{code:08X}"


def handle_name(handle: int) -> str:
    """What a handle refers to (Part 2, clause 7)."""
    if handle in TPM_RH._value2member_map_:
        name = TPM_RH(handle).name
        return name if name.startswith("TPM_") else f"TPM_RH_{name}"
    kind = handle >> 24
    if kind == TPM_HT.PCR:
        return f"PCR {handle}"
    name = HANDLE_TYPES.get(TPM_HT(kind), "") if kind in TPM_HT._value2member_map_ else ""
    return f"{name} 0x{handle:08X}".strip()
