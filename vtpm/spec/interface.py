"""
Part 2, clauses 9.2 and 9.31 to 9.41: interface types, and the constants of clause 6 as types of fields.

`X_NULL` is what Part 2 and Part 3 write as `X+` (or `+X`): the type with its conditional value.
The types accept every algorithm that this program knows; what a TPM implements is a matter of its profile.
`X_TYPE` is the type of the constants X, where a field has it: Part 2 gives both the same name.
Left out are the algorithms without an implementation here: the truncated and extendable-output hashes, EdDSA,
HKDF and those of post-quantum cryptography.
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
from vtpm.spec.limits import DIGEST_SIZES, RSA_KEY_BITS
from vtpm.wire.error import TPM_RC
from vtpm.wire.integers import UINT8, UINT16, UINT32
from vtpm.wire.vocabulary import Choice, Limited, YesNo

NULL = TPM_ALG.NULL
HASHES = tuple(DIGEST_SIZES)
BLOCK_CIPHERS = (TPM_ALG.TDES, TPM_ALG.AES, TPM_ALG.SM4, TPM_ALG.CAMELLIA)
CIPHER_MODES = (TPM_ALG.CTR, TPM_ALG.OFB, TPM_ALG.CBC, TPM_ALG.CFB, TPM_ALG.ECB)
KDFS = (TPM_ALG.MGF1, TPM_ALG.KDF2, TPM_ALG.KDF1_SP800_56A, TPM_ALG.KDF1_SP800_108)
RSA_SIGNATURES = (TPM_ALG.RSASSA, TPM_ALG.RSAPSS)
RSA_ENCRYPTIONS = (TPM_ALG.RSAES, TPM_ALG.OAEP)
ECC_SIGNATURES = (TPM_ALG.ECDSA, TPM_ALG.ECDAA, TPM_ALG.SM2, TPM_ALG.ECSCHNORR)
KEY_EXCHANGES = (TPM_ALG.ECDH, TPM_ALG.SM2, TPM_ALG.ECMQV)
KEYED_HASH_SCHEMES = (TPM_ALG.HMAC, TPM_ALG.XOR)
OBJECT_TYPES = (TPM_ALG.RSA, TPM_ALG.KEYEDHASH, TPM_ALG.ECC, TPM_ALG.SYMCIPHER)
EDWARDS_CURVES = (TPM_ECC_CURVE.CURVE_25519, TPM_ECC_CURVE.CURVE_448)
"""Curves that are not implemented: no scheme that is implemented uses them."""
CURVES = tuple(curve for curve in TPM_ECC_CURVE if curve not in (TPM_ECC_CURVE.NONE, *EDWARDS_CURVES))
TICKET_TAGS = (TPM_ST.VERIFIED, TPM_ST.MESSAGE_VERIFIED, TPM_ST.DIGEST_VERIFIED)
"""10.6.5, Table 112"""

SYMMETRIC_KEY_BITS = {
    TPM_ALG.TDES: (128, 192),
    TPM_ALG.AES: (128, 192, 256),
    TPM_ALG.SM4: (128,),
    TPM_ALG.CAMELLIA: (128, 192, 256),
}
"""11.1.2, Table 158"""

TPM_ALG_ID = UINT16  # 6.3
TPM_ECC_CURVE_TYPE = Annotated[TPM_ECC_CURVE, Choice(*TPM_ECC_CURVE, otherwise=TPM_RC.CURVE)]  # 6.4
TPM_CC_TYPE = UINT32  # 6.5: the command says what is wrong with a code
TPM_CLOCK_ADJUST_TYPE = Annotated[TPM_CLOCK_ADJUST, Choice(*TPM_CLOCK_ADJUST)]  # 6.7
TPM_EO_TYPE = Annotated[TPM_EO, Choice(*TPM_EO)]  # 6.8
TPM_ST_TYPE = Annotated[TPM_ST, Choice(*TPM_ST)]  # 6.9
TPM_SU_TYPE = Annotated[TPM_SU, Choice(*TPM_SU)]  # 6.10
TPM_SE_TYPE = Annotated[TPM_SE, Choice(*TPM_SE)]  # 6.11
TPM_CAP_TYPE = Annotated[TPM_CAP, Choice(*TPM_CAP)]  # 6.12
TPM_PT_TYPE = UINT32  # 6.13
TPM_PT_PCR_TYPE = UINT32  # 6.14
TPM_HT_TYPE = UINT8  # 7.2

TPMI_YES_NO = Annotated[bool, YesNo()]  # 9.2
TPMI_ALG_HASH = Annotated[TPM_ALG, Choice(*HASHES, otherwise=TPM_RC.HASH)]  # 9.31
TPMI_ALG_HASH_NULL = Annotated[TPM_ALG, Choice(*HASHES, NULL, otherwise=TPM_RC.HASH)]
TPMI_ALG_ASYM = Annotated[TPM_ALG, Choice(TPM_ALG.RSA, TPM_ALG.ECC, otherwise=TPM_RC.ASYMMETRIC)]  # 9.32
TPMI_ALG_ASYM_NULL = Annotated[TPM_ALG, Choice(TPM_ALG.RSA, TPM_ALG.ECC, NULL, otherwise=TPM_RC.ASYMMETRIC)]
TPMI_ALG_SYM = Annotated[TPM_ALG, Choice(*BLOCK_CIPHERS, TPM_ALG.XOR, otherwise=TPM_RC.SYMMETRIC)]  # 9.33
TPMI_ALG_SYM_NULL = Annotated[TPM_ALG, Choice(*BLOCK_CIPHERS, TPM_ALG.XOR, NULL, otherwise=TPM_RC.SYMMETRIC)]
TPMI_ALG_SYM_OBJECT = Annotated[TPM_ALG, Choice(*BLOCK_CIPHERS, otherwise=TPM_RC.SYMMETRIC)]  # 9.34
TPMI_ALG_SYM_OBJECT_NULL = Annotated[TPM_ALG, Choice(*BLOCK_CIPHERS, NULL, otherwise=TPM_RC.SYMMETRIC)]
TPMI_ALG_SYM_MODE = Annotated[TPM_ALG, Choice(*CIPHER_MODES, TPM_ALG.CMAC, otherwise=TPM_RC.MODE)]  # 9.35
TPMI_ALG_SYM_MODE_NULL = Annotated[TPM_ALG, Choice(*CIPHER_MODES, TPM_ALG.CMAC, NULL, otherwise=TPM_RC.MODE)]
TPMI_ALG_KDF = Annotated[TPM_ALG, Choice(*KDFS, otherwise=TPM_RC.KDF)]  # 9.36
TPMI_ALG_KDF_NULL = Annotated[TPM_ALG, Choice(*KDFS, NULL, otherwise=TPM_RC.KDF)]

SIGNATURES = (*RSA_SIGNATURES, *ECC_SIGNATURES, TPM_ALG.HMAC)

TPMI_ALG_SIG_SCHEME = Annotated[TPM_ALG, Choice(*SIGNATURES, otherwise=TPM_RC.SCHEME)]  # 9.37
TPMI_ALG_SIG_SCHEME_NULL = Annotated[TPM_ALG, Choice(*SIGNATURES, NULL, otherwise=TPM_RC.SCHEME)]
TPMI_ECC_KEY_EXCHANGE = Annotated[TPM_ALG, Choice(*KEY_EXCHANGES, otherwise=TPM_RC.SCHEME)]  # 9.38
TPMI_ECC_KEY_EXCHANGE_NULL = Annotated[TPM_ALG, Choice(*KEY_EXCHANGES, NULL, otherwise=TPM_RC.SCHEME)]
TPMI_ST_COMMAND_TAG = Annotated[
    TPM_ST, Choice(TPM_ST.NO_SESSIONS, TPM_ST.SESSIONS, otherwise=TPM_RC.BAD_TAG)
]  # 9.39
TPMI_ALG_MAC_SCHEME = Annotated[TPM_ALG, Choice(TPM_ALG.CMAC, *HASHES, otherwise=TPM_RC.SYMMETRIC)]  # 9.40
TPMI_ALG_MAC_SCHEME_NULL = Annotated[TPM_ALG, Choice(TPM_ALG.CMAC, *HASHES, NULL, otherwise=TPM_RC.SYMMETRIC)]
TPMI_ALG_CIPHER_MODE = Annotated[TPM_ALG, Choice(*CIPHER_MODES, otherwise=TPM_RC.MODE)]  # 9.41
TPMI_ALG_CIPHER_MODE_NULL = Annotated[TPM_ALG, Choice(*CIPHER_MODES, NULL, otherwise=TPM_RC.MODE)]

TPMI_TDES_KEY_BITS = Annotated[int, Limited("H", *SYMMETRIC_KEY_BITS[TPM_ALG.TDES])]  # 11.1.2
TPMI_AES_KEY_BITS = Annotated[int, Limited("H", *SYMMETRIC_KEY_BITS[TPM_ALG.AES])]
TPMI_SM4_KEY_BITS = Annotated[int, Limited("H", *SYMMETRIC_KEY_BITS[TPM_ALG.SM4])]
TPMI_CAMELLIA_KEY_BITS = Annotated[int, Limited("H", *SYMMETRIC_KEY_BITS[TPM_ALG.CAMELLIA])]
TPMI_ALG_KEYEDHASH_SCHEME = Annotated[TPM_ALG, Choice(*KEYED_HASH_SCHEMES)]  # 11.1.19
TPMI_ALG_KEYEDHASH_SCHEME_NULL = Annotated[TPM_ALG, Choice(*KEYED_HASH_SCHEMES, NULL)]
TPMI_ALG_RSA_SCHEME = Annotated[TPM_ALG, Choice(*RSA_SIGNATURES, *RSA_ENCRYPTIONS)]  # 11.2.4.1
TPMI_ALG_RSA_SCHEME_NULL = Annotated[TPM_ALG, Choice(*RSA_SIGNATURES, *RSA_ENCRYPTIONS, NULL)]
TPMI_ALG_RSA_DECRYPT = Annotated[TPM_ALG, Choice(*RSA_ENCRYPTIONS)]  # 11.2.4.4
TPMI_ALG_RSA_DECRYPT_NULL = Annotated[TPM_ALG, Choice(*RSA_ENCRYPTIONS, NULL)]
TPMI_RSA_KEY_BITS = Annotated[int, Limited("H", *RSA_KEY_BITS)]  # 11.2.4.7

ECC_SCHEMES = tuple(dict.fromkeys((*ECC_SIGNATURES, *KEY_EXCHANGES)))

TPMI_ALG_ECC_SCHEME = Annotated[TPM_ALG, Choice(*ECC_SCHEMES, otherwise=TPM_RC.SCHEME)]  # 11.2.5.4
TPMI_ALG_ECC_SCHEME_NULL = Annotated[TPM_ALG, Choice(*ECC_SCHEMES, NULL, otherwise=TPM_RC.SCHEME)]
TPMI_ECC_CURVE = Annotated[TPM_ECC_CURVE, Choice(*CURVES, otherwise=TPM_RC.CURVE)]  # 11.2.5.5
TPMI_ECC_CURVE_NULL = Annotated[TPM_ECC_CURVE, Choice(*CURVES, TPM_ECC_CURVE.NONE, otherwise=TPM_RC.CURVE)]
TPMI_ALG_PUBLIC = Annotated[TPM_ALG, Choice(*OBJECT_TYPES, otherwise=TPM_RC.TYPE)]  # 12.2.2

ATTESTATIONS = (
    TPM_ST.ATTEST_CERTIFY,
    TPM_ST.ATTEST_CREATION,
    TPM_ST.ATTEST_QUOTE,
    TPM_ST.ATTEST_COMMAND_AUDIT,
    TPM_ST.ATTEST_SESSION_AUDIT,
    TPM_ST.ATTEST_TIME,
    TPM_ST.ATTEST_NV,
    TPM_ST.ATTEST_NV_DIGEST,
)

TPMI_ST_ATTEST = Annotated[TPM_ST, Choice(*ATTESTATIONS, otherwise=TPM_RC.SELECTOR)]  # 10.11.10
