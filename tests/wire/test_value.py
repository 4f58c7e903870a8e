"""Structures are values: what `dataclass(frozen=True, slots=True)` promises holds for them."""

import copy
import pickle
from dataclasses import FrozenInstanceError, fields, is_dataclass, replace
from typing import Annotated

import pytest

from vtpm.wire.integers import UINT8, UINT16
from vtpm.wire.structure import marshal, structure, unmarshal
from vtpm.wire.vocabulary import Tpm2b


class Named:
    """A base without fields."""

    __slots__ = ()
    kind = "base"

    def describe(self) -> str:
        """What it is."""
        return f"{self.kind} {self!r}"


@structure
class Pair(Named):
    """Two fields and a constant."""

    kind = "pair"
    number: UINT16
    octets: Annotated[bytes, Tpm2b()]


@structure
class Single:
    """One field, with a default."""

    number: UINT8 = 7


@structure
class Empty:
    """No field."""


@structure
class Secret:
    """What must not be shown."""

    number: UINT8

    __repr__ = object.__repr__


def test_fields_by_place_and_name() -> None:
    """Fields are given in order or by name."""
    assert Pair(1, b"a") == Pair(number=1, octets=b"a") == Pair(1, octets=b"a")
    assert (Pair(1, b"a").number, Pair(1, b"a").octets) == (1, b"a")
    assert Single() == Single(7) != Single(8)
    assert Empty() == Empty()


@pytest.mark.parametrize("given", [{}, {"number": 1}, {"number": 1, "octets": b"", "other": 2}])
def test_other_fields(given: dict[str, int]) -> None:
    """A field that is missing, and one that there is not, are errors; the first time and ever after."""
    for _ in range(2):
        with pytest.raises(TypeError, match=r"Pair.__init__\(\)"):
            Pair(**given)  # type: ignore[arg-type]


def test_equality() -> None:
    """Values of one class with equal fields are equal, and nothing else is."""
    assert Pair(1, b"a") != Pair(2, b"a")
    assert Pair(1, b"a") != (1, b"a")  # type: ignore[comparison-overlap]
    assert Single(1) != Secret(1)  # type: ignore[comparison-overlap]
    assert {Pair(1, b"a"), Pair(1, b"a"), Pair(2, b"a")} == {Pair(2, b"a"), Pair(1, b"a")}
    assert len({Single(1), Single(1), Single(2), Empty(), Empty()}) == 3


def test_what_is_shown() -> None:
    """A value shows its fields, unless its class shows something else."""
    assert repr(Pair(1, b"a")) == "Pair(number=1, octets=b'a')"
    assert repr(Empty()) == "Empty()"
    assert "number" not in repr(Secret(7))
    assert Pair(1, b"a").describe() == "pair Pair(number=1, octets=b'a')"


def test_no_change() -> None:
    """A value cannot be changed, and has no room for more."""
    value = Pair(1, b"a")
    for name in ("number", "other"):
        with pytest.raises(FrozenInstanceError):
            setattr(value, name, 2)
    with pytest.raises(FrozenInstanceError):
        del value.number
    assert not hasattr(value, "__dict__")


def test_replace() -> None:
    """`dataclasses.replace` and `fields` take values, those that were read, too."""
    value = unmarshal(Pair, b"\0\1\0\1a")
    assert replace(value, number=2) == Pair(2, b"a")
    assert [field.name for field in fields(Pair)] == ["number", "octets"]
    assert is_dataclass(value)
    with pytest.raises(TypeError):
        replace(value, other=2)  # type: ignore[call-arg]


def test_copies() -> None:
    """A value is copied and pickled as it is."""
    value = Pair(1, b"a")
    assert copy.copy(value) == copy.deepcopy(value) == value
    assert pickle.loads(pickle.dumps(value)) == value
    assert marshal(copy.copy(value)) == b"\0\1\0\1a"


def test_pattern() -> None:
    """The fields are the positions of a pattern."""
    match Pair(1, b"a"):
        case Pair(number, octets):
            assert (number, octets) == (1, b"a")
