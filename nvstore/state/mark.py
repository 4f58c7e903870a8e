"""
The high-water mark: the newest generation of a VM that this host has acknowledged, kept apart from the state.

The file has three places of 512 octets; the highest sequence counts.
Two are written in turn and flushed: before the first record of an opening, and at close.
The third is written after every commit and left to the kernel to write back.

So the mark never leads the state, and lags in one case only:
power is lost before the kernel has written it back, by default within about half a minute of the commit.
An older state that is put back then goes unnoticed as far back as the mark on disk:
no further than the first commit of the last opening.
That a state was continued elsewhere shows even then, because the mark names the one opening that may write.

    magic `nvsmark1` 8, sequence u64, kdk_id 16, VM 16, incarnation 16, open epoch u64, opening 16,
    generation u64, link of that record 48, HMAC-SHA-512 of these 64, CRC-32 of these u32

Generation 0 is a creation that was begun: nothing was acknowledged yet.
"""

import hmac
import struct
import zlib
from pathlib import Path
from typing import Final, NamedTuple
from uuid import UUID

from nvstore.errors import MarkDamaged
from nvstore.files import File, Files, replace_file
from nvstore.keys import BLOCK, Prf
from nvstore.state.record import FIRST_PREVIOUS

MAGIC: Final = b"nvsmark1"
PLACE: Final = 512
LAZY: Final = 2
_FIELDS: Final = struct.Struct(">8sQ16s16s16sQ16sQ48s")
_CRC: Final = struct.Struct(">I")
_MAC_END: Final = _FIELDS.size + BLOCK
_EMPTY: Final = bytes(3 * PLACE)


class Mark(NamedTuple):
    """What the host has seen of one VM."""

    kdk_id: bytes
    vm: UUID
    incarnation: bytes
    open_epoch: int
    opening: bytes
    generation: int = 0
    link: bytes = FIRST_PREVIOUS


def _encode(mark: Mark, sequence: int, key: Prf) -> bytes:
    kdk_id, vm, *rest = mark
    fields = _FIELDS.pack(MAGIC, sequence, kdk_id, vm.bytes, *rest)
    authenticated = fields + key(fields)
    return authenticated + _CRC.pack(zlib.crc32(authenticated))


def encode_fields(mark: Mark) -> bytes:
    """Return all that a mark says, as octets."""
    kdk_id, vm, *rest = mark
    return _FIELDS.pack(MAGIC, 0, kdk_id, vm.bytes, *rest)


class _Place(NamedTuple):
    sequence: int
    mark: Mark
    octets: bytes


def _decode(octets: bytes) -> _Place | None:
    octets = octets[: _MAC_END + _CRC.size]
    if len(octets) < _MAC_END + _CRC.size or _CRC.unpack_from(octets, _MAC_END) != (
        zlib.crc32(octets[:_MAC_END]),
    ):
        return None
    magic, sequence, kdk_id, vm, *rest = _FIELDS.unpack_from(octets)
    return _Place(sequence, Mark(kdk_id, UUID(bytes=vm), *rest), octets) if magic == MAGIC else None


class MarkFile:
    """The mark of one VM on this host, as it is on disk."""

    def __init__(self, files: Files, path: Path, content: bytes) -> None:
        """Take what was read of it; MarkDamaged if it is none."""
        self._files, self._path = files, path
        self._file: File | None = None
        self.failed = False
        """A write has failed, so the next one must be `replace`."""
        places = [_decode(content[i * PLACE : (i + 1) * PLACE]) for i in range(3)]
        written = [place for place in places if place]
        if not written:
            raise MarkDamaged(path, "is damaged: none of its three places can be read")
        newest = max(written, key=lambda place: place.sequence)
        self.mark = newest.mark
        """What it says; not to be relied on before `authenticate`."""
        self._octets = newest.octets
        self._sequence = newest.sequence
        durable = [place.sequence if place else -1 for place in places[:LAZY]]
        self._next_durable = durable.index(min(durable))

    @classmethod
    def make(cls, files: Files, path: Path, mark: Mark, key: Prf) -> "MarkFile":
        """Make it anew, durable on return, in place of any that was there."""
        content = (_encode(mark, 1, key) + _EMPTY)[: len(_EMPTY)]
        replace_file(files, path, content)
        return cls(files, path, content)

    def authenticate(self, key: Prf) -> None:
        """Raise MarkDamaged unless the newest mark was written under this key."""
        expected = key(self._octets[: _FIELDS.size])
        if not hmac.compare_digest(expected, self._octets[_FIELDS.size : _MAC_END]):
            raise MarkDamaged(self._path, "was altered: it does not authenticate")

    def write(self, mark: Mark, key: Prf) -> None:
        """Write the mark in its next place, durable on return."""
        octets = _encode(mark, self._sequence + 1, key)
        try:
            file = self._opened()
            file.write(self._next_durable * PLACE, [octets])
            file.flush()
        except OSError:
            self._fail()
            raise
        self._next_durable = 1 - self._next_durable
        self._written(mark, octets)

    def prepare(self, mark: Mark, key: Prf) -> tuple[Mark, bytes]:
        """Return what `write_lazily` takes, to be made while there is nothing else to do."""
        return mark, _encode(mark, self._sequence + 1, key)

    def write_lazily(self, prepared: tuple[Mark, bytes]) -> None:
        """Write a prepared mark in the third place, and leave it to the kernel."""
        try:
            self._opened().write(LAZY * PLACE, [prepared[1]])
        except OSError:
            self._fail()
            raise
        self._written(*prepared)

    def replace(self, mark: Mark, key: Prf) -> None:
        """Write the mark as a new file beside, after a write to this one has failed."""
        octets = _encode(mark, self._sequence + 1, key)
        self.close()
        replace_file(self._files, self._path, (octets + _EMPTY)[: len(_EMPTY)])
        self._written(mark, octets)
        self._next_durable = 1
        self.failed = False

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _opened(self) -> File:
        if self._file is None:
            self._file = self._files.open(self._path)
        return self._file

    def _fail(self) -> None:
        self.failed = True
        self.close()

    def _written(self, mark: Mark, octets: bytes) -> None:
        self.mark, self._octets = mark, octets
        self._sequence += 1
