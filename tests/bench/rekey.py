"""How long a host with many VMs needs to rekey them all after a rotation."""

import os
import tempfile
import time
import uuid
from pathlib import Path

from nvstore import FileStore, Host
from nvstore.files import OsFiles
from nvstore.state.place import Place
from nvstore.state.vm import Vm

STATE_SIZE = 12_000
"""Octets of a TPM's state after a Windows guest has provisioned it, roughly."""


def time_rekey(directory: Path, vms: int = 1000, *, deep: bool = False) -> float:
    """Seconds to rekey so many VMs of a host that is made in this directory, durably, on its disk."""
    host = Host(directory / f"rekey-{'deep' if deep else 'shallow'}-{vms}")
    passphrase = uuid.uuid4().hex.encode()
    host.providers.init("bench")
    host.providers.backup("bench", host.directory / "first.backup", passphrase)
    host.providers.verify(host.directory / "first.backup", passphrase)
    for number in range(vms):
        vm = uuid.UUID(int=number)
        place = Place(
            host.directory / f"states/{vm}.state",
            host.directory / f"marks/{vm}.mark",
            host.directory / f"states/{vm}.lock",
            OsFiles(),
            os.urandom,
            time.time,
        )
        blobs = {"permanent": vm.bytes * (STATE_SIZE // 16)}
        FileStore.create(place, Vm(vm, str(vm), "bench", ""), host.providers, blobs).close()
    host.rotations.begin("bench")
    host.providers.backup("bench", host.directory / "second.backup", passphrase)
    host.providers.verify(host.directory / "second.backup", passphrase)
    host.rotations.promote("bench")
    stale = host.rekeying.stale()
    began = time.perf_counter()
    report = host.rekeying.rekey(stale, deep=deep)
    seconds = time.perf_counter() - began
    assert len(report.done) == vms, report
    return seconds


def describe_rekey(vms: int = 1000) -> list[str]:
    """The figures in words, one line each."""
    with tempfile.TemporaryDirectory() as directory:
        return [
            f"rekey of {vms} VMs, {kind}: {time_rekey(Path(directory), vms, deep=kind == 'deep'):.1f} s"
            for kind in ("shallow", "deep")
        ]
