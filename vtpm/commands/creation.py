"""Part 1, "Object Creation": how creation data says where and when an object was made."""

from vtpm.commands.tickets import creation_ticket
from vtpm.crypto.digest import digest
from vtpm.spec.attributes import TPMA_LOCALITY
from vtpm.spec.constants import TPM_ALG
from vtpm.spec.context import TPMS_CREATION_DATA
from vtpm.spec.structures import TPMS_PCR_SELECTION, TPMT_TK_CREATION
from vtpm.state.hierarchy import Hierarchy
from vtpm.state.object import Object
from vtpm.state.tpm import TpmState
from vtpm.wire.structure import marshal


def creation_data_of(
    tpm: TpmState,
    parent: Object | Hierarchy,
    name_alg: TPM_ALG,
    outside_info: bytes,
    creation_pcr: tuple[TPMS_PCR_SELECTION, ...],
) -> TPMS_CREATION_DATA:
    """Part 2, 15.1: the state of the TPM at creation, for an object of this nameAlg."""
    selection, pcr_digest = selected_digest(tpm, name_alg, creation_pcr)
    if isinstance(parent, Object):
        alg, qualified = parent.public.name_alg, parent.qualified_name
    else:
        alg, qualified = TPM_ALG.NULL, parent.name
    return TPMS_CREATION_DATA(
        pcr_select=selection,
        pcr_digest=pcr_digest,
        locality=TPMA_LOCALITY(1 << tpm.locality if tpm.locality < 5 else tpm.locality),
        parent_name_alg=alg,
        parent_name=parent.name,
        parent_qualified_name=qualified,
        outside_info=outside_info,
    )


def selected_digest(
    tpm: TpmState, alg: TPM_ALG, selection: tuple[TPMS_PCR_SELECTION, ...]
) -> tuple[tuple[TPMS_PCR_SELECTION, ...], bytes]:
    """Part 1, "Selecting Multiple PCR": the selection without PCR that do not exist, and a digest."""
    values = [value for part in selection for value in tpm.pcr.values(part.hash, part.pcr_select)]
    existing = tuple(
        TPMS_PCR_SELECTION(part.hash, tpm.pcr.clear_unimplemented(part.hash, part.pcr_select))
        for part in selection
    )
    return existing, digest(alg, *values)


def certified(
    tpm: TpmState, hierarchy: int, name: bytes, name_alg: TPM_ALG, creation_data: TPMS_CREATION_DATA
) -> tuple[bytes, TPMT_TK_CREATION]:
    """The creation hash, and the ticket by which TPM2_CertifyCreation will know it again."""
    creation_hash = digest(name_alg, marshal(creation_data))
    return creation_hash, creation_ticket(tpm, hierarchy, name, creation_hash)
