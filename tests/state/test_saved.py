"""The saved forms of the state: what is written down is read again, and nothing else is."""

from contextlib import suppress
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.scenarios import Client, seeded
from tests.state.rich import rich
from vtpm import Instant, Tpm
from vtpm.spec.constants import TPM_ALG, TPM_SU
from vtpm.state.profile import DEFAULT
from vtpm.state.saved import CLEAR, NV_PREFIX, OBJECT_PREFIX, ORDERLY, PERMANENT, RESET, SavedStateError
from vtpm.state.saved_profile import PROFILE, save_profile
from vtpm.state.suspended import VOLATILE, SavedRun2
from vtpm.wire.error import TPM_RC
from vtpm.wire.structure import marshal, unmarshal

KINDS = (PERMANENT, PROFILE, ORDERLY, RESET, CLEAR, VOLATILE, NV_PREFIX, OBJECT_PREFIX)


@cache
def everything() -> dict[str, bytes]:
    """All blobs of a rich TPM that is about to lose its power."""
    tpm = rich()
    assert tpm.shutdown(shutdown_type=TPM_SU.STATE).rc == TPM_RC.SUCCESS
    return tpm.tpm.snapshot() | tpm.tpm.snapshot_volatile()


@pytest.fixture
def blobs() -> dict[str, bytes]:
    """The same, as a fixture."""
    return everything()


def name_of(blobs: dict[str, bytes], kind: str) -> str:
    """The name of a blob of that kind."""
    return next(name for name in blobs if name.startswith(kind))


def load(blobs: dict[str, bytes]) -> Tpm:
    """Everything is read: the state of a TPM that goes on, and of one that starts from a saved state."""
    tpm = Tpm.restore(blobs, seeded())
    if VOLATILE in blobs:
        tpm.resume(Instant(0))
    client = Client(start=False)
    client.tpm = Tpm.restore({name: blob for name, blob in blobs.items() if name != VOLATILE}, seeded())
    client.tpm.power_on(Instant(0))
    if client.startup(startup_type=TPM_SU.STATE).rc == TPM_RC.FAILURE:
        raise SavedStateError(client.tpm.volatile.failure, "the TPM is in failure mode")
    return tpm


class TestForms:
    """Every blob"""

    def test_kinds(self, blobs: dict[str, bytes]) -> None:
        """The names tell what a blob holds."""
        assert {name.split("/")[0] for name in blobs} == {kind.rstrip("/") for kind in KINDS}

    def test_whole(self, blobs: dict[str, bytes]) -> None:
        """What is read is written again to the octet."""
        tpm = load(blobs)

        assert tpm.snapshot() | tpm.snapshot_volatile() == blobs

    @pytest.mark.parametrize("kind", [PERMANENT, NV_PREFIX, OBJECT_PREFIX])
    @pytest.mark.parametrize("version", [0, 2, 0xFFFF])
    def test_unknown_version(self, blobs: dict[str, bytes], kind: str, version: int) -> None:
        """A form of another release is refused, by the name of the blob."""
        name = name_of(blobs, kind)
        altered = blobs | {name: version.to_bytes(2, "big") + blobs[name][2:]}

        with pytest.raises(SavedStateError, match=f"'{name}'.*version {version} is not known") as caught:
            Tpm.restore(altered, seeded())
        assert caught.value.blob == name

    def test_unknown_version_of_clock(self, blobs: dict[str, bytes]) -> None:
        """Clock is read when power is applied."""
        tpm = Tpm.restore(blobs | {ORDERLY: b"\0\2" + blobs[ORDERLY][2:]}, seeded())

        with pytest.raises(SavedStateError, match=r"'orderly'.*version 2"):
            tpm.power_on(Instant(0))

    def test_unknown_version_of_volatile(self, blobs: dict[str, bytes]) -> None:
        """A snapshot is read when the TPM resumes."""
        tpm = Tpm.restore(blobs | {VOLATILE: b"\0\x7f" + blobs[VOLATILE][2:]}, seeded())

        with pytest.raises(SavedStateError, match=r"'volatile'.*version 127"):
            tpm.resume(Instant(0))

    def test_measurement_of_other_banks(self) -> None:
        """A measurement that is open has a digest for each bank of the TPM."""
        tpm = Client(start=False)
        tpm.tpm.hash_start()
        blob = tpm.tpm.snapshot_volatile()[VOLATILE]
        form = unmarshal(SavedRun2, blob[2:])
        other = SavedRun2(measured=form.measured[1:], run=form.run)
        restored = Tpm.restore(tpm.tpm.snapshot() | {VOLATILE: blob[:2] + marshal(other)}, seeded())

        with pytest.raises(SavedStateError, match="other banks"):
            restored.resume(Instant(0))

    @pytest.mark.parametrize("name", [RESET, CLEAR])
    def test_unknown_version_of_shutdown(
        self, blobs: dict[str, bytes], name: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Part 3, 9.3: a TPM that cannot restore what Shutdown saved enters failure mode."""
        client = Client(start=False)
        client.tpm = Tpm.restore(blobs | {name: b"\0\2" + blobs[name][2:]}, seeded())
        client.tpm.power_on(Instant(0))

        assert client.startup(startup_type=TPM_SU.STATE).rc == TPM_RC.FAILURE
        assert f"'{name}'" in caplog.text

    @pytest.mark.parametrize("kind", KINDS)
    def test_cut_off(self, blobs: dict[str, bytes], kind: str) -> None:
        """A blob that ends early, or goes on, is malformed."""
        name = name_of(blobs, kind)
        blob = blobs[name]

        for size in {0, 1, 2, 3, len(blob) // 2, len(blob) - 1}:
            with pytest.raises(SavedStateError):
                load(blobs | {name: blob[:size]})
        with pytest.raises(SavedStateError):
            load(blobs | {name: blob + b"\0"})

    @pytest.mark.parametrize("kind", KINDS)
    @given(changes=st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=3))
    def test_altered(self, kind: str, changes: list[tuple[int, int]]) -> None:
        """Whatever a blob holds, it is read or refused, never anything else."""
        blobs = everything()
        name = name_of(blobs, kind)
        octets = bytearray(blobs[name])
        for place, value in changes:
            octets[2 + place % (len(octets) - 2)] = value

        with suppress(SavedStateError):
            load(blobs | {name: bytes(octets)})

    def test_missing(self, blobs: dict[str, bytes]) -> None:
        """Without permanent state there is no TPM, without a snapshot nothing to resume."""
        with pytest.raises(SavedStateError, match=r"'permanent'.*missing"):
            Tpm.restore({name: blob for name, blob in blobs.items() if name != PERMANENT}, seeded())
        tpm = Tpm.restore({name: blob for name, blob in blobs.items() if name != VOLATILE}, seeded())
        with pytest.raises(SavedStateError, match=r"'volatile'.*missing"):
            tpm.resume(Instant(0))

    def test_unknown_profile(self, blobs: dict[str, bytes]) -> None:
        """A TPM from before profiles were saved has one of this program, by its name."""
        alone = {name: blob for name, blob in blobs.items() if name != PROFILE}
        other = alone[PERMANENT].replace(b"default", b"another")

        assert Tpm.restore(alone, seeded()).profile == DEFAULT
        with pytest.raises(SavedStateError, match=r"'profile'.*missing.*'another'"):
            Tpm.restore(alone | {PERMANENT: other}, seeded())

    def test_profile_of_another(self, blobs: dict[str, bytes]) -> None:
        """The profile must be that of the TPM, and one that a TPM can have."""
        other = blobs[PERMANENT].replace(b"default", b"another")
        no_bank = save_profile(replace(DEFAULT, pcr_banks=(TPM_ALG.AES,)))

        with pytest.raises(SavedStateError, match=r"'profile'.*'default'.*'another'"):
            Tpm.restore(blobs | {PERMANENT: other}, seeded())
        with pytest.raises(SavedStateError, match=r"'profile'.*pcr_banks.*AES"):
            Tpm.restore(blobs | {PROFILE: no_bank}, seeded())
