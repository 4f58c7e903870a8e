"""Part 2, clause 13: NV storage structures."""

from typing import Annotated

from vtpm.spec.attributes import TPMA_NV, TPMA_NV_EXP
from vtpm.spec.constants import TPM_HT
from vtpm.spec.handles import TPMI_RH_NV_EXP_INDEX, TPMI_RH_NV_LEGACY_INDEX
from vtpm.spec.interface import TPMI_ALG_HASH
from vtpm.spec.limits import MAX_NV_INDEX_SIZE
from vtpm.spec.structures import TPM2B_DIGEST
from vtpm.wire.error import TPM_RC
from vtpm.wire.integers import UINT32
from vtpm.wire.structure import structure
from vtpm.wire.vocabulary import Choice, Limited, Selected, Sized

DATA_SIZE = Annotated[int, Limited("H", range(MAX_NV_INDEX_SIZE + 1), otherwise=TPM_RC.SIZE)]
"""13.6: dataSize, in octets."""


@structure
class TPMS_NV_PIN_COUNTER_PARAMETERS:
    """13.3: what a PIN Pass or PIN Fail Index holds"""

    pin_count: UINT32
    pin_limit: UINT32


@structure
class TPMS_NV_PUBLIC:
    """13.6: `data_size` in octets"""

    nv_index: TPMI_RH_NV_LEGACY_INDEX
    name_alg: TPMI_ALG_HASH
    attributes: TPMA_NV
    auth_policy: TPM2B_DIGEST
    data_size: DATA_SIZE


TPM2B_NV_PUBLIC = Annotated[TPMS_NV_PUBLIC, Sized(TPMS_NV_PUBLIC)]  # 13.7


@structure
class TPMS_NV_PUBLIC_EXP_ATTR:
    """13.8: the public area of an external NV Index"""

    nv_index: TPMI_RH_NV_EXP_INDEX
    name_alg: TPMI_ALG_HASH
    attributes: TPMA_NV_EXP
    auth_policy: TPM2B_DIGEST
    data_size: DATA_SIZE


TPMU_NV_PUBLIC_2 = Annotated[
    TPMS_NV_PUBLIC | TPMS_NV_PUBLIC_EXP_ATTR,
    Selected(
        "handle_type",
        {
            TPM_HT.NV_INDEX: TPMS_NV_PUBLIC,
            TPM_HT.EXTERNAL_NV: TPMS_NV_PUBLIC_EXP_ATTR,
            TPM_HT.PERMANENT_NV: TPMS_NV_PUBLIC,
        },
    ),
]  # 13.9


@structure
class TPMT_NV_PUBLIC_2:
    """13.10: the public area of any NV Index; `handle_type` is the most significant octet of its handle"""

    handle_type: Annotated[
        TPM_HT,
        Choice(TPM_HT.NV_INDEX, TPM_HT.EXTERNAL_NV, TPM_HT.PERMANENT_NV, otherwise=TPM_RC.SELECTOR),
    ]
    public_area: TPMU_NV_PUBLIC_2


TPM2B_NV_PUBLIC_2 = Annotated[TPMT_NV_PUBLIC_2, Sized(TPMT_NV_PUBLIC_2)]  # 13.11
