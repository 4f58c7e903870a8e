"""Part 1, Annex "RSA": keys, primes, the raw operation and the encryption schemes."""

import math
import os
from contextlib import suppress
from math import prod
from threading import Thread
from typing import Any

import gmpy2
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from hypothesis import given
from hypothesis import strategies as st

from tests.crypto.published import label, vectors
from vtpm.crypto.drbg import DerivationGenerator
from vtpm.crypto.primes import PrimePool, generated_prime, is_prime
from vtpm.crypto.rsa import (
    RsaKey,
    RsaPublicKey,
    check_exponent,
    fresh_key,
    key_from_prime,
    oaep_decode,
    oaep_decrypt,
    oaep_encode,
    pkcs1_decode,
    pkcs1_encode,
)
from vtpm.crypto.signing import rsapss_sign, rsapss_verify, rsassa_sign, rsassa_verify
from vtpm.spec.constants import TPM_ALG
from vtpm.spec.objects import TPMT_PUBLIC, TPMT_SENSITIVE
from vtpm.wire.error import TPM_RC, TpmError
from vtpm.wire.structure import unmarshal

BITS = (1024, 2048, 3072, 4096)
RECORDED = [v for v in vectors("libtpms/crypto-commands") if v["name"].startswith("RSA_")]


def seeded(seed: int) -> DerivationGenerator:
    """A generator that gives the same octets in every run."""
    return DerivationGenerator(seed.to_bytes(4, "big"), b"tests", b"", b"")


@pytest.fixture(scope="module")
def key() -> RsaKey:
    """A key of 2048 bits."""
    return fresh_key(2048, 0, seeded(0))


@pytest.fixture(scope="module")
def judge(key: RsaKey) -> RSAPrivateKey:
    """The same key, which OpenSSL has checked."""
    return key.openssl.private_numbers().private_key()


class TestKeys:
    """Part 1, "RSA Key Generation"; FIPS 186-4, B.3"""

    @pytest.mark.parametrize("bits", [1024, 2048, pytest.param(3072, marks=pytest.mark.slow)])
    def test_fresh(self, bits: int) -> None:
        """A key has the size asked for, two primes and the default exponent, and OpenSSL finds it right."""
        key = fresh_key(bits, 0, seeded(1))

        assert key.public.modulus.bit_length() == bits
        assert key.public.size == bits // 8
        assert gmpy2.is_prime(key.p)
        assert gmpy2.is_prime(key.q)
        assert key.exponent == key.public.exponent == 65537
        key.openssl.private_numbers().private_key()

    def test_exponent(self) -> None:
        """Another public exponent than the default one."""
        key = fresh_key(1024, 65539, seeded(2))

        assert key.public.exponent == 65539
        assert rsassa_sign(key, TPM_ALG.SHA256, bytes(32))

    @pytest.mark.parametrize("exponent", [1, 2, 3, 65535, 65536, 65538, 65541, 3 * 65537, 0xFFFFFFFF])
    def test_bad_exponent(self, exponent: int) -> None:
        """TPM_RC_RANGE: an exponent is a prime and not less than the default one."""
        with pytest.raises(TpmError) as caught:
            fresh_key(1024, exponent, os.urandom)
        assert caught.value.rc is TPM_RC.RANGE

    @pytest.mark.parametrize("exponent", [0, 65537, 65539, 0xFFFFFFFB])
    def test_good_exponent(self, exponent: int) -> None:
        """Zero stands for the default exponent."""
        check_exponent(exponent)

    def test_from_one_prime(self, key: RsaKey) -> None:
        """Part 2, 12.3.2.4: the sensitive area holds one prime, whichever."""
        modulus = key.public.modulus.to_bytes(256, "big")

        assert key_from_prime(modulus, key.p.to_bytes(128, "big"), 0) == key
        assert key_from_prime(modulus, key.q.to_bytes(128, "big"), 65537) == RsaKey(key.q, key.p)

    def test_no_prime_of_it(self, key: RsaKey) -> None:
        """TPM_RC_BINDING: what is no half of the modulus, or would be no key with it."""
        p, q, n = key.p, key.q, key.public.modulus
        even = 1 << 1023 | 2
        bad = [
            (n, p + 2, 0), (n, 1, 0), (n, 0, 0), (n, n, 0), (n + 2, p, 0), (0, p, 0),
            (p * p, p, 0), (p * even, p, 0), (p * even, even, 0), (p * q, p, 2), (p * q, p, int(p) - 1),
        ]  # fmt: skip

        for modulus, prime, exponent in bad:
            with pytest.raises(TpmError) as caught:
                key_from_prime(modulus.to_bytes(256, "big"), prime.to_bytes(256, "big"), exponent)
            assert caught.value.rc is TPM_RC.BINDING

    def test_composite_halves(self) -> None:
        """A key whose halves are no primes is its owner's loss, and no exception."""
        factors = [int(gmpy2.next_prime(0xF << 508 | 1 << shift)) for shift in (10, 20, 30, 40)]
        p, modulus = factors[0] * factors[1], prod(factors)
        key = key_from_prime(modulus.to_bytes(256, "big"), p.to_bytes(128, "big"), 0)

        assert len(key.raw(bytes(255) + b"\x05")) == 256
        for sign in (rsassa_sign, rsapss_sign):
            with suppress(TpmError):
                assert len(sign(key, TPM_ALG.SHA256, bytes(32))) == 256
        with pytest.raises(TpmError):
            oaep_decrypt(key, TPM_ALG.SHA256, b"", bytes(255) + b"\x05")

    def test_shows_no_secret(self, key: RsaKey) -> None:
        """The primes are in no representation."""
        assert str(key.p) not in repr(key)
        assert str(key.q) not in repr(key)


class TestPrimes:
    """Part 1, "RSA Key Generation"; FIPS 186-4, C.3"""

    @pytest.mark.parametrize("level", [0, 1])
    def test_generated(self, level: int) -> None:
        """A prime, large enough for two of them to make a modulus, and good with the exponent."""
        for seed in range(4):
            prime = generated_prime(512, 65537, seeded(seed), level)

            assert gmpy2.is_prime(prime)
            assert (prime * prime).bit_length() == 1024
            assert prime % 65537 != 1

    @given(st.integers(3, 1 << 64).filter(lambda number: number % 2 == 1 and number > 7))
    def test_miller_rabin(self, number: int) -> None:
        """The test tells primes from composites."""
        assert is_prime(number, 64, os.urandom) == gmpy2.is_prime(number)

    @pytest.mark.parametrize("number", [561, 3215031751, 3825123056546413051])
    def test_pseudoprimes(self, number: int) -> None:
        """Composites that deceive fixed small witnesses."""
        assert not is_prime(number, 64, os.urandom)

    def test_pool(self) -> None:
        """A pool gives out each of its primes once, and only such as were asked for."""
        pool = PrimePool(bits=512, size=3)
        while not pool.is_full:
            pool.add()
        taken = [pool.take(512, 65537) for _ in range(4)]

        assert len(set(taken)) == 4
        assert all(prime and gmpy2.is_prime(prime) and prime.bit_length() == 512 for prime in taken)
        assert pool.take(512, 65537) is None
        pool.add()
        assert pool.take(1024, 65537) is None
        assert pool.take(512, 65539) is None

    def test_key_from_pool(self) -> None:
        """A key takes its primes from the pool, and makes those that it lacks."""
        pool = PrimePool(bits=512, size=2)
        pool.add()

        def never(count: int) -> bytes:
            raise AssertionError(count)

        assert fresh_key(1024, 0, never, pool).public.modulus.bit_length() == 1024
        assert not pool.is_full
        assert fresh_key(1024, 0, seeded(3), pool) == fresh_key(1024, 0, seeded(3))

    def test_pool_of_threads(self) -> None:
        """Threads may fill a pool while others empty it."""
        pool = PrimePool(bits=512, size=8)
        workers = [Thread(target=pool.add) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

        assert pool.is_full
        assert len({pool.take(512, 65537) for _ in range(8)}) == 8

    def test_shows_no_secret(self) -> None:
        """A pool's representation counts."""
        pool = PrimePool(bits=512, size=4)
        pool.add()

        assert repr(pool) == "PrimePool(bits=512, 2 of 4)"


class TestRaw:
    """RFC 8017, 5.1"""

    @given(number=st.integers(0, (1 << 1024) - 1))
    def test_inverse(self, key: RsaKey, number: int) -> None:
        """The private operation undoes the public one."""
        octets = number.to_bytes(256, "big")

        assert key.raw(key.public.raw(octets)) == octets
        assert key.public.raw(key.raw(octets)) == octets

    def test_exceptional_numbers(self, key: RsaKey) -> None:
        """Zero, one, multiples of a prime and the last number below the modulus."""
        n = key.public.modulus
        for number in (0, 1, key.p, key.q, n - key.p, n - 1):
            octets = number.to_bytes(256, "big")

            assert key.public.raw(key.raw(octets)) == octets

    @pytest.mark.parametrize("part", [0, 1, 2, 3, 4], ids=["p", "q", "dp", "dq", "inverse"])
    def test_miscalculated(self, key: RsaKey, part: int) -> None:
        """A fault in a half of the private operation does not leave: such a result gives the key away."""
        octets = b"chosen".rjust(256, b"\0")
        expected, n = key.raw(octets), key.public.modulus
        faulty = RsaKey(key.p, key.q, key.exponent)
        parts = list(faulty._crt)
        parts[part] += 2
        faulty.__dict__["_crt"] = tuple(parts)

        assert faulty.raw(octets) == expected

        p, q, dp, dq, inverse = (int(number) for number in parts)
        number = int.from_bytes(octets, "big")
        first, second = pow(number, dp, p), pow(number, dq, q)
        unchecked = second + (first - second) * inverse % p * q
        if part in (2, 3):
            assert math.gcd(pow(unchecked, key.exponent, n) - number, n) in (key.p, key.q)

    def test_without_primes(self) -> None:
        """A key that anybody may load, with a factor that is not prime, has some result, always the same."""
        p = 0xFFFFFFFFFFFFFFC5
        n = p * (0xFFFFFFFB * 0xFFFFFFEF)
        key = key_from_prime(n.to_bytes(16, "big"), p.to_bytes(8, "big"), 0)
        octets = b"chosen".rjust(16, b"\0")

        assert key.raw(octets) == key.raw(octets)
        assert int.from_bytes(key.raw(octets), "big") < n

    @pytest.mark.parametrize("above", [0, 1])
    def test_not_below_the_modulus(self, key: RsaKey, above: int) -> None:
        """TPM_RC_VALUE: there is no such message."""
        octets = (key.public.modulus + above).to_bytes(256, "big")

        for operation in (key.raw, key.public.raw):
            with pytest.raises(TpmError) as caught:
                operation(octets)
            assert caught.value.rc is TPM_RC.VALUE

    @pytest.mark.parametrize("modulus", [0, 1, 2, 1 << 2047, (1 << 2048) - 1])
    @pytest.mark.parametrize("exponent", [0, 1, 2, 3, 4, 65537, 0xFFFFFFFF])
    def test_any_public_key(self, modulus: int, exponent: int) -> None:
        """What somebody loads as a public key, be it never so wrong, verifies nothing and breaks nothing."""
        key = RsaPublicKey(modulus, exponent)

        for verify in (rsassa_verify, rsapss_verify):
            with pytest.raises(TpmError) as caught:
                verify(key, TPM_ALG.SHA256, bytes(32), bytes(255) + b"\x01")
            assert caught.value.rc is TPM_RC.SIGNATURE


class TestOaep:
    """RFC 8017, 7.1"""

    def test_openssl_decrypts(self, key: RsaKey, judge: RSAPrivateKey) -> None:
        """What is encoded here, OpenSSL decodes."""
        encoded = oaep_encode(TPM_ALG.SHA384, b"label\0", b"message", 256, os.urandom)

        scheme = padding.OAEP(padding.MGF1(hashes.SHA384()), hashes.SHA384(), b"label\0")
        assert judge.decrypt(key.public.raw(encoded), scheme) == b"message"

    @pytest.mark.parametrize("alg", [TPM_ALG.SHA1, TPM_ALG.SHA512, TPM_ALG.SM3_256, TPM_ALG.SHA3_256])
    @given(message=st.binary(max_size=126), text=st.binary(max_size=20))
    def test_inverse(self, key: RsaKey, alg: TPM_ALG, message: bytes, text: bytes) -> None:
        """Both ways to decode give what was encoded."""
        encoded = oaep_encode(alg, text, message, 256, os.urandom)

        assert oaep_decode(alg, text, encoded) == message
        assert oaep_decrypt(key, alg, text, key.public.raw(encoded)) == message

    @pytest.mark.parametrize("position", [0, 1, 32, 33, 65, 100, 254, 255])
    def test_altered(self, position: int) -> None:
        """TPM_RC_VALUE for any octet that is not as it was."""
        encoded = bytearray(oaep_encode(TPM_ALG.SHA256, b"", b"m", 256, seeded(0)))
        encoded[position] ^= 1

        with pytest.raises(TpmError) as caught:
            oaep_decode(TPM_ALG.SHA256, b"", bytes(encoded))
        assert caught.value.rc is TPM_RC.VALUE

    @given(encoded=st.binary(max_size=300))
    def test_any_octets(self, encoded: bytes) -> None:
        """TPM_RC_VALUE for octets that nobody has encoded, of any size."""
        with pytest.raises(TpmError) as caught:
            oaep_decode(TPM_ALG.SHA256, b"", encoded)
        assert caught.value.rc is TPM_RC.VALUE

    def test_size(self) -> None:
        """The largest message fits, and one octet more does not: TPM_RC_VALUE."""
        assert len(oaep_encode(TPM_ALG.SHA256, b"", bytes(190), 256, os.urandom)) == 256
        with pytest.raises(TpmError) as caught:
            oaep_encode(TPM_ALG.SHA256, b"", bytes(191), 256, os.urandom)
        assert caught.value.rc is TPM_RC.VALUE
        with pytest.raises(TpmError):
            oaep_encode(TPM_ALG.SHA512, b"", b"", 128, os.urandom)


class TestPkcs1:
    """RFC 8017, 7.2"""

    def test_openssl_decrypts(self, key: RsaKey, judge: RSAPrivateKey) -> None:
        """What is padded here, OpenSSL strips."""
        encoded = pkcs1_encode(b"message", 256, os.urandom)

        assert judge.decrypt(key.public.raw(encoded), padding.PKCS1v15()) == b"message"

    @given(message=st.binary(max_size=53))
    def test_inverse(self, message: bytes) -> None:
        """Padding is without zeros, whatever the generator gives, and comes off."""
        encoded = pkcs1_encode(message, 64, seeded(len(message)))

        assert encoded.index(b"\0", 2) == 64 - len(message) - 1
        assert pkcs1_decode(encoded) == message

    def test_size(self) -> None:
        """TPM_RC_VALUE: at least eight octets of padding stay."""
        with pytest.raises(TpmError) as caught:
            pkcs1_encode(bytes(54), 64, os.urandom)
        assert caught.value.rc is TPM_RC.VALUE

    @pytest.mark.parametrize(
        "encoded",
        [
            b"",
            b"\0\2",
            b"\0\1" + b"\1" * 8 + b"\0m",
            b"\1\2" + b"\1" * 8 + b"\0m",
            b"\0\2" + b"\1" * 7 + b"\0m",
            b"\0\2" + b"\1" * 30,
        ],
    )
    def test_bad_padding(self, encoded: bytes) -> None:
        """TPM_RC_VALUE"""
        with pytest.raises(TpmError) as caught:
            pkcs1_decode(encoded)
        assert caught.value.rc is TPM_RC.VALUE


@pytest.fixture(scope="module")
def recorded_key() -> RsaKey:
    """The key of the recordings."""
    public = unmarshal(TPMT_PUBLIC, bytes.fromhex(RECORDED[0]["load_public"]))
    private = unmarshal(TPMT_SENSITIVE, bytes.fromhex(RECORDED[0]["load_private"]))
    assert isinstance(public.unique, bytes)
    return key_from_prime(public.unique, private.sensitive, 0)


class TestRecorded:
    """Part 3, 14.2 and 14.3: what libtpms encrypted and decrypted with a key of 1024 bits"""

    def test_encrypt(self, recorded_key: RsaKey) -> None:
        """The raw operation."""
        command = bytes.fromhex(RECORDED[0]["command"])

        assert recorded_key.public.raw(command[16 : 16 + 128]).hex() == RECORDED[0]["out"]

    @pytest.mark.parametrize("vector", [v for v in RECORDED if "message" in v], ids=label)
    def test_decrypt(self, recorded_key: RsaKey, vector: dict[str, Any]) -> None:
        """No padding, PKCS#1 v1.5, and OAEP with and without a label."""
        cipher_text = bytes.fromhex(vector["command"])[29 : 29 + 128]
        if "OAEP" in vector["name"]:
            alg = TPM_ALG.SHA1 if "sha1" in vector["name"] else TPM_ALG.SHA256
            text = b"label\0" if "'label'" in vector["name"] else b""
            message = oaep_decrypt(recorded_key, alg, text, cipher_text)
        else:
            message = recorded_key.raw(cipher_text)
            message = pkcs1_decode(message) if "RSAES" in vector["name"] else message

        assert message.hex() == vector["message"]


@pytest.mark.slow
@pytest.mark.parametrize("bits", BITS)
def test_openssl_keys(bits: int) -> None:
    """Part 2, 11.2.4.7: keys of every size that other programs make."""
    numbers = generate_private_key(65537, bits).private_numbers()
    modulus = numbers.public_numbers.n.to_bytes(bits // 8, "big")

    key = key_from_prime(modulus, numbers.p.to_bytes(bits // 16, "big"), 0)

    rsassa_verify(key.public, TPM_ALG.SHA256, bytes(32), rsassa_sign(key, TPM_ALG.SHA256, bytes(32)))
    assert key.public.raw(key.raw(b"\x05")) == b"\x05".rjust(bits // 8, b"\0")
