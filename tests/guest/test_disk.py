"""A LUKS2 volume that systemd-cryptenroll binds to the TPM of a guest."""

from pathlib import Path

import pytest

from examples.guest.machine import Firmware, Machine, Run, TpmDevice
from examples.guest.tpm_server import swtpm, vtpm
from tests.clients.simulators import reference_chosen
from tests.guest.volume import BIND, LIMIT, OPEN, PREPARE, REFUSE, additions, new_disk

pytestmark = [pytest.mark.slow, pytest.mark.conformance]

SECRET = "what is on the disk"

MAKE = f"""{PREPARE}{BIND}
echo '{SECRET}' >{OPEN}
lock
"""
UNLOCK = f"""{PREPARE}
unlock
report unlocked "$(head -n 1 {OPEN})"
lock
unlock_by_token
report unlocked_by_token "$(head -n 1 {OPEN})"
lock
{REFUSE}
"""


def test_volume(directory: Path) -> None:
    """The volume opens after a power-off in the state that it is bound to, and not after PCR 7 changed."""
    disk = new_disk(directory)
    machine = Machine(directory, Firmware.OVMF, TpmDevice.CRB, additions=additions(), disk=disk)
    runs: list[Run] = []
    for job in (MAKE, UNLOCK, UNLOCK):
        with (swtpm if reference_chosen() else vtpm)(directory) as tpm:
            runs.append(machine.boot(job, tpm, LIMIT))

    assert "systemd-tpm2" in runs[0].text("header")
    assert SECRET.encode() not in disk.read_bytes()
    for run in runs[1:]:
        assert run.text("unlocked") == run.text("unlocked_by_token") == SECRET
        assert "policy" in run.text("refusal")
        assert run.text("left") == "control"
