"""
The building blocks of libtpms' state format (src/tpm2/NVMarshal.c): headers, optional blocks, counted arrays.

Malformed octets raise `TpmError`, as all of the TPM's grammar does.
"""

import struct
from collections.abc import Mapping
from io import BytesIO
from typing import Annotated, Any

from vtpm.wire.codec import Codec, take
from vtpm.wire.error import TPM_RC, TpmError
from vtpm.wire.integers import Integer
from vtpm.wire.vocabulary import Tpm2b, YesNo, codec_of

HEADER = struct.Struct(">HI")


class Version(Codec):
    """
    The header of a structure: version, magic number, the oldest version of a reader that copes.

    The value is the version; `oldest` has what is written as the oldest one, by version.
    A later version is read as the latest known one if its header says that this copes.
    """

    def __init__(self, magic: int, oldest: Mapping[int, int]) -> None:
        super().__init__()
        self.magic = magic
        self.oldest = oldest

    def _parse(self, stream: BytesIO, context: Any, path: str) -> int:  # noqa: ARG002 - construct's signature
        version, magic = HEADER.unpack(take(stream, HEADER.size))
        if magic != self.magic:
            raise TpmError(TPM_RC.TAG)
        oldest = int.from_bytes(take(stream, 2), "big") if version >= 2 else version
        latest = max(self.oldest)
        if version not in self.oldest and not version > latest >= oldest:
            raise TpmError(TPM_RC.VALUE)
        return min(int(version), latest)

    def _build(self, obj: int, stream: BytesIO, context: Any, path: str) -> int:  # noqa: ARG002
        stream.write(HEADER.pack(obj, self.magic) + self.oldest[obj].to_bytes(2, "big"))
        return obj


class Since(Codec):
    """A field that there is since a version of its structure; `None` before."""

    def __init__(self, version: int, inner: Any) -> None:
        super().__init__()
        self.version = version
        self.inner = codec_of(inner)

    def _parse(self, stream: BytesIO, context: Any, path: str) -> Any:
        if context["version"] < self.version:
            return None
        return self.inner._parse(stream, context, path)  # noqa: SLF001 - how a construct reads

    def _build(self, obj: Any, stream: BytesIO, context: Any, path: str) -> Any:
        if context["version"] >= self.version:
            self.inner._build(obj, stream, context, path)  # noqa: SLF001 - how a construct writes
        return obj


class Block(Codec):
    """
    An optional part: is it there, its size, its content; `None` if it is not.

    Without an `inner` form, the value is the octets.
    What a newer version has added behind the inner form is passed over.
    Where an older version left room, and nothing in it, the value is `None` too, if it `may_be_empty`.
    """

    def __init__(self, inner: Any = None, *, may_be_empty: bool = False) -> None:
        super().__init__()
        self.inner = None if inner is None else codec_of(inner)
        self.may_be_empty = may_be_empty

    def _parse(self, stream: BytesIO, context: Any, path: str) -> Any:
        is_there = take(stream, 1)[0]
        content = take(stream, int.from_bytes(take(stream, 2), "big"))
        if is_there > 1:
            raise TpmError(TPM_RC.VALUE)
        if not is_there or (self.may_be_empty and not content):
            return None
        if self.inner is None:
            return content
        return self.inner._parse(BytesIO(content), context, path)  # noqa: SLF001 - how a construct reads

    def _build(self, obj: Any, stream: BytesIO, context: Any, path: str) -> Any:
        inside = BytesIO()
        if self.inner is None:
            inside.write(obj or b"")
        elif obj is not None:
            self.inner._build(obj, inside, context, path)  # noqa: SLF001 - how a construct writes
        content = inside.getvalue()
        stream.write(bytes((obj is not None,)) + len(content).to_bytes(2, "big") + content)
        return obj


class Array(Codec):
    """Elements, as a tuple, behind a UINT16 that counts them; exactly `count` if that is given."""

    def __init__(self, element: Any, count: int | None = None) -> None:
        super().__init__()
        self.element = codec_of(element)
        self.count = count

    def _parse(self, stream: BytesIO, context: Any, path: str) -> tuple[Any, ...]:
        count = int.from_bytes(take(stream, 2), "big")
        if self.count not in (None, count):
            raise TpmError(TPM_RC.SIZE)
        parse = self.element._parse  # noqa: SLF001 - how a construct reads
        return tuple([parse(stream, context, path) for _ in range(count)])

    def _build(self, obj: Any, stream: BytesIO, context: Any, path: str) -> Any:
        stream.write(len(obj).to_bytes(2, "big"))
        for element in obj:
            self.element._build(element, stream, context, path)  # noqa: SLF001 - how a construct writes
        return obj


class UntilZero(Codec):
    """Elements until a zero in the place of `stop`, an integer; each begins with one, its size."""

    def __init__(self, element: Any, stop: Any) -> None:
        super().__init__()
        self.element = codec_of(element)
        self.stop = codec_of(stop)
        assert isinstance(self.stop, Integer)

    def _parse(self, stream: BytesIO, context: Any, path: str) -> tuple[Any, ...]:
        elements: list[Any] = []
        while True:
            place = stream.tell()
            if self.stop._parse(stream, context, path) == 0:  # noqa: SLF001 - how a construct reads
                return tuple(elements)
            stream.seek(place)
            elements.append(self.element._parse(stream, context, path))  # noqa: SLF001

    def _build(self, obj: Any, stream: BytesIO, context: Any, path: str) -> Any:
        for element in obj:
            self.element._build(element, stream, context, path)  # noqa: SLF001 - how a construct writes
        self.stop._build(0, stream, context, path)  # noqa: SLF001
        return obj


class Long(Codec):
    """Octets behind a UINT32 that counts them."""

    def _parse(self, stream: BytesIO, context: Any, path: str) -> bytes:  # noqa: ARG002
        return take(stream, int.from_bytes(take(stream, 4), "big"))

    def _build(self, obj: bytes, stream: BytesIO, context: Any, path: str) -> bytes:  # noqa: ARG002
        stream.write(len(obj).to_bytes(4, "big") + obj)
        return obj


class Fixed(Integer):
    """An integer that has one value."""

    def __init__(self, form: str, value: int) -> None:
        super().__init__(form)
        self.value = value

    def accept(self, value: int) -> int:
        """The value."""
        if value != self.value:
            raise TpmError(TPM_RC.VALUE)
        return value


class Epoch(Codec):
    """timeEpoch: its size in octets, 4 or 8, then the value, as the pair of both."""

    def _parse(self, stream: BytesIO, context: Any, path: str) -> tuple[int, int]:  # noqa: ARG002
        size = take(stream, 1)[0]
        if size not in (4, 8):
            raise TpmError(TPM_RC.SIZE)
        return size, int.from_bytes(take(stream, size), "big")

    def _build(self, obj: tuple[int, int], stream: BytesIO, context: Any, path: str) -> Any:  # noqa: ARG002
        size, value = obj
        stream.write(bytes((size,)) + value.to_bytes(size, "big"))
        return obj


BOOL = Annotated[bool, YesNo()]

TAIL = Annotated[bytes | None, Block()]
"""Room for what later versions add."""

OCTETS = Annotated[bytes, Tpm2b()]
