"""The signals _TPM_Hash_Start, _TPM_Hash_Data and _TPM_Hash_End (Part 1, "H-CRTM")."""

from vtpm.crypto.digest import digest
from vtpm.state.launch import Launch
from vtpm.state.live import CounterOverflowError
from vtpm.state.pcr import DRTM_PCR, HCRTM_PCR
from vtpm.state.tpm import TpmState

HCRTM_LOCALITY = 4


def hash_start(tpm: TpmState) -> None:
    """A measurement by hardware begins; one that was open is dropped."""
    tpm.volatile.launch = Launch.begin(tpm.pcr.banks)


def hash_data(tpm: TpmState, octets: bytes) -> None:
    """More of what is measured; ignored if no measurement is open."""
    if tpm.volatile.launch is not None:
        tpm.volatile.launch.update(octets)


def hash_end(tpm: TpmState) -> None:
    """The measurement ends: PCR 0 before Startup, PCR 17 after it, where PCR 17 to 22 begin with zeros."""
    measured, tpm.volatile.launch = tpm.volatile.launch, None
    if measured is None:
        return
    try:
        extend(tpm, measured)
    except CounterOverflowError as error:
        tpm.fail(f"{type(error).__name__} in _TPM_Hash_End")


def extend(tpm: TpmState, measured: Launch) -> None:
    """Put a measurement into its PCR; CounterOverflowError if pcrUpdateCounter has no room."""
    started = tpm.volatile.started
    if started:
        tpm.pcr.drtm_reset()
        tpm.reset.count_restart()
    else:
        tpm.volatile.hcrtm = True
    index = DRTM_PCR if started else HCRTM_PCR
    for alg, bank in tpm.pcr.banks.items():
        old = bank[index] if started else HCRTM_LOCALITY.to_bytes(tpm.pcr.sizes[alg], "big")
        bank[index] = digest(alg, old, measured.digest(alg))
        if started and tpm.pcr.exists(alg, index):
            tpm.count_pcr_change(index)
