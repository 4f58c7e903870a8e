"""
Values as lines, read by the constructs that a TPM reads them with, but leniently.

A value that this TPM would refuse is shown with the code of the refusal, and reading goes on.
Where octets are missing, or a union has no member for its selector, what is left is shown as octets.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from vtpm.spec.constants import TPM_CC
from vtpm.spec.objects import TPM2B_TEMPLATE, TPMT_PUBLIC
from vtpm.spec.structures import TPM2B_ATTEST, TPMS_ATTEST
from vtpm.trace.names import (
    CAPABILITIES,
    NUMBERS,
    TEXTS,
    command_name,
    constant_name,
    handle_name,
    number_name,
)
from vtpm.trace.secrecy import is_secret_field
from vtpm.wire.codec import Codec
from vtpm.wire.error import TpmError
from vtpm.wire.flags import Bit, Word
from vtpm.wire.integers import Constant, Integer
from vtpm.wire.structure import Record
from vtpm.wire.vocabulary import (
    COUNT,
    SIZE,
    Choice,
    Handle,
    ListOf,
    Octets,
    PcrSelect,
    Selected,
    Sized,
    Tpm2b,
    YesNo,
    codec_of,
)

CONTENTS: dict[Codec, Codec] = {
    codec_of(TPM2B_ATTEST): codec_of(TPMS_ATTEST),
    codec_of(TPM2B_TEMPLATE): codec_of(TPMT_PUBLIC),
}
"""Buffers whose octets are a structure."""

SHOWN_OCTETS = 64
"""How many octets of a value are shown, unless all are."""


class Missing(Exception):  # noqa: N818 - where reading ends
    """The octets end, or a union has no member for its selector: reading ends at the field `path`."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.path = ""


@dataclass
class Fields:
    """Lines of `path: value`, and how much they may say."""

    show_secrets: bool = False
    whole: bool = False
    lines: list[str] = field(default_factory=list)

    def add(self, path: str, text: str) -> None:
        """One more line."""
        self.lines.append(f"{path}: {text}")

    def octets(self, octets: bytes, *, secret: bool = False) -> str:
        """How octets are shown: their number, and themselves unless they are secret."""
        count = f"{len(octets)} octet{'' if len(octets) == 1 else 's'}"
        if not octets:
            return "empty"
        if secret and not self.show_secrets:
            return f"{count}, hidden"
        if self.whole or len(octets) <= SHOWN_OCTETS:
            return f"{count} {octets.hex()}"
        return f"{count} {octets[:SHOWN_OCTETS].hex()}…"

    def rest(self, path: str, stream: BytesIO, why: str) -> None:
        """Octets that could not be read: they may be anything, so they are secret."""
        self.add(path, f"{why}; what is left: {self.octets(stream.read(), secret=True)}")

    def read(
        self,
        codec: Codec,
        stream: BytesIO,
        path: str,
        *,
        context: Mapping[str, Any] | None = None,
        number: type[Constant] | None = None,
        secret: bool = False,
    ) -> Any:
        """
        Read one value and add its lines; Missing where reading must end, with the stream there.

        `context` has the fields before it, `number` is what a plain number stands for.
        """
        try:
            return self._read(codec, stream, path, context or {}, number, secret=secret)
        except Missing as end:
            end.path = end.path or path
            raise

    def _read(
        self,
        codec: Codec,
        stream: BytesIO,
        path: str,
        context: Mapping[str, Any],
        number: type[Constant] | None,
        *,
        secret: bool,
    ) -> Any:
        match codec:
            case Record():
                return self._record(codec, stream, path, secret=secret)
            case Sized():
                return self._sized(codec, stream, path, secret=secret)
            case ListOf():
                return self._list(codec, stream, path, number=number, secret=secret)
            case Selected():
                return self._union(codec, stream, path, context, secret=secret)
            case Tpm2b():
                return self._buffer(codec, stream, path, secret=secret)
            case Octets():
                octets = take(stream, codec.count)
                self.add(path, self.octets(octets, secret=secret))
                return octets
            case PcrSelect():
                octets = take(stream, take(stream, 1)[0])
                self.add(path, selected_pcr(octets))
                return octets
            case Integer():
                value, text = integer(codec, stream, number)
                self.add(path, "hidden" if secret and not self.show_secrets else text)
                return value
            case _:
                raise Missing(f"there are no lines for {type(codec).__name__}")

    def _record(self, codec: Record, stream: BytesIO, path: str, *, secret: bool) -> dict[str, Any]:
        structure = codec.cls.__name__
        if all(isinstance(inner, Integer) for inner in codec.fields.values()) and not secret:
            return self._numbers(codec, stream, path)
        values: dict[str, Any] = {}
        for name, inner in codec.fields.items():
            values[name] = self.read(
                inner,
                stream,
                f"{path}.{name}" if path else name,
                context=values,
                number=NUMBERS.get((structure, name)),
                secret=secret or is_secret_field(structure, name),
            )
        return values

    def _numbers(self, codec: Record, stream: BytesIO, path: str) -> dict[str, Any]:
        """A record of nothing but numbers takes one line."""
        values: dict[str, Any] = {}
        shown = []
        for name, inner in codec.fields.items():
            assert isinstance(inner, Integer)
            values[name], text = integer(inner, stream, NUMBERS.get((codec.cls.__name__, name)))
            shown.append(f"{name} {text}")
        if values.get("property") in TEXTS:
            text = values["value"].to_bytes(4, "big").decode("latin-1").rstrip("\0")
            shown.append(repr(text))
        self.add(path, ", ".join(shown))
        return values

    def _sized(self, codec: Sized, stream: BytesIO, path: str, *, secret: bool) -> Any:
        (size,) = SIZE.unpack(take(stream, SIZE.size))
        if size == 0:
            self.add(path, "empty")
            return None
        inside = BytesIO(take(stream, size))
        self.inside(codec.inner, inside, path, secret=secret)
        return None

    def inside(self, codec: Codec, stream: BytesIO, path: str, *, secret: bool = False) -> None:
        """Read all that a buffer holds; what cannot be read ends with the buffer."""
        try:
            self.read(codec, stream, path, secret=secret)
        except Missing as end:
            self.rest(end.path, stream, str(end))
            return
        if len(stream.getbuffer()) > stream.tell():
            self.rest(path, stream, "octets are left over")

    def _list(
        self, codec: ListOf, stream: BytesIO, path: str, *, number: type[Constant] | None, secret: bool
    ) -> None:
        (count,) = COUNT.unpack(take(stream, COUNT.size))
        if isinstance(codec.element, Integer):
            shown = [integer(codec.element, stream, number)[1] for _ in counted(count, stream)]
            self.add(path, ", ".join(shown) or "none")
            return
        if count == 0:
            self.add(path, "none")
        for place in counted(count, stream):
            self.read(codec.element, stream, f"{path}[{place}]", secret=secret)

    def _union(
        self, codec: Selected, stream: BytesIO, path: str, context: Mapping[str, Any], *, secret: bool
    ) -> Any:
        selector = context.get(codec.by, -1)
        if selector not in codec.arms:
            raise Missing(f"{codec.by} has no member")
        arm = codec.arms[selector]
        if arm is None:
            return codec.empty
        number = CAPABILITIES.get(selector) if codec.by == "capability" else None
        return self.read(arm, stream, path, number=number, secret=secret)

    def _buffer(self, codec: Tpm2b, stream: BytesIO, path: str, *, secret: bool) -> bytes:
        (size,) = SIZE.unpack(take(stream, SIZE.size))
        octets = take(stream, size)
        if codec in CONTENTS and octets:
            self.inside(CONTENTS[codec], BytesIO(octets), path, secret=secret)
            return octets
        note = f", more than the {codec.maximum} allowed" if size > codec.maximum else ""
        self.add(path, self.octets(octets, secret=secret) + note)
        return octets


def take(stream: BytesIO, count: int) -> bytes:
    """Exactly so many octets; Missing, with the stream where it was, if there are fewer."""
    octets = stream.read(count)
    if len(octets) < count:
        stream.seek(-len(octets), 1)
        raise Missing("the octets end too early")
    return octets


def counted(count: int, stream: BytesIO) -> Iterator[int]:
    """The places of a list, up to the one that begins where nothing is left."""
    for place in range(count):
        if stream.tell() >= len(stream.getbuffer()):
            raise Missing(f"the octets end too early, after {place} of {count} elements")
        yield place


def integer(codec: Integer, stream: BytesIO, number: type[Constant] | None = None) -> tuple[int, str]:
    """A number and how it is shown: by its name, with the code that refuses it if it is not allowed."""
    (value,) = codec.unpack(take(stream, codec.size))
    text = integer_name(codec, value, number)
    if codec.accept is not None:
        try:
            codec.accept(value)
        except TpmError as error:
            text += f" (refused here: TPM_RC_{error.rc.name})"
    return value, text


def integer_name(codec: Integer, value: int, number: type[Constant] | None) -> str:
    """How a number of a type is shown."""
    match codec:
        case Choice():
            return constant_name(codec.kind, value)
        case Word():
            return word_name(codec, value)
        case Handle():
            return handle_name(value)
        case YesNo():
            return {0: "NO", 1: "YES"}.get(value, str(value))
        case _:
            pass
    if number is TPM_CC:
        return command_name(value)
    return number_name(value) if number is None else constant_name(number, value)


def word_name(codec: Word, value: int) -> str:
    """Attributes by their names."""
    kind = codec.kind
    if kind.__name__ == "TPMA_CC":
        return command_name(value & 0xFFFF)
    parts = [
        name if isinstance(bit, Bit) else f"{name}={(value & bit.mask) >> bit.low}"
        for name, bit in kind.bits.items()
        if value & bit.mask
    ]
    if value & kind.reserved:
        parts.append(f"reserved 0x{value & kind.reserved:X}")
    return " ".join(parts) or "no attributes"


def selected_pcr(octets: bytes) -> str:
    """The numbers of the PCR that a selection has."""
    numbers = [
        str(8 * place + bit) for place, octet in enumerate(octets) for bit in range(8) if octet >> bit & 1
    ]
    return f"PCR {' '.join(numbers)}" if numbers else "no PCR"
