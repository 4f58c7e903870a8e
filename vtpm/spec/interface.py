"""
Part 2, clause 9: interface types over algorithms and constants, and the sets of what is implemented.

The specification's "+", by which a structure also takes the conditional value, is the suffix `_NULL`.
Post-quantum algorithms, EdDSA, SHAKE and HKDF are not implemented, so no type takes them.
"""

from typing import Annotated

from vtpm.spec.constants import (
    TPM_ALG,
    TPM_CAP,
    TPM_CLOCK_ADJUST,
    TPM_ECC_CURVE,
    TPM_EO,
    TPM_SE,
    TPM_ST,
    TPM_SU,
)
from vtpm.wire.error import TPM_RC
from vtpm.wire.integers import UINT16, UINT32
from vtpm.wire.vocabulary import Choice, Limited, YesNo

A = TPM_ALG

HASHES = (A.SHA1, A.SHA256, A.SHA384, A.SHA512, A.SM3_256, A.SHA3_256, A.SHA3_384, A.SHA3_512)
BLOCK_CIPHERS = (A.TDES, A.AES, A.SM4, A.CAMELLIA)
CIPHER_MODES = (A.CTR, A.OFB, A.CBC, A.CFB, A.ECB)
KDFS = (A.MGF1, A.KDF2, A.KDF1_SP800_56A, A.KDF1_SP800_108)
RSA_SIGNING = (A.RSASSA, A.RSAPSS)
ECC_SIGNING = (A.ECDSA, A.ECDAA, A.SM2, A.ECSCHNORR)
KEY_EXCHANGES = (A.ECDH, A.SM2, A.ECMQV)
PUBLIC_TYPES = (A.RSA, A.KEYEDHASH, A.ECC, A.SYMCIPHER)
RSA_KEY_BITS = (1024, 2048, 3072, 4096)
SYM_KEY_BITS = {A.TDES: (128, 192), A.AES: (128, 192, 256), A.SM4: (128,), A.CAMELLIA: (128, 192, 256)}
CURVES = (
    TPM_ECC_CURVE.NIST_P192,
    TPM_ECC_CURVE.NIST_P224,
    TPM_ECC_CURVE.NIST_P256,
    TPM_ECC_CURVE.NIST_P384,
    TPM_ECC_CURVE.NIST_P521,
    TPM_ECC_CURVE.BN_P256,
    TPM_ECC_CURVE.BN_P638,
    TPM_ECC_CURVE.SM2_P256,
)

TPM_ALG_ID = UINT16
TPM_KEY_BITS = UINT16
TPM_CC_CODE = UINT32
TPM_PROPERTY = UINT32

TPMI_YES_NO = Annotated[bool, YesNo()]
TPM_SU_TYPE = Annotated[TPM_SU, Choice(*TPM_SU)]
TPM_SE_TYPE = Annotated[TPM_SE, Choice(*TPM_SE)]
TPM_EO_TYPE = Annotated[TPM_EO, Choice(*TPM_EO)]
TPM_CAP_TYPE = Annotated[TPM_CAP, Choice(*TPM_CAP)]
TPM_CLOCK_ADJUST_TYPE = Annotated[TPM_CLOCK_ADJUST, Choice(*TPM_CLOCK_ADJUST)]

TPMI_ALG_HASH = Annotated[TPM_ALG, Choice(*HASHES, otherwise=TPM_RC.HASH)]
TPMI_ALG_HASH_NULL = Annotated[TPM_ALG, Choice(*HASHES, A.NULL, otherwise=TPM_RC.HASH)]
TPMI_ALG_ASYM = Annotated[TPM_ALG, Choice(A.RSA, A.ECC, otherwise=TPM_RC.ASYMMETRIC)]
TPMI_ALG_ASYM_NULL = Annotated[TPM_ALG, Choice(A.RSA, A.ECC, A.NULL, otherwise=TPM_RC.ASYMMETRIC)]
TPMI_ALG_SYM = Annotated[TPM_ALG, Choice(*BLOCK_CIPHERS, A.XOR, otherwise=TPM_RC.SYMMETRIC)]
TPMI_ALG_SYM_NULL = Annotated[TPM_ALG, Choice(*BLOCK_CIPHERS, A.XOR, A.NULL, otherwise=TPM_RC.SYMMETRIC)]
TPMI_ALG_SYM_OBJECT = Annotated[TPM_ALG, Choice(*BLOCK_CIPHERS, otherwise=TPM_RC.SYMMETRIC)]
TPMI_ALG_SYM_OBJECT_NULL = Annotated[TPM_ALG, Choice(*BLOCK_CIPHERS, A.NULL, otherwise=TPM_RC.SYMMETRIC)]
TPMI_ALG_SYM_MODE = Annotated[TPM_ALG, Choice(*CIPHER_MODES, A.CMAC, otherwise=TPM_RC.MODE)]
TPMI_ALG_SYM_MODE_NULL = Annotated[TPM_ALG, Choice(*CIPHER_MODES, A.CMAC, A.NULL, otherwise=TPM_RC.MODE)]
TPMI_ALG_KDF = Annotated[TPM_ALG, Choice(*KDFS, otherwise=TPM_RC.KDF)]
TPMI_ALG_KDF_NULL = Annotated[TPM_ALG, Choice(*KDFS, A.NULL, otherwise=TPM_RC.KDF)]
TPMI_ALG_SIG_SCHEME = Annotated[TPM_ALG, Choice(*RSA_SIGNING, *ECC_SIGNING, A.HMAC, otherwise=TPM_RC.SCHEME)]
TPMI_ALG_SIG_SCHEME_NULL = Annotated[
    TPM_ALG, Choice(*RSA_SIGNING, *ECC_SIGNING, A.HMAC, A.NULL, otherwise=TPM_RC.SCHEME)
]
TPMI_ECC_KEY_EXCHANGE = Annotated[TPM_ALG, Choice(*KEY_EXCHANGES, otherwise=TPM_RC.SCHEME)]
TPMI_ECC_KEY_EXCHANGE_NULL = Annotated[TPM_ALG, Choice(*KEY_EXCHANGES, A.NULL, otherwise=TPM_RC.SCHEME)]
TPMI_ST_COMMAND_TAG = Annotated[TPM_ST, Choice(TPM_ST.NO_SESSIONS, TPM_ST.SESSIONS, otherwise=TPM_RC.BAD_TAG)]
TPMI_ALG_MAC_SCHEME = Annotated[TPM_ALG, Choice(A.CMAC, *HASHES, otherwise=TPM_RC.SYMMETRIC)]
TPMI_ALG_MAC_SCHEME_NULL = Annotated[TPM_ALG, Choice(A.CMAC, *HASHES, A.NULL, otherwise=TPM_RC.SYMMETRIC)]
TPMI_ALG_CIPHER_MODE = Annotated[TPM_ALG, Choice(*CIPHER_MODES, otherwise=TPM_RC.MODE)]
TPMI_ALG_CIPHER_MODE_NULL = Annotated[TPM_ALG, Choice(*CIPHER_MODES, A.NULL, otherwise=TPM_RC.MODE)]
TPMI_ALG_KEYEDHASH_SCHEME_NULL = Annotated[TPM_ALG, Choice(A.HMAC, A.XOR, A.NULL)]
TPMI_ALG_RSA_SCHEME_NULL = Annotated[TPM_ALG, Choice(*RSA_SIGNING, A.RSAES, A.OAEP, A.NULL)]
TPMI_ALG_RSA_DECRYPT_NULL = Annotated[TPM_ALG, Choice(A.RSAES, A.OAEP, A.NULL)]
TPMI_ALG_ECC_SCHEME_NULL = Annotated[
    TPM_ALG, Choice(*ECC_SIGNING, A.ECDH, A.ECMQV, A.NULL, otherwise=TPM_RC.SCHEME)
]
TPMI_RSA_KEY_BITS = Annotated[int, Limited("H", *RSA_KEY_BITS)]
TPMI_TDES_KEY_BITS = Annotated[int, Limited("H", *SYM_KEY_BITS[A.TDES])]
TPMI_AES_KEY_BITS = Annotated[int, Limited("H", *SYM_KEY_BITS[A.AES])]
TPMI_SM4_KEY_BITS = Annotated[int, Limited("H", *SYM_KEY_BITS[A.SM4])]
TPMI_CAMELLIA_KEY_BITS = Annotated[int, Limited("H", *SYM_KEY_BITS[A.CAMELLIA])]
TPMI_ECC_CURVE = Annotated[TPM_ECC_CURVE, Choice(*CURVES, otherwise=TPM_RC.CURVE)]
TPMI_ALG_PUBLIC = Annotated[TPM_ALG, Choice(*PUBLIC_TYPES, otherwise=TPM_RC.TYPE)]
TPMI_ST_ATTEST = Annotated[
    TPM_ST,
    Choice(
        TPM_ST.ATTEST_CERTIFY,
        TPM_ST.ATTEST_QUOTE,
        TPM_ST.ATTEST_SESSION_AUDIT,
        TPM_ST.ATTEST_COMMAND_AUDIT,
        TPM_ST.ATTEST_TIME,
        TPM_ST.ATTEST_CREATION,
        TPM_ST.ATTEST_NV,
        TPM_ST.ATTEST_NV_DIGEST,
        otherwise=TPM_RC.SELECTOR,
    ),
]
