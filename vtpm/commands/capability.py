"""Part 3, clause 30: capability commands."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from vtpm.commands.algorithm_attributes import algorithms_of
from vtpm.commands.properties import property_group, property_of
from vtpm.commands.table import command
from vtpm.spec.attributes import TPMA_CC
from vtpm.spec.capability import TPM2B_SET_CAPABILITY_DATA, TPMS_CAPABILITY_DATA
from vtpm.spec.constants import TPM_CAP, TPM_CC, TPM_HT, TPM_PT_PCR, TPM_RH
from vtpm.spec.handles import ACT, BASE_HIERARCHIES, TPMI_RH_HIERARCHY_AUTH_NULL
from vtpm.spec.interface import TPM_CAP_TYPE, TPMI_YES_NO
from vtpm.spec.limits import MAX_CAP_DATA, MAX_DIGEST_SIZE
from vtpm.spec.objects import TPMT_PUBLIC_PARMS
from vtpm.spec.structures import (
    TPMS_ACT_DATA,
    TPMS_ALG_PROPERTY,
    TPMS_PCR_SELECTION,
    TPMS_TAGGED_PCR_SELECT,
    TPMS_TAGGED_POLICY,
    TPMS_TAGGED_PROPERTY,
    TPMT_HA,
)
from vtpm.state.entity import Entity, Role
from vtpm.state.hierarchy import BASES, Hierarchy, base_of
from vtpm.state.lockout import Lockout
from vtpm.state.pcr import IMPLEMENTED_PCR, PCR_SELECT_SIZE, property_select
from vtpm.state.tpm import TpmState
from vtpm.wire.error import TPM_RC, TpmError
from vtpm.wire.integers import UINT16, UINT32
from vtpm.wire.structure import marshal, structure

Found = tuple[tuple[Any, ...], bool]
"""The elements of a list, and whether there are more."""

PCR_TAGS = tuple(sorted(TPM_PT_PCR))


def page(ordered: Sequence[int], first: int, count: int, size: int) -> Found:
    """The elements from `first` on, as many as asked for and as a response holds at `size` octets each."""
    start = bisect_left(ordered, first)
    end = start + min(count, MAX_CAP_DATA // size)
    return tuple(ordered[start:end]), end < len(ordered)


def algorithms(tpm: TpmState, first: int, count: int) -> Found:
    """TPM_CAP_ALGS."""
    implemented = algorithms_of(tpm.profile)
    found, more = page(tuple(implemented), first, count, 6)
    return tuple(TPMS_ALG_PROPERTY(alg, implemented[alg]) for alg in found), more


PERMANENT_ENTITIES = (
    *BASE_HIERARCHIES,
    TPM_RH.NULL,
    TPM_RH.TPM_RS_PW,
    TPM_RH.LOCKOUT,
    TPM_RH.PLATFORM_NV,
)


def permanent_entities(tpm: TpmState) -> Iterable[int]:
    """
    The permanent handles, with those of the timer and of the limited hierarchies if there are any.

    Of the hierarchies limited by a security version number only those of number 0 are listed (30.2.1).
    """
    timer = (TPM_RH.ACT_0,) if tpm.profile.has_timer else ()
    limited = BASES if tpm.profile.has_limited_hierarchies else ()
    return (*PERMANENT_ENTITIES, *timer, *limited)


HANDLES: dict[int, Callable[[TpmState], Iterable[int]]] = {
    TPM_HT.PCR: lambda _: range(IMPLEMENTED_PCR),
    TPM_HT.NV_INDEX: lambda tpm: tpm.nv,
    TPM_HT.PERMANENT: permanent_entities,
    TPM_HT.TRANSIENT: lambda tpm: tpm.volatile.objects,
    TPM_HT.PERSISTENT: lambda tpm: tpm.persistent,
}
"""The handles of each type, as the most significant octet of TPM_CAP_HANDLES' property names it."""


def handles(tpm: TpmState, first: int, count: int) -> Found:
    """TPM_CAP_HANDLES; sessions are listed by number, a saved one as an HMAC session (30.2.1)."""
    kind = first >> 24
    if kind == TPM_HT.LOADED_SESSION:
        sessions = tpm.volatile.sessions
        found, more = page(sorted(sessions), first & 0xFFFFFF, count, 4)
        return tuple(sessions[number].handle for number in found), more
    if kind == TPM_HT.SAVED_SESSION:
        found, more = page(sorted(tpm.reset.saved_sessions), first & 0xFFFFFF, count, 4)
        return tuple(TPM_HT.HMAC_SESSION << 24 | number for number in found), more
    handles_of = HANDLES.get(kind)
    if handles_of is None:
        raise TpmError(TPM_RC.HANDLE, at="property")
    return page(sorted(handles_of(tpm)), first, count, 4)


def commands(tpm: TpmState, first: int, count: int) -> Found:
    """TPM_CAP_COMMANDS."""
    found, more = page(tuple(tpm.commands), first, count, 4)
    return tuple(tpm.commands[code].tpma_cc for code in found), more


def presence_commands(tpm: TpmState, first: int, count: int) -> Found:
    """TPM_CAP_PP_COMMANDS."""
    return page(sorted(tpm.permanent.physical_presence & tpm.commands.keys()), first, count, 4)


def audit_commands(tpm: TpmState, first: int, count: int) -> Found:
    """TPM_CAP_AUDIT_COMMANDS."""
    return page(sorted(tpm.permanent.audited & tpm.commands.keys()), first, count, 4)


def pcr_banks(tpm: TpmState, first: int, _count: int) -> Found:
    """TPM_CAP_PCRS: every bank that could be allocated, with the PCR it has, whatever count is asked for."""
    if first != 0:
        raise TpmError(TPM_RC.VALUE, at="property")
    selected = tpm.pcr.selected
    return tuple(
        TPMS_PCR_SELECTION(alg, selected.get(alg, 0).to_bytes(PCR_SELECT_SIZE, "little"))
        for alg in tpm.profile.pcr_banks
    ), False


def tpm_properties(tpm: TpmState, first: int, count: int) -> Found:
    """TPM_CAP_TPM_PROPERTIES: only those of the group that `first` is in."""
    found, more = page(property_group(tpm, first), first, count, 8)
    return tuple(TPMS_TAGGED_PROPERTY(tag, property_of(tpm, tag)) for tag in found), more


def pcr_properties(tpm: TpmState, first: int, count: int) -> Found:
    """TPM_CAP_PCR_PROPERTIES."""
    found, more = page(PCR_TAGS, first, count, 4 + 1 + PCR_SELECT_SIZE)
    return tuple(TPMS_TAGGED_PCR_SELECT(tag, property_select(tpm.pcr.layout, tag)) for tag in found), more


def curves(tpm: TpmState, first: int, count: int) -> Found:
    """TPM_CAP_ECC_CURVES."""
    return page(sorted(tpm.profile.curves), first, count, 2)


def auth_policies(tpm: TpmState, first: int, count: int) -> Found:
    """TPM_CAP_AUTH_POLICIES: of the permanent entities that can have one; a limited one has its base's."""
    if first >> 24 != TPM_HT.PERMANENT:
        raise TpmError(TPM_RC.VALUE, at="property")
    keepers: tuple[Entity, ...] = (tpm.owner, tpm.lockout, tpm.endorsement, tpm.platform, tpm.act_entity())
    policies = {keeper.handle: TPMT_HA(keeper.policy_alg, keeper.auth_policy) for keeper in keepers}
    handles_with = sorted(handle for handle in permanent_entities(tpm) if base_of(handle) in policies)
    found, more = page(handles_with, first, count, 4 + 2 + MAX_DIGEST_SIZE)
    return tuple(TPMS_TAGGED_POLICY(handle, policies[base_of(handle)]) for handle in found), more


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of capability: its elements from a value on, the value of one, and its form alone."""

    elements: Callable[[TpmState, int, int], Found]
    value: Callable[[Any], int]
    form: Any
    """The type of an element; `None` if the kind has no single elements."""
    value_mask: int = 0xFFFFFFFF

    def octets_of(self, tpm: TpmState, value: int) -> bytes | None:
        """Part 3, Table 184: the element of this value; `None` if there is none."""
        found, _ = self.elements(tpm, value, 1)
        if not found or (self.value(found[0]) ^ value) & self.value_mask:
            return None
        # A session is listed with a handle of its own kind, but compared as it was asked for.
        return marshal(value if self.form is UINT32 else found[0], self.form)


def timers(tpm: TpmState, first: int, count: int) -> Found:
    """TPM_CAP_ACT: of the timers, of which this TPM has one or none."""
    if first not in ACT:
        raise TpmError(TPM_RC.VALUE, at="property")
    act = tpm.clear.act
    there = (TPM_RH.ACT_0,) if tpm.profile.has_timer else ()
    found, more = page(there, first, count, 12)
    return tuple(
        TPMS_ACT_DATA(handle, act.remaining(tpm.clock.time), act.attributes) for handle in found
    ), more


KINDS = {
    TPM_CAP.ALGS: Kind(algorithms, lambda element: element.alg, TPMS_ALG_PROPERTY),
    TPM_CAP.HANDLES: Kind(handles, int, UINT32, value_mask=0xFFFFFF),
    TPM_CAP.COMMANDS: Kind(commands, lambda element: element.commandIndex, TPMA_CC),
    TPM_CAP.PP_COMMANDS: Kind(presence_commands, int, UINT32),
    TPM_CAP.AUDIT_COMMANDS: Kind(audit_commands, int, UINT32),
    TPM_CAP.PCRS: Kind(pcr_banks, lambda element: element.hash, None),
    TPM_CAP.TPM_PROPERTIES: Kind(tpm_properties, lambda element: element.property, TPMS_TAGGED_PROPERTY),
    TPM_CAP.PCR_PROPERTIES: Kind(pcr_properties, lambda element: element.tag, TPMS_TAGGED_PCR_SELECT),
    TPM_CAP.ECC_CURVES: Kind(curves, int, UINT16),
    TPM_CAP.AUTH_POLICIES: Kind(auth_policies, lambda element: element.handle, TPMS_TAGGED_POLICY),
    TPM_CAP.ACT: Kind(timers, lambda element: element.handle, TPMS_ACT_DATA),
}
"""Part 2, 6.12: the kinds of capability that this TPM has."""


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

    found, more = kind.elements(tpm, property, property_count)
    return GetCapabilityResponse(more_data=more, capability_data=TPMS_CAPABILITY_DATA(capability, found))


@command(TPM_CC.TestParms)
def test_parms(tpm: TpmState, /, parameters: TPMT_PUBLIC_PARMS) -> None:
    """30.3: parameters that can be read are supported: what the profile lacks cannot be read."""


@command(TPM_CC.SetCapability, nv=True, physical_presence=True, read_only=False)
def set_capability(
    tpm: TpmState,
    auth: Annotated[Hierarchy | Lockout | None, TPMI_RH_HIERARCHY_AUTH_NULL, Role.USER],
    /,
    set_capability_data: TPM2B_SET_CAPABILITY_DATA,
) -> None:
    """30.4: no capability that can be set is defined, so there is none that this TPM could set."""
    raise TpmError(TPM_RC.VALUE, at="set_capability_data")
