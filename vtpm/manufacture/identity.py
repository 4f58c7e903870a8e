"""What the certificates of a TPM say of it, as its capabilities say the same."""

from vtpm.commands.properties import FIXED
from vtpm.manufacture.certificates import Model, Specification
from vtpm.spec.constants import TPM_PT, TPM_SPEC_LEVEL
from vtpm.state.tpm import TpmState

NAME = "vtpm"


def model_of(tpm: TpmState) -> Model:
    """TCG EK Credential Profile, 3.1.2: manufacturer and version as TPM_PT has them, in hexadecimal."""
    manufacturer = FIXED[TPM_PT.MANUFACTURER](tpm)
    version = FIXED[TPM_PT.FIRMWARE_VERSION_1](tpm)
    return Model(f"id:{manufacturer:08X}", NAME, f"id:{version:08X}")


def specification_of(tpm: TpmState) -> Specification:
    """The library's revision that the TPM follows."""
    return Specification("2.0", TPM_SPEC_LEVEL, tpm.profile.revision)
