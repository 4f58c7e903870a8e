"""
Part 2, clause 10: digests, sized buffers, PCR selections, tickets, lists, attestation, authorization.

`X_NULL` is what Part 2 and Part 3 write as `X+` (or `+X`): the type with its conditional value.
Left out is what only post-quantum cryptography needs: TPM2B_KEM_CIPHERTEXT holds no ML-KEM ciphertext.
TPM2B_PUBLIC comes after this clause, so what is made of it (10.8.14, 10.9) stands in `vtpm.spec.capability`.
"""

from typing import Annotated, Any

from vtpm.spec.attributes import TPMA_ACT, TPMA_ALGORITHM, TPMA_CC, TPMA_SESSION
from vtpm.spec.constants import TPM_ALG, TPM_ECC_CURVE, TPM_GENERATED_VALUE, TPM_ST
from vtpm.spec.handles import TPM_HANDLE, TPMI_RH_HIERARCHY, TPMI_SH_AUTH_SESSION_NULL
from vtpm.spec.interface import (
    TICKET_TAGS,
    TPM_ALG_ID,
    TPM_CC_TYPE,
    TPM_ECC_CURVE_TYPE,
    TPM_PT_PCR_TYPE,
    TPM_PT_TYPE,
    TPMI_ALG_HASH,
    TPMI_ALG_HASH_NULL,
    TPMI_ST_ATTEST,
    TPMI_YES_NO,
)
from vtpm.spec.limits import (
    DIGEST_SIZES,
    HASH_COUNT,
    MAX_2B_BUFFER_SIZE,
    MAX_ALG_LIST_SIZE,
    MAX_CAP_DATA,
    MAX_DIGEST_LIST,
    MAX_DIGEST_SIZE,
    MAX_ECC_KEY_BYTES,
    MAX_EVENT_SIZE,
    MAX_NAME_SIZE,
    MAX_NV_BUFFER_SIZE,
    MAX_SHARED_SECRET_SIZE,
    MAX_SYM_BLOCK_SIZE,
    MAX_VENDOR_PROPERTY_SIZE,
    PCR_SELECT_MAX,
    PCR_SELECT_MIN,
)
from vtpm.wire.error import TPM_RC
from vtpm.wire.integers import UINT16, UINT32, UINT64
from vtpm.wire.structure import but, structure
from vtpm.wire.vocabulary import Choice, Limited, ListOf, Octets, PcrSelect, Selected, Tpm2b, codec_of

TPMU_HA = Annotated[
    bytes,
    Selected("hash_alg", {TPM_ALG.NULL: None} | {a: Octets(n) for a, n in DIGEST_SIZES.items()}, empty=b""),
]  # 10.2.1


@structure
class TPMT_HA:
    """10.2.2"""

    hash_alg: TPMI_ALG_HASH
    digest: TPMU_HA


TPMT_HA_NULL = Annotated[TPMT_HA, but(TPMT_HA, hash_alg=TPMI_ALG_HASH_NULL)]

TPM2B_DIGEST = Annotated[bytes, Tpm2b(MAX_DIGEST_SIZE)]  # 10.3.2
TPM2B_DATA = Annotated[bytes, Tpm2b(codec_of(TPMT_HA).most())]  # 10.3.3
TPM2B_NONCE = TPM2B_DIGEST  # 10.3.4
TPM2B_AUTH = TPM2B_DIGEST  # 10.3.5
TPM2B_OPERAND = TPM2B_DIGEST  # 10.3.6
TPM2B_EVENT = Annotated[bytes, Tpm2b(MAX_EVENT_SIZE)]  # 10.3.7
TPM2B_MAX_BUFFER = Annotated[bytes, Tpm2b(MAX_2B_BUFFER_SIZE)]  # 10.3.8
TPM2B_MAX_NV_BUFFER = Annotated[bytes, Tpm2b(MAX_NV_BUFFER_SIZE)]  # 10.3.9
TPM2B_TIMEOUT = Annotated[bytes, Tpm2b(codec_of(UINT64).most())]  # 10.3.10
TPM2B_IV = Annotated[bytes, Tpm2b(MAX_SYM_BLOCK_SIZE)]  # 10.3.11
TPM2B_SHARED_SECRET = Annotated[bytes, Tpm2b(MAX_SHARED_SECRET_SIZE)]  # 10.3.12
TPM2B_KEM_CIPHERTEXT = Annotated[bytes, Tpm2b(2 * (2 + MAX_ECC_KEY_BYTES))]  # 10.3.14
TPM2B_VENDOR_PROPERTY = Annotated[bytes, Tpm2b(MAX_VENDOR_PROPERTY_SIZE)]  # 10.3.15
TPM2B_NAME = Annotated[bytes, Tpm2b(MAX_NAME_SIZE)]  # 10.4.3

PCR_SELECT = Annotated[bytes, PcrSelect(PCR_SELECT_MIN, PCR_SELECT_MAX)]
"""10.5.1: sizeofSelect and pcrSelect, which are one field in Python; PCR n is bit n % 8 of octet n // 8."""


@structure
class TPMS_PCR_SELECT:
    """10.5.1"""

    pcr_select: PCR_SELECT


@structure
class TPMS_PCR_SELECTION:
    """10.5.2"""

    hash: TPMI_ALG_HASH
    pcr_select: PCR_SELECT


@structure
class TPMT_TK_CREATION:
    """10.6.3: proves that this TPM made the object and its creation data"""

    tag: Annotated[TPM_ST, Choice(TPM_ST.CREATION, otherwise=TPM_RC.TAG)]
    hierarchy: TPMI_RH_HIERARCHY
    digest: TPM2B_DIGEST


TPMU_TK_VERIFIED_META = Annotated[
    TPM_ALG | None,
    Selected(
        "tag",
        {TPM_ST.VERIFIED: None, TPM_ST.MESSAGE_VERIFIED: None, TPM_ST.DIGEST_VERIFIED: TPMI_ALG_HASH},
    ),
]  # 10.6.4


@structure
class TPMT_TK_VERIFIED:
    """10.6.5: proves that this TPM verified the signature of a key"""

    tag: Annotated[TPM_ST, Choice(*TICKET_TAGS, otherwise=TPM_RC.TAG)]
    hierarchy: TPMI_RH_HIERARCHY
    metadata: TPMU_TK_VERIFIED_META
    hmac: TPM2B_DIGEST


@structure
class TPMT_TK_AUTH:
    """10.6.6: proves that an authorization by PolicySigned or PolicySecret was given"""

    tag: Annotated[TPM_ST, Choice(TPM_ST.AUTH_SIGNED, TPM_ST.AUTH_SECRET, otherwise=TPM_RC.TAG)]
    hierarchy: TPMI_RH_HIERARCHY
    digest: TPM2B_DIGEST


@structure
class TPMT_TK_HASHCHECK:
    """10.6.7: proves that a hashed message did not begin with TPM_GENERATED_VALUE"""

    tag: Annotated[TPM_ST, Choice(TPM_ST.HASHCHECK, otherwise=TPM_RC.TAG)]
    hierarchy: TPMI_RH_HIERARCHY
    digest: TPM2B_DIGEST


@structure
class TPMS_ALG_PROPERTY:
    """10.7.1"""

    alg: TPM_ALG_ID
    alg_properties: TPMA_ALGORITHM


@structure
class TPMS_TAGGED_PROPERTY:
    """10.7.2"""

    property: TPM_PT_TYPE
    value: UINT32


@structure
class TPMS_TAGGED_PCR_SELECT:
    """10.7.3"""

    tag: TPM_PT_PCR_TYPE
    pcr_select: PCR_SELECT


@structure
class TPMS_TAGGED_POLICY:
    """10.7.4"""

    handle: TPM_HANDLE
    policy_hash: TPMT_HA_NULL


@structure
class TPMS_ACT_DATA:
    """10.7.5"""

    handle: TPM_HANDLE
    timeout: UINT32
    attributes: TPMA_ACT


@structure
class TPMS_SPDM_SESSION_INFO:
    """10.7.6"""

    req_key_name: TPM2B_NAME
    tpm_key_name: TPM2B_NAME


def fitting(kind: Any) -> int:
    """10.9: how many of these fit into the answer of GetCapability."""
    return MAX_CAP_DATA // codec_of(kind).most()


TPML_CC = Annotated[tuple[int, ...], ListOf(TPM_CC_TYPE, fitting(TPM_CC_TYPE))]  # 10.8.1
TPML_CCA = Annotated[tuple[TPMA_CC, ...], ListOf(TPMA_CC, fitting(TPMA_CC))]  # 10.8.2
TPML_ALG = Annotated[tuple[int, ...], ListOf(TPM_ALG_ID, MAX_ALG_LIST_SIZE)]  # 10.8.3
TPML_HANDLE = Annotated[tuple[int, ...], ListOf(TPM_HANDLE, fitting(TPM_HANDLE))]  # 10.8.4
TPML_DIGEST = Annotated[tuple[bytes, ...], ListOf(TPM2B_DIGEST, MAX_DIGEST_LIST, minimum=2)]  # 10.8.5
TPML_DIGEST_READ = Annotated[tuple[bytes, ...], ListOf(TPM2B_DIGEST, MAX_DIGEST_LIST)]
"""10.8.5, as PCR_Read returns it: the minimum of two is for PolicyOR."""
TPML_DIGEST_VALUES = Annotated[tuple[TPMT_HA, ...], ListOf(TPMT_HA, HASH_COUNT)]  # 10.8.6
TPML_PCR_SELECTION = Annotated[
    tuple[TPMS_PCR_SELECTION, ...], ListOf(TPMS_PCR_SELECTION, HASH_COUNT)
]  # 10.8.7
TPML_ALG_PROPERTY = Annotated[
    tuple[TPMS_ALG_PROPERTY, ...], ListOf(TPMS_ALG_PROPERTY, fitting(TPMS_ALG_PROPERTY))
]  # 10.8.8
TPML_TAGGED_TPM_PROPERTY = Annotated[
    tuple[TPMS_TAGGED_PROPERTY, ...], ListOf(TPMS_TAGGED_PROPERTY, fitting(TPMS_TAGGED_PROPERTY))
]  # 10.8.9
TPML_TAGGED_PCR_PROPERTY = Annotated[
    tuple[TPMS_TAGGED_PCR_SELECT, ...], ListOf(TPMS_TAGGED_PCR_SELECT, fitting(TPMS_TAGGED_PCR_SELECT))
]  # 10.8.10
TPML_ECC_CURVE = Annotated[
    tuple[TPM_ECC_CURVE, ...], ListOf(TPM_ECC_CURVE_TYPE, fitting(TPM_ECC_CURVE_TYPE))
]  # 10.8.11
TPML_TAGGED_POLICY = Annotated[
    tuple[TPMS_TAGGED_POLICY, ...], ListOf(TPMS_TAGGED_POLICY, fitting(TPMS_TAGGED_POLICY))
]  # 10.8.12
TPML_ACT_DATA = Annotated[tuple[TPMS_ACT_DATA, ...], ListOf(TPMS_ACT_DATA, fitting(TPMS_ACT_DATA))]  # 10.8.13
TPML_SPDM_SESSION_INFO = Annotated[
    tuple[TPMS_SPDM_SESSION_INFO, ...], ListOf(TPMS_SPDM_SESSION_INFO, fitting(TPMS_SPDM_SESSION_INFO))
]  # 10.8.15
TPML_VENDOR_PROPERTY = Annotated[
    tuple[bytes, ...], ListOf(TPM2B_VENDOR_PROPERTY, fitting(TPM2B_VENDOR_PROPERTY))
]  # 10.8.16


@structure
class TPMS_CLOCK_INFO:
    """10.10.1: `clock` in milliseconds"""

    clock: UINT64
    reset_count: UINT32
    restart_count: UINT32
    safe: TPMI_YES_NO


@structure
class TPMS_TIME_INFO:
    """10.10.6: `time` in milliseconds since power was last applied"""

    time: UINT64
    clock_info: TPMS_CLOCK_INFO


@structure
class TPMS_TIME_ATTEST_INFO:
    """10.11.2"""

    time: TPMS_TIME_INFO
    firmware_version: UINT64


@structure
class TPMS_CERTIFY_INFO:
    """10.11.3"""

    name: TPM2B_NAME
    qualified_name: TPM2B_NAME


@structure
class TPMS_QUOTE_INFO:
    """10.11.4"""

    pcr_select: TPML_PCR_SELECTION
    pcr_digest: TPM2B_DIGEST


@structure
class TPMS_COMMAND_AUDIT_INFO:
    """10.11.5"""

    audit_counter: UINT64
    digest_alg: TPM_ALG_ID
    audit_digest: TPM2B_DIGEST
    command_digest: TPM2B_DIGEST


@structure
class TPMS_SESSION_AUDIT_INFO:
    """10.11.6"""

    exclusive_session: TPMI_YES_NO
    session_digest: TPM2B_DIGEST


@structure
class TPMS_CREATION_INFO:
    """10.11.7"""

    object_name: TPM2B_NAME
    creation_hash: TPM2B_DIGEST


@structure
class TPMS_NV_CERTIFY_INFO:
    """10.11.8"""

    index_name: TPM2B_NAME
    offset: UINT16
    nv_contents: TPM2B_MAX_NV_BUFFER


@structure
class TPMS_NV_DIGEST_CERTIFY_INFO:
    """10.11.9"""

    index_name: TPM2B_NAME
    nv_digest: TPM2B_DIGEST


TPMU_ATTEST = Annotated[
    TPMS_CERTIFY_INFO
    | TPMS_CREATION_INFO
    | TPMS_QUOTE_INFO
    | TPMS_COMMAND_AUDIT_INFO
    | TPMS_SESSION_AUDIT_INFO
    | TPMS_TIME_ATTEST_INFO
    | TPMS_NV_CERTIFY_INFO
    | TPMS_NV_DIGEST_CERTIFY_INFO,
    Selected(
        "type",
        {
            TPM_ST.ATTEST_CERTIFY: TPMS_CERTIFY_INFO,
            TPM_ST.ATTEST_CREATION: TPMS_CREATION_INFO,
            TPM_ST.ATTEST_QUOTE: TPMS_QUOTE_INFO,
            TPM_ST.ATTEST_COMMAND_AUDIT: TPMS_COMMAND_AUDIT_INFO,
            TPM_ST.ATTEST_SESSION_AUDIT: TPMS_SESSION_AUDIT_INFO,
            TPM_ST.ATTEST_TIME: TPMS_TIME_ATTEST_INFO,
            TPM_ST.ATTEST_NV: TPMS_NV_CERTIFY_INFO,
            TPM_ST.ATTEST_NV_DIGEST: TPMS_NV_DIGEST_CERTIFY_INFO,
        },
    ),
]  # 10.11.11


@structure
class TPMS_ATTEST:
    """10.11.12: what an attestation command signs"""

    magic: Annotated[int, Limited("I", TPM_GENERATED_VALUE)]
    type: TPMI_ST_ATTEST
    qualified_signer: TPM2B_NAME
    extra_data: TPM2B_DATA
    clock_info: TPMS_CLOCK_INFO
    firmware_version: UINT64
    attested: TPMU_ATTEST


TPM2B_ATTEST = Annotated[bytes, Tpm2b(codec_of(TPMS_ATTEST).most())]  # 10.11.13


@structure
class TPMS_AUTH_COMMAND:
    """10.12.2; `hmac` may be a password"""

    session_handle: TPMI_SH_AUTH_SESSION_NULL
    nonce: TPM2B_NONCE
    session_attributes: TPMA_SESSION
    hmac: TPM2B_AUTH

    def __repr__(self) -> str:
        return f"TPMS_AUTH_COMMAND(0x{self.session_handle:08X}, {self.session_attributes!r})"


@structure
class TPMS_AUTH_RESPONSE:
    """10.12.3"""

    nonce: TPM2B_NONCE
    session_attributes: TPMA_SESSION
    hmac: TPM2B_AUTH
