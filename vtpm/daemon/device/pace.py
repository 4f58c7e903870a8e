"""
Which commands of a TPM took long of late, beside those that the engine names beforehand.

What a command takes also depends on its parameters and on the state, as with Load of a key on a slow curve.
One that took long on the event loop runs on a thread the next times, until that was often enough in vain.
"""

from typing import Final

LIMIT: Final = 0.001
"""Seconds for which other TPMs may wait."""

REMEMBERED: Final = 64
"""How many times a command must be quick again until it runs on the event loop."""

MOST: Final = 64
"""Codes that are remembered; there are not many more commands, but a client may send any code."""


class Pace:
    """The codes of the commands that took long."""

    def __init__(self) -> None:
        self._left: dict[bytes, int] = {}

    def is_slow(self, request: bytes) -> bool:
        """Did commands like this one take long?"""
        return bool(self._left) and request[6:10] in self._left

    def note(self, request: bytes, seconds: float) -> None:
        """A command has taken so many seconds."""
        if seconds > LIMIT:
            code = request[6:10]
            if code in self._left or len(self._left) < MOST:
                self._left[code] = REMEMBERED
        elif self._left:
            code = request[6:10]
            left = self._left.get(code, 0)
            if left > 1:
                self._left[code] = left - 1
            elif left:
                del self._left[code]
