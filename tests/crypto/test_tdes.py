"""Part 1, Annex "Symmetric": which keys of Triple DES are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtpm.crypto.tdes import WEAK, is_usable, with_odd_parity

WEAK_KEYS = ["0101010101010101", "fefefefefefefefe", "e0e0e0e0f1f1f1f1", "1f1f1f1f0e0e0e0e"]
SEMI_WEAK_KEYS = [
    "011f011f010e010e", "1f011f010e010e01", "01e001e001f101f1", "e001e001f101f101",
    "01fe01fe01fe01fe", "fe01fe01fe01fe01", "1fe01fe00ef10ef1", "e01fe01ff10ef10e",
    "1ffe1ffe0efe0efe", "fe1ffe1ffe0efe0e", "e0fee0fef1fef1fe", "fee0fee0fef1fef1",
]  # fmt: skip
POSSIBLY_WEAK_KEYS = [
    "1f1f01010e0e0101", "011f1f01010e0e01", "1f01011f0e01010e", "01011f1f01010e0e",
    "e0e00101f1f10101", "fefe0101fefe0101", "fee01f01fef10e01", "e0fe011ff1fe010e",
]  # fmt: skip
GOOD = bytes.fromhex("0123456789abcdef23456789abcdef01456789abcdef0123")


class TestWeakKeys:
    """SP 800-67, 3.3.2"""

    @pytest.mark.parametrize("key", [*WEAK_KEYS, *SEMI_WEAK_KEYS, *POSSIBLY_WEAK_KEYS])
    def test_published(self, key: str) -> None:
        """Keys of the lists of weak, semi-weak and possibly weak ones, with and without their parity."""
        part = bytes.fromhex(key)

        assert not is_usable(part + GOOD[:8])
        assert not is_usable(GOOD[:16] + bytes(octet ^ 1 for octet in part))

    def test_count(self) -> None:
        """4 weak keys, 12 semi-weak ones and 48 possibly weak ones."""
        assert len(WEAK) == 64

    @pytest.mark.parametrize("size", [16, 24])
    def test_good(self, size: int) -> None:
        """A key of two or three different parts is usable."""
        assert is_usable(GOOD[:size])

    def test_equal_neighbors(self) -> None:
        """Neighbors that differ in parity alone cancel out; the first and the third part may be equal."""
        twin = bytes(octet ^ 1 for octet in GOOD[:8])

        assert not is_usable(GOOD[:8] + twin)
        assert not is_usable(GOOD[8:16] + GOOD[:8] + twin)
        assert is_usable(GOOD[:16] + GOOD[:8])


class TestParity:
    """FIPS 46-3: the lowest bit of an octet makes the number of its ones odd"""

    @given(st.binary(max_size=24))
    def test_odd(self, key: bytes) -> None:
        """Every octet has odd parity, and keeps its other bits."""
        adjusted = with_odd_parity(key)

        assert all(octet.bit_count() % 2 for octet in adjusted)
        assert [octet >> 1 for octet in adjusted] == [octet >> 1 for octet in key]
