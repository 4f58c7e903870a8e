"""Part 2, clause 11: algorithm parameters and structures."""

from typing import Annotated, Any

from vtpm.spec.constants import TPM_ALG
from vtpm.spec.interface import (
    TPMI_AES_KEY_BITS,
    TPMI_ALG_ECC_SCHEME_NULL,
    TPMI_ALG_HASH,
    TPMI_ALG_KDF_NULL,
    TPMI_ALG_KEYEDHASH_SCHEME_NULL,
    TPMI_ALG_RSA_DECRYPT_NULL,
    TPMI_ALG_RSA_SCHEME_NULL,
    TPMI_ALG_SIG_SCHEME_NULL,
    TPMI_ALG_SYM_MODE_NULL,
    TPMI_ALG_SYM_NULL,
    TPMI_ALG_SYM_OBJECT_NULL,
    TPMI_CAMELLIA_KEY_BITS,
    TPMI_SM4_KEY_BITS,
    TPMI_TDES_KEY_BITS,
)
from vtpm.spec.limits import (
    LABEL_MAX_BUFFER,
    MAX_ECC_KEY_BYTES,
    MAX_ENCRYPTED_SECRET,
    MAX_RSA_KEY_BYTES,
    MAX_SYM_KEY_BYTES,
    RSA_PRIVATE_SIZE,
)
from vtpm.spec.structures import TPM2B_AUTH, TPM2B_SENSITIVE_DATA, TPMT_HA
from vtpm.wire.integers import UINT16
from vtpm.wire.structure import structure
from vtpm.wire.vocabulary import Selected, Sized, Tpm2b

A = TPM_ALG

TPMU_SYM_KEY_BITS = Annotated[
    Any,
    Selected(
        "algorithm",
        {
            A.TDES: TPMI_TDES_KEY_BITS,
            A.AES: TPMI_AES_KEY_BITS,
            A.SM4: TPMI_SM4_KEY_BITS,
            A.CAMELLIA: TPMI_CAMELLIA_KEY_BITS,
            A.XOR: TPMI_ALG_HASH,
            A.NULL: None,
        },
    ),
]
"""11.1.3: bits of the key; for TPM_ALG_XOR the hash algorithm of the mask."""

TPMU_SYM_MODE = Annotated[
    TPM_ALG | None,
    Selected(
        "algorithm",
        {
            A.TDES: TPMI_ALG_SYM_MODE_NULL,
            A.AES: TPMI_ALG_SYM_MODE_NULL,
            A.SM4: TPMI_ALG_SYM_MODE_NULL,
            A.CAMELLIA: TPMI_ALG_SYM_MODE_NULL,
            A.XOR: None,
            A.NULL: None,
        },
    ),
]
"""11.1.4"""


@structure
class TPMT_SYM_DEF:
    """11.1.6, with TPM_ALG_NULL allowed, as all its uses do"""

    algorithm: TPMI_ALG_SYM_NULL
    key_bits: TPMU_SYM_KEY_BITS
    mode: TPMU_SYM_MODE


@structure
class TPMT_SYM_DEF_OBJECT:
    """11.1.7, with TPM_ALG_NULL allowed, as all its uses do"""

    algorithm: TPMI_ALG_SYM_OBJECT_NULL
    key_bits: TPMU_SYM_KEY_BITS
    mode: TPMU_SYM_MODE


TPM2B_SYM_KEY = Annotated[bytes, Tpm2b(MAX_SYM_KEY_BYTES)]


@structure
class TPMS_SYMCIPHER_PARMS:
    """11.1.9"""

    sym: TPMT_SYM_DEF_OBJECT


TPM2B_LABEL = Annotated[bytes, Tpm2b(LABEL_MAX_BUFFER)]


@structure
class TPMS_DERIVE:
    """11.1.11"""

    label: TPM2B_LABEL
    context: TPM2B_LABEL


TPM2B_DERIVE = Annotated[bytes, Tpm2b(2 * (2 + LABEL_MAX_BUFFER))]


@structure
class TPMS_SENSITIVE_CREATE:
    """11.1.15: the data is octets; CreateLoaded reads it as a TPMS_DERIVE where the parent derives"""

    user_auth: TPM2B_AUTH
    data: TPM2B_SENSITIVE_DATA

    __repr__ = object.__repr__


TPM2B_SENSITIVE_CREATE = Annotated[TPMS_SENSITIVE_CREATE, Sized(TPMS_SENSITIVE_CREATE)]


@structure
class TPMS_SCHEME_HASH:
    """11.1.17"""

    hash_alg: TPMI_ALG_HASH


@structure
class TPMS_SCHEME_ECDAA:
    """11.1.18"""

    hash_alg: TPMI_ALG_HASH
    count: UINT16


@structure
class TPMS_SCHEME_XOR:
    """11.1.21"""

    hash_alg: TPMI_ALG_HASH
    kdf: TPMI_ALG_KDF_NULL


TPMU_SCHEME_KEYEDHASH = Annotated[
    Any, Selected("scheme", {A.HMAC: TPMS_SCHEME_HASH, A.XOR: TPMS_SCHEME_XOR, A.NULL: None})
]


@structure
class TPMT_KEYEDHASH_SCHEME:
    """11.1.23"""

    scheme: TPMI_ALG_KEYEDHASH_SCHEME_NULL
    details: TPMU_SCHEME_KEYEDHASH


TPMU_SIG_SCHEME = Annotated[
    Any,
    Selected(
        "scheme",
        {
            A.RSASSA: TPMS_SCHEME_HASH,
            A.RSAPSS: TPMS_SCHEME_HASH,
            A.ECDSA: TPMS_SCHEME_HASH,
            A.ECDAA: TPMS_SCHEME_ECDAA,
            A.SM2: TPMS_SCHEME_HASH,
            A.ECSCHNORR: TPMS_SCHEME_HASH,
            A.HMAC: TPMS_SCHEME_HASH,
            A.NULL: None,
        },
    ),
]


@structure
class TPMT_SIG_SCHEME:
    """11.2.1.5"""

    scheme: TPMI_ALG_SIG_SCHEME_NULL
    details: TPMU_SIG_SCHEME


TPMU_KDF_SCHEME = Annotated[
    Any,
    Selected(
        "scheme",
        {
            A.MGF1: TPMS_SCHEME_HASH,
            A.KDF2: TPMS_SCHEME_HASH,
            A.KDF1_SP800_56A: TPMS_SCHEME_HASH,
            A.KDF1_SP800_108: TPMS_SCHEME_HASH,
            A.NULL: None,
        },
    ),
]


@structure
class TPMT_KDF_SCHEME:
    """11.2.3.3"""

    scheme: TPMI_ALG_KDF_NULL
    details: TPMU_KDF_SCHEME


ASYM_SCHEMES = {
    A.RSASSA: TPMS_SCHEME_HASH,
    A.RSAPSS: TPMS_SCHEME_HASH,
    A.RSAES: None,
    A.OAEP: TPMS_SCHEME_HASH,
    A.ECDSA: TPMS_SCHEME_HASH,
    A.ECDAA: TPMS_SCHEME_ECDAA,
    A.SM2: TPMS_SCHEME_HASH,
    A.ECSCHNORR: TPMS_SCHEME_HASH,
    A.ECDH: TPMS_SCHEME_HASH,
    A.ECMQV: TPMS_SCHEME_HASH,
    A.NULL: None,
}
"""The arms of TPMU_RSA_SCHEME and TPMU_ECC_SCHEME."""

TPMU_ASYM_SCHEME = Annotated[Any, Selected("scheme", ASYM_SCHEMES)]


@structure
class TPMT_RSA_SCHEME:
    """11.2.4.2"""

    scheme: TPMI_ALG_RSA_SCHEME_NULL
    details: TPMU_ASYM_SCHEME


@structure
class TPMT_RSA_DECRYPT:
    """11.2.4.4"""

    scheme: TPMI_ALG_RSA_DECRYPT_NULL
    details: TPMU_ASYM_SCHEME


TPM2B_PUBLIC_KEY_RSA = Annotated[bytes, Tpm2b(MAX_RSA_KEY_BYTES)]
TPM2B_PRIVATE_KEY_RSA = Annotated[bytes, Tpm2b(RSA_PRIVATE_SIZE)]
TPM2B_ECC_PARAMETER = Annotated[bytes, Tpm2b(MAX_ECC_KEY_BYTES)]


@structure
class TPMS_ECC_POINT:
    """11.2.5.2"""

    x: TPM2B_ECC_PARAMETER
    y: TPM2B_ECC_PARAMETER


TPM2B_ECC_POINT = Annotated[TPMS_ECC_POINT, Sized(TPMS_ECC_POINT)]


@structure
class TPMT_ECC_SCHEME:
    """11.2.5.6"""

    scheme: TPMI_ALG_ECC_SCHEME_NULL
    details: TPMU_ASYM_SCHEME


@structure
class TPMS_ALGORITHM_DETAIL_ECC:
    """11.2.5.7"""

    curve_id: UINT16
    key_size: UINT16
    kdf: TPMT_KDF_SCHEME
    sign: TPMT_ECC_SCHEME
    p: TPM2B_ECC_PARAMETER
    a: TPM2B_ECC_PARAMETER
    b: TPM2B_ECC_PARAMETER
    g_x: TPM2B_ECC_PARAMETER
    g_y: TPM2B_ECC_PARAMETER
    n: TPM2B_ECC_PARAMETER
    h: TPM2B_ECC_PARAMETER


@structure
class TPMS_SIGNATURE_RSA:
    """11.3.1"""

    hash: TPMI_ALG_HASH
    sig: TPM2B_PUBLIC_KEY_RSA


@structure
class TPMS_SIGNATURE_ECC:
    """11.3.2"""

    hash: TPMI_ALG_HASH
    signature_r: TPM2B_ECC_PARAMETER
    signature_s: TPM2B_ECC_PARAMETER


TPMU_SIGNATURE = Annotated[
    Any,
    Selected(
        "sig_alg",
        {
            A.RSASSA: TPMS_SIGNATURE_RSA,
            A.RSAPSS: TPMS_SIGNATURE_RSA,
            A.ECDSA: TPMS_SIGNATURE_ECC,
            A.ECDAA: TPMS_SIGNATURE_ECC,
            A.SM2: TPMS_SIGNATURE_ECC,
            A.ECSCHNORR: TPMS_SIGNATURE_ECC,
            A.HMAC: TPMT_HA,
            A.NULL: None,
        },
    ),
]
"""11.3.3"""


@structure
class TPMT_SIGNATURE:
    """11.3.4"""

    sig_alg: TPMI_ALG_SIG_SCHEME_NULL
    signature: TPMU_SIGNATURE


TPM2B_ENCRYPTED_SECRET = Annotated[bytes, Tpm2b(MAX_ENCRYPTED_SECRET)]
"""11.4.3"""
