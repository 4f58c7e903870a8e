"""A hypervisor that brings back an older state of its VM: noted, and refused where the policy says so."""

import uuid
from collections.abc import Mapping
from pathlib import Path

import pytest

from nvstore import Host, RevertRefused
from tests.daemon.fake import INCREMENT, READ, STARTUP, FakeTpm, value_of
from vtpm.control.messages import PTM_BLOB_TYPE
from vtpm.daemon.device.device import Device
from vtpm.daemon.device.stateblobs import powered_off
from vtpm.daemon.handover import HostGate, ProviderForm
from vtpm.state.clock import Instant

KINDS = (PTM_BLOB_TYPE.PERMANENT, PTM_BLOB_TYPE.VOLATILE)
Blobs = Mapping[PTM_BLOB_TYPE, bytes]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host with the TPM of one VM."""
    host = Host(tmp_path)
    host.providers.init("main")
    host.create_state(uuid.uuid4(), "guest", {"permanent": b"0"}, allow_unverified=True).close()
    return host


def device_of(host: Host) -> Device:
    """A device as the daemon makes it."""
    return Device(
        "guest",
        FakeTpm,
        lambda: host.open_state("guest"),
        form=ProviderForm(host, vm := host.show_state("guest").vm),
        gate=HostGate(host, vm),
        clock=lambda: Instant(0),
    )


def saved(device: Device) -> Blobs:
    """What `virsh save` takes, after which QEMU ends."""
    return {kind: device.form.wrap(device.state_blob(kind)) for kind in KINDS}


def restored(host: Host, state: Blobs) -> Device:
    """A run that goes on from a saved state."""
    device = device_of(host)
    try:
        for kind, blob in state.items():
            device.set_state_blob(kind, blob)
        device.init(delete_volatile=True)
    except BaseException:
        device.close()
        raise
    return device


def started(host: Host) -> Device:
    """A run from the stored state."""
    device = device_of(host)
    device.init()
    device.execute(STARTUP)
    return device


def reverts(host: Host) -> list[str]:
    """The results of the reverts that the audit log has."""
    return [entry["result"] for entry in host.audit.entries() if entry["op"] == "revert"]


def test_continued(host: Host) -> None:
    """A run that was saved and goes on is no revert, whatever the policy."""
    host.set_policy("guest", reverts=False)
    device = started(host)
    device.execute(INCREMENT)
    state = saved(device)
    device.close()

    again = restored(host, state)
    assert value_of(again.execute(READ)) == 1
    again.close()
    assert reverts(host) == []


def test_allowed(host: Host) -> None:
    """An older state takes the place of a newer one, and that is noted."""
    device = started(host)
    state = saved(device)
    assert value_of(device.execute(INCREMENT)) == 1
    device.close()

    restored(host, state).close()
    assert powered_off(host.read_state("guest")) == {"permanent": b"0"}
    assert reverts(host) == ["done"]


def test_refused(host: Host) -> None:
    """Where the policy forbids reverts, the newer state stays, and the attempt is noted."""
    host.set_policy("guest", reverts=False)
    device = started(host)
    state = saved(device)
    device.execute(INCREMENT)
    device.close()

    with pytest.raises(RevertRefused):
        restored(host, state)
    assert powered_off(host.read_state("guest")) == {"permanent": b"1"}
    assert reverts(host) == ["revert-refused"]


def test_saved_twice(host: Host) -> None:
    """A saved state that the VM has gone on from is an older one, too."""
    device = started(host)
    state = saved(device)
    device.close()
    again = restored(host, state)
    again.execute(INCREMENT)
    again.close()
    assert reverts(host) == []

    restored(host, state).close()
    assert reverts(host) == ["done"]


def test_no_shutdown_of_a_saved_run(host: Host) -> None:
    """A run that goes on elsewhere is not shut down here: its stored state is the one that was handed out."""
    device = started(host)
    saved(device)
    tpm = device._tpm
    device.close()

    assert not any(line.startswith("00000145") for line in tpm.log)


def test_time(host: Host) -> None:
    """Clock may have been saved since: what passes with time makes no state an older one."""
    host.set_policy("guest", reverts=False)
    device = started(host)
    state = saved(device)
    device.close()
    with host.open_state("guest") as store:
        store.commit({"orderly": b"later"})

    restored(host, state).close()
    assert reverts(host) == []
