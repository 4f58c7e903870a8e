"""A LUKS2 volume that systemd-cryptenroll binds to the TPM of a guest."""

from pathlib import Path

import pytest

from examples.guest.initramfs import library, with_programs
from examples.guest.machine import Firmware, Machine, Run, TpmDevice
from examples.guest.modules import LOAD, with_modules
from examples.guest.tpm_server import swtpm, vtpm
from tests.clients.simulators import reference_chosen

pytestmark = [pytest.mark.slow, pytest.mark.conformance]

# In seconds: several times what a boot takes on a machine with two cores that do other work too.
LIMIT = 240

SYSTEMD_CRYPTSETUP = [Path("/usr/bin/systemd-cryptsetup"), Path("/lib/systemd/systemd-cryptsetup")]
PROGRAMS = ["/usr/sbin/cryptsetup", "/usr/bin/systemd-cryptenroll"]
TOKEN = "cryptsetup/libcryptsetup-token-systemd-tpm2.so"
# These are loaded by name while the programs run.
LIBRARIES = ["libtss2-esys.so.0", "libtss2-rc.so.0", "libtss2-mu.so.0"]
MODULES = ["dm-crypt", "ecb", "xts", "algif_skcipher"]
VOLUME = "/dev/nvme0n1"
SECRET = "what is on the disk"

PREPARE = f"""
set -e
{LOAD}
mkdir -p /run/cryptsetup /run/lock /mnt
export PATH=$PATH:/usr/sbin SYSTEMD_LOG_LEVEL=info PASSWORD=initial
systemd_cryptsetup="$(ls /usr/bin/systemd-cryptsetup /usr/lib/systemd/systemd-cryptsetup 2>/dev/null || true)"
unlock() {{ $systemd_cryptsetup attach volume {VOLUME} none tpm2-device=auto,headless=1; }}
"""
BIND = f"""{PREPARE}
fast="-q --pbkdf pbkdf2 --pbkdf-force-iterations 1000"
printf initial >/tmp/password
cryptsetup luksFormat --type luks2 $fast {VOLUME} /tmp/password
systemd-cryptenroll --tpm2-device=auto --tpm2-pcrs=7 {VOLUME}
cryptsetup open --key-file /tmp/password {VOLUME} volume
echo '{SECRET}' >/dev/mapper/volume
cryptsetup close volume
cryptsetup luksDump {VOLUME} >/tmp/dump
report_file header /tmp/dump
"""
UNLOCK = f"""{PREPARE}
unlock
report unlocked "$(head -n 1 /dev/mapper/volume)"
cryptsetup close volume
cryptsetup open --token-only {VOLUME} volume
report unlocked_by_token "$(head -n 1 /dev/mapper/volume)"
cryptsetup close volume
tpm2_pcrextend 7:sha256={"11" * 32}
report refusal "$(unlock 2>&1 || true)"
report left "$(ls /dev/mapper)"
"""


def programs() -> list[Path]:
    """The files that the guest needs; skips the test when one is not installed."""
    paths = [Path(name) for name in PROGRAMS]
    paths.append(next((path for path in SYSTEMD_CRYPTSETUP if path.exists()), SYSTEMD_CRYPTSETUP[0]))
    paths.append(library("libc.so.6").parent / TOKEN)
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}; .ci/setup --conformance does")
    return [*paths, *(library(name) for name in LIBRARIES)]


def test_volume(directory: Path) -> None:
    """The volume opens after a power-off in the state that it is bound to, and not after PCR 7 changed."""
    disk = directory / "disk"
    with disk.open("wb") as image:
        image.truncate(64 << 20)
    additions = (with_modules(*MODULES), with_programs(*programs()))
    machine = Machine(directory, Firmware.OVMF, TpmDevice.CRB, additions=additions, disk=disk)
    runs: list[Run] = []
    for job in (BIND, UNLOCK, UNLOCK):
        with (swtpm if reference_chosen() else vtpm)(directory) as tpm:
            runs.append(machine.boot(job, tpm, LIMIT))

    assert "systemd-tpm2" in runs[0].text("header")
    assert SECRET.encode() not in disk.read_bytes()
    for run in runs[1:]:
        assert run.text("unlocked") == run.text("unlocked_by_token") == SECRET
        assert "policy" in run.text("refusal")
        assert run.text("left") == "control"
