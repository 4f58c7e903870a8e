"""
The keys that a platform expects, from their templates.

Endorsement keys are those of the TCG EK Credential Profile for TPM 2.0, 2.5, clause 2.2.
The storage root key is that of the TCG TPM v2.0 Provisioning Guidance, 7.5.1.
"""

from dataclasses import dataclass
from enum import Enum

from vtpm.spec.algorithms import (
    TPMS_ECC_POINT,
    TPMT_ECC_SCHEME,
    TPMT_KDF_SCHEME,
    TPMT_RSA_SCHEME,
    TPMT_SYM_DEF_OBJECT,
)
from vtpm.spec.attributes import TPMA_OBJECT
from vtpm.spec.constants import TPM_ALG, TPM_ECC_CURVE
from vtpm.spec.objects import TPMS_ECC_PARMS, TPMS_RSA_PARMS, TPMT_PUBLIC

POLICY_A_SHA256 = bytes.fromhex("837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa")
"""PolicyA: PolicySecret of the endorsement hierarchy (2.2.1.4, B.6.2)."""

POLICY_B_SHA256 = bytes.fromhex("ca3d0a99a2b93906f7a3342414efcfb3a385d44cd1fd459089d19b5071c0b7a0")
POLICY_B_SHA384 = bytes.fromhex(
    "b26e7d28d11a50bc53d882bcf5fd3a1a074148bb35d3b4e4cb1c0ad9bde419cacb47ba09699646150f9fc000f3f80e12"
)
POLICY_B_SHA512 = bytes.fromhex(
    "b8221ca69e8550a4914de3faa6a18c072cc01208073a928d5d66d59ef79e49a4"
    "29c41a6b269571d57edb25fbdb1838425608b413cd616a5f6db5b6071af99bea"
)
"""PolicyB: the same or, by PolicyOR, whatever the Index of the EK policy allows (B.6.4)."""

EK_LOW = TPMA_OBJECT(
    fixedTPM=True,
    fixedParent=True,
    sensitiveDataOrigin=True,
    adminWithPolicy=True,
    restricted=True,
    decrypt=True,
)
EK_HIGH = EK_LOW.but(userWithAuth=True)
SRK = EK_HIGH.but(adminWithPolicy=False, noDA=True)

SRK_HANDLE = 0x81000001
PLATFORM_CERTIFICATE = 0x01C08000
"""The Index of the platform certificate (TCG Registry of Reserved TPM 2.0 Handles, 2.2)."""


def _rsa(
    bits: int, alg: TPM_ALG, key_bits: int, attributes: TPMA_OBJECT, policy: bytes, size: int
) -> TPMT_PUBLIC:
    return TPMT_PUBLIC(
        type=TPM_ALG.RSA,
        name_alg=alg,
        object_attributes=attributes,
        auth_policy=policy,
        parameters=TPMS_RSA_PARMS(
            symmetric=TPMT_SYM_DEF_OBJECT(TPM_ALG.AES, key_bits, TPM_ALG.CFB),
            scheme=TPMT_RSA_SCHEME(TPM_ALG.NULL, None),
            key_bits=bits,
            exponent=0,
        ),
        unique=bytes(size),
    )


def _ecc(
    curve: TPM_ECC_CURVE, alg: TPM_ALG, key_bits: int, attributes: TPMA_OBJECT, policy: bytes, size: int
) -> TPMT_PUBLIC:
    return TPMT_PUBLIC(
        type=TPM_ALG.ECC,
        name_alg=alg,
        object_attributes=attributes,
        auth_policy=policy,
        parameters=TPMS_ECC_PARMS(
            symmetric=TPMT_SYM_DEF_OBJECT(TPM_ALG.AES, key_bits, TPM_ALG.CFB),
            scheme=TPMT_ECC_SCHEME(TPM_ALG.NULL, None),
            curve_id=curve,
            kdf=TPMT_KDF_SCHEME(TPM_ALG.NULL, None),
        ),
        unique=TPMS_ECC_POINT(bytes(size), bytes(size)),
    )


@dataclass(frozen=True)
class EndorsementKey:
    """One endorsement key: its template, its persistent handle, the Index of its certificate."""

    template: TPMT_PUBLIC
    handle: int
    certificate: int


def _high(number: int, template: TPMT_PUBLIC) -> EndorsementKey:
    """A key of the high range (2.2.1.4): its handle follows the Index of its certificate."""
    return EndorsementKey(template, 0x81010000 | number, 0x01C00000 | number)


class EK(Enum):
    """The endorsement keys that can be made; those of an algorithm in the high range come last."""

    RSA_2048 = EndorsementKey(
        _rsa(2048, TPM_ALG.SHA256, 128, EK_LOW, POLICY_A_SHA256, 256), 0x81010001, 0x01C00002
    )
    """Template L-1."""
    ECC_P256 = EndorsementKey(
        _ecc(TPM_ECC_CURVE.NIST_P256, TPM_ALG.SHA256, 128, EK_LOW, POLICY_A_SHA256, 32),
        0x8101000A,
        0x01C0000A,
    )
    """Template L-2."""
    ECC_P384 = _high(0x16, _ecc(TPM_ECC_CURVE.NIST_P384, TPM_ALG.SHA384, 256, EK_HIGH, POLICY_B_SHA384, 0))
    """Template H-3."""
    ECC_P521 = _high(0x18, _ecc(TPM_ECC_CURVE.NIST_P521, TPM_ALG.SHA512, 256, EK_HIGH, POLICY_B_SHA512, 0))
    """Template H-4."""
    RSA_3072 = _high(0x1C, _rsa(3072, TPM_ALG.SHA384, 256, EK_HIGH, POLICY_B_SHA384, 0))
    """Template H-6."""
    RSA_4096 = _high(0x1E, _rsa(4096, TPM_ALG.SHA384, 256, EK_HIGH, POLICY_B_SHA384, 0))
    """Template H-7."""
    RSA_2048_HIGH = _high(0x12, _rsa(2048, TPM_ALG.SHA256, 128, EK_HIGH, POLICY_B_SHA256, 0))
    """Template H-1."""
    ECC_P256_HIGH = _high(
        0x14, _ecc(TPM_ECC_CURVE.NIST_P256, TPM_ALG.SHA256, 128, EK_HIGH, POLICY_B_SHA256, 0)
    )
    """Template H-2."""


SRK_TEMPLATE = _rsa(2048, TPM_ALG.SHA256, 128, SRK, b"", 256)
