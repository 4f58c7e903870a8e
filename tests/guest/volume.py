"""A LUKS2 volume that systemd-cryptenroll binds to the TPM of a guest: what the guest needs, and runs."""

from pathlib import Path

import pytest

from examples.guest.initramfs import library, with_programs
from examples.guest.modules import LOAD, with_modules

# In seconds: several times what a boot takes on a machine with two cores that do other work too.
LIMIT = 240

SYSTEMD_CRYPTSETUP = [Path("/usr/bin/systemd-cryptsetup"), Path("/lib/systemd/systemd-cryptsetup")]
PROGRAMS = ["/usr/sbin/cryptsetup", "/usr/bin/systemd-cryptenroll"]
TOKEN = "cryptsetup/libcryptsetup-token-systemd-tpm2.so"
# These are loaded by name while the programs run.
LIBRARIES = ["libtss2-esys.so.0", "libtss2-rc.so.0", "libtss2-mu.so.0"]
MODULES = ["dm-crypt", "ecb", "xts", "algif_skcipher"]
DEVICE = "/dev/nvme0n1"
OPEN = "/dev/mapper/volume"

PREPARE = f"""
set -e
{LOAD}
mkdir -p /run/cryptsetup /run/lock /mnt
export PATH=$PATH:/usr/sbin SYSTEMD_LOG_LEVEL=info PASSWORD=initial
systemd_cryptsetup="$(ls /usr/bin/systemd-cryptsetup /usr/lib/systemd/systemd-cryptsetup 2>/dev/null || true)"
unlock() {{ $systemd_cryptsetup attach volume {DEVICE} none tpm2-device=auto,headless=1; }}
unlock_by_token() {{ cryptsetup open --token-only {DEVICE} volume; }}
lock() {{ cryptsetup close volume; }}
"""
"""What every job begins with."""

BIND = f"""
fast="-q --pbkdf pbkdf2 --pbkdf-force-iterations 1000"
printf initial >/tmp/password
cryptsetup luksFormat --type luks2 $fast {DEVICE} /tmp/password
systemd-cryptenroll --tpm2-device=auto --tpm2-pcrs=7 {DEVICE}
cryptsetup luksDump {DEVICE} >/tmp/dump
report_file header /tmp/dump
cryptsetup open --key-file /tmp/password {DEVICE} volume
"""
"""Make the volume, bind it to PCR 7, and leave it open."""

REFUSE = f"""
tpm2_pcrextend 7:sha256={"11" * 32}
report refusal "$(unlock 2>&1 || true)"
report left "$(ls /dev/mapper)"
"""
"""Change PCR 7, and try to unlock: from then on this boot cannot."""


def new_disk(directory: Path) -> Path:
    """The image of an empty disk."""
    disk = directory / "disk"
    with disk.open("wb") as image:
        image.truncate(64 << 20)
    return disk


def additions() -> tuple[bytes, ...]:
    """What the guest needs besides tpm2-tools; skips the test when a program is not installed."""
    paths = [Path(name) for name in PROGRAMS]
    paths.append(next((path for path in SYSTEMD_CRYPTSETUP if path.exists()), SYSTEMD_CRYPTSETUP[0]))
    paths.append(library("libc.so.6").parent / TOKEN)
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}; .ci/setup --conformance does")
    return with_modules(*MODULES), with_programs(*paths, *(library(name) for name in LIBRARIES))
