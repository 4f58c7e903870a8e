"""Part 2, clauses 10.8.14 and 10.9: what GetCapability returns, and what SetCapability sets."""

from typing import Annotated

from vtpm.spec.attributes import TPMA_CC
from vtpm.spec.constants import TPM_CAP, TPM_ECC_CURVE
from vtpm.spec.interface import TPM_CAP_TYPE
from vtpm.spec.objects import TPM2B_PUBLIC, TPMT_PUBLIC
from vtpm.spec.structures import (
    TPML_ACT_DATA,
    TPML_ALG_PROPERTY,
    TPML_CC,
    TPML_CCA,
    TPML_ECC_CURVE,
    TPML_HANDLE,
    TPML_PCR_SELECTION,
    TPML_SPDM_SESSION_INFO,
    TPML_TAGGED_PCR_PROPERTY,
    TPML_TAGGED_POLICY,
    TPML_TAGGED_TPM_PROPERTY,
    TPML_VENDOR_PROPERTY,
    TPMS_ACT_DATA,
    TPMS_ALG_PROPERTY,
    TPMS_PCR_SELECTION,
    TPMS_SPDM_SESSION_INFO,
    TPMS_TAGGED_PCR_SELECT,
    TPMS_TAGGED_POLICY,
    TPMS_TAGGED_PROPERTY,
    fitting,
)
from vtpm.wire.structure import structure
from vtpm.wire.vocabulary import ListOf, Selected, Sized

TPML_PUB_KEY = Annotated[tuple[TPMT_PUBLIC, ...], ListOf(TPM2B_PUBLIC, fitting(TPM2B_PUBLIC))]  # 10.8.14

TPMU_CAPABILITIES = Annotated[
    tuple[TPMS_ALG_PROPERTY, ...]
    | tuple[int, ...]
    | tuple[TPMA_CC, ...]
    | tuple[TPMS_PCR_SELECTION, ...]
    | tuple[TPMS_TAGGED_PROPERTY, ...]
    | tuple[TPMS_TAGGED_PCR_SELECT, ...]
    | tuple[TPM_ECC_CURVE, ...]
    | tuple[TPMS_TAGGED_POLICY, ...]
    | tuple[TPMS_ACT_DATA, ...]
    | tuple[TPMT_PUBLIC, ...]
    | tuple[TPMS_SPDM_SESSION_INFO, ...]
    | tuple[bytes, ...],
    Selected(
        "capability",
        {
            TPM_CAP.ALGS: TPML_ALG_PROPERTY,
            TPM_CAP.HANDLES: TPML_HANDLE,
            TPM_CAP.COMMANDS: TPML_CCA,
            TPM_CAP.PP_COMMANDS: TPML_CC,
            TPM_CAP.AUDIT_COMMANDS: TPML_CC,
            TPM_CAP.PCRS: TPML_PCR_SELECTION,
            TPM_CAP.TPM_PROPERTIES: TPML_TAGGED_TPM_PROPERTY,
            TPM_CAP.PCR_PROPERTIES: TPML_TAGGED_PCR_PROPERTY,
            TPM_CAP.ECC_CURVES: TPML_ECC_CURVE,
            TPM_CAP.AUTH_POLICIES: TPML_TAGGED_POLICY,
            TPM_CAP.ACT: TPML_ACT_DATA,
            TPM_CAP.PUB_KEYS: TPML_PUB_KEY,
            TPM_CAP.SPDM_SESSION_INFO: TPML_SPDM_SESSION_INFO,
            TPM_CAP.VENDOR_PROPERTY: TPML_VENDOR_PROPERTY,
        },
    ),
]  # 10.9.1


@structure
class TPMS_CAPABILITY_DATA:
    """10.9.2"""

    capability: TPM_CAP_TYPE
    data: TPMU_CAPABILITIES


TPMU_SET_CAPABILITIES = Annotated[None, Selected("set_capability", {})]
"""10.9.3: no capability that can be set is defined, so every selector is TPM_RC_SELECTOR."""


@structure
class TPMS_SET_CAPABILITY_DATA:
    """10.9.3"""

    set_capability: TPM_CAP_TYPE
    data: TPMU_SET_CAPABILITIES


TPM2B_SET_CAPABILITY_DATA = Annotated[TPMS_SET_CAPABILITY_DATA, Sized(TPMS_SET_CAPABILITY_DATA)]  # 10.9.4
