"""Part 3, clause 30: capability commands."""

from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import Annotated, Any

from vtpm.commands.properties import PROPERTIES
from vtpm.commands.table import COMMANDS, command
from vtpm.crypto.digest import digest_size
from vtpm.spec.attributes import TPMA_ALGORITHM
from vtpm.spec.capability import TPM2B_SET_CAPABILITY_DATA, TPMS_CAPABILITY_DATA, TPMS_SET_CAPABILITY_DATA
from vtpm.spec.constants import TPM_ALG, TPM_CAP, TPM_CC, TPM_HT, TPM_PT_PCR, TPM_RH
from vtpm.spec.handles import TPMI_RH_HIERARCHY_AUTH_NULL
from vtpm.spec.interface import CURVES, TPM_CAP_TYPE, TPMI_YES_NO
from vtpm.spec.limits import MAX_CAP_DATA
from vtpm.spec.objects import TPMT_PUBLIC_PARMS
from vtpm.spec.structures import (
    TPMS_ALG_PROPERTY,
    TPMS_PCR_SELECTION,
    TPMS_TAGGED_PCR_SELECT,
    TPMS_TAGGED_POLICY,
    TPMS_TAGGED_PROPERTY,
    TPMT_HA,
)
from vtpm.state.entity import Role
from vtpm.state.hierarchy import Hierarchy
from vtpm.state.lockout import Lockout
from vtpm.state.pcr import IMPLEMENTED_PCR, PCR_SELECT_SIZE, property_select
from vtpm.state.tpm import TpmState
from vtpm.wire.error import TPM_RC, TpmError
from vtpm.wire.integers import UINT32
from vtpm.wire.structure import structure

A = TPM_ALG
ASYMMETRIC = TPMA_ALGORITHM(asymmetric=True, object=True)
CIPHER = TPMA_ALGORITHM(symmetric=True)
HASH = TPMA_ALGORITHM(hash=True)
SIGNING = TPMA_ALGORITHM(asymmetric=True, signing=True)
METHOD = TPMA_ALGORITHM(hash=True, method=True)
MODE = TPMA_ALGORITHM(symmetric=True, encrypting=True)
EXCHANGE = TPMA_ALGORITHM(asymmetric=True, method=True)

ALGORITHMS: dict[int, TPMA_ALGORITHM] = {
    A.RSA: ASYMMETRIC,
    A.TDES: CIPHER,
    A.SHA1: HASH,
    A.HMAC: TPMA_ALGORITHM(hash=True, signing=True),
    A.AES: CIPHER,
    A.MGF1: METHOD,
    A.KEYEDHASH: TPMA_ALGORITHM(hash=True, object=True, signing=True, encrypting=True),
    A.XOR: TPMA_ALGORITHM(hash=True, symmetric=True),
    A.SHA256: HASH,
    A.SHA384: HASH,
    A.SHA512: HASH,
    A.SM3_256: HASH,
    A.SM4: CIPHER,
    A.RSASSA: SIGNING,
    A.RSAES: TPMA_ALGORITHM(asymmetric=True, encrypting=True),
    A.RSAPSS: SIGNING,
    A.OAEP: TPMA_ALGORITHM(asymmetric=True, hash=True, encrypting=True),
    A.ECDSA: SIGNING,
    A.ECDH: EXCHANGE,
    A.ECDAA: SIGNING,
    A.SM2: SIGNING,
    A.ECSCHNORR: SIGNING,
    A.ECMQV: EXCHANGE,
    A.KDF1_SP800_56A: METHOD,
    A.KDF2: METHOD,
    A.KDF1_SP800_108: METHOD,
    A.ECC: ASYMMETRIC,
    A.SYMCIPHER: TPMA_ALGORITHM(symmetric=True, object=True),
    A.CAMELLIA: CIPHER,
    A.SHA3_256: HASH,
    A.SHA3_384: HASH,
    A.SHA3_512: HASH,
    A.CMAC: TPMA_ALGORITHM(symmetric=True, signing=True),
    A.CTR: MODE,
    A.OFB: MODE,
    A.CBC: MODE,
    A.CFB: MODE,
    A.ECB: MODE,
}
"""TCG Algorithm Registry, Table 2: what an algorithm is."""

Found = tuple[Any, bool]
"""The elements of a list, and whether there are more."""


def page(
    items: Iterable[Any], first: int, count: int, size: int, key: Callable[[Any], int] | None = None
) -> Found:
    """The elements from `first` on, in ascending order, as many as asked for and as a response holds."""
    ordered = sorted(items, key=key)
    start = bisect_left(ordered, first, key=key)
    most = min(count, MAX_CAP_DATA // size)
    return tuple(ordered[start : start + most]), start + most < len(ordered)


def algorithms(tpm: TpmState, first: int, count: int) -> Found:
    """TPM_CAP_ALGS."""
    found, more = page(ALGORITHMS.keys() - tpm.profile.disabled_algorithms, first, count, 6)
    return tuple(TPMS_ALG_PROPERTY(alg, ALGORITHMS[alg]) for alg in found), more


def handles(tpm: TpmState, first: int, count: int) -> Found:
    """TPM_CAP_HANDLES: those of the type that the most significant octet of `first` names."""
    kind = first >> 24
    if kind == TPM_HT.PCR:
        found: Iterable[int] = range(IMPLEMENTED_PCR)
    elif kind == TPM_HT.NV_INDEX:
        found = tpm.nv
    elif kind == TPM_HT.LOADED_SESSION:
        found = [session.handle for session in tpm.volatile.sessions.values()]
        first &= 0xFFFFFF
        return page(found, first, count, 4, key=lambda handle: handle & 0xFFFFFF)
    elif kind == TPM_HT.SAVED_SESSION:
        found = [TPM_HT.HMAC_SESSION << 24 | number for number in tpm.reset.saved_sessions]
        return page(found, TPM_HT.HMAC_SESSION << 24 | first & 0xFFFFFF, count, 4)
    elif kind == TPM_HT.PERMANENT:
        found = [*(h for h in tpm.hierarchies if h < FIRST_LIMITED), TPM_RH.TPM_RS_PW, TPM_RH.LOCKOUT]
    elif kind == TPM_HT.TRANSIENT:
        found = tpm.volatile.objects
    elif kind == TPM_HT.PERSISTENT:
        found = tpm.persistent
    else:
        raise TpmError(TPM_RC.HANDLE, at="property")
    return page(found, first, count, 4)


FIRST_LIMITED = TPM_RH.FW_OWNER


def commands(_: TpmState, first: int, count: int) -> Found:
    """TPM_CAP_COMMANDS."""
    found, more = page(COMMANDS, first, count, 4)
    return tuple(COMMANDS[code].tpma_cc for code in found), more


def presence_commands(tpm: TpmState, first: int, count: int) -> Found:
    """TPM_CAP_PP_COMMANDS."""
    return page(tpm.permanent.physical_presence & COMMANDS.keys(), first, count, 4)


def audit_commands(tpm: TpmState, first: int, count: int) -> Found:
    """TPM_CAP_AUDIT_COMMANDS."""
    return page(tpm.permanent.audited & COMMANDS.keys(), first, count, 4)


def pcr_banks(tpm: TpmState, first: int, count: int) -> Found:
    """TPM_CAP_PCRS: every bank and the PCR it has."""
    if first != 0:
        raise TpmError(TPM_RC.VALUE, at="property")
    selections = tuple(
        TPMS_PCR_SELECTION(alg, tpm.pcr.selected.get(alg, 0).to_bytes(PCR_SELECT_SIZE, "little"))
        for alg in tpm.profile.pcr_banks
    )
    return selections, False


def tpm_properties(tpm: TpmState, first: int, count: int) -> Found:
    """TPM_CAP_TPM_PROPERTIES."""
    found, more = page(PROPERTIES, first, count, 8)
    return tuple(TPMS_TAGGED_PROPERTY(tag, PROPERTIES[tag](tpm)) for tag in found), more


def pcr_properties(_: TpmState, first: int, count: int) -> Found:
    """TPM_CAP_PCR_PROPERTIES."""
    selects = {tag: select for tag in TPM_PT_PCR if (select := property_select(tag)) is not None}
    found, more = page(selects, first, count, 4 + 1 + PCR_SELECT_SIZE)
    return tuple(TPMS_TAGGED_PCR_SELECT(tag, selects[tag]) for tag in found), more


def curves(_: TpmState, first: int, count: int) -> Found:
    """TPM_CAP_ECC_CURVES."""
    return page(CURVES, first, count, 2)


def auth_policies(tpm: TpmState, first: int, count: int) -> Found:
    """TPM_CAP_AUTH_POLICIES: of the permanent entities that have one."""
    if first >> 24 != TPM_HT.PERMANENT:
        raise TpmError(TPM_RC.HANDLE, at="property")
    entities = {h.handle: h for h in (tpm.owner, tpm.endorsement, tpm.platform)} | {
        tpm.lockout.handle: tpm.lockout
    }
    found, more = page(entities, first, count, 4 + 2 + digest_size(A.SHA512))
    policies = tuple(
        TPMS_TAGGED_POLICY(handle, TPMT_HA(entities[handle].policy_alg, entities[handle].auth_policy))
        for handle in found
    )
    return policies, more


def nothing(_: TpmState, first: int, count: int) -> Found:
    """A kind of which this TPM has none."""
    return (), False


KINDS: dict[int, Callable[[TpmState, int, int], Found]] = {
    TPM_CAP.ALGS: algorithms,
    TPM_CAP.HANDLES: handles,
    TPM_CAP.COMMANDS: commands,
    TPM_CAP.PP_COMMANDS: presence_commands,
    TPM_CAP.AUDIT_COMMANDS: audit_commands,
    TPM_CAP.PCRS: pcr_banks,
    TPM_CAP.TPM_PROPERTIES: tpm_properties,
    TPM_CAP.PCR_PROPERTIES: pcr_properties,
    TPM_CAP.ECC_CURVES: curves,
    TPM_CAP.AUTH_POLICIES: auth_policies,
    TPM_CAP.ACT: nothing,
    TPM_CAP.PUB_KEYS: nothing,
    TPM_CAP.SPDM_SESSION_INFO: nothing,
}
"""Part 2, 6.12: every kind of capability."""


@structure
class GetCapabilityResponse:
    """30.2"""

    more_data: TPMI_YES_NO
    capability_data: TPMS_CAPABILITY_DATA


@command(TPM_CC.GetCapability)
def get_capability(
    tpm: TpmState,
    /,
    capability: TPM_CAP_TYPE,
    property: UINT32,  # noqa: A002 - Part 3 names it so
    property_count: UINT32,
) -> GetCapabilityResponse:
    """30.2: a part of what the TPM is and has: the elements of one kind from `property` on."""
    kind = KINDS.get(capability)
    if kind is None:
        raise TpmError(TPM_RC.VALUE, at="capability")

    found, more = kind(tpm, property, property_count)
    return GetCapabilityResponse(more_data=more, capability_data=TPMS_CAPABILITY_DATA(capability, found))


@command(TPM_CC.TestParms)
def test_parms(tpm: TpmState, /, parameters: TPMT_PUBLIC_PARMS) -> None:
    """30.3: parameters that can be read are supported, but for those the profile disables."""
    if parameters.type in tpm.profile.disabled_algorithms:
        raise TpmError(TPM_RC.VALUE, at="parameters")


@command(TPM_CC.SetCapability, nv=True, physical_presence=True, read_only=False)
def set_capability(
    tpm: TpmState,
    auth: Annotated[Hierarchy | Lockout | None, TPMI_RH_HIERARCHY_AUTH_NULL, Role.USER],
    /,
    set_capability_data: TPM2B_SET_CAPABILITY_DATA,
) -> None:
    """30.4: no capability that can be set is defined, so there is none that this TPM could set."""
    assert isinstance(set_capability_data, TPMS_SET_CAPABILITY_DATA)
    raise TpmError(TPM_RC.VALUE, at="set_capability_data")
