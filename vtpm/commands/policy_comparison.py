"""Part 3, clause 23: enhanced authorization: comparisons with NV, the clock and capabilities."""

from typing import Annotated

from vtpm.commands.capability import KINDS
from vtpm.commands.policy import PolicySession, assert_in
from vtpm.commands.table import command
from vtpm.crypto.digest import digest
from vtpm.spec.constants import TPM_CC, TPM_EO
from vtpm.spec.handles import TPMI_RH_NV_AUTH, TPMI_RH_NV_INDEX
from vtpm.spec.interface import TPM_CAP_TYPE, TPM_EO_TYPE
from vtpm.spec.structures import TPM2B_OPERAND, TPMS_TIME_INFO
from vtpm.state.entity import Role
from vtpm.state.hierarchy import Hierarchy
from vtpm.state.nv import NvIndex
from vtpm.state.session import Session
from vtpm.state.tpm import TpmState
from vtpm.wire.error import TPM_RC, TpmError
from vtpm.wire.integers import UINT16, UINT32
from vtpm.wire.structure import marshal

TWOS_COMPLEMENT_REVISION = 183
"""23.10: earlier TPMs may compare negative operands by their magnitude, as libtpms 0.9 does."""

EXPIRATION_REVISION = 183
LONGEST_EXPIRATION = 2_147_483_647
"""23.10: an expiration of more seconds may be refused."""

UINT64_SIZE = 8
SIGN = 0x80


def signed_value(octets: bytes, revision: int) -> int:
    """An operand as a signed integer."""
    if revision >= TWOS_COMPLEMENT_REVISION or not octets or octets[0] < SIGN:
        return int.from_bytes(octets, "big", signed=True)
    return -int.from_bytes(octets, "big")


def holds(operation: TPM_EO, a: bytes, b: bytes, revision: int) -> bool:
    """Part 2, 6.8: is the comparison of two operands of the same size true?"""
    unsigned = int.from_bytes(a, "big"), int.from_bytes(b, "big")
    signed = signed_value(a, revision), signed_value(b, revision)
    first, second = unsigned
    return {
        TPM_EO.EQ: first == second,
        TPM_EO.NEQ: first != second,
        TPM_EO.SIGNED_GT: signed[0] > signed[1],
        TPM_EO.UNSIGNED_GT: first > second,
        TPM_EO.SIGNED_LT: signed[0] < signed[1],
        TPM_EO.UNSIGNED_LT: first < second,
        TPM_EO.SIGNED_GE: signed[0] >= signed[1],
        TPM_EO.UNSIGNED_GE: first >= second,
        TPM_EO.SIGNED_LE: signed[0] <= signed[1],
        TPM_EO.UNSIGNED_LE: first <= second,
        TPM_EO.BITSET: first & second == second,
        TPM_EO.BITCLEAR: first & second == 0,
    }[operation]


@command(TPM_CC.PolicyNV)
def policy_nv(
    tpm: TpmState,
    auth_handle: Annotated[Hierarchy | NvIndex, TPMI_RH_NV_AUTH, Role.USER],
    nv_index: Annotated[NvIndex, TPMI_RH_NV_INDEX],
    session: PolicySession,
    /,
    operand_b: TPM2B_OPERAND,
    offset: UINT16,
    operation: TPM_EO_TYPE,
) -> None:
    """23.9: the data of an NV Index compares with an operand."""
    if not session.is_trial:
        nv_index.check_read(auth_handle)
        if offset > nv_index.public.data_size:
            raise TpmError(TPM_RC.VALUE, at="offset")
        if len(operand_b) > nv_index.public.data_size - offset:
            raise TpmError(TPM_RC.SIZE, at="operand_b")
        if not holds(
            operation, nv_index.data[offset : offset + len(operand_b)], operand_b, tpm.profile.revision
        ):
            raise TpmError(TPM_RC.POLICY)

    assert_in(session, TPM_CC.PolicyNV, arguments(session, operand_b, offset, operation), nv_index.name)


def arguments(session: Session, operand_b: bytes, offset: int, operation: TPM_EO, *rest: bytes) -> bytes:
    """The digest of what is compared, and how."""
    return digest(session.hash, operand_b, offset.to_bytes(2, "big"), operation.to_bytes(2, "big"), *rest)


@command(TPM_CC.PolicyCounterTimer)
def policy_counter_timer(
    tpm: TpmState,
    session: PolicySession,
    /,
    operand_b: TPM2B_OPERAND,
    offset: UINT16,
    operation: TPM_EO_TYPE,
) -> None:
    """23.10: a part of TPMS_TIME_INFO compares with an operand, or the policy expires."""
    info = marshal(tpm.time_info(), TPMS_TIME_INFO)
    if offset > len(info):
        raise TpmError(TPM_RC.VALUE, at="offset")
    if len(operand_b) > len(info) - offset:
        raise TpmError(TPM_RC.RANGE)
    timeout = 0
    if not session.is_trial:
        if sets_expiration(tpm, operand_b, offset, operation):
            timeout = expiration_of(tpm, session, operand_b)
        elif not holds(operation, info[offset : offset + len(operand_b)], operand_b, tpm.profile.revision):
            raise TpmError(TPM_RC.POLICY)

    assert_in(session, TPM_CC.PolicyCounterTimer, arguments(session, operand_b, offset, operation))
    session.the_policy.expire_at(timeout)


def sets_expiration(tpm: TpmState, operand_b: bytes, offset: int, operation: TPM_EO) -> bool:
    """23.10: Time, and nothing else, "less than" an operand is no comparison since revision 1.83."""
    return (
        operation is TPM_EO.UNSIGNED_LT
        and offset == 0
        and len(operand_b) == UINT64_SIZE
        and tpm.profile.revision >= EXPIRATION_REVISION
    )


def expiration_of(tpm: TpmState, session: Session, operand_b: bytes) -> int:
    """23.10: when the policy expires, in milliseconds of Time: so many seconds after the session's nonce."""
    seconds = int.from_bytes(operand_b, "big")
    if seconds > LONGEST_EXPIRATION:
        raise TpmError(TPM_RC.VALUE, at="operand_b")
    timeout = session.start_time + 1000 * seconds
    if timeout < tpm.clock.time or session.epoch != tpm.clock.epoch:
        raise TpmError(TPM_RC.EXPIRED, at="operand_b")
    # Zero would be no expiration at all.
    return max(timeout, 1)


@command(TPM_CC.PolicyCapability)
def policy_capability(
    tpm: TpmState,
    session: PolicySession,
    /,
    operand_b: TPM2B_OPERAND,
    offset: UINT16,
    operation: TPM_EO_TYPE,
    capability: TPM_CAP_TYPE,
    property: UINT32,  # noqa: A002 - Part 3 names it so
) -> None:
    """23.23: a capability compares with an operand; one that is not there differs from any."""
    if not session.is_trial:
        kind = KINDS.get(capability)
        if kind is None or kind.form is None:
            raise TpmError(TPM_RC.VALUE, at="capability")
        found = kind.octets_of(tpm, property)
        if found is None:
            if operation is not TPM_EO.NEQ:
                raise TpmError(TPM_RC.POLICY)
        elif offset > len(found):
            raise TpmError(TPM_RC.VALUE, at="offset")
        elif len(operand_b) > len(found) - offset:
            raise TpmError(TPM_RC.SIZE, at="operand_b")
        elif not holds(operation, found[offset : offset + len(operand_b)], operand_b, tpm.profile.revision):
            raise TpmError(TPM_RC.POLICY)

    which = capability.to_bytes(4, "big") + property.to_bytes(4, "big")
    assert_in(session, TPM_CC.PolicyCapability, arguments(session, operand_b, offset, operation, which))
