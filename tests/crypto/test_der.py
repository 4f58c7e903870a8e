"""X.690: the distinguished encoding that X.509 certificates have."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtpm.crypto import der
from vtpm.wire.error import TPM_RC, TpmError

TAGS = st.sampled_from([der.INTEGER, der.OCTET_STRING, der.SEQUENCE, der.CONTEXT + 3])


class TestElements:
    """X.690, 8.1 and 10.1"""

    @given(
        st.lists(st.tuples(st.sampled_from([0x02, 0x04, 0x30, 0xA3]), st.binary(max_size=300)), max_size=4)
    )
    def test_inverse(self, items: list[tuple[int, bytes]]) -> None:
        """Elements that were built are found again, one after the other."""
        octets = b"".join(der.element(tag, content) for tag, content in items)

        found = der.elements_of(octets)

        assert [(element.tag, element.content) for element in found] == items
        assert b"".join(element.octets for element in found) == octets

    @pytest.mark.parametrize(
        ("size", "header"),
        [(127, "047f"), (128, "048180"), (255, "0481ff"), (256, "04820100"), (65536, "0483010000")],
    )
    def test_sizes(self, size: int, header: str) -> None:
        """The length takes as few octets as it can."""
        octets = der.element(der.OCTET_STRING, bytes(size))

        assert octets[:-size].hex() == header
        assert der.elements_of(octets)[0].content == bytes(size)

    @pytest.mark.parametrize(
        "octets",
        [
            "04",
            "0401",
            "048001",
            "04810100",
            "0481",
            "04820001" + "00",
            "1f0100",
            "0485ffffffffff",
            "04" + "ff" * 4,
        ],
    )
    def test_malformed(self, octets: str) -> None:
        """TPM_RC_VALUE: cut off, of indefinite or too long a length, or with a tag of several octets."""
        with pytest.raises(TpmError) as caught:
            der.elements_of(bytes.fromhex(octets))
        assert caught.value.rc is TPM_RC.VALUE

    @given(st.binary(max_size=40))
    def test_any_octets(self, octets: bytes) -> None:
        """Any octets are elements or TPM_RC_VALUE; what is parsed is built back."""
        found = []
        with suppress(TpmError):
            found = der.elements_of(octets)

        assert b"".join(der.element(element.tag, element.content) for element in found) in (octets, b"")


class TestValues:
    """X.690, 8.3, 8.6 and 8.19"""

    @pytest.mark.parametrize(
        ("number", "octets"),
        [(0, "020100"), (127, "02017f"), (128, "02020080"), (256, "02020100"), (65537, "0203010001")],
    )
    def test_integer(self, number: int, octets: str) -> None:
        """A leading zero where the number would look negative."""
        assert der.integer(number).hex() == octets

    @pytest.mark.parametrize(
        ("dotted", "octets"),
        [
            ("1.2.840.113549.1.1.11", "06092a864886f70d01010b"),
            ("2.5.29.15", "0603551d0f"),
            ("1.2.840.10045.4.3.2", "06082a8648ce3d040302"),
            ("2.23.133.8.3", "060567810508" + "03"),
            ("2.999.3", "0603883703"),
        ],
    )
    def test_object_identifier(self, dotted: str, octets: str) -> None:
        """Identifiers of certificates; and X.690's own example, whose second number is large."""
        assert der.object_identifier(dotted).hex() == octets

    @pytest.mark.parametrize(
        ("content", "number"),
        [("00", 0), ("0100", 0), ("0780", 0b1000_0000_0), ("03a8", 0b1010_1000_0), ("07ff80", 0b1111_1111_1)],
    )
    def test_bits(self, content: str, number: int) -> None:
        """Bits are counted from the first on; those that are not there are zero."""
        string = der.elements_of(der.element(der.BIT_STRING, bytes.fromhex(content)))[0]

        assert der.bits_of(string, 16) == number << 7

    @pytest.mark.parametrize("content", ["", "08", "01", "0800", "0101", "00ffffff"])
    def test_bad_bits(self, content: str) -> None:
        """TPM_RC_VALUE: no count of unused bits, more than there are, one that is set, or too many bits."""
        string = der.elements_of(der.element(der.BIT_STRING, bytes.fromhex(content)))[0]

        with pytest.raises(TpmError) as caught:
            der.bits_of(string, 16)
        assert caught.value.rc is TPM_RC.VALUE

    def test_bit_string(self) -> None:
        """A signature is a string of whole octets."""
        assert der.bit_string(b"\xa5").hex() == "030200a5"
