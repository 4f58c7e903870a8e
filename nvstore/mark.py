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
    generation u64, link of that record 32, HMAC-SHA-256 of these 32, CRC-32 of these u32

Generation 0 is a creation that was begun: nothing was acknowledged yet.
"""

import hmac
import struct
import zlib
from pathlib import Path
from typing import Final, NamedTuple
from uuid import UUID

from nvstore.envelope import FIRST_PREVIOUS
from nvstore.errors import MarkDamaged
from nvstore.files import File, Files, read_file, replace_file

MAGIC: Final = b"nvsmark1"
PLACE: Final = 512
LAZY: Final = 2
_FIELDS: Final = struct.Struct(">8sQ16s16s16sQ16sQ32s")
_CRC: Final = struct.Struct(">I")
_MAC_END: Final = _FIELDS.size + 32
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


def _encode(mark: Mark, sequence: int, key: bytes) -> bytes:
    kdk_id, vm, *rest = mark
    fields = _FIELDS.pack(MAGIC, sequence, kdk_id, vm.bytes, *rest)
    authenticated = fields + hmac.digest(key, fields, "sha256")
    return authenticated + _CRC.pack(zlib.crc32(authenticated))


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

    def __init__(self, files: Files, path: Path) -> None:
        """Read it; FileNotFoundError if there is none, MarkDamaged if it cannot be read."""
        self._files, self._path = files, path
        self._file: File | None = None
        self.failed = False
        """A write has failed, so the next one must be `replace`."""
        content = read_file(files, path)
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
    def make(cls, files: Files, path: Path, mark: Mark, key: bytes) -> "MarkFile":
        """Make it anew, durable on return, in place of any that was there."""
        replace_file(files, path, (_encode(mark, 1, key) + _EMPTY)[: len(_EMPTY)])
        return cls(files, path)

    def authenticate(self, key: bytes) -> None:
        """Raise MarkDamaged unless the newest mark was written under this key."""
        expected = hmac.digest(key, self._octets[: _FIELDS.size], "sha256")
        if not hmac.compare_digest(expected, self._octets[_FIELDS.size : _MAC_END]):
            raise MarkDamaged(self._path, "was altered: it does not authenticate")

    def write(self, mark: Mark, key: bytes, *, durable: bool) -> None:
        """Write the mark in its next place."""
        octets = _encode(mark, self._sequence + 1, key)
        try:
            if self._file is None:
                self._file = self._files.open(self._path)
            if durable:
                self._file.write(self._next_durable * PLACE, [octets])
                self._file.flush()
                self._next_durable = 1 - self._next_durable
            else:
                self._file.write(LAZY * PLACE, [octets])
        except OSError:
            self.failed = True
            self.close()
            raise
        self.mark, self._octets = mark, octets
        self._sequence += 1

    def replace(self, mark: Mark, key: bytes) -> None:
        """Write the mark as a new file beside, after a write to this one has failed."""
        octets = _encode(mark, self._sequence + 1, key)
        self.close()
        replace_file(self._files, self._path, (octets + _EMPTY)[: len(_EMPTY)])
        self.mark, self._octets = mark, octets
        self._sequence += 1
        self._next_durable = 1
        self.failed = False

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
