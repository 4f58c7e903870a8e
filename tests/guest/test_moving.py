"""A VM of swtpm's, with a volume that its TPM unlocks, moves to this project's TPM and back."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from examples.guest.host import Host
from examples.guest.machine import Firmware, Machine, Run, TpmDevice
from examples.guest.tpm_server import swtpm
from tests.guest.volume import BIND, LIMIT, OPEN, PREPARE, REFUSE, additions, new_disk

pytestmark = [
    pytest.mark.slow,
    pytest.mark.conformance,
    pytest.mark.skipif(shutil.which("swtpm_setup") is None, reason="swtpm is not installed"),
]

STATE = "tpm2-00.permall"
COUNTER, DIARY = "0x1500016", "0x1500017"
ENTRY = b"one more boot"
EK, EK_CERTIFICATE = "0x81010001", "0x1c00002"

DEFINE = f"""
attributes='ownerread|ownerwrite|authread|authwrite'
tpm2_nvdefine -Q -C o -s 8 -a "$attributes|nt=counter" {COUNTER}
tpm2_nvdefine -Q -C o -s 32 -a "$attributes|nt=extend" {DIARY}
dd if=/dev/zero of={OPEN} bs=4096 count=1 2>/dev/null
"""
"""An NV counter, an NV Index that is extended, and a volume on which nothing is written yet."""

READ = f"""
head -c 4096 {OPEN} | tr -d '\\0' >/tmp/written
report_file written /tmp/written
"""
WRITE = f"""
echo "$who" >>/tmp/written
cat /tmp/written >{OPEN}
lock
tpm2_nvincrement -Q -C o {COUNTER}
printf '{ENTRY.decode()}' | tpm2_nvextend -Q -C o -i - {DIARY}
tpm2_nvread -C o {COUNTER} >/tmp/counter
tpm2_nvread -C o {DIARY} >/tmp/diary
tpm2_nvread -C o {EK_CERTIFICATE} >/tmp/certificate
tpm2_readpublic -Q -c {EK} -n /tmp/endorsement
tpm2_createprimary -Q -C o -c /tmp/primary.context
tpm2_readpublic -Q -c /tmp/primary.context -n /tmp/primary
tpm2_pcrread -Q -o /tmp/pcr sha256:0,1,2,3,5,6,7
for name in counter diary certificate endorsement primary pcr; do report_file $name /tmp/$name; done
"""
"""
One more line on the volume, one more count, and what identifies the TPM and the machine.

PCR 4 is left out: QEMU writes the size of the initramfs, which has the job, into the header of the kernel.
"""

FIRST = f"{PREPARE}{BIND}{DEFINE}{READ}who=swtpm{WRITE}"
MOVED = f"{PREPARE}unlock{READ}who=vtpm{WRITE}unlock_by_token\nlock\n{REFUSE}"
BACK = f"{PREPARE}unlock{READ}who='swtpm again'{WRITE}unlock_by_token\nlock\n{REFUSE}"


def make_swtpm(state: Path, *options: str) -> None:
    """A TPM as libvirt has it made for a new domain."""
    state.mkdir(mode=0o700)
    words = ["--create-ek-cert", "--create-platform-cert", "--lock-nvram", "--not-overwrite"]
    command = ["swtpm_setup", "--tpm2", "--tpmstate", str(state), "--createek", *words, *options]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def digest_of(state: Path) -> bytes:
    return hashlib.sha256((state / STATE).read_bytes()).digest()


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
def test_there_and_back(directory: Path, *, encrypted: bool) -> None:
    """The volume opens at each of three boots, and TPM and volume hold what the boot before has written."""
    password = directory / "password"
    password.write_bytes(b"the password of swtpm")
    of_setup, of_swtpm, of_vtpm = [], [], []
    if encrypted:
        of_setup = ["--pwdfile", str(password), "--cipher", "aes-256-cbc"]
        of_swtpm = ["--key", f"pwdfile={password},mode=aes-256-cbc"]
        of_vtpm = ["--pwdfile", str(password)]
    before, after = directory / "before", directory / "after"
    make_swtpm(before, *of_setup)
    disk = new_disk(directory)
    machine = Machine(directory, Firmware.OVMF, TpmDevice.CRB, additions=additions(), disk=disk)
    runs: list[Run] = []

    with swtpm(before, *of_swtpm) as tpm:
        runs.append(machine.boot(FIRST, tpm, LIMIT))
    origin = digest_of(before)
    host = Host(directory)
    host.vtpm("provider", "init", "guests")
    host.vtpm("import-swtpm", before, "guest", "--allow-unverified", *of_vtpm)
    with host.daemon("guest"):
        runs.append(machine.boot(MOVED, host.socket_of("guest"), LIMIT))
    host.vtpm("export-swtpm", "guest", after, *of_vtpm)
    assert digest_of(before) == origin
    with swtpm(after, *of_swtpm) as tpm:
        runs.append(machine.boot(BACK, tpm, LIMIT))

    assert [run.text("written").splitlines() for run in runs] == [[], ["swtpm"], ["swtpm", "vtpm"]]
    assert [int.from_bytes(run.findings["counter"]) for run in runs] == counts_from(runs[0])
    assert [run.findings["diary"] for run in runs] == entries(len(runs))
    for name in ("certificate", "endorsement", "primary", "pcr"):
        assert len({run.findings[name] for run in runs}) == 1, name
        assert any(runs[0].findings[name]), name
    for run in runs[1:]:
        assert "policy" in run.text("refusal")
        assert run.text("left") == "control"


def counts_from(first: Run) -> list[int]:
    """The counter at each of three boots."""
    count = int.from_bytes(first.findings["counter"])
    return [count, count + 1, count + 2]


def entries(boots: int) -> list[bytes]:
    """The Index that is extended, at each boot (Part 3, 31.9)."""
    values, value = [], bytes(32)
    for _ in range(boots):
        value = hashlib.sha256(value + ENTRY).digest()
        values.append(value)
    return values
