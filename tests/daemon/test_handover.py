"""State blobs as the daemon sends them to another host: vtpm/daemon/handover.py."""

from pathlib import Path
from uuid import UUID

import pytest

from nvstore import Cost, Host, KeyMissing, StreamAltered, StreamOfOther
from tests.daemon.fake import INCREMENT, READ, STARTUP, FakeTpm, value_of
from vtpm.control import blobs
from vtpm.control.blobs import Opened
from vtpm.control.messages import PTM_BLOB_TYPE
from vtpm.daemon.device.device import Device
from vtpm.daemon.handover import (
    HandoverError,
    HostGate,
    ProviderForm,
    change_custody,
    expect,
    is_expected,
    offer_of,
)
from vtpm.state.clock import Instant

PERMANENT, VOLATILE = PTM_BLOB_TYPE.PERMANENT, PTM_BLOB_TYPE.VOLATILE
VM = UUID("6c1f3d6e-54d0-4d6a-8f0e-3b1d4a7c9e21")
OTHER = UUID("0f0e0d0c-0b0a-4908-8706-050403020100")
PASSPHRASE = b"a long passphrase"
CHEAP = Cost(64, 1, 1)


def host_at(directory: Path) -> Host:
    """A host whose passphrases cost nothing."""
    return Host(directory, passphrase_cost=CHEAP, backup_cost=CHEAP)


@pytest.fixture
def source(tmp_path: Path) -> Host:
    """A host with the TPM of a VM."""
    host = host_at(tmp_path / "source")
    host.providers.init("main")
    host.create_state(VM, "guest", {"permanent": b"0"}, allow_unverified=True).close()
    return host


@pytest.fixture
def target(source: Host, tmp_path: Path) -> Host:
    """A host that has its provider under another name, and expects it."""
    host = host_at(tmp_path / "target")
    source.providers.backup("main", tmp_path / "backup", PASSPHRASE)
    host.providers.restore(tmp_path / "backup", PASSPHRASE, name="theirs")
    offer = offer_of(source, "guest")
    expect(host, UUID(offer.pop("vm")), **offer, allow_unverified=True)
    return host


def device_of(host: Host) -> Device:
    """A device as the daemon makes it."""
    return Device(
        "guest",
        FakeTpm,
        lambda: host.open_state(VM),
        form=ProviderForm(host, VM),
        clock=lambda: Instant(0),
        gate=HostGate(host, VM),
    )


def stream_of(device: Device) -> dict[PTM_BLOB_TYPE, bytes]:
    """What QEMU carries."""
    return {kind: device.form.wrap(device.state_blob(kind)) for kind in (PERMANENT, VOLATILE)}


def started(host: Host) -> Device:
    """A run."""
    device = device_of(host)
    device.init()
    device.execute(STARTUP)
    return device


@pytest.mark.parametrize("denied", [False, True])
def test_moved(source: Host, target: Host, *, denied: bool) -> None:
    """The TPM goes on under the provider of the destination; a policy against reverts comes with it."""
    source.set_policy(VM, reverts=not denied)
    device = started(source)
    device.execute(INCREMENT)
    stream = stream_of(device)
    device.close()
    arrived = device_of(target)
    for kind, octets in stream.items():
        arrived.set_state_blob(kind, octets)
    arrived.init()

    assert value_of(arrived.execute(READ)) == 1
    assert target.transfers.unwrap(VM, target.transfers.wrap(VM, b"")).denies_reverts is denied
    assert target.show_state(VM).provider == "theirs"
    assert not is_expected(target, "guest")
    assert blobs.IDENTIFIER not in b"".join(stream.values())
    arrived.close()


def test_policy_of_this_host(source: Host) -> None:
    """A run that goes on where it was keeps the policy that this host has by now."""
    source.set_policy(VM, reverts=False)
    device = started(source)
    stream = stream_of(device)
    device.close()
    source.set_policy(VM, reverts=True)
    device = device_of(source)
    for kind, octets in stream.items():
        device.set_state_blob(kind, octets)
    device.init()
    device.close()

    assert source.transfers.unwrap(VM, source.transfers.wrap(VM, b"")).denies_reverts is False


def test_refused(source: Host, tmp_path: Path) -> None:
    """What does not open is refused with the reason, and what is in the clear is known as that."""
    device = started(source)
    stream = stream_of(device)
    other = host_at(tmp_path / "other")
    other.providers.init("main")
    with pytest.raises(KeyMissing):
        ProviderForm(other, VM).unwrap(PERMANENT, stream[PERMANENT])
    with pytest.raises(StreamOfOther):
        ProviderForm(source, OTHER).unwrap(PERMANENT, stream[PERMANENT])
    with pytest.raises(StreamAltered):
        ProviderForm(source, VM).unwrap(PERMANENT, stream[PERMANENT][:-1])
    clear = device.state_blob(PERMANENT)
    assert ProviderForm(source, VM).unwrap(PERMANENT, clear) == Opened(clear)
    assert ProviderForm(source, VM).is_encrypted
    device.close()


def test_unknown_change(source: Host) -> None:
    """There are no other changes of who has a TPM."""
    with pytest.raises(HandoverError, match="no change lend"):
        change_custody(source, "guest", "lend")
