"""Part 3, clause 28: context management."""

from io import BytesIO
from typing import Annotated, Any, NamedTuple

from vtpm.commands.context_protection import opened_context, sealed_context
from vtpm.commands.properties import property_of
from vtpm.commands.table import Area, command
from vtpm.spec.constants import TPM_CC, TPM_HT, TPM_PT, TPM_RH
from vtpm.spec.context import TPMS_CONTEXT
from vtpm.spec.handles import (
    PERSISTENT,
    PLATFORM_PERSISTENT,
    SAVED_OBJECT,
    SAVED_SEQUENCE,
    SAVED_ST_CLEAR_OBJECT,
    TPMI_DH_CONTEXT,
    TPMI_DH_OBJECT,
    TPMI_DH_PERSISTENT,
    TPMI_RH_PROVISION,
)
from vtpm.state.entity import Role
from vtpm.state.hierarchy import Hierarchy
from vtpm.state.object import Object
from vtpm.state.saved import load_object, save_object
from vtpm.state.sequence import Sequence
from vtpm.state.session import Session
from vtpm.state.suspended import SavedSession, load_sequence, load_session, save_sequence, save_session
from vtpm.state.tpm import TpmState
from vtpm.wire.error import TPM_RC, TpmError, blaming
from vtpm.wire.structure import Record, marshal, structure, unmarshal
from vtpm.wire.vocabulary import codec_of

NUMBER_MASK = 0xFFFFFF


class Received(NamedTuple):
    """A context as it came, and its size in octets together with what pads it; 0 if nothing does."""

    context: TPMS_CONTEXT
    padded_size: int


class PaddedContext(Record):
    """
    A TPMS_CONTEXT, and what pads it to TPM_PT_MAX_OBJECT_CONTEXT.

    Windows Server 2016 and 2019 pad every context to that size, which is more than Part 3 allows.
    """

    def __init__(self) -> None:
        plain = codec_of(TPMS_CONTEXT)
        assert isinstance(plain, Record)
        super().__init__(TPMS_CONTEXT, plain.fields)

    def _parse(self, stream: BytesIO, context: Any, path: str) -> Any:
        size = len(stream.getbuffer()) - stream.tell()
        value = super()._parse(stream, context, path)
        return Received(value, size if stream.read() else 0)


@structure
class ContextSaveResponse:
    """28.2"""

    context: TPMS_CONTEXT


@command(TPM_CC.ContextSave, sessions=Area.FORBIDDEN)
def context_save(
    tpm: TpmState, saved: Annotated[Object | Sequence | Session, TPMI_DH_CONTEXT], /
) -> ContextSaveResponse:
    """28.2: encrypt what a handle holds, for the caller to keep; a session leaves the TPM."""
    if isinstance(saved, Session):
        number = next_session_context(tpm)
        octets = marshal(save_session(saved))
        index = saved.handle & NUMBER_MASK
        del tpm.volatile.sessions[index]
        tpm.reset.saved_sessions[index] = number
        return ContextSaveResponse(sealed_context(tpm, number, saved.handle, TPM_RH.NULL, octets))
    tpm.reset.object_context += 1
    number = tpm.reset.object_context
    if isinstance(saved, Sequence):
        context = sealed_context(tpm, number, SAVED_SEQUENCE, TPM_RH.NULL, save_sequence(saved))
    else:
        handle = SAVED_ST_CLEAR_OBJECT if saved.st_clear else SAVED_OBJECT
        context = sealed_context(tpm, number, handle, saved.hierarchy, save_object(saved))
    return ContextSaveResponse(context)


def next_session_context(tpm: TpmState) -> int:
    """The number of the next saved session; TPM_RC_CONTEXT_GAP if the oldest one would be too far behind."""
    number = tpm.reset.session_context
    if tpm.reset.is_gap_full(tpm.profile.context_gap):
        raise TpmError(TPM_RC.CONTEXT_GAP)
    tpm.reset.session_context += 1
    return number


@structure
class ContextLoadResponse:
    """28.3"""

    loaded_handle: TPMI_DH_CONTEXT


@command(TPM_CC.ContextLoad, sessions=Area.FORBIDDEN)
def context_load(tpm: TpmState, /, context: Annotated[Received, PaddedContext()]) -> ContextLoadResponse:
    """28.3: take back what ContextSave gave out."""
    if context.padded_size not in (0, property_of(tpm, TPM_PT.MAX_OBJECT_CONTEXT)):
        raise TpmError(TPM_RC.SIZE)
    return ContextLoadResponse(load_context(tpm, context.context))


def load_context(tpm: TpmState, context: TPMS_CONTEXT) -> int:
    """Load a session or an object; the handler calls its argument `context`."""
    octets = opened_context(tpm, context)
    if context.saved_handle >> 24 != TPM_HT.TRANSIENT:
        return load_saved_session(tpm, context, octets)
    with blaming("context"):
        tpm.enabled_hierarchy(context.hierarchy)

    is_sequence = context.saved_handle == SAVED_SEQUENCE
    item = load_sequence(octets) if is_sequence else load_object("context", octets)
    return tpm.volatile.add(item)


def load_saved_session(tpm: TpmState, context: TPMS_CONTEXT, octets: bytes) -> int:
    """
    A session is loaded once: from its latest context, and then that context is worthless.

    The last slot stays free for the oldest saved session while no other can be saved (TPM_RC_CONTEXT_GAP).
    """
    index, saved = context.saved_handle & NUMBER_MASK, tpm.reset.saved_sessions
    if saved.get(index) != context.sequence:
        raise TpmError(TPM_RC.HANDLE, at="context")
    free = tpm.profile.loaded_sessions - len(tpm.volatile.sessions)
    if free <= 0:
        raise TpmError(TPM_RC.SESSION_MEMORY)
    if free == 1 and tpm.reset.is_gap_full(tpm.profile.context_gap) and saved[index] != min(saved.values()):
        raise TpmError(TPM_RC.CONTEXT_GAP)

    session = load_session(unmarshal(SavedSession, octets))
    del saved[index]
    tpm.volatile.sessions[index] = session
    return session.handle


@command(TPM_CC.FlushContext, sessions=Area.FORBIDDEN)
def flush_context(tpm: TpmState, /, flush_handle: TPMI_DH_CONTEXT) -> None:
    """28.4: forget a transient object or a session, loaded or saved."""
    if flush_handle >> 24 == TPM_HT.TRANSIENT:
        if flush_handle not in tpm.volatile.objects:
            raise TpmError(TPM_RC.HANDLE, at="flush_handle")
        del tpm.volatile.objects[flush_handle]
        return
    index = flush_handle & NUMBER_MASK
    session = tpm.volatile.sessions.get(index)
    if session is not None:
        tpm.flush_session(session)
    elif tpm.reset.saved_sessions.pop(index, None) is None:
        raise TpmError(TPM_RC.HANDLE, at="flush_handle")


@command(TPM_CC.EvictControl, nv=True, physical_presence=True, read_only=False)
def evict_control(
    tpm: TpmState,
    auth: Annotated[Hierarchy, TPMI_RH_PROVISION, Role.USER],
    item: Annotated[Object, TPMI_DH_OBJECT, TPM_RC.ATTRIBUTES],
    /,
    persistent_handle: TPMI_DH_PERSISTENT,
) -> None:
    """28.5: make a transient object persistent, or delete a persistent one."""
    if item.handle in PERSISTENT:
        if auth is tpm.owner and item.handle in PLATFORM_PERSISTENT:
            raise TpmError(TPM_RC.RANGE, at="item")
        if item.handle != persistent_handle:
            raise TpmError(TPM_RC.HANDLE, at="item")
        tpm.erase_object(item)
        return
    if item.temporary or item.st_clear:
        raise TpmError(TPM_RC.ATTRIBUTES, at="item")
    by_platform = auth is tpm.platform
    if by_platform is not (item.hierarchy == TPM_RH.PLATFORM):
        raise TpmError(TPM_RC.HIERARCHY, at="item")
    if by_platform is not (persistent_handle in PLATFORM_PERSISTENT):
        raise TpmError(TPM_RC.RANGE, at="persistent_handle")
    if persistent_handle in tpm.persistent:
        raise TpmError(TPM_RC.NV_DEFINED)
    copy = item.persistent_copy(persistent_handle)
    if len(tpm.persistent) >= tpm.profile.persistent_slots or copy.size > tpm.nv_space:
        raise TpmError(TPM_RC.NV_SPACE)

    tpm.persistent[persistent_handle] = copy
    tpm.touch_object(copy)
