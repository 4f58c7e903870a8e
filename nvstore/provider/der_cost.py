"""
What a PKCS#12 file asks of a host before its passphrase is known to be right: rounds of key derivation.

The file is walked as DER (X.690): a salt that numbers follow names its rounds.
So are PBKDF2 and PBES1 written (RFC 8018, appendix A), MacData (RFC 7292) and scrypt (RFC 7914, clause 7).
Lengths that are not definite, and strings in parts, could hide them, and are refused: no backup has them.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

MAX_ROUNDS: Final = 10_000_000
"""Of HMAC or a hash; for scrypt, the product of its parameters, of which 2^23 take 1 GiB."""
MAX_DEPTH: Final = 32
_INTEGER, _OCTETS, _SEQUENCE = 0x02, 0x04, 0x30
_CONSTRUCTED: Final = 0x20
_OCTETS_IN_PARTS: Final = _OCTETS | _CONSTRUCTED
_EXPLICIT: Final = 0xA0
_SCRYPT_NUMBERS: Final = 3


class _Value(NamedTuple):
    tag: int
    content: bytes


def rounds_of(octets: bytes) -> int:
    """Return the most rounds that a file asks for; ValueError if it is not in DER."""
    return max(_rounds(_values(octets), 0), default=0)


def _values(octets: bytes) -> list[_Value]:
    values, at = [], 0
    while at < len(octets):
        tag = octets[at]
        size, begin = _length(octets, at + 1)
        if tag & 0x1F == 0x1F or tag == _OCTETS_IN_PARTS or begin + size > len(octets):
            msg = "it is not in DER"
            raise ValueError(msg)
        values.append(_Value(tag, octets[begin : begin + size]))
        at = begin + size
    return values


def _length(octets: bytes, at: int) -> tuple[int, int]:
    """Return a length and where the content begins."""
    first = octets[at] if at < len(octets) else 0x80
    if first < 0x80:
        return first, at + 1
    more = first & 0x7F
    if not 0 < more <= 4 or at + 1 + more > len(octets):
        msg = "it has a length that is not definite"
        raise ValueError(msg)
    return int.from_bytes(octets[at + 1 : at + 1 + more]), at + 1 + more


def _rounds(values: list[_Value], depth: int, *, in_content: bool = False) -> Iterator[int]:
    if depth > MAX_DEPTH:
        msg = "it is nested too deeply"
        raise ValueError(msg)
    for i, value in enumerate(values):
        if value.tag == _OCTETS:
            yield _following(values[i + 1 :])
            if in_content:  # the content of a PKCS#7 object is DER again; other strings are salts and secrets
                yield from _rounds(_values(value.content), depth + 1)
        elif value.tag & _CONSTRUCTED:
            inner = value.tag == _EXPLICIT
            yield from _rounds(_values(value.content), depth + 1, in_content=inner)


def _following(values: list[_Value]) -> int:
    """Return the rounds in the numbers that follow a salt."""
    numbers = []
    for value in values:
        if value.tag != _INTEGER:
            break
        numbers.append(int.from_bytes(value.content))
    if len(numbers) >= _SCRYPT_NUMBERS:
        return numbers[0] * numbers[1] * numbers[2]
    return numbers[0] if numbers else 0
