"""What kind of TPM this is: the algorithms, commands and limits that are chosen when it is made."""

from dataclasses import dataclass, replace

from vtpm.spec.constants import TPM_ALG, TPM_CC, TPM_ECC_CURVE, TPM_PT, TPM_SPEC_FAMILY, TPM_SPEC_VERSION
from vtpm.spec.interface import (
    BLOCK_CIPHERS,
    CIPHER_MODES,
    CURVES,
    HASHES,
    KDFS,
    KEY_EXCHANGES,
    KEYED_HASH_SCHEMES,
    OBJECT_TYPES,
    RSA_ENCRYPTIONS,
    SIGNATURES,
    SYMMETRIC_KEY_BITS,
)
from vtpm.spec.limits import MAX_NV_INDEX_SIZE, RSA_KEY_BITS
from vtpm.state.pcr import IMPLEMENTED_PCR

ALL_PCR = (1 << IMPLEMENTED_PCR) - 1

ALL_ALGORITHMS = frozenset(
    (
        *HASHES,
        *BLOCK_CIPHERS,
        *CIPHER_MODES,
        *KDFS,
        *SIGNATURES,
        *RSA_ENCRYPTIONS,
        *KEY_EXCHANGES,
        *KEYED_HASH_SCHEMES,
        *OBJECT_TYPES,
        TPM_ALG.CMAC,
    )
)
"""What a profile may choose from."""

ALL_COMMANDS = frozenset(TPM_CC) - {
    TPM_CC.FieldUpgradeStart,
    TPM_CC.FieldUpgradeData,
    TPM_CC.FirmwareRead,
    TPM_CC.AC_GetCapability,
    TPM_CC.AC_Send,
    TPM_CC.Policy_AC_SendSelect,
    TPM_CC.VerifySequenceStart,
    TPM_CC.VerifySequenceComplete,
    TPM_CC.SignSequenceStart,
    TPM_CC.SignSequenceComplete,
    TPM_CC.VerifyDigestSignature,
    TPM_CC.SignDigest,
    TPM_CC.Encapsulate,
    TPM_CC.Decapsulate,
}
"""What a profile may choose from: the library but field upgrade, attached components, post-quantum keys."""

LIMITED_HIERARCHIES_REVISION = 183
"""The revision of the library that brought the firmware-limited and SVN-limited hierarchies."""


@dataclass(frozen=True, slots=True)
class Profile:
    """
    The sets and limits of one kind of TPM; sizes in octets unless another unit is given.

    What a profile lacks is refused as what was never implemented, and no capability shows it.
    """

    name: str
    algorithms: frozenset[TPM_ALG]
    curves: frozenset[TPM_ECC_CURVE]
    commands: frozenset[TPM_CC]
    rsa_key_bits: tuple[int, ...]
    aes_key_bits: tuple[int, ...]
    camellia_key_bits: tuple[int, ...]
    tdes_key_bits: tuple[int, ...]
    pcr_banks: tuple[TPM_ALG, ...]
    """The banks that can be allocated."""
    active_banks: tuple[TPM_ALG, ...]
    """The banks that are allocated when the TPM is made."""
    transient_slots: int = 16
    loaded_sessions: int = 16
    active_sessions: int = 64
    persistent_slots: int = 64
    max_command_size: int = 4096
    max_response_size: int = 4096
    nv_capacity: int = 256 * 1024
    """Octets that all NV Indices and persistent objects may take together."""
    nv_index_max: int = MAX_NV_INDEX_SIZE
    """Octets of data that one NV Index may have."""
    orderly_capacity: int = 512
    """Octets that orderly NV Indices may take together, of memory that every Shutdown saves."""
    context_gap: int = 0xFFFF
    orderly_count: int = 0xFF
    commit_slots: int = 128
    """Split signing operations (TPM2_Commit) that may be open at once; a power of two."""
    clock_update: int = 1 << 22
    """Milliseconds of Clock between two savings of it (TPM_PT_CLOCK_UPDATE)."""
    revision: int = TPM_SPEC_VERSION
    """The revision of the library it follows, times 100: what later ones brought is absent."""
    reported: tuple[tuple[TPM_PT, int], ...] = ()
    """Fixed properties that have other values than those of this program."""
    algorithm_attributes: tuple[tuple[TPM_ALG, int], ...] = ()
    """TPMA_ALGORITHM where it is another than the algorithm registry's."""
    pcr_layout: str = "reference"
    """Which of `vtpm.state.pcr.LAYOUTS` says what may happen to each PCR."""

    @property
    def has_limited_hierarchies(self) -> bool:
        """Are there hierarchies limited to a firmware, or to a version of it (Part 1, "Firmware-Limited")?"""
        return self.revision >= LIMITED_HIERARCHIES_REVISION

    @property
    def has_timer(self) -> bool:
        """Is there an Authenticated Countdown Timer?"""
        return TPM_CC.ACT_SetTimeout in self.commands


DEFAULT = Profile(
    name="default",
    algorithms=ALL_ALGORITHMS - {TPM_ALG.TDES},
    curves=frozenset(CURVES),
    commands=ALL_COMMANDS,
    rsa_key_bits=tuple(bits for bits in RSA_KEY_BITS if bits > 1024),
    aes_key_bits=SYMMETRIC_KEY_BITS[TPM_ALG.AES],
    camellia_key_bits=SYMMETRIC_KEY_BITS[TPM_ALG.CAMELLIA],
    tdes_key_bits=(),
    pcr_banks=(TPM_ALG.SHA1, TPM_ALG.SHA256, TPM_ALG.SHA384, TPM_ALG.SHA512),
    active_banks=(TPM_ALG.SHA1, TPM_ALG.SHA256, TPM_ALG.SHA384, TPM_ALG.SHA512),
)

PC_CLIENT = replace(
    DEFAULT,
    name="pc-client",
    algorithms=DEFAULT.algorithms
    - {
        TPM_ALG.SM2,
        TPM_ALG.SM3_256,
        TPM_ALG.SM4,
        TPM_ALG.CAMELLIA,
        TPM_ALG.SHA3_256,
        TPM_ALG.SHA3_384,
        TPM_ALG.SHA3_512,
    },
    curves=frozenset({TPM_ECC_CURVE.NIST_P256, TPM_ECC_CURVE.NIST_P384, TPM_ECC_CURVE.NIST_P521}),
    camellia_key_bits=(),
    active_banks=(TPM_ALG.SHA256, TPM_ALG.SHA384),
    transient_slots=3,
    loaded_sessions=3,
    persistent_slots=16,
    nv_capacity=64 * 1024,
    reported=((TPM_PT.HR_PERSISTENT_MIN, 9),),
    pcr_layout="pc-client",
)
"""
The PC Client Platform TPM Profile: its mandatory algorithms, curves, PCR and minima.

Only here do PCR have its attributes: guests of the other profiles find those that libtpms gives to every VM.

The optional algorithms are left out that no PC's firmware or operating system asks for; SHA-1 is optional.
"""

REVISION_164 = frozenset(code for code in ALL_COMMANDS if code <= TPM_CC.CertifyX509)
SWTPM_COMPATIBLE = Profile(
    name="swtpm-compatible",
    algorithms=ALL_ALGORITHMS
    - {TPM_ALG.SM3_256, TPM_ALG.SM4, TPM_ALG.SHA3_256, TPM_ALG.SHA3_384, TPM_ALG.SHA3_512},
    curves=frozenset(curve for curve in CURVES if curve < TPM_ECC_CURVE.BP_P256_R1),
    commands=REVISION_164,
    rsa_key_bits=(1024, 2048, 3072),
    aes_key_bits=(128, 256),
    camellia_key_bits=(128, 256),
    tdes_key_bits=SYMMETRIC_KEY_BITS[TPM_ALG.TDES],
    pcr_banks=DEFAULT.pcr_banks,
    active_banks=DEFAULT.active_banks,
    transient_slots=3,
    loaded_sessions=3,
    persistent_slots=65,
    nv_capacity=128 * 1024 + 65 * 704,
    clock_update=1 << 12,
    revision=164,
    reported=(
        (TPM_PT.ERRATA, 75),
        (TPM_PT.YEAR, 2021),
        (TPM_PT.HR_PERSISTENT_MIN, 7),
        (TPM_PT.MEMORY, 0b110),
        (TPM_PT.MAX_OBJECT_CONTEXT, 2692),
        (TPM_PT.MAX_SESSION_CONTEXT, 404),
        (TPM_PT.PS_FAMILY_INDICATOR, TPM_SPEC_FAMILY),
        (TPM_PT.PS_REVISION, 164),
        (TPM_PT.PS_DAY_OF_YEAR, 75),
        (TPM_PT.PS_YEAR, 2021),
    ),
    algorithm_attributes=((TPM_ALG.OAEP, 0x201), (TPM_ALG.SYMCIPHER, 0x008)),
)
"""What libtpms 0.9 has and answers."""

PROFILES = {profile.name: profile for profile in (DEFAULT, PC_CLIENT, SWTPM_COMPATIBLE)}
"""Every profile of this program by its name."""

CONTEXT_HASH = TPM_ALG.SHA512
"""Part 2, TPM_PT_CONTEXT_HASH: the hash of tickets, contexts and proofs."""
