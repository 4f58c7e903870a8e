"""Part 1, "Startup Alternatives": what a start-up keeps, by the last Shutdown and this Startup."""

from enum import Enum

from vtpm.spec.constants import TPM_SU


class StartupKind(Enum):
    """What a Startup keeps of the state saved by Shutdown(STATE): (reset data, clear data)."""

    RESET = (False, False)
    RESTART = (True, False)
    RESUME = (True, True)

    @property
    def keeps_reset_data(self) -> bool:
        """Is the data that a TPM Reset clears kept?"""
        return self.value[0]

    @property
    def keeps_clear_data(self) -> bool:
        """Is the data that a TPM Restart clears kept, too?"""
        return self.value[1]


TRANSITIONS: dict[tuple[int | None, int], StartupKind] = {
    # last Shutdown, this Startup
    (None, TPM_SU.CLEAR): StartupKind.RESET,
    (TPM_SU.CLEAR, TPM_SU.CLEAR): StartupKind.RESET,
    (TPM_SU.STATE, TPM_SU.CLEAR): StartupKind.RESTART,
    (TPM_SU.STATE, TPM_SU.STATE): StartupKind.RESUME,
}
"""Every other pair is TPM_RC_VALUE of startupType (Part 3, 9.3)."""
