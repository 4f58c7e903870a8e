"""What survives everything but TPM2_Clear and a change of seeds: Part 1, "Persistent Data"."""

from dataclasses import dataclass, field

from vtpm.spec.constants import TPM_ALG, TPM_CC

DEFAULT_AUDIT = frozenset({TPM_CC.SetCommandCodeAuditStatus})
"""Part 3, 21.2: this command is always audited."""

DEFAULT_PHYSICAL_PRESENCE = frozenset({TPM_CC.PP_Commands})
"""Part 3, 26.2: this command always needs physical presence."""


@dataclass(slots=True, eq=False)
class Permanent:
    """Permanent data other than hierarchies, lockout, NV Indices and objects, which keep their own."""

    firmware_root: bytes = field(default=b"", repr=False)
    """What the secrets of firmware- and SVN-limited hierarchies come from; never changes."""
    disable_clear: bool = False
    reset_count: int = 0
    total_reset_count: int = 0
    time_epoch: int = 0
    algorithm_set: int = 0
    audit_alg: TPM_ALG = TPM_ALG.SHA256
    audit_counter: int = 0
    audited: set[int] = field(default_factory=lambda: set(DEFAULT_AUDIT))
    physical_presence: set[int] = field(default_factory=lambda: set(DEFAULT_PHYSICAL_PRESENCE))
    pcr_allocation: dict[TPM_ALG, int] = field(default_factory=dict)
    """The PCR of each bank, as bits, from the next TPM Reset on (PCR_Allocate)."""
    max_counter: int = 0
    """Part 3, 31.8: the greatest value that any deleted NV counter had."""
    shutdown: int | None = None
    """How the last run ended: a TPM_SU, or None if power was lost (Part 1, "Startup Alternatives")."""
    startup_locality: int = 0
    """The locality of the Startup before the last Shutdown(STATE); a resume must come from the same."""
    hcrtm: bool = False
    """Did an H-CRTM sequence precede that Startup?"""
    tpm_generated_eps: bool = True
