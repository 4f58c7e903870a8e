"""Part 2, clauses 14 and 15: saved contexts and creation data."""

from typing import Annotated

from vtpm.spec.attributes import TPMA_LOCALITY
from vtpm.spec.handles import TPMI_DH_SAVED, TPMI_RH_HIERARCHY
from vtpm.spec.interface import TPM_ALG_ID
from vtpm.spec.limits import MAX_CONTEXT_SIZE
from vtpm.spec.structures import TPM2B_DATA, TPM2B_DIGEST, TPM2B_NAME, TPML_PCR_SELECTION
from vtpm.wire.integers import UINT64
from vtpm.wire.structure import structure
from vtpm.wire.vocabulary import Sized, Tpm2b, codec_of

TPM2B_CONTEXT_SENSITIVE = Annotated[bytes, Tpm2b(MAX_CONTEXT_SIZE)]  # 14.2


@structure
class TPMS_CONTEXT_DATA:
    """14.3"""

    integrity: TPM2B_DIGEST
    encrypted: TPM2B_CONTEXT_SENSITIVE


TPM2B_CONTEXT_DATA = Annotated[bytes, Tpm2b(codec_of(TPMS_CONTEXT_DATA).most())]  # 14.4


@structure
class TPMS_CONTEXT:
    """14.5: an object or a session outside of the TPM"""

    sequence: UINT64
    saved_handle: TPMI_DH_SAVED
    hierarchy: TPMI_RH_HIERARCHY
    context_blob: TPM2B_CONTEXT_DATA


@structure
class TPMS_CREATION_DATA:
    """15.1: the circumstances in which an object was created"""

    pcr_select: TPML_PCR_SELECTION
    pcr_digest: TPM2B_DIGEST
    locality: TPMA_LOCALITY
    parent_name_alg: TPM_ALG_ID
    parent_name: TPM2B_NAME
    parent_qualified_name: TPM2B_NAME
    outside_info: TPM2B_DATA


TPM2B_CREATION_DATA = Annotated[TPMS_CREATION_DATA, Sized(TPMS_CREATION_DATA)]  # 15.2
