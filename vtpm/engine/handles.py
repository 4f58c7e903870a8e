"""Part 3, 5.4: the handle area; finds the entity behind each handle."""

from collections.abc import Callable

from vtpm.spec.constants import TPM_CC, TPM_HT, TPM_RH
from vtpm.spec.handles import PLATFORM_PERSISTENT
from vtpm.state.entity import Entity
from vtpm.state.object import Object
from vtpm.state.sequence import Sequence
from vtpm.state.session import Session
from vtpm.state.tpm import TpmState
from vtpm.wire.error import TPM_RC, TpmError

LOCKOUT, ACT, OWNER = TPM_RH.LOCKOUT, TPM_RH.ACT_0, TPM_RH.OWNER
REFERENCE_H = [TPM_RC(TPM_RC.REFERENCE_H0 + number) for number in range(7)]


def entity_of(tpm: TpmState, handle: int, number: int, code: TPM_CC) -> Entity | Session:
    """
    The entity of a well-formed handle, the `number`-th of its command (from 0).

    TPM_RC_REFERENCE_Hx if it is not loaded, TPM_RC_HANDLE if it does not exist, TPM_RC_HIERARCHY if disabled.
    """
    find = FINDERS.get(handle >> 24)
    if find is None:
        raise TpmError(TPM_RC.VALUE)
    return find(tpm, handle, number, code)


def permanent_entity(tpm: TpmState, handle: int, number: int, code: TPM_CC) -> Entity:  # noqa: ARG001 - as all
    """A hierarchy, lockout or the Authenticated Countdown Timer."""
    if handle == LOCKOUT:
        return tpm.lockout
    if handle == ACT:
        return tpm.act_entity()
    return tpm.enabled_hierarchy(handle)


def transient_entity(tpm: TpmState, handle: int, number: int, code: TPM_CC) -> Object | Sequence:  # noqa: ARG001
    """A transient object, which must be loaded."""
    item = tpm.volatile.objects.get(handle)
    if item is None:
        raise TpmError(REFERENCE_H[number])
    return item


def session_entity(tpm: TpmState, handle: int, number: int, code: TPM_CC) -> Session:  # noqa: ARG001
    """A loaded session, of the type that its handle says."""
    session = tpm.volatile.sessions.get(handle & 0xFFFFFF)
    if session is None:
        raise TpmError(REFERENCE_H[number])
    if session.handle != handle:
        raise TpmError(TPM_RC.HANDLE)
    return session


def nv_entity(tpm: TpmState, handle: int, number: int, code: TPM_CC) -> Entity:  # noqa: ARG001
    """An NV Index: defined, its hierarchy enabled, and neither frozen nor locked against the command."""
    index = tpm.nv.get(handle)
    if index is None:
        raise TpmError(TPM_RC.HANDLE)
    enabled = tpm.clear.ph_enable_nv if index.attributes.PLATFORMCREATE else tpm.hierarchies[OWNER].enabled
    if not enabled:
        raise TpmError(TPM_RC.HANDLE)
    if tpm.clear.read_only and index.is_frozen(code):
        # Part 1, 42.2: before any authorization, so that a refused command has no effect at all.
        raise TpmError(TPM_RC.READ_ONLY)
    if index.is_locked(code):
        raise TpmError(TPM_RC.NV_LOCKED)
    return index


def persistent_entity(tpm: TpmState, handle: int, number: int, code: TPM_CC) -> Object:  # noqa: ARG001
    """
    A persistent object, which must exist; whose range it is in and its own hierarchy must be enabled.

    An object of a disabled endorsement hierarchy can be evicted all the same, as in the reference code.
    """
    item = tpm.persistent.get(handle)
    keeper = tpm.platform if handle in PLATFORM_PERSISTENT else tpm.owner
    if item is None or not keeper.enabled:
        raise TpmError(TPM_RC.HANDLE)
    if not tpm.hierarchies[item.hierarchy].enabled and code != TPM_CC.EvictControl:
        raise TpmError(TPM_RC.HANDLE)
    return item


def pcr_entity(tpm: TpmState, handle: int, number: int, code: TPM_CC) -> Entity:  # noqa: ARG001
    """A PCR, with the authorization that it may share."""
    return tpm.pcr_entity(handle)


FINDERS: dict[int, Callable[[TpmState, int, int, TPM_CC], Entity | Session]] = {
    TPM_HT.PCR: pcr_entity,
    TPM_HT.NV_INDEX: nv_entity,
    TPM_HT.EXTERNAL_NV: nv_entity,
    TPM_HT.PERMANENT_NV: nv_entity,
    TPM_HT.HMAC_SESSION: session_entity,
    TPM_HT.POLICY_SESSION: session_entity,
    TPM_HT.PERMANENT: permanent_entity,
    TPM_HT.TRANSIENT: transient_entity,
    TPM_HT.PERSISTENT: persistent_entity,
}
"""How the entities of each handle type (Part 2, 7.2) are found."""
