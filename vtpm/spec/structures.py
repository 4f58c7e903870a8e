"""Part 2, clause 10: structures."""

from io import BytesIO
from typing import Annotated, Any

from vtpm.spec.attributes import TPMA_ACT, TPMA_ALGORITHM, TPMA_CC, TPMA_SESSION
from vtpm.spec.constants import TPM_ALG, TPM_CAP, TPM_ST
from vtpm.spec.handles import TPM_HANDLE, TPMI_RH_HIERARCHY, TPMI_SH_AUTH_SESSION_PW
from vtpm.spec.interface import (
    HASHES,
    TPM_ALG_ID,
    TPM_CAP_TYPE,
    TPM_CC_CODE,
    TPM_PROPERTY,
    TPMI_ALG_HASH,
    TPMI_ALG_HASH_NULL,
    TPMI_ST_ATTEST,
    TPMI_YES_NO,
)
from vtpm.spec.limits import (
    HASH_COUNT,
    MAX_ACT_DATA,
    MAX_ALG_LIST_SIZE,
    MAX_ATTEST,
    MAX_CAP_ALGS,
    MAX_CAP_CC,
    MAX_CAP_HANDLES,
    MAX_DIGEST,
    MAX_DIGEST_BUFFER,
    MAX_ECC_CURVES,
    MAX_EVENT,
    MAX_NV_BUFFER_SIZE,
    MAX_PCR_PROPERTIES,
    MAX_SPDM_SESSION_INFO,
    MAX_SYM_BLOCK_SIZE,
    MAX_SYM_DATA,
    MAX_TAGGED_POLICIES,
    MAX_TPM_PROPERTIES,
    PCR_SELECT_MAX,
    PCR_SELECT_MIN,
)
from vtpm.wire.codec import Codec, take
from vtpm.wire.error import TPM_RC, TpmError
from vtpm.wire.integers import UINT16, UINT32, UINT64
from vtpm.wire.structure import structure
from vtpm.wire.vocabulary import Choice, Limited, ListOf, Octets, Selected, Tpm2b

DIGEST_SIZES = {
    TPM_ALG.SHA1: 20,
    TPM_ALG.SHA256: 32,
    TPM_ALG.SHA384: 48,
    TPM_ALG.SHA512: 64,
    TPM_ALG.SM3_256: 32,
    TPM_ALG.SHA3_256: 32,
    TPM_ALG.SHA3_384: 48,
    TPM_ALG.SHA3_512: 64,
}
"""Octets of a digest: the members of TPMU_HA, 10.3.1."""

TPMU_HA = Annotated[
    bytes | None,
    Selected("hash_alg", {**{alg: Octets(DIGEST_SIZES[alg]) for alg in HASHES}, TPM_ALG.NULL: None}),
]


@structure
class TPMT_HA:
    """10.3.2"""

    hash_alg: TPMI_ALG_HASH
    digest: TPMU_HA


@structure
class TPMT_HA_NULL:
    """10.3.2, with TPM_ALG_NULL and no digest allowed"""

    hash_alg: TPMI_ALG_HASH_NULL
    digest: TPMU_HA


TPM2B_DIGEST = Annotated[bytes, Tpm2b(MAX_DIGEST)]
TPM2B_DATA = Annotated[bytes, Tpm2b(2 + MAX_DIGEST)]
TPM2B_NONCE = TPM2B_DIGEST
TPM2B_AUTH = TPM2B_DIGEST
TPM2B_OPERAND = TPM2B_DIGEST
TPM2B_EVENT = Annotated[bytes, Tpm2b(MAX_EVENT)]
TPM2B_MAX_BUFFER = Annotated[bytes, Tpm2b(MAX_DIGEST_BUFFER)]
TPM2B_MAX_NV_BUFFER = Annotated[bytes, Tpm2b(MAX_NV_BUFFER_SIZE)]
TPM2B_TIMEOUT = Annotated[bytes, Tpm2b(8)]
TPM2B_IV = Annotated[bytes, Tpm2b(MAX_SYM_BLOCK_SIZE)]
TPM2B_NAME = Annotated[bytes, Tpm2b(2 + MAX_DIGEST)]
TPM2B_SENSITIVE_DATA = Annotated[bytes, Tpm2b(MAX_SYM_DATA)]
TPM2B_ATTEST = Annotated[bytes, Tpm2b(MAX_ATTEST)]


class PcrSelect(Codec):
    """A UINT8 size from PCR_SELECT_MIN to PCR_SELECT_MAX (else TPM_RC_VALUE), then that many octets."""

    def _parse(self, stream: BytesIO, context: Any, path: str) -> bytes:  # noqa: ARG002 - construct's signature
        (count,) = take(stream, 1)
        if not PCR_SELECT_MIN <= count <= PCR_SELECT_MAX:
            raise TpmError(TPM_RC.VALUE)
        return take(stream, count)

    def _build(self, obj: bytes, stream: BytesIO, context: Any, path: str) -> bytes:  # noqa: ARG002
        stream.write(bytes((len(obj),)) + obj)
        return obj


PCR_SELECT = Annotated[bytes, PcrSelect()]


@structure
class TPMS_PCR_SELECT:
    """10.5.1"""

    pcr_select: PCR_SELECT


@structure
class TPMS_PCR_SELECTION:
    """10.5.2"""

    hash: TPMI_ALG_HASH
    pcr_select: PCR_SELECT


def _tag(*tags: TPM_ST) -> Choice:
    return Choice(*tags, otherwise=TPM_RC.TAG)


@structure
class TPMT_TK_CREATION:
    """10.6.3"""

    tag: Annotated[TPM_ST, _tag(TPM_ST.CREATION)]
    hierarchy: TPMI_RH_HIERARCHY
    digest: TPM2B_DIGEST


@structure
class TPMT_TK_VERIFIED:
    """10.6.4; the metadata of TPM_ST_VERIFIED is empty, and the other tags belong to post-quantum commands"""

    tag: Annotated[TPM_ST, _tag(TPM_ST.VERIFIED)]
    hierarchy: TPMI_RH_HIERARCHY
    digest: TPM2B_DIGEST


@structure
class TPMT_TK_AUTH:
    """10.6.5"""

    tag: Annotated[TPM_ST, _tag(TPM_ST.AUTH_SIGNED, TPM_ST.AUTH_SECRET)]
    hierarchy: TPMI_RH_HIERARCHY
    digest: TPM2B_DIGEST


@structure
class TPMT_TK_HASHCHECK:
    """10.6.6"""

    tag: Annotated[TPM_ST, _tag(TPM_ST.HASHCHECK)]
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

    property: TPM_PROPERTY
    value: UINT32


@structure
class TPMS_TAGGED_PCR_SELECT:
    """10.7.3"""

    tag: TPM_PROPERTY
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


TPML_CC = Annotated[tuple[int, ...], ListOf(TPM_CC_CODE, MAX_CAP_CC)]
TPML_CCA = Annotated[tuple[TPMA_CC, ...], ListOf(TPMA_CC, MAX_CAP_CC)]
TPML_ALG = Annotated[tuple[int, ...], ListOf(TPM_ALG_ID, MAX_ALG_LIST_SIZE)]
TPML_HANDLE = Annotated[tuple[int, ...], ListOf(TPM_HANDLE, MAX_CAP_HANDLES)]
TPML_DIGEST = Annotated[tuple[bytes, ...], ListOf(TPM2B_DIGEST, 8)]
TPML_DIGEST_OR = Annotated[tuple[bytes, ...], ListOf(TPM2B_DIGEST, 8, minimum=2)]
"""10.8.5: the list of PolicyOR has at least two digests."""
TPML_DIGEST_VALUES = Annotated[tuple[TPMT_HA, ...], ListOf(TPMT_HA, HASH_COUNT)]
TPML_PCR_SELECTION = Annotated[tuple[TPMS_PCR_SELECTION, ...], ListOf(TPMS_PCR_SELECTION, HASH_COUNT)]
TPML_ALG_PROPERTY = Annotated[tuple[TPMS_ALG_PROPERTY, ...], ListOf(TPMS_ALG_PROPERTY, MAX_CAP_ALGS)]
TPML_TAGGED_TPM_PROPERTY = Annotated[
    tuple[TPMS_TAGGED_PROPERTY, ...], ListOf(TPMS_TAGGED_PROPERTY, MAX_TPM_PROPERTIES)
]
TPML_TAGGED_PCR_PROPERTY = Annotated[
    tuple[TPMS_TAGGED_PCR_SELECT, ...], ListOf(TPMS_TAGGED_PCR_SELECT, MAX_PCR_PROPERTIES)
]
TPML_ECC_CURVE = Annotated[tuple[int, ...], ListOf(UINT16, MAX_ECC_CURVES)]
TPML_TAGGED_POLICY = Annotated[
    tuple[TPMS_TAGGED_POLICY, ...], ListOf(TPMS_TAGGED_POLICY, MAX_TAGGED_POLICIES)
]
TPML_ACT_DATA = Annotated[tuple[TPMS_ACT_DATA, ...], ListOf(TPMS_ACT_DATA, MAX_ACT_DATA)]
TPML_SPDM_SESSION_INFO = Annotated[
    tuple[TPMS_SPDM_SESSION_INFO, ...], ListOf(TPMS_SPDM_SESSION_INFO, MAX_SPDM_SESSION_INFO)
]

TPMU_CAPABILITIES = Annotated[
    tuple[Any, ...],
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
            TPM_CAP.SPDM_SESSION_INFO: TPML_SPDM_SESSION_INFO,
        },
    ),
]
"""10.10.1"""


@structure
class TPMS_CAPABILITY_DATA:
    """10.10.2"""

    capability: TPM_CAP_TYPE
    data: TPMU_CAPABILITIES


TPM2B_SET_CAPABILITY_DATA = Annotated[bytes, Tpm2b(MAX_DIGEST_BUFFER)]
"""10.10.5: no capability is settable, so the contents are not taken apart."""


@structure
class TPMS_CLOCK_INFO:
    """10.11.1"""

    clock: UINT64
    reset_count: UINT32
    restart_count: UINT32
    safe: TPMI_YES_NO


@structure
class TPMS_TIME_INFO:
    """10.11.6"""

    time: UINT64
    clock_info: TPMS_CLOCK_INFO


@structure
class TPMS_TIME_ATTEST_INFO:
    """10.12.2"""

    time: TPMS_TIME_INFO
    firmware_version: UINT64


@structure
class TPMS_CERTIFY_INFO:
    """10.12.3"""

    name: TPM2B_NAME
    qualified_name: TPM2B_NAME


@structure
class TPMS_QUOTE_INFO:
    """10.12.4"""

    pcr_select: TPML_PCR_SELECTION
    pcr_digest: TPM2B_DIGEST


@structure
class TPMS_COMMAND_AUDIT_INFO:
    """10.12.5"""

    audit_counter: UINT64
    digest_alg: TPM_ALG_ID
    audit_digest: TPM2B_DIGEST
    command_digest: TPM2B_DIGEST


@structure
class TPMS_SESSION_AUDIT_INFO:
    """10.12.6"""

    exclusive_session: TPMI_YES_NO
    session_digest: TPM2B_DIGEST


@structure
class TPMS_CREATION_INFO:
    """10.12.7"""

    object_name: TPM2B_NAME
    creation_hash: TPM2B_DIGEST


@structure
class TPMS_NV_CERTIFY_INFO:
    """10.12.8"""

    index_name: TPM2B_NAME
    offset: UINT16
    nv_contents: TPM2B_MAX_NV_BUFFER


@structure
class TPMS_NV_DIGEST_CERTIFY_INFO:
    """10.12.9"""

    index_name: TPM2B_NAME
    nv_digest: TPM2B_DIGEST


TPMU_ATTEST = Annotated[
    Any,
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
]
"""10.12.11"""


@structure
class TPMS_ATTEST:
    """10.12.12"""

    magic: Annotated[int, Limited("I", 0xFF544347)]
    type: TPMI_ST_ATTEST
    qualified_signer: TPM2B_NAME
    extra_data: TPM2B_DATA
    clock_info: TPMS_CLOCK_INFO
    firmware_version: UINT64
    attested: TPMU_ATTEST


@structure
class TPMS_AUTH_COMMAND:
    """10.13.2"""

    session_handle: TPMI_SH_AUTH_SESSION_PW
    nonce: TPM2B_NONCE
    session_attributes: TPMA_SESSION
    hmac: TPM2B_AUTH

    __repr__ = object.__repr__


@structure
class TPMS_AUTH_RESPONSE:
    """10.13.3"""

    nonce: TPM2B_NONCE
    session_attributes: TPMA_SESSION
    hmac: TPM2B_AUTH
