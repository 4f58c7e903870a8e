"""What an operator does to a state is safe against power loss, too: revert, repair, rekey, import."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from nvstore import CorruptState, Host, StateMissing, UnknownState
from nvstore.state.ring import read_ring
from nvstore.testing import FaultyFiles, Image, PowerLoss
from tests.nvstore.conftest import OTHER, VM
from tests.nvstore.test_crash import ROOT, disk, host_on  # noqa: F401 - a fixture

pytestmark = pytest.mark.slow

REASON = "ticket 17"
STATE = ROOT / "states" / f"{VM}.state"
BUNDLE = Path("/guest.bundle")
Blobs = dict[str, bytes]
OLD: Blobs = {"a": b"5", "big": bytes(9000)}
OLDER: Blobs = {"a": b"3", "big": bytes(9000)}


@pytest.fixture
def image(disk: Image) -> Image:  # noqa: F811 - the fixture
    """A closed state at generation 5, whose generation 3 is kept, and a bundle of it."""
    files = FaultyFiles(disk)
    host = host_on(files)
    with host.create_state(VM, "guest", {"a": b"1", "big": bytes(9000)}) as store:
        for number in range(2, 6):
            store.commit({"a": b"%d" % number})
    host.transfers.export(VM, BUNDLE)
    return next(files.images())


def spoiled(image: Image) -> Image:
    """The same disk with a superblock and the newest record that nobody can read."""
    content = bytearray(image[STATE])
    ring = read_ring(bytes(content))
    content[ring.offset(5) + 2000] ^= 1
    content[9] ^= 1
    return {**image, STATE: bytes(content)}


def every_power_loss(image: Image, operate: Callable[[Host], None], check: Callable[[Host], None]) -> int:
    """Lose power at every operation, and check all that may be on the disk; how many there were."""
    files = FaultyFiles(image)
    operate(host_on(files, seed=4))
    checked = 0
    for at in range(len(files.operations) + 1):
        crashed = FaultyFiles(image, power_loss_at=at)
        with contextlib.suppress(PowerLoss):
            operate(host_on(crashed, seed=4))
        for found in crashed.images(seed=at, tears=8, limit=48):
            check(host_on(FaultyFiles(found), seed=5))
            checked += 1
    return checked


def holds(*allowed: Blobs) -> Callable[[Host], None]:
    """The state opens with one of these contents, and takes a commit."""

    def check(host: Host) -> None:
        with host.open_state(VM) as store:
            assert store.load() in allowed
            store.commit({"after": b"the crash"})
        host.open_state(VM).close()

    return check


def test_revert(image: Image) -> None:
    """The newest generation is in force, or the one that was asked for."""

    def operate(host: Host) -> None:
        host.revert_state(VM, generation=3, reason=REASON)

    assert every_power_loss(image, operate, holds(OLD, OLDER)) > 20


def test_revert_to_bundle(image: Image) -> None:
    """So it is with a snapshot."""

    def operate(host: Host) -> None:
        with host.open_state(VM) as store:
            store.commit({"a": b"later"})
        host.transfers.revert(VM, BUNDLE, reason=REASON)

    assert every_power_loss(image, operate, holds(OLD, {**OLD, "a": b"later"})) > 20


@pytest.mark.parametrize("deep", [False, True])
def test_rekey(image: Image, *, deep: bool) -> None:
    """The content is the same under the old key and under the new one."""

    def operate(host: Host) -> None:
        with host.open_state(VM) as store:
            store.rekey(deep=deep)

    assert every_power_loss(image, operate, holds(OLD)) > 10


def test_repair(image: Image) -> None:
    """A state that does not open stays so, and can be repaired again; or it is repaired."""

    def operate(host: Host) -> None:
        host.repair_state(VM, reason=REASON)

    def check(host: Host) -> None:
        try:
            host.open_state(VM).close()
        except CorruptState:
            host.repair_state(VM, reason=REASON)
        holds({**OLD, "a": b"4"})(host)

    assert every_power_loss(spoiled(image), operate, check) > 20


def test_import(image: Image) -> None:
    """An import that was interrupted has left nothing that is in the way of the next one."""

    def operate(host: Host) -> None:
        host.transfers.import_state(BUNDLE, vm=OTHER, name="second").close()

    def check(host: Host) -> None:
        try:
            with host.open_state(OTHER) as store:
                assert store.load() == OLD
        except (UnknownState, StateMissing):
            operate(host)
        holds(OLD)(host)

    assert every_power_loss(image, operate, check) > 20
