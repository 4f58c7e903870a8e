"""Part 3, clause 16: random number generator."""

import pytest

from tests.scenarios import Client
from vtpm.wire.error import TPM_RC


class TestGetRandom:
    """16.1"""

    @pytest.mark.parametrize(
        ("wanted", "given"), [(0, 0), (1, 1), (63, 63), (64, 64), (65, 64), (0xFFFF, 64)]
    )
    def test_size(self, tpm: Client, wanted: int, given: int) -> None:
        """As many octets as asked for, but no more than the largest digest has."""
        assert len(tpm.get_random(bytes_requested=wanted).random_bytes) == given

    def test_different(self, tpm: Client) -> None:
        """They are different every time."""
        found = {tpm.get_random(bytes_requested=16).random_bytes for _ in range(100)}

        assert len(found) == 100


class TestStirRandom:
    """16.2"""

    @pytest.mark.parametrize(("size", "expected"), [(0, TPM_RC.SUCCESS), (128, TPM_RC.SUCCESS)])
    def test_size(self, tpm: Client, size: int, expected: int) -> None:
        """Up to 128 octets."""
        assert tpm.stir_random(in_data=bytes(size)).rc == expected
        assert tpm.stir_random(in_data=bytes(129)).rc == TPM_RC.SIZE.parameter(1)

    def test_effect(self) -> None:
        """What is stirred in changes what comes out; the source alone does not tell it."""
        plain, stirred, again = Client(), Client(), Client()
        assert (
            plain.get_random(bytes_requested=8).random_bytes
            == again.get_random(bytes_requested=8).random_bytes
        )
        stirred.get_random(bytes_requested=8)
        stirred.stir_random(in_data=b"something")

        values = [one.get_random(bytes_requested=32).random_bytes for one in (plain, again, stirred)]
        assert values[0] == values[1] != values[2]
