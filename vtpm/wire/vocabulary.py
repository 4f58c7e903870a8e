"""
The words in which Part 2 is declared: sized buffers, lists, unions, and restricted integers.

Every word is a `construct.Construct`, strict and interpreted.
`Construct.compile` accepts truncated buffers, so it is never used on octets from a guest.
"""

import struct
from collections.abc import Mapping
from enum import IntEnum
from io import BytesIO
from typing import Annotated, Any, get_args, get_origin

from vtpm.wire.codec import Codec, take
from vtpm.wire.error import TPM_RC, TpmError
from vtpm.wire.integers import FORMATS, Constant, Integer

SIZE = struct.Struct(">H")
COUNT = struct.Struct(">I")


def codec_of(annotation: Any) -> Codec:
    """The construct that an annotation, a structure or a `Flags` class carries."""
    if isinstance(annotation, Codec):
        return annotation
    if get_origin(annotation) is Annotated:
        return next(part for part in get_args(annotation)[1:] if isinstance(part, Codec))
    wire = annotation.wire
    assert isinstance(wire, Codec)
    return wire


class Tpm2b(Codec):
    """TPM2B_x: a UINT16 size, then that many octets, at most `maximum` (else TPM_RC_SIZE)."""

    def __init__(self, maximum: int = 0xFFFF) -> None:
        super().__init__()
        self.maximum = maximum

    def _parse(self, stream: BytesIO, context: Any, path: str) -> bytes:
        # `take` would do; this is the most frequent word of all.
        size = stream.read(2)
        count = int.from_bytes(size, "big")
        if len(size) == SIZE.size and count > self.maximum:
            raise TpmError(TPM_RC.SIZE)
        octets = stream.read(count)
        if len(size) != SIZE.size or len(octets) != count:
            raise TpmError(TPM_RC.INSUFFICIENT)
        return octets

    def _build(self, obj: bytes, stream: BytesIO, context: Any, path: str) -> bytes:
        stream.write(SIZE.pack(len(obj)) + obj)
        return obj

    def most(self) -> int:
        return SIZE.size + self.maximum


class PcrSelect(Codec):
    """sizeofSelect and pcrSelect: a UINT8 size, `minimum` to `maximum` (else TPM_RC_VALUE), the octets."""

    def __init__(self, minimum: int, maximum: int) -> None:
        super().__init__()
        self.minimum = minimum
        self.maximum = maximum

    def _parse(self, stream: BytesIO, context: Any, path: str) -> bytes:
        count = take(stream, 1)[0]
        if not self.minimum <= count <= self.maximum:
            raise TpmError(TPM_RC.VALUE)
        return take(stream, count)

    def _build(self, obj: bytes, stream: BytesIO, context: Any, path: str) -> bytes:
        stream.write(bytes((len(obj),)) + obj)
        return obj

    def most(self) -> int:
        return 1 + self.maximum


class Octets(Codec):
    """A fixed number of octets, without a size."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def _parse(self, stream: BytesIO, context: Any, path: str) -> bytes:
        return take(stream, self.count)

    def _build(self, obj: bytes, stream: BytesIO, context: Any, path: str) -> bytes:
        assert len(obj) == self.count
        stream.write(obj)
        return obj

    def most(self) -> int:
        return self.count


class Sized(Codec):
    """
    TPM2B_x of a structure: its size in octets, then the structure.

    A size that is not the structure's is TPM_RC_SIZE.
    So is a size of zero, unless the structure is `optional`: then it stands for `None`.
    """

    def __init__(self, inner: Any, *, optional: bool = False) -> None:
        super().__init__()
        self.inner = codec_of(inner)
        self.optional = optional

    def _parse(self, stream: BytesIO, context: Any, path: str) -> Any:
        (count,) = SIZE.unpack(take(stream, 2))
        if count == 0:
            if self.optional:
                return None
            raise TpmError(TPM_RC.SIZE)
        start = stream.tell()
        value = self.inner._parse(stream, context, path)
        if stream.tell() - start != count:
            raise TpmError(TPM_RC.SIZE)
        return value

    def _build(self, obj: Any, stream: BytesIO, context: Any, path: str) -> Any:
        inside = BytesIO()
        if obj is not None:
            self.inner._build(obj, inside, context, path)
        octets = inside.getvalue()
        stream.write(SIZE.pack(len(octets)) + octets)
        return obj

    def most(self) -> int:
        return SIZE.size + self.inner.most()


class ListOf(Codec):
    """TPML_x, as a tuple: a UINT32 count from `minimum` to `maximum` (else TPM_RC_SIZE), the elements."""

    def __init__(self, element: Any, maximum: int, *, minimum: int = 0) -> None:
        super().__init__()
        self.element = codec_of(element)
        self.minimum = minimum
        self.maximum = maximum

    def _parse(self, stream: BytesIO, context: Any, path: str) -> tuple[Any, ...]:
        (count,) = COUNT.unpack(take(stream, 4))
        if not self.minimum <= count <= self.maximum:
            raise TpmError(TPM_RC.SIZE)
        parse = self.element._parse
        return tuple([parse(stream, context, path) for _ in range(count)])

    def _build(self, obj: Any, stream: BytesIO, context: Any, path: str) -> Any:
        stream.write(COUNT.pack(len(obj)))
        for element in obj:
            self.element._build(element, stream, context, path)
        return obj

    def most(self) -> int:
        return COUNT.size + self.maximum * self.element.most()


class Selected(Codec):
    """
    TPMU_x: the arm that the field `by` of the same structure selects; `None` is an empty arm.

    The value of an empty arm is `empty`.
    A selector without an arm is TPM_RC_SELECTOR.
    """

    def __init__(self, by: str, arms: Mapping[Any, Any], *, empty: Any = None) -> None:
        super().__init__()
        self.by = by
        self.empty = empty
        self.arms = {key: None if arm is None else codec_of(arm) for key, arm in arms.items()}

    def _parse(self, stream: BytesIO, context: Any, path: str) -> Any:
        try:
            arm = self.arms[context[self.by]]
        except KeyError:
            raise TpmError(TPM_RC.SELECTOR) from None
        return self.empty if arm is None else arm._parse(stream, context, path)

    def _build(self, obj: Any, stream: BytesIO, context: Any, path: str) -> Any:
        arm = self.arms[context[self.by]]
        if arm is not None:
            arm._build(obj, stream, context, path)
        return obj

    def most(self) -> int:
        return max((arm.most() for arm in self.arms.values() if arm is not None), default=0)


class Choice(Integer):
    """TPMI_x: one of the named values of one `Constant`; any other is the code `otherwise`."""

    def __init__(self, *members: Constant, otherwise: TPM_RC = TPM_RC.VALUE) -> None:
        self.kind = type(members[0])
        form = FORMATS[self.kind.octets]
        super().__init__(form.lower() if min(members) < 0 else form)
        self.members: dict[int, IntEnum] = {int(member): member for member in members}
        self.otherwise = otherwise

    def accept(self, value: int) -> Any:
        try:
            return self.members[value]
        except KeyError:
            raise TpmError(self.otherwise) from None


class Limited(Integer):
    """TPMI_x over plain integers: one of the given values or ranges (else the code `otherwise`)."""

    def __init__(self, form: str, *allowed: int | range, otherwise: TPM_RC = TPM_RC.VALUE) -> None:
        super().__init__(form)
        self.values = frozenset(part for part in allowed if not isinstance(part, range))
        self.ranges = tuple(part for part in allowed if isinstance(part, range))
        self.otherwise = otherwise

    def accept(self, value: int) -> int:
        if value in self.values:
            return value
        for interval in self.ranges:
            if value in interval:
                return value
        raise TpmError(self.otherwise)


class YesNo(Integer):
    """TPMI_YES_NO as a `bool`; anything but 0 and 1 is TPM_RC_VALUE."""

    def __init__(self) -> None:
        super().__init__("B")

    def accept(self, value: int) -> bool:
        if value > 1:
            raise TpmError(TPM_RC.VALUE)
        return value == 1


class Handle(Limited):
    """TPMI_DH_x and TPMI_RH_x: a handle out of the given values and ranges (else the code `otherwise`)."""

    def __init__(self, *allowed: int | range, otherwise: TPM_RC = TPM_RC.VALUE) -> None:
        super().__init__("I", *allowed, otherwise=otherwise)
