"""`@structure`: an annotated class is a construct, and its instances are values."""

import struct
from copy import copy
from io import BytesIO
from itertools import groupby
from typing import Any, TypeVar, dataclass_transform, get_type_hints, overload

from vtpm.wire.codec import Codec
from vtpm.wire.error import TPM_RC, TpmError
from vtpm.wire.integers import Integer
from vtpm.wire.value import value_class
from vtpm.wire.vocabulary import codec_of

T = TypeVar("T")


class Run:
    """Neighboring integers of a record, read and written by one `struct` call."""

    def __init__(self, fields: list[tuple[str, Any]]) -> None:
        self.fields = fields
        self.names = [name for name, _ in fields]
        self.codec = struct.Struct(">" + "".join(integer.form for _, integer in fields))
        self.accepts = [(name, integer.accept) for name, integer in fields]

    def parse(self, stream: BytesIO, values: dict[str, Any], path: str) -> None:
        octets = stream.read(self.codec.size)
        if len(octets) != self.codec.size:
            # The first field at fault decides the response code, so a short run is read field by field.
            stream.seek(-len(octets), 1)
            for name, integer in self.fields:
                values[name] = integer._parse(stream, values, path)
        for (name, accept), value in zip(self.accepts, self.codec.unpack(octets), strict=True):
            values[name] = value if accept is None else accept(value)

    def build(self, obj: Any, stream: BytesIO) -> None:
        stream.write(self.codec.pack(*[getattr(obj, name) for name in self.names]))


class Record(Codec):
    """The fields of one structure, in order."""

    def __init__(self, cls: type, fields: dict[str, Codec]) -> None:
        super().__init__()
        self.cls = cls
        self.fields = fields
        self.places = [(vars(cls)[name].__set__, name) for name in fields]
        self.plan: list[tuple[Run | None, Any, str]] = []
        for are_integers, group in groupby(fields.items(), lambda item: isinstance(item[1], Integer)):
            neighbors = list(group)
            if are_integers and len(neighbors) > 1:
                self.plan.append((Run(neighbors), None, ""))
            else:
                self.plan += [(None, codec, name) for name, codec in neighbors]

    def _parse(self, stream: BytesIO, context: Any, path: str) -> Any:
        values: dict[str, Any] = {}
        for run, codec, name in self.plan:
            if run is not None:
                run.parse(stream, values, path)
            else:
                values[name] = codec._parse(stream, values, path)
        # Half the cost of calling the class, whose frozen instances are made attribute by attribute.
        made: Any = object.__new__(self.cls)
        for place, name in self.places:
            place(made, values[name])
        return made

    def _build(self, obj: Any, stream: BytesIO, context: Any, path: str) -> Any:
        for run, codec, name in self.plan:
            if run is not None:
                run.build(obj, stream)
            else:
                codec._build(getattr(obj, name), stream, obj, path)
        return obj

    def with_fields(self, fields: dict[str, Codec]) -> "Record":
        """The same structure with other constructs for its fields; a subclass stays what it is."""
        other = copy(self)
        Record.__init__(other, self.cls, fields)
        return other

    def most(self) -> int:
        return sum(codec.most() for codec in self.fields.values())


@dataclass_transform(frozen_default=True)
def structure(cls: type[T]) -> type[T]:
    """
    Make frozen values of a class whose annotations carry constructs; `codec_of` gives its construct.

    A class that holds secrets defines `__repr__` itself.
    """
    hints = annotations_of(cls)
    made: Any = value_class(cls, tuple(hints))
    made.wire = Record(made, {name: codec_of(hint) for name, hint in hints.items()})
    return made  # type: ignore[no-any-return]


def annotations_of(declared: Any) -> dict[str, Any]:
    """The annotations of a class or function; only those that are text need to be evaluated, at some cost."""
    hints: dict[str, Any] = declared.__annotations__
    if any(isinstance(hint, str) for hint in hints.values()):
        hints = get_type_hints(declared, include_extras=True)
    return hints


def but(kind: Any, **fields: Any) -> Record:
    """The structure `kind` with other constructs for some fields: Part 2's "+" before its first field."""
    record = codec_of(kind)
    assert isinstance(record, Record)
    return Record(record.cls, record.fields | {name: codec_of(field) for name, field in fields.items()})


def marshal(value: Any, kind: Any = None) -> bytes:
    """The octets of a structure, or of any value whose `kind` (an annotation) is given."""
    stream = BytesIO()
    codec = value.wire if kind is None else codec_of(kind)
    codec._build(value, stream, None, "")
    return stream.getvalue()


@overload
def unmarshal(kind: Codec, octets: bytes) -> Any: ...
@overload
def unmarshal(kind: type[T], octets: bytes) -> T: ...
@overload
def unmarshal(kind: Any, octets: bytes) -> Any: ...
def unmarshal(kind: Any, octets: bytes) -> Any:
    """The value of all the octets; TPM_RC_SIZE if some are left over, and whatever else the kind raises."""
    stream = BytesIO(octets)
    value = codec_of(kind)._parse(stream, None, "")
    if stream.read(1):
        raise TpmError(TPM_RC.SIZE)
    return value
