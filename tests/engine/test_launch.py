"""Part 3, 22.9, 22.10 and 22.11; Part 1, "H-CRTM": what hardware measures, before Startup and after it."""

import hashlib

import pytest

from tests.scenarios import Client
from vtpm import Instant
from vtpm.crypto.digest import NAMES
from vtpm.spec.constants import TPM_ALG, TPM_SU
from vtpm.state.suspended import VOLATILE
from vtpm.wire.error import TPM_RC


def digest(alg: TPM_ALG, octets: bytes) -> bytes:
    """By the standard library."""
    return hashlib.new(NAMES[alg], octets).digest()


def measure(tpm: Client, *parts: bytes) -> None:
    """The signals of one measurement."""
    tpm.tpm.hash_start()
    for part in parts:
        tpm.tpm.hash_data(part)
    tpm.tpm.hash_end()


class TestBeforeStartup:
    """The static root of trust: PCR 0"""

    @pytest.mark.parametrize("locality", [0, 3])
    @pytest.mark.parametrize("parts", [[], [b""], [b"one", b"", b" and the other"]])
    def test_value(self, locality: int, parts: list[bytes]) -> None:
        """PCR 0 begins with locality 4 and is extended with the digest of the data, in every bank."""
        tpm = Client(start=False)
        measure(tpm, *parts)
        assert tpm.startup(startup_type=TPM_SU.CLEAR, locality=locality).rc == TPM_RC.SUCCESS

        for alg, bank in tpm.tpm.pcr.banks.items():
            first = b"\4".rjust(len(bank[0]), b"\0")
            assert bank[0] == digest(alg, first + digest(alg, b"".join(parts)))
            assert bank[17] == b"\xff" * len(bank[17])

    def test_last_one_counts(self) -> None:
        """A measurement that begins again drops the open one."""
        tpm, other = Client(start=False), Client(start=False)
        tpm.tpm.hash_start()
        tpm.tpm.hash_data(b"dropped")
        for one in (tpm, other):
            measure(one, b"measured")
            one.startup(startup_type=TPM_SU.CLEAR)

        assert tpm.tpm.pcr.banks == other.tpm.pcr.banks

    def test_abandoned(self) -> None:
        """A command in between ends the measurement without an effect."""
        tpm = Client(start=False)
        tpm.tpm.hash_start()
        tpm.tpm.hash_data(b"measured")
        assert tpm.get_random(bytes_requested=1).rc == TPM_RC.INITIALIZE
        tpm.tpm.hash_end()
        tpm.startup(startup_type=TPM_SU.CLEAR)

        assert all(not any(bank[0]) for bank in tpm.tpm.pcr.banks.values())

    def test_long(self) -> None:
        """A long measurement is digested as it comes; nothing of its octets is kept."""
        tpm, part, count = Client(start=False), bytes(range(256)) * 16, 64
        measure(tpm, *[part] * count)
        assert tpm.startup(startup_type=TPM_SU.CLEAR).rc == TPM_RC.SUCCESS
        for alg, bank in tpm.tpm.pcr.banks.items():
            first = b"\4".rjust(len(bank[0]), b"\0")
            assert bank[0] == digest(alg, first + digest(alg, part * count))

        tpm.tpm.hash_start()
        for number in range(count):
            tpm.tpm.hash_data(part)
            if number == 0:
                before = len(tpm.tpm.snapshot_volatile()[VOLATILE])
        assert len(tpm.tpm.snapshot_volatile()[VOLATILE]) == before

    def test_power(self) -> None:
        """Power takes an open measurement, and one that is complete."""
        tpm = Client(start=False)
        measure(tpm, b"measured")
        tpm.tpm.hash_start()
        tpm.tpm.power_on(Instant(0))
        tpm.tpm.hash_end()
        tpm.startup(startup_type=TPM_SU.CLEAR)

        assert all(not any(bank[0]) for bank in tpm.tpm.pcr.banks.values())


class TestAfterStartup:
    """The dynamic root of trust: PCR 17 to 22"""

    def test_values(self, tpm: Client) -> None:
        """PCR 17 has the digest, PCR 18 to 22 begin with zeros, all others stay."""
        tpm.pcr_event(0, event_data=b"x")
        before = {alg: list(bank) for alg, bank in tpm.tpm.pcr.banks.items()}
        measure(tpm, b"measured")

        for alg, bank in tpm.tpm.pcr.banks.items():
            size = len(bank[0])
            expected = digest(alg, bytes(size) + digest(alg, b"measured"))
            assert bank == [*before[alg][:17], expected, *[bytes(size)] * 5, before[alg][23]]

    def test_counters(self, tpm: Client) -> None:
        """Policies that depend on PCR notice, and so does who reads restartCount."""
        before = tpm.pcr_read(pcr_selection_in=()).pcr_update_counter
        measure(tpm)

        banks = len(tpm.tpm.pcr.banks)
        assert tpm.pcr_read(pcr_selection_in=()).pcr_update_counter == before + banks
        assert tpm.read_clock().current_time.clock_info.restart_count == 1

    @pytest.mark.parametrize("signal", ["data", "end"])
    def test_nothing_begun(self, tpm: Client, signal: str) -> None:
        """Without a beginning, the other signals do nothing."""
        before = tpm.tpm.snapshot_volatile()
        if signal == "data":
            tpm.tpm.hash_data(b"measured")
        else:
            tpm.tpm.hash_end()

        assert tpm.tpm.snapshot_volatile() == before

    def test_full_counter(self, tpm: Client) -> None:
        """A measurement that pcrUpdateCounter has no room for ends in failure mode."""
        tpm.tpm.reset.pcr_counter = 0xFFFFFFFF
        measure(tpm, b"measured")

        assert tpm.get_random(bytes_requested=1).rc == TPM_RC.FAILURE

    def test_restart_count(self, tpm: Client) -> None:
        """The counter of restarts has 32 bits."""
        tpm.tpm.reset.restart_count = 0xFFFFFFFF
        measure(tpm, b"measured")

        assert tpm.read_clock().current_time.clock_info.restart_count == 0
        assert tpm.tpm.snapshot_volatile()

    def test_establishment(self, tpm: Client) -> None:
        """The platform's interface can tell that a launch has happened."""
        assert not tpm.tpm.established
        tpm.tpm.hash_start()

        assert tpm.tpm.established
