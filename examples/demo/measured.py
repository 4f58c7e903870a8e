"""Whether the log of the firmware explains the values that the TPM's PCRs have."""

import re

from examples.guest.machine import Run
from vtpm.trace import event_log

BANKS = ("sha1", "sha256", "sha384", "sha512")

Pcrs = dict[str, dict[int, bytes]]


class MeasurementError(AssertionError):
    """The log and the PCRs tell different stories."""


def pcrs_of(run: Run) -> Pcrs:
    """The values that tpm2_pcrread showed in the guest, by bank and PCR."""
    return {
        bank: {
            int(pcr): bytes.fromhex(value)
            for pcr, value in re.findall(r"(\d+) *: 0x([0-9A-F]+)", run.text(f"pcrs_{bank}"))
        }
        for bank in BANKS
    }


def check_log(log: bytes, pcrs: Pcrs) -> tuple[int, int]:
    """
    Replay a log and compare the outcome with the PCRs; the numbers of events and of values that agree.

    Raises MeasurementError when a bank or one of PCR 0 to 7 is missing, or a value differs.
    """
    events = list(event_log.parse(log))
    replayed = event_log.replay(events)
    if set(replayed) != set(BANKS):
        raise MeasurementError(f"the log has the banks {sorted(replayed)}")
    for bank, values in replayed.items():
        if not set(values) >= set(range(8)):
            raise MeasurementError(f"the log says nothing of some PCR in bank {bank}: {sorted(values)}")
        for pcr, value in values.items():
            if pcrs[bank][pcr] != value:
                raise MeasurementError(
                    f"PCR {pcr} of bank {bank} is {pcrs[bank][pcr].hex()}, but the log leads to {value.hex()}"
                )
    return len(events), sum(map(len, replayed.values()))
