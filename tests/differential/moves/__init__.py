"""The kinds of commands that a stream is made of."""

from tests.differential.moves import (
    administration,
    cryptography,
    exchange,
    flows,
    objects,
    policies,
    storage,
)
from tests.differential.moves.move import MOVES

__all__ = [
    "MOVES",
    "administration",
    "cryptography",
    "exchange",
    "flows",
    "objects",
    "policies",
    "storage",
]
