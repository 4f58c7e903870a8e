"""Part 1, "Timing Components": Time, Clock and their rate."""

from dataclasses import dataclass

RATE_NOMINAL = 30_000
"""Ticks of the host that make a millisecond at the nominal rate; ClockRateAdjust changes it by up to 15 %."""


@dataclass(frozen=True, slots=True)
class Instant:
    """A reading of the host's clock: milliseconds since an arbitrary start, never going backwards."""

    milliseconds: int


@dataclass(slots=True, eq=False)
class Clock:
    """Time since power-on and Clock, in milliseconds; Clock is permanent, saved at every orderly shutdown."""

    interval: int
    """Milliseconds of Clock between two savings of it (TPM_PT_CLOCK_UPDATE)."""
    time: int = 0
    clock: int = 0
    safe: bool = True
    """Can no greater value of Clock have been reported before?"""
    rate: int = RATE_NOMINAL
    epoch: int = 0
    """Changes whenever Time is discontinuous, so that a timeout of another power cycle does not count."""
    last: int = 0
    remainder: int = 0

    def power_on(self, now: Instant, epoch: int) -> None:
        """_TPM_Init: Time starts again from zero."""
        self.time = 0
        self.last = now.milliseconds
        self.remainder = 0
        self.epoch = epoch

    def update(self, now: Instant) -> bool:
        """Advance to `now`; has Clock passed a multiple of its update interval, so that it must be saved?"""
        elapsed = now.milliseconds - self.last
        if elapsed <= 0:
            return False
        self.last = now.milliseconds
        advance, self.remainder = divmod(elapsed * RATE_NOMINAL + self.remainder, self.rate)
        before = self.clock // self.interval
        self.time += advance
        self.clock += advance
        if self.clock // self.interval == before:
            return False
        self.safe = True
        return True

    def set(self, value: int) -> None:
        """TPM2_ClockSet: advance Clock; it is safe if that passes a multiple of its interval."""
        self.safe = self.safe or value // self.interval > self.clock // self.interval
        self.clock = value

    def restart(self) -> None:
        """TPM2_Clear: Clock begins again, of which nobody knows an earlier value."""
        self.clock = 0
        self.safe = True
