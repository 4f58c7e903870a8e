"""What kind of TPM this is: the limits and sets that are chosen when it is made."""

from dataclasses import dataclass

from vtpm.spec.constants import TPM_ALG
from vtpm.state.pcr import IMPLEMENTED_PCR

ALL_PCR = (1 << IMPLEMENTED_PCR) - 1


@dataclass(frozen=True, slots=True)
class Profile:
    """Limits and sets of one kind of TPM; sizes in octets."""

    name: str
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
    context_gap: int = 0xFFFF
    orderly_count: int = 0xFF
    commit_slots: int = 128
    """Split signing operations (TPM2_Commit) that may be open at once; a power of two."""
    disabled_algorithms: frozenset[TPM_ALG] = frozenset()


DEFAULT = Profile(
    name="default",
    pcr_banks=(TPM_ALG.SHA1, TPM_ALG.SHA256, TPM_ALG.SHA384, TPM_ALG.SHA512),
    active_banks=(TPM_ALG.SHA1, TPM_ALG.SHA256, TPM_ALG.SHA384, TPM_ALG.SHA512),
)

PROFILES = {profile.name: profile for profile in (DEFAULT,)}
"""Every profile by its name, which is what a saved state remembers."""

CONTEXT_HASH = TPM_ALG.SHA512
"""Part 2, TPM_PT_CONTEXT_HASH: the hash of tickets, contexts and proofs."""
