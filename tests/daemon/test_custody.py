"""A run that goes on elsewhere goes on nowhere else: vtpm/daemon/device/custody.py."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from uuid import UUID

import pytest

from nvstore import Host, RevertRefused
from tests.daemon.fake import INCREMENT, READ, STARTUP, FakeTpm, LastingStore, value_of
from vtpm.control import blobs
from vtpm.control.messages import PTM_BLOB_TYPE
from vtpm.daemon.device.custody import CUSTODY, Custody, Holding, custody_of, give_away, keep, reclaim
from vtpm.daemon.device.device import Device
from vtpm.daemon.errors import DeviceError
from vtpm.state.clock import Instant

KINDS = (PTM_BLOB_TYPE.PERMANENT, PTM_BLOB_TYPE.VOLATILE)
VM = UUID("6c1f3d6e-54d0-4d6a-8f0e-3b1d4a7c9e21")
Blobs = Mapping[PTM_BLOB_TYPE, bytes]


class Site:
    """A host with the state of one VM."""

    def __init__(self, directory: Path, state: Mapping[str, bytes]) -> None:
        self.host = Host(directory)
        self.host.providers.init("main")
        self.host.create_state(VM, "guest", state, allow_unverified=True).close()
        self.running: Device | None = None

    def device(self, *, given: Blobs | None = None) -> Device:
        """A run, from what is stored or given."""
        device = Device(
            "guest",
            FakeTpm,
            lambda: self.host.open_state("guest"),
            clock=lambda: Instant(0),
            admit_revert=lambda: self.host.admit_revert("guest"),
        )
        try:
            for kind, blob in (given or {}).items():
                device.set_state_blob(kind, blob)
            device.init(delete_volatile=given is not None)
        except BaseException:
            device.close()
            raise
        self.running = device
        return device

    def started(self) -> Device:
        """A run that starts with power."""
        device = self.device()
        device.execute(STARTUP)
        return device

    def commit(self, change: object) -> None:
        """Change who has the TPM."""
        with self.host.open_state("guest") as store:
            store.commit(change(store.load()))  # type: ignore[operator]

    @property
    def custody(self) -> Custody:
        """Who has it."""
        return custody_of(self.host.read_state("guest"))

    def reverts(self) -> int:
        """How often a revert was noted."""
        return sum(entry["op"] == "revert" for entry in self.host.audit.entries())


def saved(device: Device) -> Blobs:
    """What goes into the stream, after which QEMU ends."""
    return {kind: device.state_blob(kind) for kind in KINDS}


@pytest.fixture
def first(tmp_path: Path) -> Iterator[Site]:
    """The host where the VM is, and that lets nobody revert it."""
    site = Site(tmp_path / "first", {"permanent": b"0"})
    site.host.set_policy("guest", reverts=False)
    yield site
    if site.running is not None:
        site.running.close()


@pytest.fixture
def second(tmp_path: Path) -> Iterator[Site]:
    """The host that expects it."""
    expected = Custody(Holding.EXPECTED).blob()
    site = Site(tmp_path / "second", {name: blob for name, blob in expected.items() if blob})
    site.host.set_policy("guest", reverts=False)
    yield site
    if site.running is not None:
        site.running.close()


def move(source: Site, target: Site) -> Blobs:
    """Migrate, as libvirt and its hooks do, to a guest that uses its TPM there; what went over."""
    assert source.running is not None
    stream = saved(source.running)
    target.device(given=stream)
    source.running.close()
    source.commit(give_away)
    assert target.running is not None
    target.running.execute(READ)
    return stream


class TestMigration:
    """The run goes on at one host"""

    def test_there(self, first: Site, second: Site) -> None:
        """The destination goes on where the source was, which no longer starts; no revert is noted."""
        first.started().execute(INCREMENT)
        move(first, second)

        assert second.running is not None
        assert value_of(second.running.execute(READ)) == 1
        assert (first.custody, second.custody) == (Custody(Holding.AWAY), Custody(Holding.HERE, 1))
        with pytest.raises(DeviceError, match="went to another host with its run"):
            first.started()
        assert (first.reverts(), second.reverts()) == (0, 0)

    def test_back_and_there_again(self, first: Site, second: Site) -> None:
        """It comes back, and goes again, with what it became; a policy against reverts is no obstacle."""
        first.started()
        for source, target in ((first, second), (second, first), (first, second)):
            assert source.running is not None
            source.running.execute(INCREMENT)
            move(source, target)

        assert second.running is not None
        assert value_of(second.running.execute(READ)) == 3
        second.running.close()
        assert second.custody == Custody(Holding.HERE, 3)
        second.started()

    def test_unnoted(self, first: Site, second: Site) -> None:
        """A host that was never told that the TPM went knows the newer stay when it comes back."""
        device = first.started()
        stream = saved(device)
        device.close()
        second.device(given=stream).execute(INCREMENT)
        move(second, first)

        assert first.running is not None
        assert value_of(first.running.execute(READ)) == 1
        assert first.reverts() == 0

    def test_older(self, first: Site, second: Site) -> None:
        """What the source has saved before is not used after the TPM went, whatever the policy of reverts."""
        first.started()
        stream = move(first, second)
        first.host.set_policy("guest", reverts=True)

        with pytest.raises(DeviceError, match="the state that was given is from before"):
            first.device(given=stream)

    def test_older_at_destination(self, first: Site, second: Site) -> None:
        """At the destination, what is from before it came is a revert."""
        first.started()
        stream = move(first, second)
        assert second.running is not None
        second.running.execute(INCREMENT)
        second.running.close()

        with pytest.raises(RevertRefused):
            second.device(given=stream)
        second.host.set_policy("guest", reverts=True)
        assert value_of(second.device(given=stream).execute(READ)) == 0


class TestFailure:
    """A migration that fails leaves the TPM where it was"""

    def test_not_expected_to_start(self, second: Site) -> None:
        """A TPM that never came does not start."""
        with pytest.raises(DeviceError, match="has not come to this host yet"):
            second.device()

    def test_late(self, first: Site, second: Site) -> None:
        """The source goes on; the destination, whose guest never ran, starts only with the next try."""
        device = first.started()
        second.device(given=saved(device)).close()

        assert value_of(device.execute(INCREMENT)) == 1
        assert second.custody == Custody(Holding.ARRIVED, 1)
        with pytest.raises(DeviceError, match="a migration that may have failed"):
            second.device()
        move(first, second)
        assert second.running is not None
        assert value_of(second.running.execute(READ)) == 1
        assert second.reverts() == 0

    def test_used(self, first: Site, second: Site) -> None:
        """The first command at the destination makes the TPM its own."""
        device = first.started()
        arrived = second.device(given=saved(device))
        assert second.custody.holding is Holding.ARRIVED

        arrived.execute(READ)
        assert second.custody == Custody(Holding.HERE, 1)

    def test_reset(self, first: Site, second: Site) -> None:
        """So does a reset."""
        arrived = second.device(given=saved(first.started()))
        arrived.stop()
        arrived.init()
        assert second.custody.holding is Holding.HERE

    @pytest.mark.parametrize("is_loaded", [True, False])
    def test_idle(self, first: Site, second: Site, *, is_loaded: bool) -> None:
        """So does the hypervisor's word that the guest went on, whose TPM was idle."""
        arrived = second.device(given=saved(first.started()))
        if is_loaded:
            arrived.keep()
            arrived.close()
        else:
            arrived.close()
            second.commit(keep)
        assert second.custody == Custody(Holding.HERE, 1)
        second.device()

    def test_kept_when_full(self, first: Site) -> None:
        """Where the store takes no changes, that waits for the next one that it takes."""
        store = Full({CUSTODY: Custody(Holding.EXPECTED).blob()[CUSTODY] or b""})
        device = Device("guest", FakeTpm, lambda: store, clock=lambda: Instant(0))
        for kind, blob in saved(first.started()).items():
            device.set_state_blob(kind, blob)
        device.init()

        store.is_full = True
        device.execute(READ)
        assert custody_of(store.load()).holding is Holding.ARRIVED
        store.is_full = False
        device.execute(INCREMENT)
        assert custody_of(store.load()) == Custody(Holding.HERE, 1)


class Full(LastingStore):
    """A store that is full at times."""

    is_full = False

    def commit(self, changes: Mapping[str, bytes | None]) -> None:
        """Refuse when full."""
        if self.is_full:
            raise OSError(28, "No space left on device")
        super().commit(changes)


class TestReclaim:
    """What is stored, on an operator's word"""

    def test_taken(self, first: Site, second: Site) -> None:
        """It starts again; what comes from the other host afterwards is a revert."""
        first.started()
        move(first, second)
        first.commit(reclaim)

        first.started().close()
        assert second.running is not None
        second.running.execute(INCREMENT)
        with pytest.raises(RevertRefused):
            first.device(given=saved(second.running))

    def test_nothing_to_take(self, first: Site, second: Site) -> None:
        """Where the TPM is, or nothing of it, there is nothing to reclaim."""
        for site, said in ((first, "nothing has to be reclaimed"), (second, "it has not come yet")):
            with pytest.raises(DeviceError, match=said):
                site.commit(reclaim)

    def test_twice(self, first: Site, second: Site) -> None:
        """It is given away once; what never came cannot be."""
        first.started()
        move(first, second)
        first.commit(give_away)
        assert first.custody == Custody(Holding.AWAY)
        assert second.running is not None
        second.running.close()
        second.commit(keep)
        assert second.custody == Custody(Holding.HERE, 1)


class TestForm:
    """What is kept"""

    def test_absent(self, first: Site) -> None:
        """A TPM that never moved has none of it, in its store and in its blobs."""
        device = first.started()
        permanent, _ = blobs.unpack(PTM_BLOB_TYPE.PERMANENT, saved(device)[PTM_BLOB_TYPE.PERMANENT])
        assert CUSTODY not in {*permanent, *first.host.read_state("guest")}

    @pytest.mark.parametrize("octets", [b"", b"\0\x02\0\0\0\0\0", b"\0\x01\x04\0\0\0\0", bytes(8)])
    def test_unknown(self, octets: bytes) -> None:
        """What is not known is an error."""
        with pytest.raises(DeviceError, match="update this host first"):
            custody_of({CUSTODY: octets})

    def test_suspended(self, first: Site, second: Site) -> None:
        """A run that STORE_VOLATILE kept goes on at the host that it has come to."""
        first.started()
        move(first, second)
        device = second.running
        assert device is not None
        device.execute(INCREMENT)
        device.store_volatile()
        device.close()

        assert value_of(second.device().execute(READ)) == 1
