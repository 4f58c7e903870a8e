"""
Part 2, clause 11: algorithm parameters, schemes, signatures, keys and secrets.

`X_NULL` is what Part 2 and Part 3 write as `X+` (or `+X`): the type with its conditional value.
The value of an empty member of a union is `None`, but for the key size and mode of TPM_ALG_NULL.
Left out are EdDSA, HKDF and post-quantum cryptography: 11.2.6, 11.2.7, 11.3.3, 11.3.4 and union members.
"""

from typing import Annotated

from vtpm.spec.constants import TPM_ALG
from vtpm.spec.interface import (
    BLOCK_CIPHERS,
    ECC_SIGNATURES,
    KDFS,
    KEY_EXCHANGES,
    RSA_SIGNATURES,
    TPM_ECC_CURVE_TYPE,
    TPMI_AES_KEY_BITS,
    TPMI_ALG_ECC_SCHEME,
    TPMI_ALG_ECC_SCHEME_NULL,
    TPMI_ALG_HASH,
    TPMI_ALG_KDF,
    TPMI_ALG_KDF_NULL,
    TPMI_ALG_KEYEDHASH_SCHEME,
    TPMI_ALG_KEYEDHASH_SCHEME_NULL,
    TPMI_ALG_RSA_DECRYPT,
    TPMI_ALG_RSA_DECRYPT_NULL,
    TPMI_ALG_RSA_SCHEME,
    TPMI_ALG_RSA_SCHEME_NULL,
    TPMI_ALG_SIG_SCHEME,
    TPMI_ALG_SIG_SCHEME_NULL,
    TPMI_ALG_SYM,
    TPMI_ALG_SYM_MODE_NULL,
    TPMI_ALG_SYM_NULL,
    TPMI_ALG_SYM_OBJECT,
    TPMI_ALG_SYM_OBJECT_NULL,
    TPMI_CAMELLIA_KEY_BITS,
    TPMI_SM4_KEY_BITS,
    TPMI_TDES_KEY_BITS,
)
from vtpm.spec.limits import (
    LABEL_MAX_BUFFER,
    MAX_ECC_KEY_BYTES,
    MAX_RSA_KEY_BYTES,
    MAX_SIGNATURE_CTX_SIZE,
    MAX_SIGNATURE_HINT_SIZE,
    MAX_SYM_DATA,
    MAX_SYM_KEY_BYTES,
    RSA_PRIVATE_SIZE,
)
from vtpm.spec.structures import TPM2B_AUTH, TPM2B_DIGEST, TPMT_HA
from vtpm.wire.integers import UINT16
from vtpm.wire.structure import but, structure
from vtpm.wire.vocabulary import Selected, Sized, Tpm2b, codec_of

TPMU_SYM_KEY_BITS = Annotated[
    int,
    Selected(
        "algorithm",
        {
            TPM_ALG.TDES: TPMI_TDES_KEY_BITS,
            TPM_ALG.AES: TPMI_AES_KEY_BITS,
            TPM_ALG.SM4: TPMI_SM4_KEY_BITS,
            TPM_ALG.CAMELLIA: TPMI_CAMELLIA_KEY_BITS,
            TPM_ALG.XOR: TPMI_ALG_HASH,
            TPM_ALG.NULL: None,
        },
        empty=0,
    ),
]
"""11.1.3: a key size in bits; a hash algorithm for TPM_ALG_XOR; 0 for TPM_ALG_NULL, which has none."""

TPMU_SYM_MODE = Annotated[
    TPM_ALG,
    Selected(
        "algorithm",
        dict.fromkeys(BLOCK_CIPHERS, TPMI_ALG_SYM_MODE_NULL) | {TPM_ALG.XOR: None, TPM_ALG.NULL: None},
        empty=TPM_ALG.NULL,
    ),
]
"""11.1.4: TPM_ALG_NULL for TPM_ALG_XOR and TPM_ALG_NULL, which have none."""


@structure
class TPMT_SYM_DEF:
    """11.1.6: how parameters are encrypted; TPMU_SYM_DETAILS (11.1.5) is always empty"""

    algorithm: TPMI_ALG_SYM
    key_bits: TPMU_SYM_KEY_BITS
    mode: TPMU_SYM_MODE


TPMT_SYM_DEF_NULL = Annotated[TPMT_SYM_DEF, but(TPMT_SYM_DEF, algorithm=TPMI_ALG_SYM_NULL)]


@structure
class TPMT_SYM_DEF_OBJECT:
    """11.1.7: the block cipher of an object"""

    algorithm: TPMI_ALG_SYM_OBJECT
    key_bits: TPMU_SYM_KEY_BITS
    mode: TPMU_SYM_MODE


TPMT_SYM_DEF_OBJECT_NULL = Annotated[
    TPMT_SYM_DEF_OBJECT, but(TPMT_SYM_DEF_OBJECT, algorithm=TPMI_ALG_SYM_OBJECT_NULL)
]

TPM2B_SYM_KEY = Annotated[bytes, Tpm2b(MAX_SYM_KEY_BYTES)]  # 11.1.8


@structure
class TPMS_SYMCIPHER_PARMS:
    """11.1.9"""

    sym: TPMT_SYM_DEF_OBJECT


TPM2B_LABEL = Annotated[bytes, Tpm2b(LABEL_MAX_BUFFER)]  # 11.1.10


@structure
class TPMS_DERIVE:
    """11.1.11: what a derived object is derived from, beside its parent"""

    label: TPM2B_LABEL
    context: TPM2B_LABEL


TPM2B_DERIVE = Annotated[bytes, Tpm2b(codec_of(TPMS_DERIVE).most())]  # 11.1.12

TPM2B_SENSITIVE_DATA = Annotated[bytes, Tpm2b(max(MAX_SYM_DATA, codec_of(TPMS_DERIVE).most()))]
"""11.1.14: TPMU_SENSITIVE_CREATE (11.1.13) has no selector; CreateLoaded may read it as a TPMS_DERIVE."""


@structure
class TPMS_SENSITIVE_CREATE:
    """11.1.15"""

    user_auth: TPM2B_AUTH
    data: TPM2B_SENSITIVE_DATA

    def __repr__(self) -> str:
        return f"TPMS_SENSITIVE_CREATE(<{len(self.data)} octets of data>)"


TPM2B_SENSITIVE_CREATE = Annotated[TPMS_SENSITIVE_CREATE, Sized(TPMS_SENSITIVE_CREATE)]  # 11.1.16


@structure
class TPMS_SCHEME_HASH:
    """11.1.17"""

    hash_alg: TPMI_ALG_HASH


@structure
class TPMS_SCHEME_ECDAA:
    """11.1.18: `count` is what TPM2_Commit returned"""

    hash_alg: TPMI_ALG_HASH
    count: UINT16


TPMS_SCHEME_HMAC = TPMS_SCHEME_HASH  # 11.1.20


@structure
class TPMS_SCHEME_XOR:
    """11.1.21"""

    hash_alg: TPMI_ALG_HASH
    kdf: TPMI_ALG_KDF_NULL


TPMU_SCHEME_KEYEDHASH = Annotated[
    TPMS_SCHEME_HMAC | TPMS_SCHEME_XOR | None,
    Selected("scheme", {TPM_ALG.HMAC: TPMS_SCHEME_HMAC, TPM_ALG.XOR: TPMS_SCHEME_XOR, TPM_ALG.NULL: None}),
]  # 11.1.22


@structure
class TPMT_KEYEDHASH_SCHEME:
    """11.1.23"""

    scheme: TPMI_ALG_KEYEDHASH_SCHEME
    details: TPMU_SCHEME_KEYEDHASH


TPMT_KEYEDHASH_SCHEME_NULL = Annotated[
    TPMT_KEYEDHASH_SCHEME, but(TPMT_KEYEDHASH_SCHEME, scheme=TPMI_ALG_KEYEDHASH_SCHEME_NULL)
]

TPMS_SIG_SCHEME_RSASSA = TPMS_SCHEME_HASH  # 11.2.1.2
TPMS_SIG_SCHEME_RSAPSS = TPMS_SCHEME_HASH
TPMS_SIG_SCHEME_ECDSA = TPMS_SCHEME_HASH  # 11.2.1.3
TPMS_SIG_SCHEME_SM2 = TPMS_SCHEME_HASH
TPMS_SIG_SCHEME_ECSCHNORR = TPMS_SCHEME_HASH
TPMS_SIG_SCHEME_ECDAA = TPMS_SCHEME_ECDAA
TPMS_ENC_SCHEME_OAEP = TPMS_SCHEME_HASH  # 11.2.2.2
TPMS_KEY_SCHEME_ECDH = TPMS_SCHEME_HASH  # 11.2.2.3
TPMS_KEY_SCHEME_SM2 = TPMS_SCHEME_HASH
TPMS_KEY_SCHEME_ECMQV = TPMS_SCHEME_HASH
TPMS_KDF_SCHEME_MGF1 = TPMS_SCHEME_HASH  # 11.2.3.1
TPMS_KDF_SCHEME_KDF2 = TPMS_SCHEME_HASH
TPMS_KDF_SCHEME_KDF1_SP800_56A = TPMS_SCHEME_HASH
TPMS_KDF_SCHEME_KDF1_SP800_108 = TPMS_SCHEME_HASH

RSA_SIGNATURE_DETAILS = dict.fromkeys(RSA_SIGNATURES, TPMS_SCHEME_HASH)
ECC_SIGNATURE_DETAILS = dict.fromkeys(ECC_SIGNATURES, TPMS_SCHEME_HASH) | {TPM_ALG.ECDAA: TPMS_SCHEME_ECDAA}

TPMU_SIG_SCHEME = Annotated[
    TPMS_SCHEME_HASH | TPMS_SCHEME_ECDAA | None,
    Selected(
        "scheme",
        {
            **RSA_SIGNATURE_DETAILS,
            **ECC_SIGNATURE_DETAILS,
            TPM_ALG.HMAC: TPMS_SCHEME_HMAC,
            TPM_ALG.NULL: None,
        },
    ),
]  # 11.2.1.4


@structure
class TPMT_SIG_SCHEME:
    """11.2.1.5"""

    scheme: TPMI_ALG_SIG_SCHEME
    details: TPMU_SIG_SCHEME


TPMT_SIG_SCHEME_NULL = Annotated[TPMT_SIG_SCHEME, but(TPMT_SIG_SCHEME, scheme=TPMI_ALG_SIG_SCHEME_NULL)]

TPMU_KDF_SCHEME = Annotated[
    TPMS_SCHEME_HASH | None, Selected("scheme", {**dict.fromkeys(KDFS, TPMS_SCHEME_HASH), TPM_ALG.NULL: None})
]  # 11.2.3.2


@structure
class TPMT_KDF_SCHEME:
    """11.2.3.3"""

    scheme: TPMI_ALG_KDF
    details: TPMU_KDF_SCHEME


TPMT_KDF_SCHEME_NULL = Annotated[TPMT_KDF_SCHEME, but(TPMT_KDF_SCHEME, scheme=TPMI_ALG_KDF_NULL)]

TPMU_RSA_SCHEME = Annotated[
    TPMS_SCHEME_HASH | None,
    Selected(
        "scheme",
        {
            **RSA_SIGNATURE_DETAILS,
            TPM_ALG.RSAES: None,
            TPM_ALG.OAEP: TPMS_ENC_SCHEME_OAEP,
            TPM_ALG.NULL: None,
        },
    ),
]  # 11.2.4.2


@structure
class TPMT_RSA_SCHEME:
    """11.2.4.3"""

    scheme: TPMI_ALG_RSA_SCHEME
    details: TPMU_RSA_SCHEME


TPMT_RSA_SCHEME_NULL = Annotated[TPMT_RSA_SCHEME, but(TPMT_RSA_SCHEME, scheme=TPMI_ALG_RSA_SCHEME_NULL)]


@structure
class TPMT_RSA_DECRYPT:
    """11.2.4.5"""

    scheme: TPMI_ALG_RSA_DECRYPT
    details: TPMU_RSA_SCHEME


TPMT_RSA_DECRYPT_NULL = Annotated[TPMT_RSA_DECRYPT, but(TPMT_RSA_DECRYPT, scheme=TPMI_ALG_RSA_DECRYPT_NULL)]

TPM2B_PUBLIC_KEY_RSA = Annotated[bytes, Tpm2b(MAX_RSA_KEY_BYTES)]  # 11.2.4.6
TPM2B_PRIVATE_KEY_RSA = Annotated[bytes, Tpm2b(RSA_PRIVATE_SIZE)]  # 11.2.4.8
TPM2B_ECC_PARAMETER = Annotated[bytes, Tpm2b(MAX_ECC_KEY_BYTES)]  # 11.2.5.1


@structure
class TPMS_ECC_POINT:
    """11.2.5.2"""

    x: TPM2B_ECC_PARAMETER
    y: TPM2B_ECC_PARAMETER


TPM2B_ECC_POINT = Annotated[TPMS_ECC_POINT, Sized(TPMS_ECC_POINT)]  # 11.2.5.3

TPMU_ECC_SCHEME = Annotated[
    TPMS_SCHEME_HASH | TPMS_SCHEME_ECDAA | None,
    Selected(
        "scheme",
        {**dict.fromkeys(KEY_EXCHANGES, TPMS_SCHEME_HASH), **ECC_SIGNATURE_DETAILS, TPM_ALG.NULL: None},
    ),
]
"""11.2.5.6; SM2 and the key exchanges, which Table 202 leaves out, are as in the reference code."""


@structure
class TPMT_ECC_SCHEME:
    """11.2.5.7"""

    scheme: TPMI_ALG_ECC_SCHEME
    details: TPMU_ECC_SCHEME


TPMT_ECC_SCHEME_NULL = Annotated[TPMT_ECC_SCHEME, but(TPMT_ECC_SCHEME, scheme=TPMI_ALG_ECC_SCHEME_NULL)]


@structure
class TPMS_ALGORITHM_DETAIL_ECC:
    """11.2.5.8: the parameters of a curve; `key_size` in bits"""

    curve_id: TPM_ECC_CURVE_TYPE
    key_size: UINT16
    kdf: TPMT_KDF_SCHEME_NULL
    sign: TPMT_ECC_SCHEME_NULL
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


TPMS_SIGNATURE_RSASSA = TPMS_SIGNATURE_RSA
TPMS_SIGNATURE_RSAPSS = TPMS_SIGNATURE_RSA


@structure
class TPMS_SIGNATURE_ECC:
    """11.3.2"""

    hash: TPMI_ALG_HASH
    signature_r: TPM2B_ECC_PARAMETER
    signature_s: TPM2B_ECC_PARAMETER


TPMS_SIGNATURE_ECDSA = TPMS_SIGNATURE_ECC
TPMS_SIGNATURE_ECDAA = TPMS_SIGNATURE_ECC
TPMS_SIGNATURE_SM2 = TPMS_SIGNATURE_ECC
TPMS_SIGNATURE_ECSCHNORR = TPMS_SIGNATURE_ECC

TPMU_SIGNATURE = Annotated[
    TPMS_SIGNATURE_RSA | TPMS_SIGNATURE_ECC | TPMT_HA | None,
    Selected(
        "sig_alg",
        {
            **dict.fromkeys(RSA_SIGNATURES, TPMS_SIGNATURE_RSA),
            **dict.fromkeys(ECC_SIGNATURES, TPMS_SIGNATURE_ECC),
            TPM_ALG.HMAC: TPMT_HA,
            TPM_ALG.NULL: None,
        },
    ),
]  # 11.3.5


@structure
class TPMT_SIGNATURE:
    """11.3.6"""

    sig_alg: TPMI_ALG_SIG_SCHEME
    signature: TPMU_SIGNATURE


TPMT_SIGNATURE_NULL = Annotated[TPMT_SIGNATURE, but(TPMT_SIGNATURE, sig_alg=TPMI_ALG_SIG_SCHEME_NULL)]

TPM2B_SIGNATURE_CTX = Annotated[bytes, Tpm2b(MAX_SIGNATURE_CTX_SIZE)]  # 11.3.8
TPM2B_SIGNATURE_HINT = Annotated[bytes, Tpm2b(MAX_SIGNATURE_HINT_SIZE)]  # 11.3.9

TPM2B_ENCRYPTED_SECRET = Annotated[
    bytes,
    Tpm2b(max(codec_of(TPMS_ECC_POINT).most(), MAX_RSA_KEY_BYTES, codec_of(TPM2B_DIGEST).most())),
]
"""11.4.3: as large as the largest member of TPMU_ENCRYPTED_SECRET (11.4.2)."""
