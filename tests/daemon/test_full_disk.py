"""A real file system that is full: nothing is acknowledged that is not there, and nothing is lost."""

import itertools
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from nvstore import Cost, Host
from tests.commands.nv_indices import SELF
from tests.scenarios import Caller, seeded
from vtpm import Tpm
from vtpm.daemon.device.device import Device
from vtpm.spec.constants import TPM_ALG, TPM_RH, TPM_SU
from vtpm.spec.nv import TPMS_NV_PUBLIC
from vtpm.state.clock import Instant
from vtpm.wire.error import TPM_RC

VM = UUID(int=1)
CHEAP = Cost(64, 1, 1)
INDEX = 0x01800000
SIZE = 2000


class Served(Caller):
    """The commands of the table as methods, for a device."""

    def __init__(self, device: Device) -> None:
        self.device = device

    def send(self, request: bytes, locality: int = 0) -> bytes:
        """Execute a command, durably."""
        return self.device.execute(request, locality)

    def name_of(self, handle: int) -> bytes:
        """Passwords need no Names."""
        return handle.to_bytes(4)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KiB in memory."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=512k,mode=700", "tmpfs", str(place)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small file system")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(directory: Path) -> Path:
    """Leave no room on a file system."""
    filler = directory / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return filler


def device_of(host: Host) -> Served:
    """The running TPM of the VM."""
    times = itertools.count(0, 400)
    device = Device("vm", Tpm, lambda: host.open_state(VM), clock=lambda: Instant(next(times)))
    device.init()
    tpm = Served(device)
    assert tpm.startup(startup_type=TPM_SU.CLEAR).rc == TPM_RC.SUCCESS
    return tpm


def define(tpm: Served, handle: int) -> int:
    """Define and write an Index; the response code of whichever failed."""
    public = TPMS_NV_PUBLIC(handle, TPM_ALG.SHA256, SELF, b"", SIZE)
    defined = tpm.nv_define_space(TPM_RH.OWNER, auth=b"", public_info=public).rc
    return defined or tpm.nv_write(handle, handle, data=bytes(SIZE // 2), offset=0).rc


def indices(tpm: Served) -> set[int]:
    """The Indices that the TPM has."""
    return set(tpm.device._tpm.nv)


def test_full_disk(small: Path) -> None:
    """Commands are refused while the disk is full, the others go on; all is well when there is room again."""
    host = Host(small / "host", passphrase_cost=CHEAP, backup_cost=CHEAP)
    host.providers.init("main")
    blobs = Tpm.manufacture(seeded()).changes()
    made = {name: blob for name, blob in blobs.items() if blob is not None}
    host.create_state(VM, "vm", made, provider="main", allow_unverified=True).close()
    tpm = device_of(host)
    filler = fill(small)
    acknowledged = set()
    codes = []
    for number in range(20):
        codes.append(define(tpm, INDEX + number))
        if codes[-1] == TPM_RC.SUCCESS:
            acknowledged.add(INDEX + number)
    assert codes[0] == TPM_RC.SUCCESS, "a record that fits its slot needs no room"
    assert codes[-1] == TPM_RC.NV_UNAVAILABLE
    assert "No space left" in tpm.device.alarm
    assert tpm.get_random(bytes_requested=8).rc == TPM_RC.SUCCESS
    assert acknowledged <= indices(tpm)
    known = indices(tpm)

    filler.unlink()
    assert define(tpm, INDEX + 100) == TPM_RC.SUCCESS
    assert tpm.device.alarm == ""
    assert indices(tpm) == known | {INDEX + 100}
    tpm.device.close()
    again = device_of(host)
    assert indices(again) == known | {INDEX + 100}
    again.device.close()
