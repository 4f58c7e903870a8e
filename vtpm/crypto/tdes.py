"""Keys of Triple DES (Part 1, Annex "Symmetric Block Ciphers"): their parity, and those that are too weak."""

from itertools import pairwise, product

PART = 8
"""Octets of each of the two or three DES keys that a key consists of."""

PATTERNS = ((0x01, 0x01), (0x1F, 0x0E), (0xE0, 0xF1), (0xFE, 0xFE))
"""Octets of weak keys: those of the first half, each with its counterpart in the second half."""

WEAK = frozenset(
    bytes([PATTERNS[place][half] for half in (0, 1) for place in places])
    for places in product(range(4), repeat=4)
    if places[0] ^ places[1] ^ places[2] ^ places[3] == 0
)
"""SP 800-67, 3.3.2: the 64 keys that are weak, semi-weak or possibly weak."""


def with_odd_parity(key: bytes) -> bytes:
    """The key with the lowest bit of each octet set so that its number of ones is odd."""
    return bytes(octet & 0xFE | (octet >> 1).bit_count() % 2 ^ 1 for octet in key)


def is_usable(key: bytes) -> bool:
    """Is no part of the key weak, and no part equal to its neighbor?"""
    key = with_odd_parity(key)
    parts = [key[start : start + PART] for start in range(0, len(key), PART)]
    return not WEAK.intersection(parts) and all(a != b for a, b in pairwise(parts))
