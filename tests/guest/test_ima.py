"""Linux measures what it runs into PCR 10, and the list that it keeps leads to the TPM's values."""

import hashlib
import re
from pathlib import Path

import pytest

from examples.guest import ima_log
from examples.guest.initramfs import program
from examples.guest.machine import Firmware, Machine, TpmDevice
from examples.guest.tpm_server import swtpm, vtpm
from tests.clients.simulators import reference_chosen

pytestmark = [pytest.mark.slow, pytest.mark.conformance]

LIMIT = 120
BANKS = ("sha1", "sha256", "sha384", "sha512")

# tpm2_pcrread runs once before it counts: its own files are measured when it first runs.
# What no process wrote since it was measured is not measured again, so that list and values fit together.
JOB = """
set -e
read_pcrs() { tpm2_pcrread sha1:all+sha256:all+sha384:all+sha512:all; }
read_pcrs >/tmp/pcrs
read_pcrs >/tmp/pcrs
cp /sys/kernel/security/ima/binary_runtime_measurements /tmp/list
report_file pcrs /tmp/pcrs
report_file list /tmp/list
report kernel_log "$(dmesg | grep -i ima)"
"""

# The policy leaves out tmpfs, on which an initramfs otherwise is.
PARAMETERS = "ima_policy=tcb rootfstype=ramfs"


def values_of(printed: str) -> dict[str, dict[int, bytes]]:
    """What tpm2_pcrread printed, by bank and PCR."""
    values: dict[str, dict[int, bytes]] = {}
    for bank, pcr, value in re.findall(r"(sha\d+):|(\d+) *: 0x([0-9A-F]+)", printed):
        if bank:
            current = values.setdefault(bank, {})
        else:
            current[int(pcr)] = bytes.fromhex(value)
    return values


@pytest.mark.parametrize("device", TpmDevice)
def test_pcr_10(directory: Path, device: TpmDevice) -> None:
    """Each bank's PCR 10 is what the list leads to; the list names what ran, after what booted."""
    machine = Machine(directory, Firmware.SEABIOS, device, parameters=PARAMETERS)
    with (swtpm if reference_chosen() else vtpm)(directory) as tpm:
        run = machine.boot(JOB, tpm, LIMIT)
    measurements = list(ima_log.parse(run.findings["list"]))
    values = values_of(run.text("pcrs"))
    unknown = set(re.findall(r"Can not allocate (\w+)", run.text("kernel_log")))

    for bank in BANKS:
        assert values[bank][10] == ima_log.replay(measurements, bank, is_known=bank not in unknown), bank
    files = {name.rstrip(b"\0").decode(): digest for digest, name, *_ in (m.fields() for m in measurements)}
    busybox = hashlib.sha256(program("busybox").read_bytes()).digest()
    assert files["/usr/bin/busybox"] == b"sha256:\0" + busybox
    aggregate = hashlib.sha256(b"".join(values["sha256"][pcr] for pcr in range(10))).digest()
    assert files["boot_aggregate"] == b"sha256:\0" + aggregate
