"""
Hash functions as states that can be written down between two blocks (FIPS 180-4, FIPS 202, GB/T 32905).

A sequence object must survive ContextSave, so its state must be had after any octet.
These functions define what that state is, in plain Python and slowly.
`folding` has OpenSSL do the same where it can.
"""

import struct
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import isqrt

from vtpm.spec.constants import TPM_ALG
from vtpm.spec.limits import DIGEST_SIZES

MASK32, MASK64 = (1 << 32) - 1, (1 << 64) - 1


class Family:
    """
    One construction: how a block changes the state, and which blocks end a message.

    The digest is the beginning of the state after the last block.
    """

    block: int
    digest_size: int

    @property
    @abstractmethod
    def form(self) -> str:
        """The words of a state as it is written down, as `struct` names them."""

    @abstractmethod
    def start(self) -> bytes:
        """The state before the first block."""

    @abstractmethod
    def compress(self, state: bytes, block: bytes) -> bytes:
        """The state after a block."""

    @abstractmethod
    def padded(self, tail: bytes, length: int) -> bytes:
        """The last blocks, from the octets after the last whole block and the whole message's length."""


@dataclass(frozen=True)
class MerkleDamgard(Family):
    """SHA-1, SHA-2 and SM3: words, big endian, and the length in bits at the end."""

    initial: tuple[int, ...]
    word: str
    block: int
    digest_size: int
    rounds: Callable[[tuple[int, ...], tuple[int, ...]], tuple[int, ...]]

    @property
    def form(self) -> str:
        """The chaining value."""
        return f">{len(self.initial)}{self.word}"

    @property
    def _state(self) -> struct.Struct:
        return struct.Struct(self.form)

    def start(self) -> bytes:
        """The initial hash value."""
        return self._state.pack(*self.initial)

    def compress(self, state: bytes, block: bytes) -> bytes:
        """One application of the compression function."""
        words = struct.unpack(f">16{self.word}", block)
        return self._state.pack(*self.rounds(self._state.unpack(state), words))

    def padded(self, tail: bytes, length: int) -> bytes:
        """One or two blocks, with the length in bits at the end."""
        size = self.block // 8
        ended = tail + b"\x80"
        return ended + bytes((-len(ended) - size) % self.block) + (8 * length).to_bytes(size, "big")


def _rotated(word: int, by: int) -> int:
    return (word << by | word >> 32 - by) & MASK32


def _sha1(state: tuple[int, ...], block: tuple[int, ...]) -> tuple[int, ...]:
    w = list(block)
    for t in range(16, 80):
        word = w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16]
        w.append((word << 1 | word >> 31) & MASK32)
    a, b, c, d, e = state
    for t, word in enumerate(w):
        if t < 20:
            f = (d ^ b & (c ^ d)) + 0x5A827999
        elif t < 40:
            f = (b ^ c ^ d) + 0x6ED9EBA1
        elif t < 60:
            f = (b & c | d & (b | c)) + 0x8F1BBCDC
        else:
            f = (b ^ c ^ d) + 0xCA62C1D6
        a, b, c, d, e = (a << 5 | a >> 27) + f + e + word & MASK32, a, (b << 30 | b >> 2) & MASK32, c, d
    return tuple((x + y) & MASK32 for x, y in zip(state, (a, b, c, d, e), strict=True))


@cache
def _primes(count: int) -> tuple[int, ...]:
    found: list[int] = []
    number = 2
    while len(found) < count:
        if all(number % prime for prime in found if prime * prime <= number):
            found.append(number)
        number += 1
    return tuple(found)


def _cube_root_fraction(number: int, bits: int) -> int:
    """The first bits of the fractional part of a cube root."""
    scaled, low, high = number << 3 * bits, 0, 1 << bits + 4
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (middle, high) if middle**3 <= scaled else (low, middle)
    return low & (1 << bits) - 1


def _square_root_fraction(number: int, bits: int) -> int:
    """The first bits of the fractional part of a square root."""
    return isqrt(number << 2 * bits) & (1 << bits) - 1


@cache
def _sha2_constants(bits: int) -> tuple[int, ...]:
    return tuple(_cube_root_fraction(prime, bits) for prime in _primes(64 if bits == 32 else 80))


def _sha2(
    bits: int, big: tuple[tuple[int, int, int], ...], small: tuple[tuple[int, int, int], ...]
) -> Callable[[tuple[int, ...], tuple[int, ...]], tuple[int, ...]]:
    """
    FIPS 180-4, 6.2.2 and 6.4.2, with the rotations of 4.1; the last of a `small` is a shift.

    Bits above a word's are left where they are until the sums are complete.
    """
    mask = (1 << bits) - 1
    (a1, a2, a3), (e1, e2, e3) = big
    (s1, s2, s3), (t1, t2, t3) = small

    def rounds(state: tuple[int, ...], block: tuple[int, ...]) -> tuple[int, ...]:
        constants = _sha2_constants(bits)
        w = list(block)
        for t in range(16, len(constants)):
            early, late = w[t - 15], w[t - 2]
            twice, again = early << bits | early, late << bits | late
            mixed = (twice >> s1 ^ twice >> s2 ^ early >> s3) + (again >> t1 ^ again >> t2 ^ late >> t3)
            w.append(mixed + w[t - 7] + w[t - 16] & mask)
        a, b, c, d, e, f, g, h = state
        for constant, word in zip(constants, w, strict=True):
            twice, again = e << bits | e, a << bits | a
            one = h + (twice >> e1 ^ twice >> e2 ^ twice >> e3) + (g ^ e & (f ^ g)) + constant + word
            two = (again >> a1 ^ again >> a2 ^ again >> a3) + (a & b | c & (a | b))
            a, b, c, d, e, f, g, h = one + two & mask, a, b, c, d + one & mask, e, f, g
        return tuple((x + y) & mask for x, y in zip(state, (a, b, c, d, e, f, g, h), strict=True))

    return rounds


SM3_EARLY, SM3_LATE = 0x79CC4519, 0x7A879D8A


def _sm3(state: tuple[int, ...], block: tuple[int, ...]) -> tuple[int, ...]:
    w = list(block)
    for j in range(16, 68):
        x = w[j - 16] ^ w[j - 9] ^ _rotated(w[j - 3], 15)
        w.append(x ^ _rotated(x, 15) ^ _rotated(x, 23) ^ _rotated(w[j - 13], 7) ^ w[j - 6])
    a, b, c, d, e, f, g, h = state
    for j in range(64):
        constant = _rotated(SM3_EARLY if j < 16 else SM3_LATE, j % 32)
        s1 = _rotated((_rotated(a, 12) + e + constant) & MASK32, 7)
        s2 = s1 ^ _rotated(a, 12)
        ff = a ^ b ^ c if j < 16 else a & b | a & c | b & c
        gg = e ^ f ^ g if j < 16 else e & f | ~e & g & MASK32
        t1 = (ff + d + s2 + (w[j] ^ w[j + 4])) & MASK32
        t2 = (gg + h + s1 + w[j]) & MASK32
        a, b, c, d = t1, a, _rotated(b, 9), c
        e, f, g, h = t2 ^ _rotated(t2, 9) ^ _rotated(t2, 17), e, _rotated(f, 19), g
    return tuple(x ^ y for x, y in zip(state, (a, b, c, d, e, f, g, h), strict=True))


def _rotated64(lane: int, by: int) -> int:
    return (lane << by | lane >> 64 - by) & MASK64 if by else lane


@cache
def _keccak_constants() -> tuple[int, ...]:
    """FIPS 202, 3.2.5: the round constants, from a shift register."""
    register, constants = 1, []
    for _ in range(24):
        constant = 0
        for j in range(7):
            if register & 1:
                constant ^= 1 << (1 << j) - 1
            register = register << 1 ^ (0x171 if register & 0x80 else 0)
        constants.append(constant)
    return tuple(constants)


def _keccak(a: list[int]) -> list[int]:
    """FIPS 202, 3.3: Keccak-f[1600] over 25 lanes, lane x + 5 y."""
    for constant in _keccak_constants():
        c = [a[x] ^ a[x + 5] ^ a[x + 10] ^ a[x + 15] ^ a[x + 20] for x in range(5)]
        d = [c[x - 1] ^ _rotated64(c[(x + 1) % 5], 1) for x in range(5)]
        a = [lane ^ d[i % 5] for i, lane in enumerate(a)]
        x, y, current = 1, 0, a[1]
        for t in range(24):
            x, y = y, (2 * x + 3 * y) % 5
            current, a[x + 5 * y] = a[x + 5 * y], _rotated64(current, (t + 1) * (t + 2) // 2 % 64)
        a = [a[i] ^ ~a[i - i % 5 + (i + 1) % 5] & a[i - i % 5 + (i + 2) % 5] & MASK64 for i in range(25)]
        a[0] ^= constant
    return a


@dataclass(frozen=True)
class Sponge(Family):
    """SHA-3: lanes, little endian, and no length."""

    digest_size: int

    @property
    def form(self) -> str:
        """The lanes."""
        return "<25Q"

    @property
    def block(self) -> int:  # type: ignore[override]
        """The rate."""
        return 200 - 2 * self.digest_size

    def start(self) -> bytes:
        """All zeros."""
        return bytes(200)

    def compress(self, state: bytes, block: bytes) -> bytes:
        """Absorb a block."""
        mixed = int.from_bytes(state, "little") ^ int.from_bytes(block, "little")
        lanes = struct.unpack("<25Q", mixed.to_bytes(200, "little"))
        return struct.pack("<25Q", *_keccak(list(lanes)))

    def padded(self, tail: bytes, length: int) -> bytes:  # noqa: ARG002 - a sponge needs no length
        """One block, which ends in 01 10*1."""
        last = bytearray((tail + b"\x06").ljust(self.block, b"\0"))
        last[-1] |= 0x80
        return bytes(last)


_SHA256 = _sha2(32, ((2, 13, 22), (6, 11, 25)), ((7, 18, 3), (17, 19, 10)))
_SHA512 = _sha2(64, ((28, 34, 39), (14, 18, 41)), ((1, 8, 7), (19, 61, 6)))

SHA1_INITIAL = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0)
SM3_INITIAL = (
    0x7380166F, 0x4914B2B9, 0x172442D7, 0xDA8A0600, 0xA96F30BC, 0x163138AA, 0xE38DEE4D, 0xB0FB0E4E,
)  # fmt: skip

FAMILIES: dict[TPM_ALG, Family] = {
    TPM_ALG.SHA1: MerkleDamgard(SHA1_INITIAL, "I", 64, 20, _sha1),
    TPM_ALG.SHA256: MerkleDamgard(
        tuple(_square_root_fraction(p, 32) for p in _primes(8)), "I", 64, 32, _SHA256
    ),
    TPM_ALG.SHA384: MerkleDamgard(
        tuple(_square_root_fraction(p, 64) for p in _primes(16)[8:]), "Q", 128, 48, _SHA512
    ),
    TPM_ALG.SHA512: MerkleDamgard(
        tuple(_square_root_fraction(p, 64) for p in _primes(8)), "Q", 128, 64, _SHA512
    ),
    TPM_ALG.SM3_256: MerkleDamgard(SM3_INITIAL, "I", 64, 32, _sm3),
    **{alg: Sponge(DIGEST_SIZES[alg]) for alg in (TPM_ALG.SHA3_256, TPM_ALG.SHA3_384, TPM_ALG.SHA3_512)},
}
"""Every hash algorithm of the TPM."""
