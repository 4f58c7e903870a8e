"""A guest boots with a TPM behind it: what firmware logged is what the TPM holds, and secrets outlive a power-off."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from examples.guest import event_log
from examples.guest.machine import Firmware, Machine, TpmDevice
from examples.guest.tpm_server import swtpm

pytestmark = pytest.mark.slow

# Five times what a boot takes on an idle machine with two cores.
LIMIT = {Firmware.SEABIOS: 30, Firmware.OVMF: 60}

MEASURE = """
for bank in sha1 sha256 sha384 sha512; do
    tpm2_pcrread $bank:all >/tmp/$bank || return
    report_file pcrs_$bank /tmp/$bank
done
report_file log /sys/kernel/security/tpm0/binary_bios_measurements
"""

TpmServer = Callable[[Path], AbstractContextManager[Path]]
