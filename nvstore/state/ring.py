"""
The file of a state: a page that says how it is divided, then a ring of slots with a record in each.

    superblock: magic `nvsring1` 8, slot count u32, slot size u64, VM 16, CRC-32 of these; zeros up to 4096
    slot i: 4096 + i * slot size

Generation g lies in slot g mod count, so a record is always written over the oldest one, and a torn write
harms nothing that was acknowledged.
The superblock is written once, when the file is made; a larger state gets a new file.
It is a hint and not trusted: what a record is, it says itself and authenticates.
"""

import struct
import zlib
from typing import Final, NamedTuple, Self
from uuid import UUID

from nvstore.state.record import PAGE, Damaged

MAGIC: Final = b"nvsring1"
SLOTS: Final = 4
MIN_SLOT: Final = 4 * PAGE
MAX_SLOT: Final = 1 << 40
_SUPERBLOCK: Final = struct.Struct(">8sIQ16s")
_CRC: Final = struct.Struct(">I")


def pages(size: int) -> int:
    """Return this size, rounded up to whole pages."""
    return -(-size // PAGE) * PAGE


class Ring(NamedTuple):
    """The division of one file."""

    vm: UUID
    slot_size: int
    slots: int = SLOTS

    @classmethod
    def for_record(cls, vm: UUID, size: int) -> Self:
        """Return a division with room for records of twice this size."""
        return cls(vm, max(MIN_SLOT, pages(2 * size)))

    @property
    def size(self) -> int:
        """Octets of the whole file."""
        return PAGE + self.slots * self.slot_size

    def offset(self, generation: int) -> int:
        """Return where the record of this generation begins."""
        return PAGE + generation % self.slots * self.slot_size

    def encode(self) -> bytes:
        """Return the superblock."""
        fields = _SUPERBLOCK.pack(MAGIC, self.slots, self.slot_size, self.vm.bytes)
        return (fields + _CRC.pack(zlib.crc32(fields))).ljust(PAGE, b"\0")


def read_ring(superblock: bytes) -> Ring:
    """Return the division that a superblock describes, or raise Damaged."""
    if len(superblock) < PAGE:
        msg = f"{len(superblock)} octets are too few for a superblock"
        raise Damaged(msg)
    fields = superblock[: _SUPERBLOCK.size]
    magic, slots, slot_size, vm = _SUPERBLOCK.unpack(fields)
    if magic != MAGIC:
        msg = "it does not begin as a state does"
        raise Damaged(msg)
    if _CRC.unpack_from(superblock, _SUPERBLOCK.size) != (zlib.crc32(fields),):
        msg = "the checksum of the superblock is wrong"
        raise Damaged(msg)
    if not 2 <= slots <= 1024 or slot_size % PAGE or not PAGE <= slot_size <= MAX_SLOT:
        msg = f"{slots} slots of {slot_size} octets are impossible"
        raise Damaged(msg)
    return Ring(UUID(bytes=vm), slot_size, slots)
