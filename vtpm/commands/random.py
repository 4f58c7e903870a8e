"""Part 3, clause 16: random number generator."""

from vtpm.commands.table import command
from vtpm.crypto.digest import digest_size
from vtpm.spec.algorithms import TPM2B_SENSITIVE_DATA
from vtpm.spec.constants import TPM_ALG, TPM_CC
from vtpm.spec.structures import TPM2B_DIGEST
from vtpm.state.tpm import TpmState
from vtpm.wire.integers import UINT16
from vtpm.wire.structure import structure

MOST_OCTETS = digest_size(TPM_ALG.SHA512)


@structure
class GetRandomResponse:
    """16.1"""

    random_bytes: TPM2B_DIGEST


@command(TPM_CC.GetRandom)
def get_random(tpm: TpmState, /, bytes_requested: UINT16) -> GetRandomResponse:
    """16.1: random octets, not more than the largest digest has."""
    return GetRandomResponse(random_bytes=tpm.random(min(bytes_requested, MOST_OCTETS)))


@command(TPM_CC.StirRandom, nv=True)
def stir_random(tpm: TpmState, /, in_data: TPM2B_SENSITIVE_DATA) -> None:
    """16.2: mix additional information into the random number generator."""
    tpm.random.stir(in_data)
