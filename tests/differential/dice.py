"""Random values of the constructs of Part 2: well-formed octets from the declarations that read them."""

import struct
from collections.abc import Callable
from random import Random
from typing import Any

from vtpm.wire.codec import Codec
from vtpm.wire.integers import Integer
from vtpm.wire.structure import Record
from vtpm.wire.vocabulary import Choice, Limited, ListOf, Octets, PcrSelect, Selected, Sized, Tpm2b, YesNo

SIZES = (0, 0, 1, 2, 8, 16, 16, 20, 20, 32, 32, 32, 48, 64, 64, 128, 256, 1024, 1025, 2048)


def is_limited(handle: int) -> bool:
    """Is it a firmware-limited or SVN-limited hierarchy?"""
    return 0x40000140 <= handle < 0x40000150 or 0x40010000 <= handle < 0x50000000


class Dice:
    """A source of random choices."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.pick = self.random.choice
        self.octets = self.random.randbytes

    def chance(self, likelihood: float) -> bool:
        """True so often."""
        return self.random.random() < likelihood

    def value(self, codec: Codec, chosen: dict[str, Any] | None = None) -> bytes:
        """Octets that a construct reads without an error, mostly; `chosen` are the fields beside it."""
        for kind, make in MAKERS:
            if isinstance(codec, kind):
                return make(self, codec, chosen or {})
        return self.octets(16)

    def _integer(self, codec: Any, _: dict[str, Any]) -> bytes:
        values = [0, 1, 2, 8, 20, 256, self.random.getrandbits(8 * codec.size), (1 << 8 * codec.size) - 1]
        value: int = self.pick(values) & ((1 << 8 * codec.size) - 1)
        return value.to_bytes(codec.size, "big")

    def _choice(self, codec: Any, _: dict[str, Any]) -> bytes:
        return bytes(codec.pack(self.pick(list(codec.members))))

    def _limited(self, codec: Any, _: dict[str, Any]) -> bytes:
        # Limited hierarchies are newer than libtpms 0.9.
        values = [value for value in codec.values if not is_limited(value)]
        for interval in codec.ranges:
            if is_limited(interval[0]):
                continue
            values += [interval[0], interval[-1], self.pick(interval)]
        return bytes(codec.pack(self.pick(sorted(values))))

    def _buffer(self, codec: Any, _: dict[str, Any]) -> bytes:
        size = min(self.pick(SIZES), codec.maximum)
        if self.chance(0.02):
            size = codec.maximum if codec.maximum < 2048 else size
        filler = self.pick([bytes(size), self.octets(size)])
        return struct.pack(">H", size) + filler

    def _sized(self, codec: Any, _: dict[str, Any]) -> bytes:
        if codec.optional and self.chance(0.4):
            return bytes(2)
        inner = self.value(codec.inner)
        return struct.pack(">H", len(inner)) + inner

    def _list(self, codec: Any, _: dict[str, Any]) -> bytes:
        count = min(self.pick([0, 1, 1, 2, 3, codec.minimum]), codec.maximum)
        elements = b"".join(self.value(codec.element) for _ in range(max(count, codec.minimum)))
        return struct.pack(">I", max(count, codec.minimum)) + elements

    def _selected(self, codec: Any, chosen: dict[str, Any]) -> bytes:
        arm = codec.arms.get(chosen.get(codec.by))
        return b"" if arm is None else self.value(arm)

    def _record(self, codec: Any, _: dict[str, Any]) -> bytes:
        values: dict[str, Any] = {}
        octets = b""
        for name, field in codec.fields.items():
            part = self.value(field, values)
            if isinstance(field, Choice):
                values[name] = field.accept(field.unpack(part)[0])
            octets += part
        return octets


MAKERS: list[tuple[type | tuple[type, ...], Callable[[Dice, Any, dict[str, Any]], bytes]]] = [
    (Choice, Dice._choice),
    (Limited, Dice._limited),
    (YesNo, lambda dice, _, __: bytes([dice.pick([0, 1])])),
    (Integer, Dice._integer),
    (Octets, lambda dice, codec, _: dice.octets(codec.count)),
    (PcrSelect, lambda dice, _, __: b"\3" + dice.pick([bytes(3), b"\1\0\0", b"\0\0\1", dice.octets(3)])),
    (Tpm2b, Dice._buffer),
    (Sized, Dice._sized),
    (ListOf, Dice._list),
    (Selected, Dice._selected),
    (Record, Dice._record),
]
"""How to make octets for a word of Part 2; the first that fits."""
