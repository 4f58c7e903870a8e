"""Part 2, 6.13: the properties of the TPM, as GetCapability reports them."""

from vtpm.spec.constants import TPM_PT, TPM_SPEC_FAMILY, TPM_SPEC_LEVEL
from vtpm.state.tpm import TpmState

FAILURE_PROPERTIES = {TPM_PT.FAMILY_INDICATOR: TPM_SPEC_FAMILY, TPM_PT.LEVEL: TPM_SPEC_LEVEL}


def failure_property(tpm: TpmState, first: int) -> tuple[int, int] | None:
    """The first property from `first` on that failure mode reports."""
    return next(((tag, value) for tag, value in FAILURE_PROPERTIES.items() if tag >= first), None)
