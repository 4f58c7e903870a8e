"""Part 3, clause 9: start-up."""

from vtpm.commands.table import Area, command
from vtpm.spec.constants import TPM_CC, TPM_SU
from vtpm.spec.interface import TPM_SU_TYPE
from vtpm.state.pcr import IMPLEMENTED_PCR
from vtpm.state.power import shut_down, start
from vtpm.state.startup import TRANSITIONS, StartupKind
from vtpm.state.tpm import TpmState
from vtpm.wire.error import TPM_RC, TpmError


@command(TPM_CC.Startup, nv=True, sessions=Area.FORBIDDEN)
def startup(tpm: TpmState, /, startup_type: TPM_SU_TYPE) -> None:
    """9.3: go on from where the last Shutdown left the TPM, or begin anew."""
    if tpm.locality not in (0, 3):
        raise TpmError(TPM_RC.LOCALITY)
    permanent, hcrtm = tpm.permanent, tpm.volatile.hcrtm
    locality = 0 if hcrtm else tpm.locality
    kind = TRANSITIONS.get((permanent.shutdown, startup_type))
    if kind is None:
        raise TpmError(TPM_RC.VALUE, at="startup_type")
    before = (permanent.hcrtm, permanent.startup_locality)
    if kind is StartupKind.RESUME and (hcrtm, locality) != before:
        raise TpmError(TPM_RC.LOCALITY)

    start(tpm, kind, locality)


@command(TPM_CC.Shutdown, nv=True)
def shutdown(tpm: TpmState, /, shutdown_type: TPM_SU_TYPE) -> None:
    """
    9.4: prepare for a loss of power.

    PCR that only a TPM Reset can begin with, or a counter of them that only it can begin again, are no state
    to resume; TPM_RC_TYPE.
    """
    unfit = tpm.volatile.pcr_reconfigured or not tpm.has_room_for_pcr_changes(IMPLEMENTED_PCR)
    if shutdown_type is TPM_SU.STATE and unfit:
        raise TpmError(TPM_RC.TYPE, at="shutdown_type")

    shut_down(tpm, shutdown_type)
