"""Part 3, clause 31: the definition of NV Indices, and what can be learned and changed of it."""

from typing import Annotated

from vtpm.commands.table import command
from vtpm.crypto.digest import digest_size
from vtpm.spec.constants import TPM_CC, TPM_HT, TPM_NT, TPM_RH
from vtpm.spec.handles import TPMI_RH_NV_DEFINED_INDEX, TPMI_RH_NV_INDEX, TPMI_RH_PLATFORM, TPMI_RH_PROVISION
from vtpm.spec.limits import MAX_NV_BUFFER_SIZE
from vtpm.spec.nv import TPM2B_NV_PUBLIC, TPM2B_NV_PUBLIC_2, TPMS_NV_PUBLIC, TPMT_NV_PUBLIC_2
from vtpm.spec.structures import TPM2B_AUTH, TPM2B_NAME
from vtpm.state.entity import Role, without_trailing_zeros
from vtpm.state.hierarchy import Hierarchy
from vtpm.state.nv import NvIndex
from vtpm.state.tpm import TpmState
from vtpm.wire.error import TPM_RC, TpmError
from vtpm.wire.structure import structure

NUMBER_SIZE = 8
"""Octets of a counter, of bits and of a PIN."""

UPDATED_BY = {
    TPM_NT.COUNTER: TPM_CC.NV_Increment,
    TPM_NT.BITS: TPM_CC.NV_SetBits,
    TPM_NT.EXTEND: TPM_CC.NV_Extend,
    TPM_NT.PIN_FAIL: TPM_CC.PolicySecret,
    TPM_NT.PIN_PASS: TPM_CC.PolicySecret,
}
"""31.3: the command without which a kind of Index is of no use."""


@command(TPM_CC.NV_DefineSpace, nv=True, physical_presence=True, read_only=False)
def nv_define_space(
    tpm: TpmState,
    auth_handle: Annotated[Hierarchy, TPMI_RH_PROVISION, Role.USER],
    /,
    auth: TPM2B_AUTH,
    public_info: TPM2B_NV_PUBLIC,
) -> None:
    """31.3: define an NV Index."""
    define(tpm, auth_handle, auth, public_info, at="public_info")


@command(TPM_CC.NV_DefineSpace2, nv=True, physical_presence=True, read_only=False)
def nv_define_space2(
    tpm: TpmState,
    auth_handle: Annotated[Hierarchy, TPMI_RH_PROVISION, Role.USER],
    /,
    auth: TPM2B_AUTH,
    public_info: TPM2B_NV_PUBLIC_2,
) -> None:
    """31.17: define an NV Index from a public area of any handle type, of which this TPM has one."""
    area = public_info.public_area
    if public_info.handle_type is not TPM_HT.NV_INDEX:
        raise TpmError(TPM_RC.HANDLE, at="public_info")
    assert isinstance(area, TPMS_NV_PUBLIC)

    define(tpm, auth_handle, auth, area, at="public_info")


def define(tpm: TpmState, auth_handle: Hierarchy, auth: bytes, public: TPMS_NV_PUBLIC, *, at: str) -> None:
    """31.3: check what is asked for, then define the Index."""
    length = digest_size(public.name_alg)
    attributes = public.attributes
    if attributes.POLICY_DELETE and TPM_CC.NV_UndefineSpaceSpecial not in tpm.commands:
        raise TpmError(TPM_RC.ATTRIBUTES, at=at)
    if len(public.auth_policy) not in (0, length):
        raise TpmError(TPM_RC.SIZE, at=at)
    if len(without_trailing_zeros(auth)) > length:
        raise TpmError(TPM_RC.SIZE, at="auth")
    if auth_handle is tpm.platform and not tpm.clear.ph_enable_nv:
        raise TpmError(TPM_RC.HIERARCHY, at="auth_handle")
    check_kind(tpm, public, at)
    check_access(public, at)
    if attributes.PLATFORMCREATE is not (auth_handle is tpm.platform):
        raise TpmError(TPM_RC.ATTRIBUTES, at="auth_handle")
    if attributes.POLICY_DELETE and auth_handle is not tpm.platform:
        raise TpmError(TPM_RC.ATTRIBUTES, at=at)
    if attributes.WRITEALL and public.data_size > MAX_NV_BUFFER_SIZE:
        raise TpmError(TPM_RC.SIZE, at=at)
    if public.nv_index in tpm.nv:
        raise TpmError(TPM_RC.NV_DEFINED)
    index = NvIndex(public, auth)
    if index.size > tpm.nv_space or (attributes.ORDERLY and index.orderly_size > tpm.orderly_space):
        raise TpmError(TPM_RC.NV_SPACE)

    tpm.nv[index.handle] = index
    tpm.touch_nv(index)


def check_kind(tpm: TpmState, public: TPMS_NV_PUBLIC, at: str) -> None:
    """31.3: the kind must be known, and its size and attributes must fit it."""
    attributes = public.attributes
    if attributes.TPM_NT not in set(TPM_NT):
        raise TpmError(TPM_RC.ATTRIBUTES, at=at)
    kind = TPM_NT(attributes.TPM_NT)
    if kind is not TPM_NT.ORDINARY and UPDATED_BY[kind] not in tpm.commands:
        raise TpmError(TPM_RC.ATTRIBUTES, at=at)
    if kind is not TPM_NT.ORDINARY:
        size = digest_size(public.name_alg) if kind is TPM_NT.EXTEND else NUMBER_SIZE
        if public.data_size != size:
            raise TpmError(TPM_RC.SIZE, at=at)
    if kind is TPM_NT.COUNTER and attributes.CLEAR_STCLEAR:
        raise TpmError(TPM_RC.ATTRIBUTES, at=at)
    if kind is TPM_NT.PIN_FAIL and not attributes.NO_DA:
        raise TpmError(TPM_RC.ATTRIBUTES, at=at)
    if kind in (TPM_NT.PIN_FAIL, TPM_NT.PIN_PASS) and (
        attributes.AUTHWRITE or attributes.GLOBALLOCK or attributes.WRITEDEFINE
    ):
        raise TpmError(TPM_RC.ATTRIBUTES, at=at)


def check_access(public: TPMS_NV_PUBLIC, at: str) -> None:
    """31.3: a new Index is neither written nor locked, and there is a way to read and to write it."""
    a = public.attributes
    readable = a.OWNERREAD or a.PPREAD or a.AUTHREAD or a.POLICYREAD
    writable = a.OWNERWRITE or a.PPWRITE or a.AUTHWRITE or a.POLICYWRITE
    if a.WRITTEN or a.WRITELOCKED or a.READLOCKED or not readable or not writable:
        raise TpmError(TPM_RC.ATTRIBUTES, at=at)
    if a.CLEAR_STCLEAR and a.WRITEDEFINE:
        raise TpmError(TPM_RC.ATTRIBUTES, at=at)


@command(TPM_CC.NV_UndefineSpace, nv=True, physical_presence=True, read_only=False)
def nv_undefine_space(
    tpm: TpmState,
    auth_handle: Annotated[Hierarchy, TPMI_RH_PROVISION, Role.USER],
    nv_index: Annotated[NvIndex, TPMI_RH_NV_DEFINED_INDEX],
    /,
) -> None:
    """31.4: delete an NV Index."""
    if nv_index.attributes.POLICY_DELETE:
        raise TpmError(TPM_RC.ATTRIBUTES, at="nv_index")
    if auth_handle.handle == TPM_RH.OWNER and nv_index.attributes.PLATFORMCREATE:
        raise TpmError(TPM_RC.NV_AUTHORIZATION)

    tpm.erase_nv(nv_index)


@command(TPM_CC.NV_UndefineSpaceSpecial, nv=True, physical_presence=True, read_only=False)
def nv_undefine_space_special(
    tpm: TpmState,
    nv_index: Annotated[NvIndex, TPMI_RH_NV_DEFINED_INDEX, Role.ADMIN],
    platform: Annotated[Hierarchy, TPMI_RH_PLATFORM, Role.USER],
    /,
) -> None:
    """31.5: delete an NV Index that only its policy lets be deleted."""
    if not nv_index.attributes.POLICY_DELETE:
        raise TpmError(TPM_RC.ATTRIBUTES, at="nv_index")

    tpm.erase_nv(nv_index)
    # The response is acknowledged for an entity that is gone, so without its authValue.
    nv_index.auth_value = b""


@structure
class NvReadPublicResponse:
    """31.6"""

    nv_public: TPM2B_NV_PUBLIC
    nv_name: TPM2B_NAME


@command(TPM_CC.NV_ReadPublic)
def nv_read_public(tpm: TpmState, nv_index: Annotated[NvIndex, TPMI_RH_NV_INDEX], /) -> NvReadPublicResponse:
    """31.6: the public area and Name of an NV Index."""
    return NvReadPublicResponse(nv_public=nv_index.public, nv_name=nv_index.name)


@structure
class NvReadPublic2Response:
    """31.18"""

    nv_public: TPM2B_NV_PUBLIC_2
    nv_name: TPM2B_NAME


@command(TPM_CC.NV_ReadPublic2)
def nv_read_public2(
    tpm: TpmState, nv_index: Annotated[NvIndex, TPMI_RH_NV_INDEX], /
) -> NvReadPublic2Response:
    """31.18: the public area and Name of an NV Index, in the form that has room for any handle type."""
    public = TPMT_NV_PUBLIC_2(handle_type=TPM_HT.NV_INDEX, public_area=nv_index.public)
    return NvReadPublic2Response(nv_public=public, nv_name=nv_index.name)


@command(TPM_CC.NV_ChangeAuth, nv=True, read_only=False)
def nv_change_auth(
    tpm: TpmState, nv_index: Annotated[NvIndex, TPMI_RH_NV_INDEX, Role.ADMIN], /, new_auth: TPM2B_AUTH
) -> None:
    """31.15: change the authValue of an NV Index."""
    value = without_trailing_zeros(new_auth)
    if len(value) > digest_size(nv_index.public.name_alg):
        raise TpmError(TPM_RC.SIZE, at="new_auth")

    nv_index.auth_value = value
    tpm.touch_nv(nv_index)
