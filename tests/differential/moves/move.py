"""`@move`: a function that makes the next command of a stream, and how often it is asked."""

from collections.abc import Callable

from tests.differential.pair import Request
from tests.differential.stream import Stream

Maker = Callable[[Stream], Request | None]

MOVES: dict[Maker, int] = {}
"""Every maker of commands, and its weight."""


def move(weight: int) -> Callable[[Maker], Maker]:
    """Register a maker."""

    def register(maker: Maker) -> Maker:
        MOVES[maker] = weight
        return maker

    return register
