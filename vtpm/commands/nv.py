"""Part 3, clause 31: the use of NV Indices; `nv_definition` has their definition."""

from typing import Annotated

from vtpm.commands.table import command
from vtpm.crypto.digest import digest, digest_size
from vtpm.spec.constants import TPM_CC, TPM_NT
from vtpm.spec.handles import TPMI_RH_NV_AUTH, TPMI_RH_NV_INDEX, TPMI_RH_PROVISION
from vtpm.spec.limits import MAX_NV_BUFFER_SIZE
from vtpm.spec.structures import TPM2B_MAX_NV_BUFFER
from vtpm.state.entity import Role
from vtpm.state.hierarchy import Hierarchy
from vtpm.state.nv import NvIndex
from vtpm.state.tpm import TpmState
from vtpm.wire.error import TPM_RC, TpmError
from vtpm.wire.integers import UINT16, UINT64
from vtpm.wire.structure import structure

NvAuth = Annotated[Hierarchy | NvIndex, TPMI_RH_NV_AUTH, Role.USER]
Index = Annotated[NvIndex, TPMI_RH_NV_INDEX]


def write(tpm: TpmState, index: NvIndex, offset: int, data: bytes) -> None:
    """
    Write octets, and make the change durable, unless the Index is orderly: then Shutdown saves it.

    An orderly counter is saved when new and whenever its low bits are used up, so that it never goes back.
    """
    first = not index.attributes.WRITTEN
    changed = index.write(offset, data)
    if not index.attributes.ORDERLY:
        if changed:
            tpm.touch_nv(index)
    elif index.kind is TPM_NT.COUNTER and (first or index.number & tpm.profile.orderly_count == 0):
        tpm.touch_nv(index)
    elif changed:
        tpm.note_ahead(index)


@command(TPM_CC.NV_Write, nv=True)
def nv_write(
    tpm: TpmState, auth_handle: NvAuth, nv_index: Index, /, data: TPM2B_MAX_NV_BUFFER, offset: UINT16
) -> None:
    """31.7: write octets to an ordinary or PIN Index."""
    nv_index.check_write(auth_handle)
    if nv_index.kind in (TPM_NT.COUNTER, TPM_NT.BITS, TPM_NT.EXTEND):
        raise TpmError(TPM_RC.ATTRIBUTES)
    size = nv_index.public.data_size
    if offset > size:
        raise TpmError(TPM_RC.VALUE, at="offset")
    if len(data) > size - offset or (nv_index.attributes.WRITEALL and len(data) < size):
        raise TpmError(TPM_RC.NV_RANGE)

    write(tpm, nv_index, offset, data)


@command(TPM_CC.NV_Increment, nv=True, read_only=False)
def nv_increment(tpm: TpmState, auth_handle: NvAuth, nv_index: Index, /) -> None:
    """31.8: count; a new counter begins above every value that a deleted one had."""
    nv_index.check_write(auth_handle)
    if nv_index.kind is not TPM_NT.COUNTER:
        raise TpmError(TPM_RC.ATTRIBUTES, at="nv_index")

    count = nv_index.number if nv_index.attributes.WRITTEN else tpm.permanent.max_counter
    write(tpm, nv_index, 0, (count + 1 & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "big"))


@command(TPM_CC.NV_Extend, nv=True)
def nv_extend(tpm: TpmState, auth_handle: NvAuth, nv_index: Index, /, data: TPM2B_MAX_NV_BUFFER) -> None:
    """31.9: extend an Index, as a PCR is extended."""
    nv_index.check_write(auth_handle)
    if nv_index.kind is not TPM_NT.EXTEND:
        raise TpmError(TPM_RC.ATTRIBUTES, at="nv_index")

    alg = nv_index.public.name_alg
    old = nv_index.data if nv_index.attributes.WRITTEN else bytes(digest_size(alg))
    write(tpm, nv_index, 0, digest(alg, old, data))


@command(TPM_CC.NV_SetBits, nv=True)
def nv_set_bits(tpm: TpmState, auth_handle: NvAuth, nv_index: Index, /, bits: UINT64) -> None:
    """31.10: set bits; none is ever cleared."""
    nv_index.check_write(auth_handle)
    if nv_index.kind is not TPM_NT.BITS:
        raise TpmError(TPM_RC.ATTRIBUTES, at="nv_index")

    write(tpm, nv_index, 0, (nv_index.number | bits).to_bytes(8, "big"))


@command(TPM_CC.NV_WriteLock, nv=True)
def nv_write_lock(tpm: TpmState, auth_handle: NvAuth, nv_index: Index, /) -> None:
    """31.11: no more writing, for ever or until the next Startup(CLEAR); locking twice is no error."""
    if nv_index.attributes.WRITELOCKED:
        return
    nv_index.check_write(auth_handle)
    if not (nv_index.attributes.WRITEDEFINE or nv_index.attributes.WRITE_STCLEAR):
        raise TpmError(TPM_RC.ATTRIBUTES, at="nv_index")

    nv_index.set_attributes(nv_index.attributes.but(WRITELOCKED=True))
    tpm.touch_nv(nv_index)


@command(TPM_CC.NV_GlobalWriteLock, nv=True, physical_presence=True, read_only=False)
def nv_global_write_lock(
    tpm: TpmState, auth_handle: Annotated[Hierarchy, TPMI_RH_PROVISION, Role.USER], /
) -> None:
    """31.12: lock every Index with GLOBALLOCK for writing."""
    for index in tpm.nv.values():
        if index.attributes.GLOBALLOCK and not index.attributes.WRITELOCKED:
            index.set_attributes(index.attributes.but(WRITELOCKED=True))
            tpm.touch_nv(index)


@structure
class NvReadResponse:
    """31.13"""

    data: TPM2B_MAX_NV_BUFFER


@command(TPM_CC.NV_Read)
def nv_read(
    tpm: TpmState, auth_handle: NvAuth, nv_index: Index, /, size: UINT16, offset: UINT16
) -> NvReadResponse:
    """31.13: read octets of any Index."""
    nv_index.check_read(auth_handle)
    if size > MAX_NV_BUFFER_SIZE:
        raise TpmError(TPM_RC.VALUE, at="size")
    if offset > nv_index.public.data_size:
        raise TpmError(TPM_RC.VALUE, at="offset")
    if size > nv_index.public.data_size - offset:
        raise TpmError(TPM_RC.NV_RANGE)

    return NvReadResponse(data=nv_index.data[offset : offset + size])


@command(TPM_CC.NV_ReadLock, nv=True)
def nv_read_lock(tpm: TpmState, auth_handle: NvAuth, nv_index: Index, /) -> None:
    """31.14: no more reading until the next Startup(CLEAR); locking twice is no error."""
    if nv_index.attributes.READLOCKED:
        return
    try:
        nv_index.check_read(auth_handle)
    except TpmError as error:
        # An Index that has not been written may be locked for reading.
        if error.rc is not TPM_RC.NV_UNINITIALIZED:
            raise
    if not nv_index.attributes.READ_STCLEAR:
        raise TpmError(TPM_RC.ATTRIBUTES, at="nv_index")

    nv_index.set_attributes(nv_index.attributes.but(READLOCKED=True))
    tpm.touch_nv(nv_index)
