"""
A limit for what is noted of the same thing: whoever may connect must not fill the disk, or push the past out.

The first entries of a kind are noted, each for itself; what follows within a period is counted,
and the count stands in the next entry of that kind, or in one of its own when the period is over.
"""

from collections.abc import Hashable, Mapping
from typing import Any, Final, NamedTuple

BURST: Final = 20
"""Entries of a kind that are noted one by one within a period."""
PERIOD: Final = 600.0
"""Seconds."""
KINDS: Final = 1024
"""Kinds that are told apart; what is beyond counts as one."""


class Repeated(NamedTuple):
    """Entries that were counted and not noted."""

    operation: str
    result: str
    facts: Mapping[str, Any]
    times: int


class _Kind:
    def __init__(self, since: float) -> None:
        self.since = since
        self.noted = 0
        self.counted: Repeated | None = None


class Repeats:
    """What was noted lately by this process."""

    def __init__(self) -> None:
        self._kinds: dict[Hashable, _Kind] = {}

    def admit(self, operation: str, result: str, facts: Mapping[str, Any], now: float) -> bool:
        """Tell whether an entry is to be noted; otherwise it is counted."""
        subject = tuple(str(facts.get(name, "")) for name in ("vm", "name", "provider", "path"))
        kind: Hashable = (operation, result, subject)
        if kind not in self._kinds and len(self._kinds) >= KINDS:
            kind, facts = (operation, result), {}
        known = self._kinds.setdefault(kind, _Kind(now))
        if known.noted < BURST:
            known.noted += 1
            return True
        count = known.counted.times if known.counted else 0
        known.counted = Repeated(operation, result, dict(facts), count + 1)
        return False

    def over(self, now: float) -> list[Repeated]:
        """Return what was counted in periods that are over, and forget these."""
        ended = [kind for kind, known in self._kinds.items() if not 0 <= now - known.since < PERIOD]
        found = [self._kinds.pop(kind).counted for kind in ended]
        return [repeated for repeated in found if repeated is not None]
