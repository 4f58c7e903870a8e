"""Attribute words of Part 2 (TPMA_x): integers whose bits have names."""

from typing import Any, ClassVar, Self, overload

from vtpm.wire.error import TPM_RC, TpmError
from vtpm.wire.integers import FORMATS, Integer


class Bit:
    """One bit of a `Flags` word, read as a `bool`."""

    def __init__(self, number: int) -> None:
        self.mask = 1 << number

    @overload
    def __get__(self, word: None, owner: type) -> Self: ...
    @overload
    def __get__(self, word: int, owner: type) -> bool: ...
    def __get__(self, word: int | None, owner: type) -> Self | bool:
        return self if word is None else word & self.mask != 0

    def place(self, value: int) -> int:
        """The bit in its place."""
        return self.mask if value else 0


class Bits:
    """Neighboring bits of a `Flags` word, read as an integer; numbered as in Part 2."""

    def __init__(self, high: int, low: int) -> None:
        self.low = low
        self.mask = (1 << high + 1) - (1 << low)

    @overload
    def __get__(self, word: None, owner: type) -> Self: ...
    @overload
    def __get__(self, word: int, owner: type) -> int: ...
    def __get__(self, word: int | None, owner: type) -> Self | int:
        return self if word is None else (word & self.mask) >> self.low

    def place(self, value: int) -> int:
        """The bits in their place."""
        return value << self.low & self.mask


class Flags(int):
    """
    A TPMA_x word: `word.name` reads a bit, `word.but(name=True)` is the word with that bit changed.

    A class made of another one has its bits, too.
    """

    wire: ClassVar[Integer]
    bits: ClassVar[dict[str, Bit | Bits]] = {}
    reserved: ClassVar[int]
    octets: ClassVar[int]

    def __init_subclass__(cls, *, octets: int) -> None:
        cls.octets = octets
        cls.bits = cls.bits | {name: bit for name, bit in vars(cls).items() if isinstance(bit, Bit | Bits)}
        cls.reserved = (1 << 8 * octets) - 1
        for bit in cls.bits.values():
            cls.reserved &= ~bit.mask
        cls.wire = Word(cls)

    def __new__(cls, value: int = 0, **named: int) -> Self:
        for name, bit in named.items():
            value |= cls.bits[name].place(bit)
        return super().__new__(cls, value)

    def but(self, **named: int) -> Self:
        """The same word with the named bits changed."""
        value = int(self)
        for name, bit in named.items():
            value = value & ~self.bits[name].mask | self.bits[name].place(bit)
        return type(self)(value)

    def __repr__(self) -> str:
        parts = []
        for name, bit in self.bits.items():
            if self & bit.mask:
                parts.append(name if isinstance(bit, Bit) else f"{name}={(self & bit.mask) >> bit.low}")
        return f"{type(self).__name__}({' | '.join(parts)})"

    __str__ = __repr__


class Word(Integer):
    """The octets of a `Flags` word; reserved bits are TPM_RC_RESERVED_BITS (Part 2, 5.3 and Part 3, 5.8)."""

    def __init__(self, kind: type[Flags]) -> None:
        super().__init__(FORMATS[kind.octets])
        self.kind = kind
        self.reserved = kind.reserved

    def accept(self, value: int) -> Any:
        if value & self.reserved:
            raise TpmError(TPM_RC.RESERVED_BITS)
        return int.__new__(self.kind, value)
