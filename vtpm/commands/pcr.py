"""Part 3, clause 22: integrity collection (PCR)."""

from collections.abc import Iterable
from typing import Annotated

from vtpm.commands.table import command
from vtpm.crypto.digest import digest
from vtpm.spec.constants import TPM_ALG, TPM_CC
from vtpm.spec.handles import TPMI_DH_PCR, TPMI_DH_PCR_NULL, TPMI_RH_PLATFORM
from vtpm.spec.interface import TPMI_ALG_HASH_NULL, TPMI_YES_NO
from vtpm.spec.structures import (
    TPM2B_DIGEST,
    TPM2B_EVENT,
    TPML_DIGEST_READ,
    TPML_DIGEST_VALUES,
    TPML_PCR_SELECTION,
    TPMS_PCR_SELECTION,
    TPMT_HA,
)
from vtpm.state.entity import Role, without_trailing_zeros
from vtpm.state.hierarchy import Hierarchy
from vtpm.state.pcr import DRTM_PCR, HCRTM_PCR, IMPLEMENTED_PCR, Pcr
from vtpm.state.tpm import TpmState
from vtpm.wire.error import TPM_RC, TpmError
from vtpm.wire.integers import UINT32
from vtpm.wire.structure import structure

MOST_VALUES = 8
"""22.4: how many values one PCR_Read returns."""


def extend(tpm: TpmState, index: int, values: Iterable[TPMT_HA]) -> None:
    """Part 1, "Extend of a PCR": the digest of the old value and the new one, in each bank with the PCR."""
    for value in values:
        if tpm.pcr.exists(value.hash_alg, index):
            bank = tpm.pcr.banks[value.hash_alg]
            bank[index] = digest(value.hash_alg, bank[index], value.digest)
            tpm.count_pcr_change(index)


@command(TPM_CC.PCR_Extend, nv=True)
def pcr_extend(
    tpm: TpmState, pcr: Annotated[Pcr | None, TPMI_DH_PCR_NULL, Role.USER], /, digests: TPML_DIGEST_VALUES
) -> None:
    """22.2: extend a PCR in the banks of the digests given; other banks stay as they are."""
    if pcr is None:
        return
    if not tpm.pcr.may_extend(pcr.handle, tpm.locality):
        raise TpmError(TPM_RC.LOCALITY)

    extend(tpm, pcr.handle, digests)


@structure
class PcrEventResponse:
    """22.3"""

    digests: TPML_DIGEST_VALUES


@command(TPM_CC.PCR_Event, nv=True)
def pcr_event(
    tpm: TpmState, pcr: Annotated[Pcr | None, TPMI_DH_PCR_NULL, Role.USER], /, event_data: TPM2B_EVENT
) -> PcrEventResponse:
    """22.3: digest an event with the hash of every possible bank, and extend a PCR with the digests."""
    if pcr is not None and not tpm.pcr.may_extend(pcr.handle, tpm.locality):
        raise TpmError(TPM_RC.LOCALITY)

    digests = tuple(TPMT_HA(alg, digest(alg, event_data)) for alg in tpm.pcr.sizes)
    if pcr is not None:
        extend(tpm, pcr.handle, digests)
    return PcrEventResponse(digests=digests)


@structure
class PcrReadResponse:
    """22.4"""

    pcr_update_counter: UINT32
    pcr_selection_out: TPML_PCR_SELECTION
    pcr_values: TPML_DIGEST_READ


@command(TPM_CC.PCR_Read)
def pcr_read(tpm: TpmState, /, pcr_selection_in: TPML_PCR_SELECTION) -> PcrReadResponse:
    """22.4: the values of the selected PCR, as many as a response holds, and which they are."""
    values: list[bytes] = []
    selection: list[TPMS_PCR_SELECTION] = []
    for part in pcr_selection_in:
        read = 0
        bank = tpm.pcr.banks.get(part.hash, ())
        wanted = int.from_bytes(tpm.pcr.clear_unimplemented(part.hash, part.pcr_select), "little")
        for index, value in enumerate(bank):
            if wanted >> index & 1 and len(values) < MOST_VALUES:
                values.append(value)
                read |= 1 << index
        selection.append(TPMS_PCR_SELECTION(part.hash, read.to_bytes(len(part.pcr_select), "little")))
    return PcrReadResponse(
        pcr_update_counter=tpm.reset.pcr_counter,
        pcr_selection_out=tuple(selection),
        pcr_values=tuple(values),
    )


@structure
class PcrAllocateResponse:
    """22.5"""

    allocation_success: TPMI_YES_NO
    max_pcr: UINT32
    size_needed: UINT32
    size_available: UINT32


@command(TPM_CC.PCR_Allocate, nv=True, physical_presence=True, read_only=False)
def pcr_allocate(
    tpm: TpmState,
    auth: Annotated[Hierarchy, TPMI_RH_PLATFORM, Role.USER],
    /,
    pcr_allocation: TPML_PCR_SELECTION,
) -> PcrAllocateResponse:
    """22.5: which banks have which PCR from the next _TPM_Init on; banks not named stay as they are."""
    wanted = {alg: tpm.pcr.selected.get(alg, 0) for alg in tpm.pcr.sizes}
    for part in pcr_allocation:
        if part.hash not in tpm.pcr.sizes:
            raise TpmError(TPM_RC.HASH, at="pcr_allocation")
        wanted[part.hash] = int.from_bytes(part.pcr_select, "little")
    for index in (HCRTM_PCR, DRTM_PCR):
        if not any(bits >> index & 1 for bits in wanted.values()):
            raise TpmError(TPM_RC.PCR)
    needed = sum(tpm.pcr.sizes[alg] * bits.bit_count() for alg, bits in wanted.items())

    tpm.permanent.pcr_allocation = wanted
    tpm.volatile.pcr_reconfigured = True
    tpm.touch_permanent()
    available = sum(tpm.pcr.sizes.values()) * IMPLEMENTED_PCR
    return PcrAllocateResponse(
        allocation_success=True, max_pcr=IMPLEMENTED_PCR, size_needed=needed, size_available=available
    )


@command(TPM_CC.PCR_SetAuthPolicy, nv=True, physical_presence=True, read_only=False)
def pcr_set_auth_policy(
    tpm: TpmState,
    auth: Annotated[Hierarchy, TPMI_RH_PLATFORM, Role.USER],
    /,
    auth_policy: TPM2B_DIGEST,
    hash_alg: TPMI_ALG_HASH_NULL,
    pcr_num: TPMI_DH_PCR,
) -> None:
    """22.6: the authPolicy of the group that a PCR belongs to."""
    if len(auth_policy) != digest_length(hash_alg):
        raise TpmError(TPM_RC.SIZE, at="auth_policy")
    if pcr_num not in tpm.pcr.layout.group:
        raise TpmError(TPM_RC.VALUE, at="pcr_num")

    tpm.pcr_group.auth_policy = auth_policy
    tpm.pcr_group.policy_alg = hash_alg
    tpm.touch_permanent()


def digest_length(alg: TPM_ALG) -> int:
    """Octets of a digest; none for TPM_ALG_NULL."""
    return 0 if alg is TPM_ALG.NULL else len(digest(alg))


@command(TPM_CC.PCR_SetAuthValue, read_only=False)
def pcr_set_auth_value(
    tpm: TpmState, pcr: Annotated[Pcr, TPMI_DH_PCR, Role.USER], /, auth: TPM2B_DIGEST
) -> None:
    """22.7: the authValue of the group that a PCR belongs to, until the next Startup(CLEAR)."""
    if pcr.group is None:
        raise TpmError(TPM_RC.VALUE)

    pcr.group.auth_value = without_trailing_zeros(auth)


@command(TPM_CC.PCR_Reset, nv=True)
def pcr_reset(tpm: TpmState, pcr: Annotated[Pcr, TPMI_DH_PCR, Role.USER], /) -> None:
    """22.8: zeros in every bank of a PCR."""
    if not tpm.pcr.may_reset(pcr.handle, tpm.locality):
        raise TpmError(TPM_RC.LOCALITY)

    tpm.pcr.reset(pcr.handle)
    tpm.count_pcr_change(pcr.handle)
