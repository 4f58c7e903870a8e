"""
Part 2, clause 12: the public, sensitive and private areas of objects.

`X_NULL` is what Part 2 and Part 3 write as `X+` (or `+X`): the type with its conditional value.
Left out are ML-KEM and ML-DSA: 12.2.3.6 to 12.2.3.8, and their members of the unions.
"""

from typing import Annotated

from vtpm.spec.algorithms import (
    TPM2B_ECC_PARAMETER,
    TPM2B_PRIVATE_KEY_RSA,
    TPM2B_PUBLIC_KEY_RSA,
    TPM2B_SENSITIVE_DATA,
    TPM2B_SYM_KEY,
    TPMS_ECC_POINT,
    TPMS_SYMCIPHER_PARMS,
    TPMT_ECC_SCHEME_NULL,
    TPMT_KDF_SCHEME_NULL,
    TPMT_KEYEDHASH_SCHEME_NULL,
    TPMT_RSA_SCHEME_NULL,
    TPMT_SYM_DEF_OBJECT_NULL,
)
from vtpm.spec.attributes import TPMA_OBJECT
from vtpm.spec.constants import TPM_ALG
from vtpm.spec.interface import (
    TPMI_ALG_HASH,
    TPMI_ALG_HASH_NULL,
    TPMI_ALG_PUBLIC,
    TPMI_ECC_CURVE,
    TPMI_RSA_KEY_BITS,
)
from vtpm.spec.limits import PRIVATE_VENDOR_SPECIFIC_BYTES
from vtpm.spec.structures import TPM2B_AUTH, TPM2B_DIGEST
from vtpm.wire.integers import UINT32
from vtpm.wire.structure import but, structure
from vtpm.wire.vocabulary import Selected, Sized, Tpm2b, codec_of

TPMU_PUBLIC_ID = Annotated[
    bytes | TPMS_ECC_POINT,
    Selected(
        "type",
        {
            TPM_ALG.KEYEDHASH: TPM2B_DIGEST,
            TPM_ALG.SYMCIPHER: TPM2B_DIGEST,
            TPM_ALG.RSA: TPM2B_PUBLIC_KEY_RSA,
            TPM_ALG.ECC: TPMS_ECC_POINT,
        },
    ),
]
"""12.2.3.2: a TPMS_ECC_POINT for TPM_ALG_ECC, octets for the others."""


@structure
class TPMS_KEYEDHASH_PARMS:
    """12.2.3.3"""

    scheme: TPMT_KEYEDHASH_SCHEME_NULL


@structure
class TPMS_RSA_PARMS:
    """12.2.3.4: an `exponent` of 0 stands for 65537"""

    symmetric: TPMT_SYM_DEF_OBJECT_NULL
    scheme: TPMT_RSA_SCHEME_NULL
    key_bits: TPMI_RSA_KEY_BITS
    exponent: UINT32


@structure
class TPMS_ECC_PARMS:
    """12.2.3.5"""

    symmetric: TPMT_SYM_DEF_OBJECT_NULL
    scheme: TPMT_ECC_SCHEME_NULL
    curve_id: TPMI_ECC_CURVE
    kdf: TPMT_KDF_SCHEME_NULL


TPMU_PUBLIC_PARMS = Annotated[
    TPMS_KEYEDHASH_PARMS | TPMS_SYMCIPHER_PARMS | TPMS_RSA_PARMS | TPMS_ECC_PARMS,
    Selected(
        "type",
        {
            TPM_ALG.KEYEDHASH: TPMS_KEYEDHASH_PARMS,
            TPM_ALG.SYMCIPHER: TPMS_SYMCIPHER_PARMS,
            TPM_ALG.RSA: TPMS_RSA_PARMS,
            TPM_ALG.ECC: TPMS_ECC_PARMS,
        },
    ),
]  # 12.2.3.9


@structure
class TPMT_PUBLIC_PARMS:
    """12.2.3.10: what TestParms tests"""

    type: TPMI_ALG_PUBLIC
    parameters: TPMU_PUBLIC_PARMS


@structure
class TPMT_PUBLIC:
    """12.2.4"""

    type: TPMI_ALG_PUBLIC
    name_alg: TPMI_ALG_HASH
    object_attributes: TPMA_OBJECT
    auth_policy: TPM2B_DIGEST
    parameters: TPMU_PUBLIC_PARMS
    unique: TPMU_PUBLIC_ID


TPMT_PUBLIC_NULL = Annotated[TPMT_PUBLIC, but(TPMT_PUBLIC, name_alg=TPMI_ALG_HASH_NULL)]

TPM2B_PUBLIC = Annotated[TPMT_PUBLIC, Sized(TPMT_PUBLIC)]  # 12.2.5
TPM2B_PUBLIC_NULL = Annotated[TPMT_PUBLIC, Sized(TPMT_PUBLIC_NULL)]

TPM2B_TEMPLATE = Annotated[bytes, Tpm2b(codec_of(TPMT_PUBLIC).most())]
"""12.2.6: CreateLoaded reads it, as its parent says: `unique` may be a TPMS_DERIVE."""

TPM2B_PRIVATE_VENDOR_SPECIFIC = Annotated[bytes, Tpm2b(PRIVATE_VENDOR_SPECIFIC_BYTES)]  # 12.3.2.2

TPMU_SENSITIVE_COMPOSITE = Annotated[
    bytes,
    Selected(
        "sensitive_type",
        {
            TPM_ALG.RSA: TPM2B_PRIVATE_KEY_RSA,
            TPM_ALG.ECC: TPM2B_ECC_PARAMETER,
            TPM_ALG.KEYEDHASH: TPM2B_SENSITIVE_DATA,
            TPM_ALG.SYMCIPHER: TPM2B_SYM_KEY,
        },
    ),
]
"""12.3.2.3: a prime factor, a private scalar, the key or sealed data of a keyed hash, or a symmetric key."""


@structure
class TPMT_SENSITIVE:
    """12.3.2.4"""

    sensitive_type: TPMI_ALG_PUBLIC
    auth_value: TPM2B_AUTH
    seed_value: TPM2B_DIGEST
    sensitive: TPMU_SENSITIVE_COMPOSITE

    def __repr__(self) -> str:
        return f"TPMT_SENSITIVE({self.sensitive_type.name})"


TPM2B_SENSITIVE = Annotated[TPMT_SENSITIVE | None, Sized(TPMT_SENSITIVE, optional=True)]
"""12.3.3: `None` is the Empty Buffer, which LoadExternal takes for an object without a sensitive area."""

TPM2B_PRIVATE = Annotated[bytes, Tpm2b(2 * codec_of(TPM2B_DIGEST).most() + codec_of(TPM2B_SENSITIVE).most())]
"""12.3.7: as large as a _PRIVATE (12.3.6): two integrity values and the sensitive area."""


@structure
class TPMS_ID_OBJECT:
    """12.4.2: `enc_identity` is encrypted with its size, so here it is read as what follows the HMAC"""

    integrity_hmac: TPM2B_DIGEST
    enc_identity: TPM2B_DIGEST


TPM2B_ID_OBJECT = Annotated[bytes, Tpm2b(codec_of(TPMS_ID_OBJECT).most())]  # 12.4.3
