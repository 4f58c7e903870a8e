"""Random numbers: the TPM's own generator, and the deterministic one that keys are derived with."""

import hashlib
from collections.abc import Callable

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR, ECB

KEY_SIZE = 32
BLOCK = 16
SEED_SIZE = KEY_SIZE + BLOCK
COUNTERS = 1 << 8 * BLOCK


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


class DerivationGenerator:
    """
    The CTR-DRBG with AES-256 from which primary objects are made: the same seed gives the same octets.

    It is SP 800-90A's but for its derivation function.
    There the reference code carries the chaining value from one chain to the next.
    Every TPM of this line does, so the deviation is part of what a seed means.
    Each call is one generate request: how a stream is cut into requests matters.
    """

    def __init__(self, seed: bytes, label: bytes, name: bytes, data: bytes) -> None:
        self._key = bytes(KEY_SIZE)
        self._counter = 0
        self._update(_condensed(seed + label + name + data))

    def __repr__(self) -> str:
        return "DerivationGenerator()"

    def __call__(self, count: int) -> bytes:
        """`count` octets, as one request."""
        # What follows the octets in the stream is the next key and counter.
        end = -(-count // BLOCK) * BLOCK
        octets = self._stream(end + SEED_SIZE)
        self._restart(octets[end:])
        return octets[:count]

    def stir(self, octets: bytes) -> None:
        """Mix in additional data."""
        self._update(_condensed(octets))

    def save(self) -> tuple[bytes, int]:
        """The key and the counter: where in its octets the generator is."""
        return self._key, self._counter

    def restore(self, state: tuple[bytes, int]) -> None:
        """Go on from what `save` gave."""
        self._key, self._counter = state

    def _stream(self, count: int) -> bytes:
        first = (self._counter + 1) % COUNTERS
        self._counter = (self._counter + -(-count // BLOCK)) % COUNTERS
        return Cipher(AES(self._key), CTR(first.to_bytes(BLOCK, "big"))).encryptor().update(bytes(count))

    def _update(self, provided: bytes) -> None:
        self._restart(_xor(self._stream(SEED_SIZE), provided))

    def _restart(self, octets: bytes) -> None:
        self._key = octets[:KEY_SIZE]
        self._counter = int.from_bytes(octets[KEY_SIZE:], "big")


class LabelGenerator:
    """Part 1, "Derivation": the octets of a derivation parent, KDFa with a label and a context."""

    LIMIT = 8192 // 8

    def __init__(self, hmac: Callable[[bytes], bytes], label: bytes, context: bytes) -> None:
        end = b"" if label.endswith(b"\0") else b"\0"
        self._fixed = label + end + context + (8 * self.LIMIT).to_bytes(4, "big")
        self._hmac = hmac
        self._count = 0
        self._rest = b""
        self._given = 0

    def __repr__(self) -> str:
        return "LabelGenerator()"

    def __call__(self, count: int) -> bytes:
        """The next `count` octets; OverflowError past 8192 bits in all."""
        self._given += count
        if self._given > self.LIMIT:
            raise OverflowError
        while len(self._rest) < count:
            self._count += 1
            self._rest += self._hmac(self._count.to_bytes(4, "big") + self._fixed)
        octets, self._rest = self._rest[:count], self._rest[count:]
        return octets

    def stir(self, octets: bytes) -> None:
        """A derived object takes nothing but its label and context."""


def _xor(a: bytes, b: bytes) -> bytes:
    return (int.from_bytes(a, "big") ^ int.from_bytes(b, "big")).to_bytes(len(a), "big")


def _condensed(octets: bytes) -> bytes:
    """The derivation function: 48 octets out of any number."""
    encrypt = Cipher(AES(bytes(range(KEY_SIZE))), ECB()).encryptor().update  # noqa: S305 - as specified
    chains = [bytes((0, 0, 0, k)).ljust(BLOCK, b"\0") for k in range(3)]

    def compress(block: bytes) -> None:
        carried = bytes(BLOCK)
        for k, chain in enumerate(chains):
            carried = _xor(carried, _xor(chain, block))
            chains[k] = encrypt(carried)

    compress(bytes(BLOCK))
    lengths = len(octets).to_bytes(4, "big") + SEED_SIZE.to_bytes(4, "big")
    chains[0] = lengths + chains[0][8:]
    padded = bytes(4) + octets + b"\x80"
    padded += bytes(-len(padded) % BLOCK)
    for start in range(0, len(padded), BLOCK):
        compress(padded[start : start + BLOCK])
    return b"".join(chains)
