"""Integers of Part 2, clause 5 (Table 3), and named constants of a fixed width."""

import struct
from enum import IntEnum
from io import BytesIO
from typing import Annotated, Any, ClassVar

from vtpm.wire.codec import Codec
from vtpm.wire.error import TPM_RC, TpmError

FORMATS = {1: "B", 2: "H", 4: "I", 8: "Q"}


class Constant(IntEnum):
    """A named value of the specification; `octets` is its width on the wire."""

    octets: ClassVar[int]

    def __init_subclass__(cls, *, octets: int = 4) -> None:
        cls.octets = octets


class Integer(Codec):
    """A big-endian integer; `Record` reads neighboring ones with one `struct` call, then calls `accept`."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form
        codec = struct.Struct(">" + form)
        self.size, self.pack, self.unpack = codec.size, codec.pack, codec.unpack

    accept: Any = None
    """Turns the integer read into the value, or raises; `None` where every integer is its own value."""

    def _parse(self, stream: BytesIO, context: Any, path: str) -> Any:
        try:
            (value,) = self.unpack(stream.read(self.size))
        except struct.error:
            raise TpmError(TPM_RC.INSUFFICIENT) from None
        return value if self.accept is None else self.accept(value)

    def _build(self, obj: Any, stream: BytesIO, context: Any, path: str) -> Any:
        stream.write(self.pack(obj))
        return obj

    def most(self) -> int:
        return self.size


UINT8 = Annotated[int, Integer("B")]
BYTE = UINT8
INT8 = Annotated[int, Integer("b")]
UINT16 = Annotated[int, Integer("H")]
INT16 = Annotated[int, Integer("h")]
UINT32 = Annotated[int, Integer("I")]
INT32 = Annotated[int, Integer("i")]
UINT64 = Annotated[int, Integer("Q")]
INT64 = Annotated[int, Integer("q")]
