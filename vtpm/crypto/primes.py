"""Primes for RSA keys, found exactly as the reference code finds them, or made ahead of need."""

from collections import deque
from collections.abc import Callable
from functools import cache
from itertools import compress

import gmpy2
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from gmpy2 import mpz

Generator = Callable[[int], bytes]

FIELD = 16384
"""Odd candidates that are sieved at once."""

NONE = bytes(FIELD)

LARGEST = {512: 8167, 1024: 38891}
"""The largest prime of the sieve, by bits of the candidate; 65535 bounds it for larger ones."""

WORD = 62
"""Bits of a product that is divided quickly."""

INVERSE_ROOT = 0x4AFB
"""How a candidate's top 16 bits are scaled, so that the product of two primes has all its bits."""


@cache
def _sieving(bits: int) -> list[tuple[mpz, list[int]]]:
    """The odd primes of the sieve, in groups with their product, which fits into a machine word."""
    limit = next((limit for size, limit in LARGEST.items() if bits <= size), 65535)
    flags = bytearray([1]) * (limit + 1)
    for number in range(3, int(limit**0.5) + 1, 2):
        if flags[number]:
            flags[number * number :: 2 * number] = bytes(len(range(number * number, limit + 1, 2 * number)))
    groups, product, group = [], 1, list[int]()
    for prime in (number for number in range(3, limit + 1, 2) if flags[number]):
        if product * prime >> WORD:
            groups.append((mpz(product), group))
            product, group = 1, []
        product *= prime
        group.append(prime)
    return [*groups, (mpz(product), group)]


def generated_prime(bits: int, exponent: int, generate: Generator, level: int = 1) -> int:
    """
    The next prime that the generator leads to, be it random or deriving.

    `level` is the compatibility level of the seed of a deriving one, 0 or 1.
    Other threads may run during its exponentiations.
    """
    with gmpy2.context(gmpy2.get_context(), allow_release_gil=True):
        while True:
            candidate = _candidate(bits, generate, level)
            base = candidate - _odd_remainder(candidate)
            prime = _search(base, candidate, bits, exponent, generate)
            if prime:
                return prime


def _candidate(bits: int, generate: Generator, level: int) -> int:
    octets = generate(bits // 8)
    if level == 0:
        # Before rev 1.55 the octets were taken as words of 64 bits, the least significant first.
        value = int.from_bytes(octets, "little")
        top = value >> (bits - 64)
        scaled = (((top >> 48) * INVERSE_ROOT >> 16) + 0xB505) & 0xFFFF
        top = scaled << 48 | top & 0xFFFF
        return value & (1 << bits - 64) - 1 | top << (bits - 64) | 1
    value = int.from_bytes(octets, "big")
    top = value >> (bits - 32)
    top = ((top >> 16) * INVERSE_ROOT + ((top & 0xFFFF) * INVERSE_ROOT >> 16) + 0xB5050000) & 0xFFFFFFFF
    return value & (1 << bits - 32) - 1 | top << (bits - 32) | 1


def _odd_remainder(candidate: int) -> int:
    remainder = candidate % 105
    return remainder + 105 if remainder % 2 else remainder


def _search(base: int, candidate: int, bits: int, exponent: int, generate: Generator) -> int:
    """Try the sieved candidates in the reference's order; 0 if none of the field is prime."""
    field, dividend = bytearray([1]) * FIELD, mpz(base)
    for product, group in _sieving(bits):
        remainder = int(dividend % product)
        for prime in group:
            # base + 2 i is divisible by the prime at i = -base / 2 modulo the prime.
            begin = remainder * (prime >> 1) % prime
            if begin < FIELD:
                field[begin::prime] = NONE[: (FIELD - 1 - begin) // prime + 1]
    first = candidate & 0xFFFFFFFF | 0x80000000
    alive = list(compress(range(FIELD), field))
    while alive:
        i = alive.pop(first % len(alive))
        number = base + 2 * i
        if number % exponent > 1 and is_prime(number, bits, generate):
            return number
    return 0


def is_prime(number: int, bits: int, generate: Generator) -> bool:
    """Miller-Rabin with witnesses from the generator, as many as the reference code draws."""
    rounds = 8 if bits < 511 else 5 if bits < 1536 else 4
    odd = mpz(number) - 1
    twos = gmpy2.bit_scan1(odd)
    odd >>= twos
    return all(_passes(mpz(number), odd, twos, bits, generate) for _ in range(rounds))


def _passes(number: mpz, odd: mpz, twos: int, bits: int, generate: Generator) -> bool:
    mask = (1 << number.bit_length()) - 1
    witness = 0
    while not 1 < witness < number - 1:
        witness = int.from_bytes(generate(bits // 8), "big") & mask
    power = gmpy2.powmod(witness, odd, number)
    if power in (1, number - 1):
        return True
    for _ in range(twos - 1):
        power = power * power % number
        if power == number - 1:
            return True
        if power == 1:
            return False
    return False


class PrimePool:
    """
    Fresh primes made ahead of need, each of which is given out once.

    Whoever has time fills it, from any thread; they are in memory and nowhere else.
    `taken` is called after a prime was taken, on the thread that took it.
    """

    def __init__(
        self,
        bits: int = 1024,
        size: int = 16,
        exponent: int = 65537,
        taken: Callable[[], object] = lambda: None,
    ) -> None:
        self.bits = bits
        self.size = size
        self.exponent = exponent
        self._taken = taken
        self._primes: deque[int] = deque()

    def __repr__(self) -> str:
        return f"PrimePool(bits={self.bits}, {len(self._primes)} of {self.size})"

    @property
    def is_full(self) -> bool:
        """Is there nothing to make?"""
        return len(self._primes) >= self.size

    def add(self) -> None:
        """
        Make two primes.

        OpenSSL makes them, with randomness of its own, and leaves the interpreter to other threads meanwhile.
        """
        numbers = generate_private_key(self.exponent, 2 * self.bits).private_numbers()
        self._primes += numbers.p, numbers.q

    def take(self, bits: int, exponent: int) -> int | None:
        """A prime, or None if there is none of this kind."""
        if bits != self.bits or exponent != self.exponent:
            return None
        try:
            prime = self._primes.popleft()
        except IndexError:
            return None
        self._taken()
        return prime
