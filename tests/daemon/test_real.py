"""The device with the real engine and the encrypted store."""

import uuid
from pathlib import Path

import pytest

from nvstore import Host, RolledBack
from tests.daemon.fake import STARTUP, SUCCESS, LastingStore
from vtpm import Tpm
from vtpm.control.messages import PTM_BLOB_TYPE
from vtpm.daemon.clock import entropy
from vtpm.daemon.device.device import Device
from vtpm.daemon.errors import DeviceError

EXTEND = bytes.fromhex(
    "8002 00000041 00000182 00000010 00000009 40000009 0000 00 0000 00000001 000b".replace(" ", "")
    + "5a" * 32
)
READ = bytes.fromhex("80010000001400000 17e00000001000b03000001".replace(" ", ""))
GET_RANDOM = bytes.fromhex("80010000000c0000017b0010")


def device_on(store: LastingStore) -> Device:
    """A device with the real engine."""
    return Device("vm", Tpm, lambda: store, may_manufacture=True)


@pytest.fixture
def device() -> Device:
    """A started TPM."""
    device = device_on(LastingStore())
    device.init()
    assert device.execute(STARTUP) == SUCCESS
    return device


def test_migration(device: Device) -> None:
    """A TPM goes on elsewhere with its PCR, started as it was; its random numbers are new ones."""
    assert device.execute(EXTEND)[6:10] == bytes(4)
    blobs = {kind: device.state_blob(kind) for kind in (PTM_BLOB_TYPE.PERMANENT, PTM_BLOB_TYPE.VOLATILE)}
    answers = []
    for _ in range(2):
        target = device_on(LastingStore())
        for kind, blob in blobs.items():
            target.set_state_blob(kind, blob)
        target.init(delete_volatile=True)
        assert target.execute(READ) == device.execute(READ)
        answers.append(target.execute(GET_RANDOM))

    assert answers[0][:10] == answers[1][:10]
    assert answers[0] != answers[1] != device.execute(GET_RANDOM)


def test_suspended(device: Device) -> None:
    """A stored volatile state is resumed by a new process."""
    device.execute(EXTEND)
    expected = device.execute(READ)
    device.store_volatile()
    device.close()
    device.init()

    assert device.execute(READ) == expected


def test_store(tmp_path: Path) -> None:
    """The TPM of a VM is in the encrypted store; one that was put back to an older state is refused."""
    host = Host(tmp_path)
    host.providers.init("main")
    blobs = Tpm.manufacture(entropy=entropy).snapshot()
    host.create_state(uuid.uuid4(), "vm", blobs, allow_unverified=True).close()
    (state,) = tmp_path.glob("states/*.state")
    older = state.read_bytes()

    device = Device("vm", Tpm, lambda: host.open_state("vm"))
    device.init()
    assert device.execute(STARTUP) == SUCCESS
    device.close()
    device.init()
    assert device.execute(STARTUP) == SUCCESS
    device.close()
    state.write_bytes(older)

    with pytest.raises(RolledBack):
        device.init()
    assert not device.is_running


def test_empty_store(tmp_path: Path) -> None:
    """A store without a TPM is no place to make a new one."""
    host = Host(tmp_path)
    host.providers.init("main")
    host.create_state(uuid.uuid4(), "vm", {}, allow_unverified=True).close()

    with pytest.raises(DeviceError, match="holds no TPM"):
        Device("vm", Tpm, lambda: host.open_state("vm")).init()
