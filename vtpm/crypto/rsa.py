"""RSA: keys, the raw operation, and the encryption schemes (Part 1, Annex "RSA")."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import shake_256
from hmac import compare_digest

import gmpy2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from gmpy2 import mpz

from vtpm.crypto.digest import digest, digest_size
from vtpm.crypto.primes import Generator, PrimePool, generated_prime
from vtpm.spec.constants import TPM_ALG
from vtpm.wire.error import TPM_RC, TpmError

DEFAULT_EXPONENT = 65537
"""Part 2, 12.2.3.5: what an exponent of zero stands for."""

NEAREST = 1 << 100
"""Two primes of a key differ by at least this much."""


@dataclass(frozen=True)
class RsaPublicKey:
    """A public key."""

    modulus: int
    exponent: int

    @property
    def size(self) -> int:
        """Octets of the modulus."""
        return (self.modulus.bit_length() + 7) // 8

    @cached_property
    def openssl(self) -> rsa.RSAPublicKey:
        """The key as OpenSSL takes it."""
        return rsa.RSAPublicNumbers(self.exponent, self.modulus).public_key()

    def raw(self, octets: bytes) -> bytes:
        """The public operation on a number below the modulus; TPM_RC_SIZE or TPM_RC_VALUE if it is not."""
        number = int.from_bytes(octets, "big")
        if number >= self.modulus:
            raise TpmError(TPM_RC.VALUE)
        return int(gmpy2.powmod(number, self.exponent, self.modulus)).to_bytes(self.size, "big")


@dataclass(frozen=True)
class RsaKey:
    """A private key: its two primes and the public exponent."""

    p: int = field(repr=False)
    q: int = field(repr=False)
    exponent: int = DEFAULT_EXPONENT

    @cached_property
    def public(self) -> RsaPublicKey:
        """The public key."""
        return RsaPublicKey(self.p * self.q, self.exponent)

    @cached_property
    def _crt(self) -> tuple[mpz, mpz, mpz, mpz, mpz]:
        p, q, e = mpz(self.p), mpz(self.q), mpz(self.exponent)
        return p, q, gmpy2.invert(e, p - 1), gmpy2.invert(e, q - 1), gmpy2.invert(q, p)

    @cached_property
    def _d(self) -> mpz:
        return gmpy2.invert(mpz(self.exponent), (mpz(self.p) - 1) * (mpz(self.q) - 1))

    @cached_property
    def openssl(self) -> rsa.RSAPrivateKey:
        """The key as OpenSSL takes it; not checked again, since this TPM made or checked it."""
        p, q, dp, dq, inverse = (int(part) for part in self._crt)
        public = rsa.RSAPublicNumbers(self.exponent, self.public.modulus)
        numbers = rsa.RSAPrivateNumbers(p, q, int(self._d), dp, dq, inverse, public)
        return numbers.private_key(unsafe_skip_rsa_key_validation=True)

    def raw(self, octets: bytes) -> bytes:
        """
        The private operation on a number below the modulus; TPM_RC_VALUE if it is not.

        The exponentiations take the same time for every exponent, and work on the number times a mask:
        how long a reduction takes then says nothing about the primes to whoever chose the number.

        A result that is wrong modulo one prime alone shows the other one (Boneh, DeMillo, Lipton 1997).
        So it is raised to the public exponent before it leaves, as OpenSSL does with its own.
        Where that does not give the number back, the result is computed again without the primes.
        """
        number, n = int.from_bytes(octets, "big"), mpz(self.public.modulus)
        if number >= n:
            raise TpmError(TPM_RC.VALUE)
        with gmpy2.context(gmpy2.get_context(), allow_release_gil=True):  # other threads may run meanwhile
            return self._computed(octets, number, n)

    def _computed(self, octets: bytes, number: int, n: mpz) -> bytes:
        p, q, dp, dq, inverse = self._crt
        mask, unmask = self._mask(octets)
        masked = number * gmpy2.powmod(mask, self.exponent, n) % n
        first, second = gmpy2.powmod_sec(masked % p, dp, p), gmpy2.powmod_sec(masked % q, dq, q)
        result = second + (first - second) * inverse % p * q
        if gmpy2.powmod(result, self.exponent, n) != masked:
            result = gmpy2.powmod_sec(masked, self._d, n)
        return int(result * unmask % n).to_bytes(self.public.size, "big")

    def _mask(self, octets: bytes) -> tuple[mpz, mpz]:
        """A number that only the key's holder can tell from its operand, and its inverse."""
        seed, n = self.p.to_bytes(self.public.size, "big") + octets, mpz(self.public.modulus)
        while True:
            seed = shake_256(seed).digest(self.public.size)
            mask = mpz(int.from_bytes(seed, "big")) % n
            if gmpy2.gcd(mask, n) == 1:
                return mask, gmpy2.invert(mask, n)


def key_from_prime(modulus: bytes, prime: bytes, exponent: int) -> RsaKey:
    """The key of a modulus and one of its primes; TPM_RC_BINDING if they do not belong together."""
    n, p = int.from_bytes(modulus, "big"), int.from_bytes(prime, "big")
    if p < 3 or n % p or n % 2 == 0 or 2 * p.bit_length() != n.bit_length():
        raise TpmError(TPM_RC.BINDING)
    key = RsaKey(p, n // p, exponent or DEFAULT_EXPONENT)
    if gmpy2.gcd(p, key.q) != 1 or gmpy2.gcd(key.exponent, (p - 1) * (key.q - 1)) != 1:
        raise TpmError(TPM_RC.BINDING)
    return key


def check_exponent(exponent: int) -> None:
    """Part 2, 12.2.3.5: zero for the default one, or a prime from there on; TPM_RC_RANGE for another."""
    if exponent and (exponent < DEFAULT_EXPONENT or not gmpy2.is_prime(exponent)):
        raise TpmError(TPM_RC.RANGE)


def derived_key(bits: int, exponent: int, generate: Generator, level: int) -> RsaKey:
    """The key that a deriving generator leads to; TPM_RC_RANGE if the exponent is not prime."""
    check_exponent(exponent)
    exponent = exponent or DEFAULT_EXPONENT
    return _key(bits, exponent, lambda: generated_prime(bits // 2, exponent, generate, level))


def fresh_key(bits: int, exponent: int, generate: Generator, pool: PrimePool | None = None) -> RsaKey:
    """A random key, whose primes come from the pool while it has them; TPM_RC_RANGE as `derived_key`."""
    check_exponent(exponent)
    exponent = exponent or DEFAULT_EXPONENT

    def prime() -> int:
        ready = pool.take(bits // 2, exponent) if pool else None
        return ready or generated_prime(bits // 2, exponent, generate)

    return _key(bits, exponent, prime)


def _key(bits: int, exponent: int, prime: Callable[[], int]) -> RsaKey:
    """The first prime is q, the second p, unless they are so close that the modulus could be factored."""
    q = p = prime()
    while abs(p - q) < NEAREST or (p * q).bit_length() != bits:
        p = prime()
    return RsaKey(p, q, exponent)


def mgf1(alg: TPM_ALG, seed: bytes, size: int) -> bytes:
    """RFC 8017, B.2.1."""
    octets = b"".join(
        digest(alg, seed, counter.to_bytes(4, "big")) for counter in range(-(-size // digest_size(alg)))
    )
    return octets[:size]


def _masked(octets: bytes, mask: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(octets, mask, strict=True))


def oaep_encode(alg: TPM_ALG, label: bytes, message: bytes, size: int, generate: Generator) -> bytes:
    """
    RFC 8017, 7.1.1: `label` with its terminating zero.

    TPM_RC_HASH if the modulus is too small for the hash, TPM_RC_VALUE if the message is too long.
    """
    length = digest_size(alg)
    if size < 2 * length + 2:
        raise TpmError(TPM_RC.HASH)
    if len(message) > size - 2 * length - 2:
        raise TpmError(TPM_RC.VALUE)
    block = digest(alg, label) + bytes(size - len(message) - 2 * length - 2) + b"\x01" + message
    seed = generate(length)
    masked = _masked(block, mgf1(alg, seed, len(block)))
    return b"\0" + _masked(seed, mgf1(alg, masked, length)) + masked


def oaep_decode(alg: TPM_ALG, label: bytes, encoded: bytes) -> bytes:
    """RFC 8017, 7.1.2; TPM_RC_VALUE whatever is wrong, in a time that does not depend on it."""
    length = digest_size(alg)
    if len(encoded) < 2 * length + 2:
        raise TpmError(TPM_RC.VALUE)
    seed, masked = encoded[1 : 1 + length], encoded[1 + length :]
    seed = _masked(seed, mgf1(alg, masked, length))
    block = _masked(masked, mgf1(alg, seed, len(masked)))
    fits = compare_digest(block[:length], digest(alg, label)) & (encoded[0] == 0)
    separator = block.find(b"\x01", length)
    padding = block[length : max(separator, length)]
    if not (fits & (separator >= 0) & (padding.count(0) == len(padding))):
        raise TpmError(TPM_RC.VALUE)
    return block[separator + 1 :]


OAEP_HASHES: dict[TPM_ALG, hashes.HashAlgorithm] = {
    TPM_ALG.SHA1: hashes.SHA1(),  # noqa: S303 - a guest may ask for it
    TPM_ALG.SHA256: hashes.SHA256(),
    TPM_ALG.SHA384: hashes.SHA384(),
    TPM_ALG.SHA512: hashes.SHA512(),
}
"""The hashes that OpenSSL takes for OAEP."""


def oaep_decrypt(key: RsaKey, alg: TPM_ALG, label: bytes, cipher_text: bytes) -> bytes:
    """RFC 8017, 7.1.2, of a cipher text as long as the modulus; TPM_RC_VALUE whatever is wrong."""
    if alg not in OAEP_HASHES:
        return oaep_decode(alg, label, key.raw(cipher_text))
    scheme = padding.OAEP(padding.MGF1(OAEP_HASHES[alg]), OAEP_HASHES[alg], label)
    try:
        return key.openssl.decrypt(cipher_text, scheme)
    except ValueError:
        raise TpmError(TPM_RC.VALUE) from None


def pkcs1_encode(message: bytes, size: int, generate: Generator) -> bytes:
    """RFC 8017, 7.2.1; TPM_RC_VALUE if the message is too long."""
    count = size - len(message) - 3
    if count < 8:
        raise TpmError(TPM_RC.VALUE)
    padding = b""
    while len(padding) < count:
        padding += generate(count - len(padding)).replace(b"\0", b"")
    return b"\0\x02" + padding + b"\0" + message


def pkcs1_decode(encoded: bytes) -> bytes:
    """RFC 8017, 7.2.2; TPM_RC_VALUE if the padding is wrong."""
    separator = encoded.find(b"\0", 2)
    if encoded[:2] != b"\0\x02" or separator < 10:
        raise TpmError(TPM_RC.VALUE)
    return encoded[separator + 1 :]
