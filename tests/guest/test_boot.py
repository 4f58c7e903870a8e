"""A guest boots with a TPM: the log of its firmware is what the TPM holds; secrets outlive a power-off."""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from examples.guest import event_log
from examples.guest.machine import Firmware, Machine, Run, TpmDevice
from examples.guest.tpm_server import swtpm

pytestmark = pytest.mark.slow

TpmServer = Callable[[Path], AbstractContextManager[Path]]

# In seconds: several times what a boot takes on a machine with two cores that do other work too.
LIMIT = {Firmware.SEABIOS: 60, Firmware.OVMF: 120}

# The first boot seals, the second one unseals, and then no longer after a PCR has changed.
# Both run this very script, which is in the initramfs, so that OVMF measures the same into PCR 9.
JOB = """
for bank in sha1 sha256 sha384 sha512; do
    tpm2_pcrread $bank >/tmp/$bank || return
    report_file pcrs_$bank /tmp/$bank
done
report_file log /sys/kernel/security/tpm0/binary_bios_measurements

pcrs=sha256:0,1,2,3,4,5,7,9
if [ -z "$(tpm2_getcap handles-persistent)" ]; then
    tpm2_getrandom --hex 16 >/tmp/secret || return
    tpm2_createprimary -Q -C o -G ecc -c /tmp/primary || return
    tpm2_createpolicy -Q --policy-pcr -l $pcrs -L /tmp/policy || return
    tpm2_create -Q -C /tmp/primary -L /tmp/policy -a 'fixedtpm|fixedparent' \\
        -i /tmp/secret -c /tmp/sealed || return
    tpm2_evictcontrol -Q -C o -c /tmp/sealed 0x81000001 || return
    report_file sealed /tmp/secret
else
    tpm2_unseal -c 0x81000001 -p pcr:$pcrs >/tmp/unsealed || return
    report_file unsealed /tmp/unsealed
    tpm2_pcrextend 7:sha256=1111111111111111111111111111111111111111111111111111111111111111 || return
    tpm2_unseal -c 0x81000001 -p pcr:$pcrs >/tmp/unsealed 2>/tmp/refusal && return 1
    report_file refusal /tmp/refusal
fi
"""


def pcrs_of(run: Run, bank: str) -> dict[int, bytes]:
    """What tpm2_pcrread showed in the guest."""
    listed = re.findall(r"(\d+) *: 0x([0-9A-F]+)", run.text(f"pcrs_{bank}"))
    return {int(pcr): bytes.fromhex(value) for pcr, value in listed}


def check_measured(run: Run) -> None:
    """What firmware logged, replayed, is what the TPM's PCRs hold, in each bank."""
    replayed = event_log.replay(list(event_log.parse(run.findings["log"])))
    assert set(replayed) == {"sha1", "sha256", "sha384", "sha512"}
    for bank, pcrs in replayed.items():
        assert set(pcrs) >= set(range(8))
        held = pcrs_of(run, bank)
        assert {pcr: held[pcr] for pcr in pcrs} == pcrs


def check_cold_restart(server: TpmServer, directory: Path, firmware: Firmware, device: TpmDevice) -> None:
    """A guest seals to its measured state, loses power with its TPM, and unseals when it is back."""
    machine = Machine(directory, firmware, device)
    runs = []
    for _ in range(2):
        with server(directory) as tpm:
            runs.append(machine.boot(JOB, tpm, LIMIT[firmware]))
        check_measured(runs[-1])
    first, second = runs

    assert pcrs_of(first, "sha256") == pcrs_of(second, "sha256")
    assert re.fullmatch("[0-9a-f]{32}", first.text("sealed"))
    assert second.text("unsealed") == first.text("sealed")
    assert "a policy check failed" in second.text("refusal")


# Each firmware and each device once; the other pairs take their time, and show little more.
PAIRS = [
    (Firmware.SEABIOS, TpmDevice.TIS),
    (Firmware.OVMF, TpmDevice.CRB),
    pytest.param(Firmware.SEABIOS, TpmDevice.CRB, marks=pytest.mark.conformance),
    pytest.param(Firmware.OVMF, TpmDevice.TIS, marks=pytest.mark.conformance),
]


@pytest.mark.parametrize(("firmware", "device"), PAIRS, ids=str)
def test_cold_restart(directory: Path, firmware: Firmware, device: TpmDevice) -> None:
    """A secret sealed to the measured state comes back after a power-off, and only to that state."""
    check_cold_restart(swtpm, directory, firmware, device)
