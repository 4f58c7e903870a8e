"""What the certificates of a TPM say of it, as its capabilities say the same."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

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


def describe_identity(tpm: TpmState, now: datetime) -> dict[str, Any]:
    """What a certificate of this TPM must say, for whoever makes one elsewhere."""
    del now
    return {"model": asdict(model_of(tpm)), "specification": asdict(specification_of(tpm))}
