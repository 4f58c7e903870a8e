"""Part 2, clause 12: keys and objects."""

from typing import Annotated, Any

from vtpm.spec.algorithms import (
    TPM2B_ECC_PARAMETER,
    TPM2B_PRIVATE_KEY_RSA,
    TPM2B_PUBLIC_KEY_RSA,
    TPM2B_SYM_KEY,
    TPMS_ECC_POINT,
    TPMS_SYMCIPHER_PARMS,
    TPMT_ECC_SCHEME,
    TPMT_KDF_SCHEME,
    TPMT_KEYEDHASH_SCHEME,
    TPMT_RSA_SCHEME,
    TPMT_SYM_DEF_OBJECT,
)
from vtpm.spec.attributes import TPMA_OBJECT
from vtpm.spec.constants import TPM_ALG
from vtpm.spec.interface import TPMI_ALG_HASH_NULL, TPMI_ALG_PUBLIC, TPMI_ECC_CURVE, TPMI_RSA_KEY_BITS
from vtpm.spec.limits import MAX_DIGEST, MAX_PRIVATE, MAX_PUBLIC
from vtpm.spec.structures import TPM2B_AUTH, TPM2B_DIGEST, TPM2B_SENSITIVE_DATA
from vtpm.wire.integers import UINT32
from vtpm.wire.structure import structure
from vtpm.wire.vocabulary import Selected, Sized, Tpm2b

A = TPM_ALG


@structure
class TPMS_KEYEDHASH_PARMS:
    """12.2.3.3"""

    scheme: TPMT_KEYEDHASH_SCHEME


@structure
class TPMS_RSA_PARMS:
    """12.2.3.5"""

    symmetric: TPMT_SYM_DEF_OBJECT
    scheme: TPMT_RSA_SCHEME
    key_bits: TPMI_RSA_KEY_BITS
    exponent: UINT32


@structure
class TPMS_ECC_PARMS:
    """12.2.3.6"""

    symmetric: TPMT_SYM_DEF_OBJECT
    scheme: TPMT_ECC_SCHEME
    curve_id: TPMI_ECC_CURVE
    kdf: TPMT_KDF_SCHEME


TPMU_PUBLIC_PARMS = Annotated[
    Any,
    Selected(
        "type",
        {
            A.KEYEDHASH: TPMS_KEYEDHASH_PARMS,
            A.SYMCIPHER: TPMS_SYMCIPHER_PARMS,
            A.RSA: TPMS_RSA_PARMS,
            A.ECC: TPMS_ECC_PARMS,
        },
    ),
]
"""12.2.3.7"""

TPMU_PUBLIC_ID = Annotated[
    Any,
    Selected(
        "type",
        {
            A.KEYEDHASH: TPM2B_DIGEST,
            A.SYMCIPHER: TPM2B_DIGEST,
            A.RSA: TPM2B_PUBLIC_KEY_RSA,
            A.ECC: TPMS_ECC_POINT,
        },
    ),
]
"""12.2.3.2"""


@structure
class TPMT_PUBLIC_PARMS:
    """12.2.3.8"""

    type: TPMI_ALG_PUBLIC
    parameters: TPMU_PUBLIC_PARMS


@structure
class TPMT_PUBLIC:
    """12.2.4; nameAlg may be TPM_ALG_NULL, which only LoadExternal and Import have a use for"""

    type: TPMI_ALG_PUBLIC
    name_alg: TPMI_ALG_HASH_NULL
    object_attributes: TPMA_OBJECT
    auth_policy: TPM2B_DIGEST
    parameters: TPMU_PUBLIC_PARMS
    unique: TPMU_PUBLIC_ID


TPM2B_PUBLIC = Annotated[TPMT_PUBLIC, Sized(TPMT_PUBLIC)]
TPM2B_TEMPLATE = Annotated[bytes, Tpm2b(MAX_PUBLIC)]
"""12.2.6: CreateLoaded reads it as a TPMT_PUBLIC, whose unique is a TPMS_DERIVE if the parent derives."""

TPMU_SENSITIVE_COMPOSITE = Annotated[
    bytes,
    Selected(
        "sensitive_type",
        {
            A.RSA: TPM2B_PRIVATE_KEY_RSA,
            A.ECC: TPM2B_ECC_PARAMETER,
            A.KEYEDHASH: TPM2B_SENSITIVE_DATA,
            A.SYMCIPHER: TPM2B_SYM_KEY,
        },
    ),
]
"""12.3.2.3"""


@structure
class TPMT_SENSITIVE:
    """12.3.2.4"""

    sensitive_type: TPMI_ALG_PUBLIC
    auth_value: TPM2B_AUTH
    seed_value: TPM2B_DIGEST
    sensitive: TPMU_SENSITIVE_COMPOSITE

    __repr__ = object.__repr__


TPM2B_SENSITIVE = Annotated[TPMT_SENSITIVE | None, Sized(TPMT_SENSITIVE, optional=True)]
"""12.3.3: LoadExternal takes an empty one, for a public area alone."""

TPM2B_PRIVATE = Annotated[bytes, Tpm2b(MAX_PRIVATE)]
"""12.3.7"""


@structure
class TPMS_ID_OBJECT:
    """12.4.2; encIdentity is the rest of the credential blob, an encrypted TPM2B_DIGEST"""

    integrity_hmac: TPM2B_DIGEST


TPM2B_ID_OBJECT = Annotated[bytes, Tpm2b(2 + MAX_DIGEST + 2 + MAX_DIGEST)]
"""12.4.3"""
