"""A guest boots with a TPM: the log of its firmware is what the TPM holds; secrets outlive a power-off."""

import re
from pathlib import Path

import pytest

import examples.demo
from examples.demo.measured import check_log, pcrs_of
from examples.guest.machine import Firmware, Machine, TpmDevice
from examples.guest.tpm_server import swtpm, vtpm
from tests.clients.simulators import reference_chosen

pytestmark = pytest.mark.slow

# In seconds: several times what a boot takes on a machine with two cores that do other work too.
LIMIT = {Firmware.SEABIOS: 60, Firmware.OVMF: 120}

# The same script at each boot: it is in the initramfs, which OVMF's kernel loader measures into PCR 9.
JOB = (Path(examples.demo.__file__).parent / "guest.sh").read_text()


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
    machine = Machine(directory, firmware, device)
    runs = []
    for _ in range(2):
        with (swtpm if reference_chosen() else vtpm)(directory) as tpm:
            runs.append(machine.boot(JOB, tpm, LIMIT[firmware]))
        check_log(runs[-1].findings["log"], pcrs_of(runs[-1]))
    first, second = runs

    assert pcrs_of(first) == pcrs_of(second)
    assert re.fullmatch("[0-9a-f]{32}", first.text("sealed"))
    assert second.text("unsealed") == first.text("sealed")
    assert "a policy check failed" in second.text("refusal")
