"""Part 3, clause 29: clocks and timers."""

import pytest

from tests.scenarios import Client
from vtpm.spec.constants import TPM_CLOCK_ADJUST, TPM_RH, TPM_SU
from vtpm.spec.structures import TPMS_TIME_INFO
from vtpm.wire.error import TPM_RC

ADJUST = TPM_CLOCK_ADJUST
DAY = 24 * 3600 * 1000


def time_info(tpm: Client) -> TPMS_TIME_INFO:
    """TPM2_ReadClock"""
    info = tpm.read_clock().current_time
    assert isinstance(info, TPMS_TIME_INFO)
    return info


class TestReadClock:
    """29.1"""

    def test_advance(self, tpm: Client) -> None:
        """Time and Clock advance together, in milliseconds."""
        tpm.wait(1234)

        info = time_info(tpm)
        assert (info.time, info.clock_info.clock) == (1234, 1234)

    def test_power_cycle(self, tpm: Client) -> None:
        """Time begins again with power, Clock goes on after a Shutdown."""
        tpm.clock_set(TPM_RH.OWNER, new_time=1 << 22)
        tpm.wait(5000)
        tpm.power_cycle()
        tpm.wait(10)

        info = time_info(tpm)
        assert (info.time, info.clock_info.clock, info.clock_info.safe) == (10, (1 << 22) + 5010, True)

    def test_loss_of_power(self, tpm: Client) -> None:
        """Without Shutdown Clock may go back to what was saved, and says that it is not safe."""
        tpm.wait(5000)
        time_info(tpm)
        tpm.power_cycle(shutdown=None)

        info = time_info(tpm)
        assert info.clock_info.clock <= 5000
        assert not info.clock_info.safe

    def test_new(self) -> None:
        """Part 1, 33: a new TPM has reported no Clock before, so there is none to repeat."""
        assert time_info(Client()).clock_info.safe

    def test_safe_again(self, tpm: Client) -> None:
        """Clock is safe again when it has been saved."""
        tpm.power_cycle(shutdown=None)
        tpm.wait(1 << 22)

        assert time_info(tpm).clock_info.safe
        assert "orderly" in tpm.changes

    @pytest.mark.parametrize(
        ("shutdown", "startup", "resets", "restarts"),
        [
            (TPM_SU.CLEAR, TPM_SU.CLEAR, 2, 0),
            (None, TPM_SU.CLEAR, 2, 0),
            (TPM_SU.STATE, TPM_SU.CLEAR, 1, 1),
            (TPM_SU.STATE, TPM_SU.STATE, 1, 1),
        ],
    )
    def test_counters(
        self, tpm: Client, shutdown: TPM_SU | None, startup: TPM_SU, resets: int, restarts: int
    ) -> None:
        """A TPM Reset counts as a reset, a Restart and a Resume as a restart."""
        assert (time_info(tpm).clock_info.reset_count, time_info(tpm).clock_info.restart_count) == (1, 0)
        tpm.power_cycle(shutdown=shutdown, startup=startup)

        info = time_info(tpm).clock_info
        assert (info.reset_count, info.restart_count) == (resets, restarts)


class TestClockSet:
    """29.2"""

    @pytest.mark.parametrize(
        ("new", "expected"),
        [
            (1000, TPM_RC.SUCCESS),
            (DAY, TPM_RC.SUCCESS),
            (0xFFFF_0000_0000_0000, TPM_RC.SUCCESS),
            (999, TPM_RC.VALUE.parameter(1)),
            (0, TPM_RC.VALUE.parameter(1)),
            (0xFFFF_0000_0000_0001, TPM_RC.VALUE.parameter(1)),
            (0xFFFF_FFFF_FFFF_FFFF, TPM_RC.VALUE.parameter(1)),
        ],
    )
    def test_range(self, tpm: Client, new: int, expected: int) -> None:
        """Clock is advanced, never set back, and not beyond its range."""
        tpm.wait(1000)

        assert tpm.clock_set(TPM_RH.OWNER, new_time=new).rc == expected
        assert time_info(tpm).clock_info.clock == (new if expected == TPM_RC.SUCCESS else 1000)

    def test_durable(self, tpm: Client) -> None:
        """What is set is safe at once; Time does not change."""
        tpm.power_cycle(shutdown=None)
        tpm.clock_set(TPM_RH.PLATFORM, new_time=DAY)
        assert time_info(tpm).clock_info.safe
        assert time_info(tpm).time == 0
        tpm.power_cycle(shutdown=None)

        assert time_info(tpm).clock_info.clock == DAY

    def test_not_safe_yet(self, tpm: Client) -> None:
        """Part 1, 33: a greater Clock may have been reported, but none beyond the next regular saving."""
        tpm.wait(5000)
        assert time_info(tpm).clock_info.clock == 5000
        tpm.power_cycle(shutdown=None)
        lost = time_info(tpm).clock_info
        assert (lost.clock, lost.safe) == (0, False)

        tpm.clock_set(TPM_RH.OWNER, new_time=10)
        assert not time_info(tpm).clock_info.safe
        tpm.clock_set(TPM_RH.OWNER, new_time=tpm.tpm.profile.clock_update)
        assert time_info(tpm).clock_info.safe

    def test_whose_it_is(self, tpm: Client) -> None:
        """The owner and the platform set Clock."""
        assert tpm.clock_set(TPM_RH.ENDORSEMENT, new_time=DAY).rc == TPM_RC.VALUE.handle(1)


class TestClockRateAdjust:
    """29.3"""

    def advance(self, tpm: Client) -> int:
        """What a day makes of Time."""
        before = time_info(tpm).time
        tpm.wait(DAY)
        return time_info(tpm).time - before

    @pytest.mark.parametrize("slower", [ADJUST.COARSE_SLOWER, ADJUST.MEDIUM_SLOWER, ADJUST.FINE_SLOWER])
    def test_adjust(self, tpm: Client, slower: ADJUST) -> None:
        """Slower and faster by the same step cancel out; a coarser step is longer."""
        faster = ADJUST(-slower)
        assert tpm.clock_rate_adjust(TPM_RH.OWNER, rate_adjust=slower).rc == TPM_RC.SUCCESS
        once = self.advance(tpm)
        tpm.clock_rate_adjust(TPM_RH.OWNER, rate_adjust=faster)
        nominal = self.advance(tpm)
        tpm.clock_rate_adjust(TPM_RH.OWNER, rate_adjust=faster)

        assert once < nominal == DAY < self.advance(tpm)

    def test_steps(self, tpm: Client) -> None:
        """A coarse step is longer than a medium one, and that longer than a fine one."""
        lost = []
        for slower in (ADJUST.FINE_SLOWER, ADJUST.MEDIUM_SLOWER, ADJUST.COARSE_SLOWER):
            tpm.clock_rate_adjust(TPM_RH.OWNER, rate_adjust=slower)
            lost.append(DAY - self.advance(tpm))
            tpm.clock_rate_adjust(TPM_RH.OWNER, rate_adjust=ADJUST(-slower))

        assert 0 < lost[0] < lost[1] < lost[2]

    @pytest.mark.parametrize("adjust", [ADJUST.COARSE_SLOWER, ADJUST.COARSE_FASTER])
    def test_limit(self, tpm: Client, adjust: ADJUST) -> None:
        """The rate stays within 15 % of the nominal one."""
        codes = [tpm.clock_rate_adjust(TPM_RH.OWNER, rate_adjust=adjust).rc for _ in range(16)]

        assert codes == [TPM_RC.SUCCESS] * 15 + [TPM_RC.VALUE.parameter(1)]
        assert 0.84 < DAY / self.advance(tpm) < 1.16

    def test_no_change(self, tpm: Client) -> None:
        """An adjustment may change nothing."""
        tpm.clock_rate_adjust(TPM_RH.OWNER, rate_adjust=ADJUST.NO_CHANGE)

        assert self.advance(tpm) == DAY
