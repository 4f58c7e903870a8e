"""Sets of commands as bits, which libtpms orders in two ways."""

from collections.abc import Iterable
from itertools import chain

FIRST = 0x11F
"""The first command code; since version 5 of PERSISTENT_DATA, bit n is command FIRST + n."""

BY_CODE = 5

LIBTPMS_0_9 = tuple(
    chain(
        range(0x11F, 0x123),
        range(0x124, 0x12F),
        range(0x130, 0x141),
        range(0x142, 0x15A),
        range(0x15B, 0x15F),
        range(0x160, 0x166),
        range(0x167, 0x175),
        range(0x176, 0x179),
        range(0x17A, 0x194),
        (0x197,),
    )
)
"""The commands of libtpms 0.9 in order of their codes; before version 5, bit n is the n-th of them."""


def commands_of(bits: bytes, version: int) -> set[int]:
    """The commands of a set in PERSISTENT_DATA of a version; bits of no command are passed over."""
    chosen = [number for number in range(8 * len(bits)) if bits[number // 8] >> number % 8 & 1]
    if version >= BY_CODE:
        return {FIRST + number for number in chosen}
    return {LIBTPMS_0_9[number] for number in chosen if number < len(LIBTPMS_0_9)}


def bits_of(commands: Iterable[int]) -> bytes:
    """The set of those commands that libtpms 0.9 has, as version 4 of PERSISTENT_DATA holds it."""
    bits = bytearray((len(LIBTPMS_0_9) + 7) // 8)
    for code in commands:
        if code in LIBTPMS_0_9:
            number = LIBTPMS_0_9.index(code)
            bits[number // 8] |= 1 << number % 8
    return bytes(bits)
