"""Where time and randomness enter: the engine reads neither by itself."""

import os
import time
from collections.abc import Callable

from vtpm.state.clock import Instant

Clock = Callable[[], Instant]
Entropy = Callable[[int], bytes]


def monotonic() -> Instant:
    """The host's monotonic clock, in milliseconds."""
    return Instant(time.monotonic_ns() // 1_000_000)


def since_1970() -> int:
    """The time of day in milliseconds, which goes on while nothing runs."""
    return time.time_ns() // 1_000_000


entropy: Entropy = os.urandom
"""The host's random generator."""
