"""A TPM and its stored state: vtpm/daemon/device/device.py."""

import itertools
from collections.abc import Mapping
from typing import Any

import pytest

from nvstore import NvstoreError
from tests.daemon.fake import (
    CREATE,
    FAILURE,
    INCREMENT,
    READ,
    SHUTDOWN,
    STARTUP,
    SUCCESS,
    FakeTpm,
    LastingStore,
    value_of,
)
from vtpm.control import blobs
from vtpm.control.blobs import BlobError
from vtpm.control.messages import PTM_BLOB_TYPE, TPM_RESULT
from vtpm.control.transitions import Phase
from vtpm.daemon.device.device import Device, Result, refusal
from vtpm.daemon.device.stateblobs import SUSPENDED
from vtpm.daemon.errors import DeviceError
from vtpm.engine.tpm import Tpm
from vtpm.state.clock import Instant
from vtpm.wire.error import TPM_RC

STARTUP_CLEAR = bytes.fromhex("80010000000c000001440000")
READ_CLOCK = bytes.fromhex("80010000000a00000181")
PERMANENT, VOLATILE, SAVESTATE = PTM_BLOB_TYPE


def device_on(store: LastingStore, **options: Any) -> Device:
    options.setdefault("may_manufacture", True)
    return Device("vm", FakeTpm, lambda: store, clock=lambda: Instant(0), random=bytes, **options)


@pytest.fixture
def store() -> LastingStore:
    return LastingStore()


@pytest.fixture
def device(store: LastingStore) -> Device:
    device = device_on(store)
    device.init()
    device.execute(STARTUP)
    return device


class FullStore(LastingStore):
    """A store that stops accepting anything."""

    is_full = False

    def commit(self, changes: Mapping[str, bytes | None]) -> None:
        """Refuse when full."""
        if self.is_full:
            raise NvstoreError("no space", "make some")
        super().commit(changes)


class TestPower:
    """INIT, STOP and the loss of power"""

    def test_without_power(self, store: LastingStore) -> None:
        """Before INIT and after STOP, every command is answered with TPM_RC_FAILURE."""
        device = device_on(store)
        assert device.execute(READ) == FAILURE
        device.init()
        device.stop()

        assert device.phase is Phase.STOPPED
        assert device.execute(READ) == FAILURE

    def test_missing_state(self, store: LastingStore) -> None:
        """A store without a TPM is an error where one is expected, and stays as it is."""
        device = device_on(store, may_manufacture=False)

        with pytest.raises(DeviceError, match="holds no TPM"):
            device.init()
        assert store.load() == {}
        assert device.phase is Phase.BEFORE_INIT

    def test_store_that_cannot_be_opened(self) -> None:
        """What the operating system refuses is an error with a remedy, and no defect."""

        def open_store() -> LastingStore:
            raise PermissionError(13, "Permission denied", "/state")

        device = Device("vm", FakeTpm, open_store)
        with pytest.raises(DeviceError, match="Permission denied: '/state'; mend that"):
            device.init()

    def test_manufacture(self, store: LastingStore) -> None:
        """A new TPM is durable before it is used."""
        device_on(store).init()

        assert store.load() == {"permanent": b"0"}

    def test_changes_are_durable(self, device: Device, store: LastingStore) -> None:
        """A response is given after its changes are in the store."""
        assert value_of(device.execute(INCREMENT)) == 1
        assert store.load()["permanent"] == b"1"

    def test_reset_keeps_the_engine(self, device: Device) -> None:
        """Another INIT powers the same TPM on again: only what is volatile is lost."""
        device.execute(INCREMENT)
        device.stop()
        device.init()
        device.execute(STARTUP)

        assert value_of(device.execute(READ)) == 0
        assert value_of(device.execute(INCREMENT)) == 2

    @pytest.mark.parametrize(
        ("commands", "orderly", "expected"),
        [
            ([STARTUP, READ], True, True),
            ([STARTUP, SHUTDOWN], True, False),
            ([STARTUP, SHUTDOWN, READ], True, True),
            ([STARTUP, READ], False, False),
        ],
    )
    def test_automatic_shutdown(
        self, device: Device, commands: list[bytes], *, orderly: bool, expected: bool
    ) -> None:
        """A TPM that the guest did not shut down is shut down before its power goes, unless it is cut."""
        device.stop()
        device.init()
        for command in commands:
            device.execute(command)
        log = device._tpm.log
        log.clear()
        device.power_off(orderly=orderly)

        assert log == (["00000145 at 0"] if expected else [])

    def test_close(self, device: Device, store: LastingStore) -> None:
        """The end of a run lets go of everything; a later INIT begins from the store."""
        device.execute(INCREMENT)
        device.locality = 3
        device.close()
        assert (device.phase, device.locality) == (Phase.BEFORE_INIT, 0)
        device.init()
        device.execute(STARTUP)

        assert value_of(device.execute(INCREMENT)) == 2
        assert store.load()["permanent"] == b"2"


class TestFailure:
    """Part 1, "Access Interruptions": the store fails"""

    @pytest.fixture
    def full(self) -> FullStore:
        """A store that can be told to be full."""
        return FullStore()

    @pytest.fixture
    def device(self, full: FullStore) -> Device:
        """A running TPM on it, whose counter is 1; the clock advances by 400 ms a command."""
        times = itertools.count(0, 400)
        device = Device(
            "vm",
            FakeTpm,
            lambda: full,
            may_manufacture=True,
            clock=lambda: Instant(next(times)),
            random=bytes,
        )
        device.init()
        device.execute(STARTUP)
        device.execute(INCREMENT)
        return device

    def test_refused(self, device: Device, full: FullStore) -> None:
        """A change that cannot be durable is refused, and has not happened; what changes nothing goes on."""
        full.is_full = True

        for _ in range(5):
            assert device.execute(INCREMENT) == refusal(TPM_RC.NV_UNAVAILABLE)
            assert value_of(device.execute(READ)) == 1
        assert not device.has_failed
        assert not device._tpm.nv_available
        assert full.load()["permanent"] == b"1"

    def test_recovers(self, device: Device, full: FullStore) -> None:
        """The first change after the cause is gone is made as ever."""
        full.is_full = True
        device.execute(INCREMENT)
        full.is_full = False

        assert value_of(device.execute(INCREMENT)) == 2
        assert full.load()["permanent"] == b"2"
        assert device._tpm.nv_available

    def test_recovers_by_itself(self, device: Device, full: FullStore) -> None:
        """No change is needed: the store is tried every second or so while commands come."""
        full.is_full = True
        device.execute(INCREMENT)
        full.is_full = False
        for _ in range(4):
            device.execute(READ)

        assert device.alarm == ""
        assert device._tpm.nv_available
        assert full.load() == {"permanent": b"1", "orderly": b"now"}

    def test_alarm(self, device: Device, full: FullStore, caplog: pytest.LogCaptureFixture) -> None:
        """The operator is told once when it begins, and once when it is over."""
        full.is_full = True
        for _ in range(9):
            device.execute(INCREMENT)
        assert "no space" in device.alarm
        full.is_full = False
        device.execute(INCREMENT)

        assert device.alarm == ""
        assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]

    def test_time_waits(self, device: Device, full: FullStore) -> None:
        """What time has changed refuses no command: it is written with the next change."""
        full.is_full = True
        device._tpm.checkpoint = lambda _request: None
        aged = Result(SUCCESS, {"permanent": b"healed"})
        device.run(READ)

        assert device.conclude(aged) == SUCCESS
        full.is_full = False
        device.close()
        assert full.load()["permanent"] == b"healed"

    def test_pin_count_stands(self, device: Device, full: FullStore) -> None:
        """The use of a PIN by a command that writes no NV is refused, and stays counted."""
        full.is_full = True
        device._tpm.checkpoint = lambda _request: None
        device.run(READ)

        refused = device.conclude(Result(SUCCESS, {"nv/01000001": b"counted"}))
        assert int.from_bytes(refused[6:10]) == TPM_RC.NV_UNAVAILABLE
        full.is_full = False
        device.close()
        assert full.load()["nv/01000001"] == b"counted"

    def test_primary_waits(self, device: Device, full: FullStore) -> None:
        """Nor does a primary key that could not be remembered."""
        full.is_full = True
        device.run(READ)

        assert device.conclude(Result(SUCCESS, {"primary/00": b"key"})) == SUCCESS

    def test_store_volatile(self, device: Device, full: FullStore) -> None:
        """The control channel is told, too, and the TPM goes on."""
        full.is_full = True

        assert device.store_volatile() is TPM_RESULT.FAIL
        assert value_of(device.execute(READ)) == 1


class TestBuffer:
    """The size of commands and responses"""

    @pytest.mark.parametrize(("size", "set_to"), [(0, 4096), (3968, 3968), (1, 2808), (1 << 31, 4096)])
    def test_limits(self, device: Device, size: int, set_to: int) -> None:
        """A size is taken within the limits, and 0 asks."""
        assert device.set_buffer_size(size) == set_to
        assert device.set_buffer_size(0) == set_to


class TestEstablished:
    """The established bit"""

    @pytest.mark.parametrize("locality", range(6))
    def test_reset(self, device: Device, locality: int) -> None:
        """The established bit is set by a dynamic launch, and cleared at localities 3 and 4."""
        device.hash_start()
        assert device.established
        allowed = locality in (3, 4)

        assert device.reset_established(locality) is (
            TPM_RESULT.SUCCESS if allowed else TPM_RESULT.BAD_LOCALITY
        )
        assert device.established is not allowed


class TestBlobs:
    """State given and taken"""

    def test_migration(self, device: Device) -> None:
        """The two blobs carry a running TPM to another host, where it goes on."""
        device.execute(INCREMENT)
        there = LastingStore({"permanent": b"77", "old": b"1"})
        target = device_on(there, may_manufacture=False)
        target.set_state_blob(PERMANENT, device.state_blob(PERMANENT))
        target.set_state_blob(VOLATILE, device.state_blob(VOLATILE))
        target.init(delete_volatile=True)

        assert value_of(target.execute(READ)) == 1
        assert there.load() == {"permanent": b"1"}

    def test_no_savestate(self, device: Device) -> None:
        """A TPM 2.0 has no savestate."""
        assert device.state_blob(SAVESTATE) == b""

    def test_volatile_of_another_state(self, device: Device) -> None:
        """A volatile state is not resumed beside a permanent state that it was not taken with."""
        permanent = device.state_blob(PERMANENT)
        device.execute(INCREMENT)
        target = device_on(LastingStore())
        target.set_state_blob(PERMANENT, permanent)
        target.set_state_blob(VOLATILE, device.state_blob(VOLATILE))

        with pytest.raises(DeviceError, match="another permanent state"):
            target.init()

    @pytest.mark.parametrize("blob", [b"", bytes(8), bytes.fromhex("0201000a")])
    def test_no_blob(self, store: LastingStore, blob: bytes) -> None:
        """Octets that are no blob are refused before they replace anything."""
        with pytest.raises(BlobError):
            device_on(store).set_state_blob(PERMANENT, blob)

    def test_store_volatile(self, device: Device, store: LastingStore) -> None:
        """A stored volatile state survives the process, and is resumed once if it is to be deleted."""
        device.execute(INCREMENT)
        assert device.store_volatile() is TPM_RESULT.SUCCESS
        device.close()
        again = device_on(store)
        again.init(delete_volatile=True)
        assert value_of(again.execute(READ)) == 1

        again.stop()
        again.init()
        again.execute(STARTUP)
        assert value_of(again.execute(READ)) == 0
        assert SUSPENDED not in store.load()

    @pytest.mark.parametrize("elapsed", [0, 3_600_000, -1000])
    def test_time_goes_on(self, elapsed: int) -> None:
        """Time and Clock count how long a TPM was suspended; a calendar that went back counts nothing."""
        calendar = [1_700_000_000_000]
        options: dict[str, Any] = {
            "clock": lambda: Instant(50_000),
            "calendar": lambda: calendar[0],
            "may_manufacture": True,
        }
        first = Device("vm", Tpm, LastingStore, **options)
        first.init()
        first.execute(STARTUP_CLEAR)
        sent = [first.state_blob(kind) for kind in (PERMANENT, VOLATILE)]
        calendar[0] += elapsed
        assert sent == [first.state_blob(kind) for kind in (PERMANENT, VOLATILE)]
        second = Device("vm", Tpm, LastingStore, **options)
        for kind, blob in zip((PERMANENT, VOLATILE), sent, strict=True):
            second.set_state_blob(kind, blob)
        second.init()
        before, after = (
            int.from_bytes(device.execute(READ_CLOCK)[10:18], "big") for device in (first, second)
        )
        assert after - before == max(0, elapsed)

    def test_stale_volatile(self, device: Device, store: LastingStore) -> None:
        """A stored volatile state is not resumed after the permanent state has moved on."""
        device.store_volatile()
        device.execute(INCREMENT)
        device.close()
        again = device_on(store)
        again.init()

        assert again._tpm.log == ["power_on"]

    def test_blob_of_state(self, device: Device) -> None:
        """The permanent blob holds the whole stored state."""
        assert blobs.unpack(PERMANENT, device.state_blob(PERMANENT))[0] == {"permanent": b"0"}


def test_costly(device: Device) -> None:
    """The engine says which commands take long; without power none does."""
    assert device.is_costly(CREATE)
    assert device.is_lengthy(CREATE)
    assert not device.is_costly(READ)
    assert not device.is_lengthy(READ)
    device.stop()
    assert not device.is_costly(CREATE)


def test_buffer_size(store: LastingStore) -> None:
    """What SET_BUFFERSIZE sets is what the TPM says from the next INIT on."""
    device = Device("vm", Tpm, lambda: store, may_manufacture=True)
    for size in (4000, 0):
        device.set_buffer_size(size)
        device.init()
        device.execute(STARTUP)
        response = device.execute(bytes.fromhex("8001000000160000017a000000060000011e00000002"))
        assert response[-16:].hex() == "0000011e00000fa00000011f00000fa0"
        device.stop()


class TestSharedStorage:
    """swtpm.8, --migration: a state directory that two hosts share"""

    def test_released(self, store: LastingStore) -> None:
        """Once released, the lock is taken again by request, or by a command of a run that goes on."""
        device = device_on(store, releases_storage=True)
        device.init()
        device.execute(STARTUP)
        for count, is_requested in enumerate((True, False), 1):
            device.release_storage()
            if is_requested:
                device.lock_storage()
            assert value_of(device.execute(INCREMENT)) == count

    def test_taken(self, store: LastingStore) -> None:
        """While another host has it, nothing is written; the run goes on with it when it is free."""
        others = iter([False, True, True, False, False])

        def open_store() -> LastingStore:
            if next(others):
                raise DeviceError("it is locked by another host")
            return store

        device = Device("vm", FakeTpm, open_store, may_manufacture=True, releases_storage=True)
        device.init()
        device.execute(STARTUP)
        device.release_storage()
        for _ in range(2):
            assert device.execute(INCREMENT) == refusal(TPM_RC.NV_UNAVAILABLE)
        assert value_of(device.execute(INCREMENT)) == 1

    def test_changed(self, store: LastingStore) -> None:
        """A state that another host has changed meanwhile is not gone on with, and not written at the end."""
        device = device_on(store, releases_storage=True)
        device.init()
        device.execute(STARTUP)
        device.release_storage()
        store.commit({"other": b"host"})
        before = store.load()
        assert device.execute(INCREMENT) == refusal(TPM_RC.NV_UNAVAILABLE)
        for _ in range(2):
            with pytest.raises(DeviceError, match="another host"):
                device.lock_storage()
        device.close()
        assert store.load() == before

    def test_not_asked_for(self, device: Device) -> None:
        """Without the option the store is kept."""
        device.release_storage()
        assert value_of(device.execute(INCREMENT)) == 1
