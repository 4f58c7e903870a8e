"""
Sharing of a secret between n holders, of whom any t can recover it and fewer learn nothing (Shamir, 1979).

Every octet of the secret is the constant term of a polynomial of its own, of degree t - 1 over GF(2^8);
the share of index x, from 1, holds the values of all of them at x.
The field is that of AES: polynomials over GF(2) modulo x^8 + x^4 + x^3 + x + 1.
No table is looked up and nothing branches on a secret octet.
"""

from collections.abc import Mapping
from typing import Final

from nvstore.keys import Entropy

MAX_SHARES: Final = 255
_REDUCTION: Final = 0x1B


def multiply(a: int, b: int) -> int:
    """Return the product of two elements of GF(2^8)."""
    product = 0
    for _ in range(8):
        product ^= a & -(b & 1)
        a = ((a << 1) & 0xFF) ^ (_REDUCTION & -(a >> 7))
        b >>= 1
    return product


def invert(a: int) -> int:
    """Return the inverse of an element other than 0: a^254."""
    result, power = 1, a
    for _ in range(7):
        power = multiply(power, power)
        result = multiply(result, power)
    return result


def split(secret: bytes, threshold: int, count: int, entropy: Entropy) -> dict[int, bytes]:
    """Return the shares of a secret by index: 1 to `count`, of which `threshold` recover it."""
    if not 2 <= threshold <= count <= MAX_SHARES:
        msg = f"{threshold} of {count} shares are impossible: at least 2 must be needed, and at most 255 made"
        raise ValueError(msg)
    coefficients = [secret, *(entropy(len(secret)) for _ in range(threshold - 1))]
    shares = {}
    for x in range(1, count + 1):
        values = bytes(len(secret))
        for row in reversed(coefficients):
            values = bytes(multiply(value, x) ^ term for value, term in zip(values, row, strict=True))
        shares[x] = values
    return shares


def combine(shares: Mapping[int, bytes]) -> bytes:
    """Return the value at 0 of the polynomials through these shares: the secret, if they are enough."""
    secret = bytes(len(next(iter(shares.values()))))
    for x, values in shares.items():
        weight = 1
        for other in shares:
            if other != x:
                weight = multiply(weight, multiply(other, invert(other ^ x)))
        secret = bytes(s ^ multiply(value, weight) for s, value in zip(secret, values, strict=True))
    return secret
