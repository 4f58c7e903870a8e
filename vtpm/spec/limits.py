"""
What Part 2 leaves to the implementation: sizes in octets and counts of this TPM.

They are the largest that any TPM of this program has; a profile may lower them.
Unless another reason is given, they are the values of the reference code and of libtpms.
"""

from vtpm.spec.constants import TPM_ALG

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
"""10.2.1, Table 88: the implemented hash algorithms, and the size of a digest of each."""

HASH_COUNT = len(DIGEST_SIZES)
"""10.8.6: how many digests or PCR selections a list may have."""

MAX_DIGEST_SIZE = max(DIGEST_SIZES.values())

MAX_NAME_SIZE = 68
"""
10.4.2: sizeof(TPMU_NAME).

The largest Name has 66 octets; the union has a UINT32 beside it, which makes its size a multiple of four.
"""

MAX_2B_BUFFER_SIZE = 1024
"""10.3.8: the data of one Hash, SequenceUpdate and the like, which was called MAX_DIGEST_BUFFER."""

MAX_EVENT_SIZE = 1024
"""10.3.7"""

MAX_NV_BUFFER_SIZE = 1024
"""10.3.9: the data of one NV_Read or NV_Write (TPM_PT_NV_BUFFER_MAX)."""

MAX_NV_INDEX_SIZE = 2048
"""13.6: the data of an NV Index (TPM_PT_NV_INDEX_MAX)."""

MAX_CAP_BUFFER = 1024
MAX_CAP_DATA = MAX_CAP_BUFFER - 4 - 4
"""10.9: what GetCapability may return, without the capability and the count."""

MAX_ALG_LIST_SIZE = 64
"""10.8.3: algorithms in the list of IncrementalSelfTest."""

MAX_DIGEST_LIST = 8
"""10.8.5: digests of PolicyOR and PCR_Read."""

MAX_VENDOR_PROPERTY_SIZE = 512
"""10.3.15"""

IMPLEMENTATION_PCR = 24
PCR_SELECT_MIN = (IMPLEMENTATION_PCR + 7) // 8
PCR_SELECT_MAX = (IMPLEMENTATION_PCR + 7) // 8
"""10.5.1: the PC Client profile requires the 24 PCR that there are."""

MAX_ACTIVE_SESSIONS = 64
MAX_LOADED_OBJECTS = 64
"""7.5: how far the handles of sessions and of transient objects reach."""

MAX_SYM_BLOCK_SIZE = 16
MAX_SYM_KEY_BYTES = 32
"""11.1.8"""

MAX_SYM_DATA = 128
"""11.1.13: the data of a sealed object; 128 for interoperability."""

LABEL_MAX_BUFFER = 32
"""11.1.10"""

RSA_KEY_BITS = (1024, 2048, 3072, 4096)
"""11.2.4.7"""

MAX_RSA_KEY_BYTES = max(RSA_KEY_BITS) // 8
RSA_PRIVATE_SIZE = MAX_RSA_KEY_BYTES // 2 * 5
"""11.2.4.8: room for a prime and the four other numbers of the Chinese remainder form."""

MAX_ECC_KEY_BYTES = 80
"""11.2.5.1: the 638 bits of BN P-638."""

MAX_SM2_ID_BYTES = 32
MAX_SIGNATURE_CTX_SIZE = 255
"""11.3.7"""

MAX_SIGNATURE_HINT_SIZE = MAX_ECC_KEY_BYTES
"""11.3.9: an encoded point R of EdDSA."""

MAX_SHARED_SECRET_SIZE = MAX_DIGEST_SIZE
"""10.3.12: an ECDH-based KEM returns a digest."""

PRIVATE_VENDOR_SPECIFIC_BYTES = RSA_PRIVATE_SIZE
"""12.3.2.2"""

MAX_CONTEXT_SIZE = 2680
"""14.2: the data of a saved context (TPM_PT_MAX_OBJECT_CONTEXT)."""
