"""An operator's changes and views of a TPM, with the real engine and a store that may fail."""

import errno
from collections.abc import Mapping

import pytest

from tests.daemon.fake import STARTUP, SUCCESS, LastingStore
from vtpm import Tpm
from vtpm.daemon.clock import entropy
from vtpm.daemon.device.changes import ChangeError, alteration, altered
from vtpm.daemon.device.custody import CUSTODY, Stretch, custody_of
from vtpm.daemon.device.device import Device
from vtpm.daemon.device.stateblobs import SUSPENDED
from vtpm.daemon.device.views import VIEWS, ViewError, shown
from vtpm.daemon.errors import DeviceError

GET_RANDOM = bytes.fromhex("80010000000c0000017b0010")
FAILURES = 2

HERE = Stretch(bytes(range(16)), 7)
"""The generation of a store in which it changes."""


class FullStore(LastingStore):
    """A store that takes changes until it is full."""

    is_full = False

    def commit(self, changes: Mapping[str, bytes | None]) -> None:
        """Take changes, or refuse them."""
        if self.is_full:
            raise OSError(errno.ENOSPC, "no space left on device")
        super().commit(changes)


@pytest.fixture
def store() -> FullStore:
    return FullStore()


@pytest.fixture
def device(store: FullStore) -> Device:
    """A started TPM with failed authorizations."""
    device = Device("vm", Tpm, lambda: store, may_manufacture=True)
    device.init()
    assert device.execute(STARTUP) == SUCCESS
    device.change(fail)
    return device


def fail(tpm: Tpm) -> None:
    """Count failed authorizations."""
    for _ in range(FAILURES):
        tpm.lockout.count_failure(tpm.clock.time)
    tpm.touch_permanent()


def stored_tries(store: LastingStore) -> int:
    """The count in the stored state."""
    return Tpm.restore(store.load(), entropy).lockout.failed_tries


class TestChange:
    """Changes that are no commands"""

    def test_durable(self, device: Device, store: FullStore) -> None:
        """A change is durable when it is answered."""
        assert stored_tries(store) == FAILURES
        assert device.change(alteration("lockout-reset")) == FAILURES
        assert stored_tries(store) == 0

    def test_full(self, device: Device, store: FullStore) -> None:
        """A store that takes no change is told; neither TPM nor store has changed, and later it works."""
        store.is_full = True
        with pytest.raises(DeviceError, match="no space left"):
            device.change(alteration("lockout-reset"))
        store.is_full = False
        assert stored_tries(store) == FAILURES

        assert device.change(alteration("lockout-reset")) == FAILURES
        assert stored_tries(store) == 0

    def test_refused(self, device: Device, store: FullStore) -> None:
        """A change that is refused leaves everything as it was."""
        before = store.load()
        with pytest.raises(ChangeError, match=r"no X\.509 certificate"):
            device.change(alteration("ek-certificate", certificate="00"))

        assert store.load() == before
        assert device.execute(GET_RANDOM)[6:10] == bytes(4)

    def test_not_loaded(self, device: Device) -> None:
        """Without a loaded TPM there is nothing to change; that is the caller's to do in the store."""
        device.close()

        assert device.change(alteration("lockout-reset")) is None

    def test_stored(self, device: Device, store: FullStore) -> None:
        """A stored TPM is changed in one blob; one that was stored while it ran is not."""
        device.close()
        tries, changes = altered(store.load(), HERE, "lockout-reset")
        assert (tries, set(changes)) == (FAILURES, {"permanent", CUSTODY})
        assert custody_of({CUSTODY: changes[CUSTODY] or b""}).lineage == (HERE,)

        with pytest.raises(ChangeError, match="start the VM"):
            altered({**store.load(), SUSPENDED: b"a run"}, HERE, "lockout-reset")
        with pytest.raises(ChangeError, match="restore the state from a backup"):
            altered({}, HERE, "lockout-reset")

    def test_unknown(self) -> None:
        """A change that is none, or with other arguments, is refused before it comes near a TPM."""
        with pytest.raises(ChangeError, match="the daemon's version"):
            alteration("another")
        with pytest.raises(TypeError):
            alteration("lockout-reset", certificate="00")


class TestView:
    """Views, which look at copies"""

    @pytest.mark.slow
    @pytest.mark.parametrize("view", sorted(VIEWS))
    def test_nothing_changes(self, device: Device, store: FullStore, view: str) -> None:
        """Whatever a view does, the TPM that runs and the store are as they were."""
        before = store.load()
        copied = device.copied()
        assert copied is not None
        assert shown(view, *copied) is not None
        after = device.copied()

        assert after is not None
        assert after[0] == copied[0]
        assert store.load() == before

    def test_time_passes(self, store: FullStore) -> None:
        """What time has healed since the last command is shown healed."""
        device = Device("vm", Tpm, lambda: store, may_manufacture=True)
        device.init()
        device.execute(STARTUP)
        device.change(fail)
        copied = device.copied()
        assert copied is not None
        shown_at = [
            shown("inspect", copied[0], idle)["lockout"]["failed_tries"] for idle in (0, 10**6, 10**7)
        ]

        assert shown_at == [FAILURES, FAILURES - 1, 0]

    def test_off(self, device: Device) -> None:
        """A TPM that is off is not copied."""
        device.stop()

        assert device.copied() is None

    def test_errors(self) -> None:
        """A view that is none, and a state that is none, are told with what to do."""
        with pytest.raises(ViewError, match="the daemon's version"):
            shown("another", {})
        with pytest.raises(ViewError, match="restore the state from a backup"):
            shown("inspect", {})
