"""
Named blobs as octets: the plaintext of a record.

    count u32, then for each blob in ascending order of its name's octets:
    length of the name u16, the name in UTF-8, length of the data u32, the data; then zeros up to the end

Integers are big-endian.
"""

# ruff: noqa: N818  an error is called by what is wrong

import struct
from collections.abc import Mapping
from typing import Final, Self

_COUNT: Final = struct.Struct(">I")
_NAME: Final = struct.Struct(">H")
_DATA: Final = struct.Struct(">I")
MAX_NAME: Final = 0xFFFF
MAX_DATA: Final = 0xFFFFFFFF


class MalformedBlobs(ValueError):
    """Octets that are no encoding of blobs."""


def _prefix(name: str, data: bytes) -> bytes:
    encoded = name.encode()
    if not 0 < len(encoded) <= MAX_NAME:
        msg = f"the name of a blob has 1 to {MAX_NAME} octets, not {len(encoded)}"
        raise ValueError(msg)
    if not isinstance(data, bytes) or len(data) > MAX_DATA:
        msg = f"blob {name!r} must be bytes, at most {MAX_DATA} octets"
        raise ValueError(msg)
    return _NAME.pack(len(encoded)) + encoded + _DATA.pack(len(data))


class Blobs:
    """
    An immutable set of named blobs that keeps its encoding in pieces.

    Changing one blob copies a list of references and nothing else, so a commit costs what its record costs.
    """

    __slots__ = ("_at", "_pieces", "size")

    def __init__(self, blobs: Mapping[str, bytes]) -> None:
        names = sorted(blobs, key=str.encode)
        self._at = {name: 2 * i + 1 for i, name in enumerate(names)}
        self._pieces = [_COUNT.pack(len(names))]
        for name in names:
            self._pieces += (_prefix(name, blobs[name]), blobs[name])
        self.size = sum(map(len, self._pieces))
        """Octets of the encoding without its padding."""

    def __repr__(self) -> str:
        return f"Blobs({len(self._at)} blobs, {self.size} octets)"

    def changed(self, changes: Mapping[str, bytes | None]) -> Self | None:
        """Return these blobs with the changes made, or None if that makes no difference."""
        at, pieces = self._at, self._pieces
        after: list[bytes] | None = None
        size = self.size
        for name, data in changes.items():
            if name not in at:
                if data is not None:
                    return self._merged(changes)
            elif data is None:
                return self._merged(changes)
            elif data != pieces[i := at[name] + 1]:
                after = after or pieces.copy()
                after[i - 1 : i + 1] = _prefix(name, data), data
                size += len(data) - len(pieces[i])
        if after is None:
            return None
        changed = object.__new__(type(self))
        changed._at, changed._pieces, changed.size = at, after, size
        return changed

    def _merged(self, changes: Mapping[str, bytes | None]) -> Self:
        merged: dict[str, bytes | None] = {**self.as_dict(), **changes}
        return type(self)({name: data for name, data in merged.items() if data is not None})

    def as_dict(self) -> dict[str, bytes]:
        """Return the blobs by name."""
        return {name: self._pieces[i + 1] for name, i in self._at.items()}

    def encode(self, size: int, front: bytes = b"") -> bytes:
        """Return the encoding after what stands in front of it, padded with zeros to this size."""
        return b"".join((front, *self._pieces, bytes(size - self.size - len(front))))

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        """Return the blobs that encode to these octets, or raise MalformedBlobs."""
        blobs: dict[str, bytes] = {}
        try:
            (count,) = _COUNT.unpack_from(octets)
            at = _COUNT.size
            for _ in range(count):
                name, at = _take(octets, at, _NAME)
                data, at = _take(octets, at, _DATA)
                blobs[name.decode()] = data
            decoded = cls(blobs)
        except (struct.error, ValueError) as error:
            raise MalformedBlobs(str(error)) from None
        if len(blobs) != count or decoded.encode(len(octets)) != octets:
            msg = "names are not in ascending order, or the padding is not zero"
            raise MalformedBlobs(msg)
        return decoded


def _take(octets: bytes, at: int, length: struct.Struct) -> tuple[bytes, int]:
    (size,) = length.unpack_from(octets, at)
    at += length.size
    if size > len(octets) - at:
        msg = f"{size} octets are announced where {len(octets) - at} are left"
        raise MalformedBlobs(msg)
    return octets[at : at + size], at + size
