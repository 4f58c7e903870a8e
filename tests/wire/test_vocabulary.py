"""The words in which structures are declared."""

from typing import Annotated, Any

import pytest

from vtpm.wire.error import TPM_RC, TpmError
from vtpm.wire.flags import Bit, Bits, Flags
from vtpm.wire.integers import INT8, INT32, UINT8, UINT16, UINT32, UINT64, Constant
from vtpm.wire.structure import but, marshal, structure, unmarshal
from vtpm.wire.vocabulary import (
    Choice,
    Handle,
    Limited,
    ListOf,
    Octets,
    PcrSelect,
    Selected,
    Sized,
    Tpm2b,
    YesNo,
    codec_of,
)


class COLOR(Constant, octets=2):
    """Named values of two octets."""

    RED = 1
    GREEN = 2
    BLUE = 3


class STEP(Constant, octets=1):
    """Named values, one of them negative."""

    BACK = -1
    STAY = 0


class WORD(Flags, octets=1):
    """Bits 1 to 3 and 6 are reserved."""

    first = Bit(0)
    number = Bits(5, 4)
    last = Bit(7)


COLOR_OF = Annotated[COLOR, Choice(COLOR.RED, COLOR.GREEN, otherwise=TPM_RC.HASH)]
COLOR_OF_NULL = Annotated[COLOR, Choice(COLOR.RED, COLOR.GREEN, COLOR.BLUE, otherwise=TPM_RC.HASH)]


@structure
class Pair:
    """Two integers and a buffer."""

    left: UINT8
    right: UINT16
    rest: Annotated[bytes, Tpm2b(4)]


@structure
class Painted:
    """A union with a member of octets, and an empty one."""

    color: COLOR_OF
    paint: Annotated[Any, Selected("color", {COLOR.RED: Pair, COLOR.BLUE: None}, empty=b"none")]


PAINTED_NULL = Annotated[Painted, but(Painted, color=COLOR_OF_NULL)]


def rc_of(kind: Any, octets: str) -> TPM_RC:
    """The response code of octets that are refused."""
    with pytest.raises(TpmError) as raised:
        unmarshal(kind, bytes.fromhex(octets))
    return raised.value.rc


class TestIntegers:
    """Part 2, 5"""

    @pytest.mark.parametrize(
        ("kind", "value", "octets"),
        [
            (UINT8, 0xFE, "fe"),
            (INT8, -2, "fe"),
            (UINT16, 0x0102, "0102"),
            (UINT32, 0x01020304, "01020304"),
            (INT32, -1, "ffffffff"),
            (UINT64, 0x0102030405060708, "0102030405060708"),
        ],
    )
    def test_big_endian(self, kind: Any, value: int, octets: str) -> None:
        """The most significant octet comes first."""
        assert marshal(value, kind).hex() == octets
        assert unmarshal(kind, bytes.fromhex(octets)) == value
        assert rc_of(kind, octets[2:]) == TPM_RC.INSUFFICIENT
        assert rc_of(kind, octets + "00") == TPM_RC.SIZE
        assert codec_of(kind).most() == len(octets) // 2


class TestChoices:
    """Part 2, 4: interface types"""

    def test_choice(self) -> None:
        """A named value is read as its member, and others are refused."""
        assert unmarshal(COLOR_OF, b"\0\1") is COLOR.RED
        assert rc_of(COLOR_OF, "0003") == TPM_RC.HASH
        assert rc_of(COLOR_OF, "0009") == TPM_RC.HASH

    def test_negative_choice(self) -> None:
        """A negative member makes the integer signed."""
        assert unmarshal(Choice(*STEP), b"\xff") is STEP.BACK

    def test_limited(self) -> None:
        """Values and ranges; the end of a range is not part of it."""
        kind = Limited("B", 1, range(8, 10), otherwise=TPM_RC.SIZE)

        assert [unmarshal(kind, bytes([value])) for value in (1, 8, 9)] == [1, 8, 9]
        assert {rc_of(kind, f"{value:02x}") for value in (0, 2, 7, 10, 255)} == {TPM_RC.SIZE}

    def test_handle(self) -> None:
        """A handle is a limited UINT32, refused with TPM_RC_VALUE."""
        assert unmarshal(Handle(range(0x01000000, 0x02000000)), b"\1\0\0\7") == 0x01000007
        assert rc_of(Handle(0x40000001), "40000002") == TPM_RC.VALUE

    def test_yes_no(self) -> None:
        """TPMI_YES_NO is a bool."""
        assert unmarshal(YesNo(), b"\1") is True
        assert unmarshal(YesNo(), b"\0") is False
        assert rc_of(YesNo(), "02") == TPM_RC.VALUE
        assert marshal(value=True, kind=YesNo()) == b"\1"


class TestBuffers:
    """Part 2, 10.3.1"""

    def test_sized_octets(self) -> None:
        """The size is checked before the contents are read."""
        assert unmarshal(Tpm2b(4), b"\0\2ab") == b"ab"
        assert rc_of(Tpm2b(4), "0005") == TPM_RC.SIZE
        assert rc_of(Tpm2b(4), "0004 0000") == TPM_RC.INSUFFICIENT
        assert rc_of(Tpm2b(4), "00") == TPM_RC.INSUFFICIENT

    def test_octets(self) -> None:
        """A fixed number."""
        assert unmarshal(Octets(2), b"ab") == b"ab"
        assert rc_of(Octets(2), "00") == TPM_RC.INSUFFICIENT

    def test_pcr_select(self) -> None:
        """10.5.1: a size out of range is TPM_RC_VALUE."""
        assert unmarshal(PcrSelect(2, 3), b"\3abc") == b"abc"
        assert rc_of(PcrSelect(2, 3), "01 00") == TPM_RC.VALUE
        assert rc_of(PcrSelect(2, 3), "04 00000000") == TPM_RC.VALUE
        assert rc_of(PcrSelect(2, 3), "02 00") == TPM_RC.INSUFFICIENT

    def test_sized_structure(self) -> None:
        """The size is that of the structure, neither more nor less."""
        kind = Sized(Pair)

        assert unmarshal(kind, bytes.fromhex("0006 01 0002 0001 aa")) == Pair(left=1, right=2, rest=b"\xaa")
        assert rc_of(kind, "0005 01 0002 0001 aa") == TPM_RC.SIZE
        assert rc_of(kind, "0007 01 0002 0001 aa 00") == TPM_RC.SIZE
        assert rc_of(kind, "0000") == TPM_RC.SIZE

    def test_optional_structure(self) -> None:
        """A size of zero may stand for no structure."""
        kind = Sized(Pair, optional=True)

        assert unmarshal(kind, b"\0\0") is None
        assert marshal(None, kind) == b"\0\0"

    def test_list(self) -> None:
        """A count out of range is TPM_RC_SIZE, before any element is read."""
        kind = ListOf(UINT16, 2, minimum=1)

        assert unmarshal(kind, bytes.fromhex("00000002 0001 0002")) == (1, 2)
        assert rc_of(kind, "00000000") == TPM_RC.SIZE
        assert rc_of(kind, "00000003") == TPM_RC.SIZE
        assert rc_of(kind, "00000002 0001 00") == TPM_RC.INSUFFICIENT
        assert kind.most() == 4 + 2 * 2


class TestStructure:
    """`@structure`"""

    def test_first_field_at_fault(self) -> None:
        """What is wrong with an earlier field counts more than missing octets of a later one."""

        @structure
        class Three:
            """Neighboring integers, which are read together."""

            color: COLOR_OF
            word: WORD
            number: UINT32

        assert rc_of(Three, "0009") == TPM_RC.HASH
        assert rc_of(Three, "0001 40 0000") == TPM_RC.RESERVED_BITS
        assert rc_of(Three, "0001 80 0000") == TPM_RC.INSUFFICIENT
        assert rc_of(Three, "0009 40 00000000") == TPM_RC.HASH

    def test_values_compare_and_cannot_change(self) -> None:
        """A value that was read is the same as one that was made."""
        read: Any = unmarshal(Pair, bytes.fromhex("01 0002 0001 aa"))

        assert read == Pair(left=1, right=2, rest=b"\xaa")
        assert hash(read) == hash(Pair(left=1, right=2, rest=b"\xaa"))
        with pytest.raises(AttributeError):
            read.left = 2

    def test_union(self) -> None:
        """The selector decides; one without a member is TPM_RC_SELECTOR."""
        value = unmarshal(Painted, bytes.fromhex("0001 01 0002 0000"))

        assert value.paint == Pair(left=1, right=2, rest=b"")
        assert rc_of(Painted, "0002") == TPM_RC.SELECTOR

    def test_other_constructs_for_some_fields(self) -> None:
        """Part 2's "+": the same structure takes one more selector, whose member is empty."""
        value = unmarshal(PAINTED_NULL, b"\0\3")

        assert value == Painted(color=COLOR.BLUE, paint=b"none")
        assert marshal(value) == marshal(value, PAINTED_NULL) == b"\0\3"
        assert rc_of(Painted, "0003") == TPM_RC.HASH

    def test_most_octets(self) -> None:
        """What Part 2 calls sizeof: the largest member of a union counts."""
        assert codec_of(Pair).most() == 1 + 2 + 2 + 4
        assert codec_of(Painted).most() == 2 + codec_of(Pair).most()


class TestFlags:
    """Part 2, 8"""

    def test_bits(self) -> None:
        """A bit is a bool, neighboring bits are a number."""
        word = WORD(first=True, number=2)

        assert word == 0x21
        assert (word.first, word.number, word.last) == (True, 2, False)
        assert repr(word) == "WORD(first | number=2)"

    def test_but(self) -> None:
        """Named bits change, the others stay."""
        assert WORD(0xB1).but(last=False, number=1) == 0x11

    def test_reserved(self) -> None:
        """A reserved bit is TPM_RC_RESERVED_BITS."""
        assert WORD.reserved == 0x4E
        assert unmarshal(WORD, b"\xb1") == WORD(first=1, number=3, last=1)
        assert rc_of(WORD, "02") == TPM_RC.RESERVED_BITS
