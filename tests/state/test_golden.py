"""The saved states of every release (`tests/states`): each can be read for ever."""

import json
from pathlib import Path

import pytest

from tests.scenarios import seeded
from vtpm import Instant, Tpm
from vtpm.state.saved import PERMANENT
from vtpm.state.suspended import VOLATILE

STATES = Path(__file__).parent.parent / "states"
GOLDEN = {
    f"{path.stem}: {name}": {blob: bytes.fromhex(octets) for blob, octets in blobs.items()}
    for path in sorted(STATES.glob("*.json"))
    for name, blobs in json.loads(path.read_text()).items()
}
STARTUP_CLEAR = bytes.fromhex("8001 0000000c 00000144 0000")
STARTUP_STATE = bytes.fromhex("8001 0000000c 00000144 0001")


def restored(blobs: dict[str, bytes]) -> Tpm:
    """The TPM of a state, with power, where its run goes on if that was saved."""
    tpm = Tpm.restore(blobs, seeded())
    if VOLATILE in blobs:
        tpm.resume(Instant(0))
    else:
        tpm.power_on(Instant(0))
    return tpm


def test_there_are_some() -> None:
    """A run, a stop and a suspension have been saved, with a profile of one's own and without any."""
    kinds = [blobs.keys() for blobs in GOLDEN.values()]

    assert any(VOLATILE in kind for kind in kinds)
    assert any("profile" not in kind for kind in kinds)
    assert any(b"own" in blobs[PERMANENT] for blobs in GOLDEN.values())


@pytest.mark.parametrize("blobs", GOLDEN.values(), ids=GOLDEN)
def test_read(blobs: dict[str, bytes]) -> None:
    """What was saved is read, and saved again as it was where the form is still the same."""
    tpm = Tpm.restore(blobs, seeded())
    again = tpm.snapshot()

    assert {name: again[name] for name in blobs if name in again} == {
        name: blob for name, blob in blobs.items() if name != VOLATILE
    }


@pytest.mark.parametrize("blobs", GOLDEN.values(), ids=GOLDEN)
def test_used(blobs: dict[str, bytes]) -> None:
    """The TPM goes on, or starts."""
    tpm = restored(blobs)

    if VOLATILE in blobs:
        again = tpm.snapshot_volatile()[VOLATILE]
        if again[:2] == blobs[VOLATILE][:2]:
            assert again == blobs[VOLATILE]
        else:
            assert restored({**blobs, VOLATILE: again}).snapshot_volatile()[VOLATILE] == again
    else:
        startup = STARTUP_STATE if "reset" in blobs else STARTUP_CLEAR
        assert int.from_bytes(tpm.execute(startup).response[6:], "big") == 0
