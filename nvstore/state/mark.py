"""
The high-water mark: the newest generation of a VM that this host has acknowledged, kept apart from the state.

The file has three places of 512 octets; the highest sequence counts.
Two, the durable ones, are written in turn and flushed: one before the first record of an opening,
both at close.
The third is written after every commit and left to the kernel to write back.
Before a durable one is written, the third is flushed: so one place at most is being written at any time.

So the mark never leads the state, and lags in one case only:
power is lost before the kernel has written it back, by default within about half a minute of the commit.
An older state that is put back then goes unnoticed as far back as the mark on disk:
no further than the first commit of the last opening; whoever opens it is told that the mark lags.
That a state was continued elsewhere shows even then, because the mark names the one opening that may write.

    magic `nvsmark2` 8, sequence u64, kdk_id 16, VM 16, incarnation 16, open epoch u64, opening 16,
    generation u64, link of that record 48, closed u8 (0 or 1), zeros 7,
    HMAC-SHA-512 of these 64, CRC-32 of these u32

Generation 0 is a creation that was begun: nothing was acknowledged yet.
All three places are written when the file is made, so none is ever empty, and a torn one has the magic:
see `_check_places` for what else cannot come of a write that was interrupted.
Files of the first version have `nvsmark1`, without `closed` and the zeros, and may have empty places.
They are read, and become new ones at the first write.
"""

import hmac
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple
from uuid import UUID

from nvstore.errors import MarkDamaged
from nvstore.files import File, Files, replace_file
from nvstore.keys import BLOCK, Prf
from nvstore.state.record import FIRST_PREVIOUS

MAGIC: Final = b"nvsmark2"
FIRST_MAGIC: Final = b"nvsmark1"
PLACE: Final = 512
LAZY: Final = 2
_FIELDS: Final = struct.Struct(">8sQ16s16s16sQ16sQ48s")
_CLOSED: Final = struct.Struct(">B7x")
_CRC: Final = struct.Struct(">I")
_AUTHENTICATED: Final = {MAGIC: _FIELDS.size + _CLOSED.size, FIRST_MAGIC: _FIELDS.size}
"""How many octets of a place the HMAC covers."""


class Mark(NamedTuple):
    """What the host has seen of one VM."""

    kdk_id: bytes
    vm: UUID
    incarnation: bytes
    open_epoch: int
    opening: bytes
    generation: int = 0
    link: bytes = FIRST_PREVIOUS


def _fields(magic: bytes, mark: Mark, sequence: int) -> bytes:
    kdk_id, vm, *rest = mark
    return _FIELDS.pack(magic, sequence, kdk_id, vm.bytes, *rest)


def _encode(mark: Mark, sequence: int, key: Prf, *, closed: bool = False) -> bytes:
    fields = _fields(MAGIC, mark, sequence) + _CLOSED.pack(closed)
    authenticated = fields + key(fields)
    return authenticated + _CRC.pack(zlib.crc32(authenticated))


def encode_fields(mark: Mark) -> bytes:
    """Return all that a mark says, as octets; those of the first version, which anchors know."""
    return _fields(FIRST_MAGIC, mark, 0)


class _Place(NamedTuple):
    sequence: int
    mark: Mark
    closed: bool
    octets: bytes


def _decode(octets: bytes) -> _Place | None:
    size = _AUTHENTICATED.get(octets[: len(MAGIC)])
    if size is None:
        return None
    end = size + BLOCK
    octets = octets[: end + _CRC.size]
    if len(octets) < end + _CRC.size or _CRC.unpack_from(octets, end) != (zlib.crc32(octets[:end]),):
        return None
    magic, sequence, kdk_id, vm, *rest = _FIELDS.unpack_from(octets)
    closed = magic == MAGIC and octets[_FIELDS.size] != 0
    return _Place(sequence, Mark(kdk_id, UUID(bytes=vm), *rest), closed, octets)


def _authenticates(octets: bytes, key: Prf) -> bool:
    size = _AUTHENTICATED[octets[: len(MAGIC)]]
    return hmac.compare_digest(key(octets[:size]), octets[size : size + BLOCK])


def _check_places(places: Sequence[_Place | None], raw: Sequence[bytes]) -> str:
    """
    Return what is wrong with the places of a file, if no write that was interrupted leaves them so.

    One place may be torn, the one that was being written:
    the third within an opening; a durable one at the beginning of an opening, when the third is older than
    the other durable one; and at close, when the third is of the other one's opening.
    """
    for number, octets in enumerate(raw):
        if not octets.startswith(MAGIC):
            return f"place {number} is empty or overwritten"
    lost = [number for number, place in enumerate(places) if place is None]
    if len(lost) > 1:
        return f"places {' and '.join(map(str, lost))} cannot be read, and no interrupted write leaves two"
    if not lost:
        return ""
    durable = [place for place in places[:LAZY] if place]
    lazy = places[LAZY]
    if lazy is None:
        newest = max(durable, key=lambda place: place.sequence)
        return f"place {LAZY} cannot be read, though the state was closed" if newest.closed else ""
    (other,) = durable
    torn = lazy.sequence <= other.sequence or lazy.mark.opening == other.mark.opening
    return "" if torn else f"place {lost[0]} cannot be read, though it was not being written"


class MarkFile:
    """The mark of one VM on this host, as it is on disk."""

    def __init__(self, files: Files, path: Path, content: bytes) -> None:
        """Take what was read of it; MarkDamaged if it is none."""
        self._files, self._path = files, path
        self._file: File | None = None
        self.failed = False
        """A write has failed, so the next one must be `replace`."""
        raw = [content[i * PLACE : (i + 1) * PLACE] for i in range(3)]
        places = [_decode(octets) for octets in raw]
        written = [place for place in places if place]
        if not written:
            raise MarkDamaged(path, "is damaged: none of its three places can be read")
        newest = max(written, key=lambda place: place.sequence)
        self.is_of_first_version = newest.octets.startswith(FIRST_MAGIC)
        """It was written by an earlier version, and the next write must be `replace`."""
        self._raw, self._places = raw, places
        self._check()
        self.mark = newest.mark
        """What it says; not to be relied on before `authenticate`."""
        self._octets = newest.octets
        self._sequence = newest.sequence
        durable = [place.sequence if place else -1 for place in places[:LAZY]]
        self._next_durable = durable.index(min(durable))

    def _check(self) -> None:
        """Raise MarkDamaged if no interrupted write leaves the places so."""
        if any(octets.startswith(MAGIC) for octets in self._raw) and (
            damage := _check_places(self._places, self._raw)
        ):
            raise MarkDamaged(self._path, f"is damaged: {damage}")

    @property
    def lags(self) -> bool:
        """Whether power was lost within an opening, perhaps before its last commits were noted here."""
        lazy = self._places[LAZY]
        durable = [place for place in self._places[:LAZY] if place]
        if not durable or self.is_of_first_version:
            return False
        newest = max(durable, key=lambda place: place.sequence)
        return not newest.closed and (lazy is None or lazy.sequence <= newest.sequence)

    @classmethod
    def make(cls, files: Files, path: Path, mark: Mark, key: Prf) -> "MarkFile":
        """Make it anew, durable on return, in place of any that was there."""
        content = _encode(mark, 1, key).ljust(PLACE, b"\0") * 3
        replace_file(files, path, content)
        return cls(files, path, content)

    def authenticate(self, key_of: Callable[[bytes], Prf | None]) -> None:
        """
        Raise MarkDamaged unless the newest mark was written under the key of its kdk_id.

        Other places that do not authenticate, or whose key is gone, count as if they could not be read.
        """
        places: list[_Place | None] = []
        for place in self._places:
            key = None if place is None else key_of(place.mark.kdk_id)
            if place is None or (key is not None and _authenticates(place.octets, key)):
                places.append(place)
            elif place.octets == self._octets:
                raise MarkDamaged(self._path, "was altered: it does not authenticate")
            else:
                places.append(None)
        self._places = places
        self._check()

    def write(self, mark: Mark, key: Prf, *, closed: bool = False) -> None:
        """Write the mark in its next durable place, durable on return; in both if this closes the state."""
        try:
            file = self._opened()
            file.flush()  # what was written lazily: from here on, no two places can be torn
            for _ in range(2 if closed else 1):
                octets = _encode(mark, self._sequence + 1, key, closed=closed)
                file.write(self._next_durable * PLACE, [octets])
                file.flush()
                self._next_durable = 1 - self._next_durable
                self._written(mark, octets)
        except OSError:
            self._fail()
            raise

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
        """Write the mark as a new file beside: after a write has failed, or for an earlier version's."""
        octets = _encode(mark, self._sequence + 1, key)
        self.close()
        replace_file(self._files, self._path, octets.ljust(PLACE, b"\0") * 3)
        self._written(mark, octets)
        self._next_durable = 1
        self.failed = self.is_of_first_version = False

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
