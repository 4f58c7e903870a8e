"""Keys of Triple DES."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtpm.crypto.tdes import WEAK, is_usable, with_odd_parity

GOOD = [bytes.fromhex(part) for part in ("0123456789abcdef", "23456789abcdef01", "456789abcdef0123")]


class TestWeakKeys:
    """SP 800-67, 3.3.2"""

    @pytest.mark.parametrize(
        "key",
        [
            "0101010101010101",  # weak
            "fefefefefefefefe",
            "e0e0e0e0f1f1f1f1",
            "1f1f1f1f0e0e0e0e",
            "011f011f010e010e",  # semi-weak
            "e0fee0fef1fef1fe",
            "01011f1f01010e0e",  # possibly weak
            "fee0e0fefef1f1fe",
            "1f01fee00e01fef1",
        ],
    )
    def test_listed(self, key: str) -> None:
        """Keys of the published lists, in any part, whatever their parity."""
        weak = bytes.fromhex(key)
        assert weak in WEAK

        for key_bits in (weak, bytes(octet ^ 1 for octet in weak)):
            assert not is_usable(key_bits + GOOD[1])
            assert not is_usable(GOOD[0] + key_bits + GOOD[2])

    def test_number(self) -> None:
        """4 weak, 12 semi-weak and 48 possibly weak keys, all of odd parity."""
        assert len(WEAK) == 64
        assert {with_odd_parity(key) for key in WEAK} == WEAK

    def test_repeated(self) -> None:
        """Equal neighbors make it single DES; two keys of three may be equal (keying option 2)."""
        first, second, third = GOOD
        assert is_usable(first + second)
        assert is_usable(first + second + third)
        assert is_usable(first + second + first)
        assert not is_usable(first + first)
        assert not is_usable(first + first + third)
        assert not is_usable(first + second + second)


@given(st.binary(min_size=8, max_size=24))
def test_parity(key: bytes) -> None:
    """Only the lowest bits change, and then every octet has an odd number of ones."""
    result = with_odd_parity(key)

    assert all(octet.bit_count() % 2 for octet in result)
    assert bytes(octet | 1 for octet in result) == bytes(octet | 1 for octet in key)
