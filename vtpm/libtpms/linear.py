"""
swtpm's "linear" file or block device, which holds its states one after the other (swtpm_nvstore_linear.h).

    magic u64, version u8, pad u8, size of the header u16; little endian
    15 times offset u32 (0: none), octets of the state u32, octets of its section u32
"""

import struct
from typing import Final

from vtpm.libtpms.errors import ForeignStateError

MAGIC: Final = 0x737774706D6C696E
HEADER: Final = struct.Struct("<QBBH")
ENTRY: Final = struct.Struct("<III")
ENTRIES: Final = 15
VERSION: Final = 1
SIZE: Final = HEADER.size + ENTRIES * ENTRY.size
PERMANENT, VOLATILE = 0, 1
"""The places of a TPM 2.0's states among the entries."""

FOREIGN_VERSION: Final = 0xFF
GUARD: Final = HEADER.pack(MAGIC, FOREIGN_VERSION, 0, SIZE).ljust(SIZE, b"\0")
"""A header of a version that no swtpm knows, so that it refuses the file rather than formats it."""


def is_linear(octets: bytes) -> bool:
    """Do the octets begin as a linear file of swtpm does, and not as the guard does?"""
    return (
        len(octets) >= HEADER.size
        and HEADER.unpack_from(octets)[0] == MAGIC
        and not octets.startswith(GUARD[: HEADER.size])
    )


def state_in(octets: bytes, number: int) -> bytes | None:
    """One of the states in a linear file, as swtpm wrote it; None if it is not there."""
    _magic, version, _pad, size = HEADER.unpack_from(octets)
    if version != VERSION or size < HEADER.size + (number + 1) * ENTRY.size or len(octets) < size:
        raise ForeignStateError("the linear file is of an unknown version, or cut short; copy it again")
    offset, length, _section = ENTRY.unpack_from(octets, HEADER.size + number * ENTRY.size)
    if not offset:
        return None
    if offset + length > len(octets):
        raise ForeignStateError("the linear file is cut short; copy it again")
    return octets[offset : offset + length]


def end_of(octets: bytes) -> int:
    """Where swtpm's states end in a linear file; 0 if it is cut short."""
    if len(octets) < SIZE:
        return 0
    entries = [ENTRY.unpack_from(octets, HEADER.size + number * ENTRY.size) for number in range(ENTRIES)]
    return int(max(offset + section for offset, _length, section in entries))
