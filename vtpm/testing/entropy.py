"""Octets that look random and are always the same, so that a test can be repeated."""

import hashlib
from collections.abc import Callable


def seeded(seed: bytes = b"test") -> Callable[[int], bytes]:
    """A source of octets that are always the same: SHAKE-256 of the seed and a counter."""
    count = 0

    def source(octets: int) -> bytes:
        nonlocal count
        count += 1
        return hashlib.shake_256(seed + count.to_bytes(8, "big")).digest(octets)

    return source
