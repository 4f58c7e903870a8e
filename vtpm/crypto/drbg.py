"""The random number generator of a TPM."""

import hashlib
from collections.abc import Callable


class RandomGenerator:
    """Octets from an entropy source, mixed with what StirRandom was given."""

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self._entropy = entropy
        self._stirred = b""

    def __repr__(self) -> str:
        return "RandomGenerator()"

    def __call__(self, count: int) -> bytes:
        """`count` random octets."""
        octets = self._entropy(count)
        if self._stirred and count:
            self._stirred = hashlib.sha512(self._stirred).digest()
            mask = hashlib.shake_256(self._stirred + octets).digest(count)
            octets = (int.from_bytes(octets, "big") ^ int.from_bytes(mask, "big")).to_bytes(count, "big")
        return octets

    def stir(self, octets: bytes) -> None:
        """Mix in additional information (TPM2_StirRandom)."""
        self._stirred = hashlib.sha512(self._stirred + octets).digest()
