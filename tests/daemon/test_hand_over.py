"""One TPM that goes on in another process: `Device.hand_over` and `go_on`, with the real engine and store."""

import json
import uuid
from pathlib import Path

import pytest

from nvstore import FileStore, Host
from tests.daemon.fake import STARTUP, SUCCESS
from tests.state.rich import rich
from vtpm import Tpm
from vtpm.control.messages import PTM_BLOB_TYPE
from vtpm.control.transitions import Phase
from vtpm.daemon.carried import Carried
from vtpm.daemon.clock import entropy
from vtpm.daemon.device.custody import Custody, Holding, Stretch
from vtpm.daemon.device.device import Device
from vtpm.daemon.device.stateblobs import state_blob
from vtpm.daemon.errors import DeviceError
from vtpm.daemon.replacement.messages import ReplacementError, common_version, decode, encode
from vtpm.state.clock import Instant

READ_CLOCK = bytes.fromhex("80010000000a00000181")
KINDS = (PTM_BLOB_TYPE.PERMANENT, PTM_BLOB_TYPE.VOLATILE)


class Side:
    """A process with a device."""

    def __init__(self, directory: Path) -> None:
        self.now = 1000
        self.host = Host(directory)
        self.device = Device("vm", Tpm, lambda: self.host.open_state("vm"), clock=lambda: Instant(self.now))


@pytest.fixture
def old(tmp_path: Path) -> Side:
    """A process whose TPM holds something of every kind."""
    side = Side(tmp_path)
    side.host.providers.init("main")
    blobs = Tpm.manufacture(entropy=entropy).snapshot()
    side.host.create_state(uuid.uuid4(), "vm", blobs, allow_unverified=True).close()
    source = rich().tpm
    for kind in KINDS:
        side.device.set_state_blob(kind, state_blob(source, kind, Custody(), 0))
    side.device.init()
    side.device.keep()
    return side


@pytest.fixture
def new(tmp_path: Path, old: Side) -> Side:
    """Another process on the same host."""
    del old
    return Side(tmp_path)


def passed(carried: Carried) -> Carried:
    """What arrives in the other process."""
    step, arrived = decode(
        encode("vm", carried.facts, list(carried.descriptors)), list(carried.descriptors.values())
    )
    assert step == "vm"
    return arrived


def pass_on(old: Side, new: Side) -> None:
    """Have the new process go on with the device of the old one."""
    carried = passed(old.device.hand_over())
    lock = carried.descriptors.get("lock")
    store = None if lock is None else new.host.open_state("vm", lock=lock)
    new.device.go_on(carried.facts, store)


def test_everything(old: Side, new: Side) -> None:
    """All that the TPM remembers, durable or not, is the same, and so is where it is in its life."""
    old.device.locality, old.device.buffer_size = 3, 3000
    old.device.set_physical_presence(asserted=True)
    before = old.device._tpm
    before.buffer_size = 3000
    pass_on(old, new)
    after = new.device._tpm

    assert after.snapshot() == before.snapshot()
    assert after.snapshot_volatile() == before.snapshot_volatile()
    assert (new.device.phase, new.device.locality, new.device.buffer_size) == (Phase.RUNNING, 3, 3000)
    assert after.physical_presence
    assert after.buffer_size == before.buffer_size
    assert after.established == before.established


def test_time_goes_on(old: Side, new: Side) -> None:
    """Time counts what the hand-over took: both processes read the clock of the host."""
    before = old.device.execute(READ_CLOCK)
    old.now = new.now = 1500
    pass_on(old, new)
    after = new.device.execute(READ_CLOCK)

    assert int.from_bytes(after[10:18]) > int.from_bytes(before[10:18]) + 400


@pytest.mark.parametrize("phase", [Phase.BEFORE_INIT, Phase.STOPPED])
def test_without_power(old: Side, new: Side, phase: Phase) -> None:
    """A TPM that is off is off in the new process, and can be powered there."""
    if phase is Phase.STOPPED:
        old.device.stop()
    else:
        old.device.close()
    pass_on(old, new)
    assert new.device.phase is phase
    new.device.init()
    assert new.device.execute(STARTUP) == SUCCESS


def test_given_state(old: Side, new: Side) -> None:
    """What SET_STATEBLOB has given is there for the next INIT."""
    blobs = {kind: old.device.state_blob(kind) for kind in KINDS}
    ram = old.device._tpm.snapshot_volatile()
    old.device.stop()
    for kind, blob in blobs.items():
        old.device.set_state_blob(kind, blob)
    pass_on(old, new)
    new.device.init()

    assert new.device._tpm.snapshot_volatile() == ram


def test_custody(old: Side, new: Side) -> None:
    """A TPM that came from another host is one that came, until it has executed a command here."""
    old.device.stop()
    elsewhere = Custody(moves=7, lineage=(*old.device._custody.lineage, Stretch(bytes(16), 3)))
    for kind in KINDS:
        old.device.set_state_blob(kind, state_blob(rich().tpm, kind, elsewhere, 0))
    old.device.init()
    assert old.device._custody[:2] == (Holding.ARRIVED, 8)
    pass_on(old, new)
    assert new.device._custody == old.device._custody
    new.device.execute(READ_CLOCK)
    assert new.device._custody.holding is Holding.HERE


def test_failure_mode(old: Side, new: Side) -> None:
    """A TPM in failure mode stays in it until its next INIT, which goes back to what is durable."""
    old.device.fail("the test says so")
    pass_on(old, new)
    assert new.device.has_failed
    assert new.device.execute(READ_CLOCK) == old.device.execute(READ_CLOCK)
    new.device.init()
    assert not new.device.has_failed


def test_full_disk(old: Side, new: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the store takes no changes, nothing is handed over; afterwards what waited is written first."""

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(FileStore, "commit", refuse)
        with pytest.raises(DeviceError, match="does not take changes"):
            old.device.change(lambda tpm: tpm.touch_permanent())
        with pytest.raises(DeviceError, match="No space left"):
            old.device.hand_over()
    pass_on(old, new)
    assert new.device.alarm == ""


def test_another_state(old: Side, new: Side) -> None:
    """A store whose content is not what the old process has is refused."""
    carried = passed(old.device.hand_over())
    store = new.host.open_state("vm", lock=carried.descriptors["lock"])
    carried.facts["device"] = None
    carried.facts["stored"]["digest"] = bytes(32)
    with pytest.raises(DeviceError, match="is not what the daemon that runs has written"):
        new.device.go_on(carried.facts, store)


class TestMessages:
    """The frames of a hand-over"""

    def test_octets(self) -> None:
        """Octets come as they were, at any depth."""
        facts = {"a": [{"b": b"\x00\xff"}, None, 1], "c": b""}
        step, carried = decode(encode("vm", facts, ["x", "y"]), [7, 9])
        assert (step, carried) == ("vm", Carried(facts, {"x": 7, "y": 9}))

    @pytest.mark.parametrize(
        ("frame", "descriptors"),
        [
            (b"", []),
            (b"[]", []),
            (b'{"step": "vm"}', []),
            (b'{"descriptors": []}', []),
            (b'{"step": "vm", "descriptors": ["lock"]}', []),
            (b'{"step": "vm", "descriptors": []}', [3]),
            (b'{"step": "vm", "descriptors": 1}', []),
            (b'{"step": "vm", "descriptors": [], "x": {"octets": "%"}}', []),
        ],
    )
    def test_malformed(self, frame: bytes, descriptors: list[int]) -> None:
        """What is no frame, or lacks a descriptor, is refused."""
        with pytest.raises(ReplacementError, match="malformed"):
            decode(frame, descriptors)

    def test_no_secret_is_lost(self) -> None:
        """What JSON cannot say is a defect, found when it is sent."""
        with pytest.raises(TypeError, match="set cannot be handed over"):
            encode("vm", {"x": {1}}, [])

    @pytest.mark.parametrize("versions", [[], [0, 99], None, "1", ["1"]])
    def test_versions(self, versions: object) -> None:
        """Without a version that both know, nothing is handed over."""
        with pytest.raises(ReplacementError, match="does not know"):
            common_version(versions)
        assert common_version(json.loads("[1, 99]")) == 1
