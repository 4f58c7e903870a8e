"""
Elliptic curves: points, keys and key agreement (Part 1, Annex "ECC").

OpenSSL does the arithmetic of secret numbers on the NIST and Brainpool curves.
On the others, and for whole points, it is done here with gmpy2.
The sequence of doublings and additions is fixed, but the time of an integer operation depends on its values.
"""

from dataclasses import dataclass, field
from functools import cached_property

import gmpy2
from cryptography.hazmat.primitives.asymmetric import ec
from gmpy2 import mpz

from vtpm.crypto.curves import CURVES, Curve
from vtpm.crypto.primes import Generator
from vtpm.spec.constants import TPM_ECC_CURVE
from vtpm.wire.error import TPM_RC, TpmError

OPENSSL: dict[TPM_ECC_CURVE, ec.EllipticCurve] = {
    TPM_ECC_CURVE.NIST_P192: ec.SECP192R1(),
    TPM_ECC_CURVE.NIST_P224: ec.SECP224R1(),
    TPM_ECC_CURVE.NIST_P256: ec.SECP256R1(),
    TPM_ECC_CURVE.NIST_P384: ec.SECP384R1(),
    TPM_ECC_CURVE.NIST_P521: ec.SECP521R1(),
    TPM_ECC_CURVE.BP_P256_R1: ec.BrainpoolP256R1(),
    TPM_ECC_CURVE.BP_P384_R1: ec.BrainpoolP384R1(),
    TPM_ECC_CURVE.BP_P512_R1: ec.BrainpoolP512R1(),
}
"""The curves whose keys OpenSSL can load."""

Jacobian = tuple[mpz, mpz, mpz]
INFINITY: Jacobian = (mpz(1), mpz(1), mpz(0))


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a curve, other than the one at infinity."""

    curve: Curve
    x: int
    y: int

    @property
    def x_octets(self) -> bytes:
        """The x coordinate, at the size of the field."""
        return self.x.to_bytes(self.curve.size, "big")

    @property
    def y_octets(self) -> bytes:
        """The y coordinate, at the size of the field."""
        return self.y.to_bytes(self.curve.size, "big")

    @property
    def openssl(self) -> ec.EllipticCurvePublicKey:
        """The point as OpenSSL takes it, on a curve that it has."""
        return ec.EllipticCurvePublicNumbers(self.x, self.y, OPENSSL[self.curve.id]).public_key()

    def times(self, scalar: int) -> "Point":
        """The point multiplied by a number; TPM_RC_NO_RESULT if the result is at infinity."""
        return combination((scalar, self))


def generator_of(curve: Curve) -> Point:
    """The curve's generator."""
    return Point(curve, curve.g_x, curve.g_y)


def is_on_curve(curve: Curve, x: int, y: int) -> bool:
    """Do the coordinates satisfy the curve's equation?"""
    return (
        0 <= x < curve.p and 0 <= y < curve.p and (y * y - x * x * x - curve.a * x - curve.b) % curve.p == 0
    )


def point_of(curve: TPM_ECC_CURVE, x: bytes, y: bytes) -> Point:
    """The point of two coordinates; TPM_RC_ECC_POINT if it is not on the curve."""
    parameters = CURVES[curve]
    coordinates = int.from_bytes(x, "big"), int.from_bytes(y, "big")
    if not is_on_curve(parameters, *coordinates):
        raise TpmError(TPM_RC.ECC_POINT)
    return Point(parameters, *coordinates)


@dataclass(frozen=True)
class EccKey:
    """A private key: a curve and a number from 1 to the order minus 1."""

    curve: Curve
    d: int = field(repr=False)

    @cached_property
    def openssl(self) -> ec.EllipticCurvePrivateKey:
        """The key as OpenSSL takes it, on a curve that it has."""
        return ec.derive_private_key(self.d, OPENSSL[self.curve.id])

    @cached_property
    def public(self) -> Point:
        """The public point."""
        if self.curve.id in OPENSSL:
            numbers = self.openssl.public_key().public_numbers()
            return Point(self.curve, numbers.x, numbers.y)
        return generator_of(self.curve).times(self.d)

    @property
    def octets(self) -> bytes:
        """The private number, at the size of the field."""
        return self.d.to_bytes(self.curve.size, "big")

    def shared_x(self, point: Point) -> bytes:
        """The x coordinate of the product of key and point: what key derivation takes."""
        if self.curve.id in OPENSSL:
            return self.openssl.exchange(ec.ECDH(), point.openssl)
        return point.times(self.d).x_octets

    def shared_point(self, point: Point) -> Point:
        """The product of key and point."""
        if self.curve.id not in OPENSSL or self.d + 1 >= self.curve.n:
            return point.times(self.d)
        # OpenSSL gives only x; of the two points that have it, the right one has the x of the next multiple
        # after the given point is added.
        p = self.curve.p
        x = int.from_bytes(self.shared_x(point), "big")
        following = int.from_bytes(EccKey(self.curve, self.d + 1).shared_x(point), "big")
        y = square_root((x * x * x + self.curve.a * x + self.curve.b) % p, p)
        for found in (Point(self.curve, x, y), Point(self.curve, x, p - y)):
            if combination((1, found), (1, point)).x == following:
                return found
        raise TpmError(TPM_RC.NO_RESULT)


def square_root(number: int, p: int) -> int:
    """A square root modulo a prime, of a number that has one (Tonelli and Shanks)."""
    if p % 4 == 3:
        return int(gmpy2.powmod(number, (p + 1) // 4, p))
    odd, twos = p - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    other = 2
    while gmpy2.legendre(other, p) != -1:
        other += 1
    m, c = twos, gmpy2.powmod(other, odd, p)
    t, r = gmpy2.powmod(number, odd, p), gmpy2.powmod(number, (odd + 1) // 2, p)
    while t != 1:
        i, square = 0, t
        while square != 1:
            square = square * square % p
            i += 1
        factor = gmpy2.powmod(c, 1 << (m - i - 1), p)
        m, c = i, factor * factor % p
        t, r = t * c % p, r * factor % p
    return int(r)


def combination(*terms: tuple[int, Point]) -> Point:
    """The sum of products of numbers and points; TPM_RC_NO_RESULT if it is at infinity."""
    curve = terms[0][1].curve
    total = INFINITY
    for scalar, point in terms:
        total = _add(curve, total, _multiply(curve, scalar % curve.n, (mpz(point.x), mpz(point.y), mpz(1))))
    x, y, z = total
    if z == 0:
        raise TpmError(TPM_RC.NO_RESULT)
    inverse = gmpy2.invert(z, curve.p)
    square = inverse * inverse % curve.p
    return Point(curve, int(x * square % curve.p), int(y * square * inverse % curve.p))


def _multiply(curve: Curve, scalar: int, point: Jacobian) -> Jacobian:
    """Montgomery's ladder over the bits of the order."""
    first, second = INFINITY, point
    for bit in range(curve.n.bit_length() - 1, -1, -1):
        if scalar >> bit & 1:
            first, second = _add(curve, first, second), _double(curve, second)
        else:
            first, second = _double(curve, first), _add(curve, first, second)
    return first


def _double(curve: Curve, point: Jacobian) -> Jacobian:
    x, y, z = point
    p = curve.p
    if z == 0 or y == 0:
        return INFINITY
    yy = y * y % p
    s = 4 * x * yy % p
    zz = z * z % p
    m = (3 * x * x + curve.a * zz * zz) % p
    x3 = (m * m - 2 * s) % p
    return x3, (m * (s - x3) - 8 * yy * yy) % p, 2 * y * z % p


def _add(curve: Curve, first: Jacobian, second: Jacobian) -> Jacobian:
    if first[2] == 0:
        return second
    if second[2] == 0:
        return first
    p = curve.p
    (x1, y1, z1), (x2, y2, z2) = first, second
    zz1, zz2 = z1 * z1 % p, z2 * z2 % p
    u1, u2 = x1 * zz2 % p, x2 * zz1 % p
    s1, s2 = y1 * z2 * zz2 % p, y2 * z1 * zz1 % p
    if u1 == u2:
        return _double(curve, first) if s1 == s2 else INFINITY
    h, r = u2 - u1, s2 - s1
    hh = h * h % p
    hhh = h * hh % p
    v = u1 * hh % p
    x3 = (r * r - hhh - 2 * v) % p
    return x3, (r * (v - x3) - s1 * hhh) % p, h * z1 * z2 % p


def generated_key(curve: TPM_ECC_CURVE, generate: Generator) -> EccKey:
    """A key from a generator, random or deriving: FIPS 186-4, B.4.1, with 64 extra bits."""
    parameters = CURVES[curve]
    size = (parameters.n.bit_length() + 7) // 8
    number = int.from_bytes(generate(size + 8), "big")
    return EccKey(parameters, number % (parameters.n - 1) + 1)


def key_of(curve: TPM_ECC_CURVE, d: bytes) -> EccKey:
    """The key of a private number; TPM_RC_KEY_SIZE if it is out of range."""
    parameters, number = CURVES[curve], int.from_bytes(d, "big")
    if not 0 < number < parameters.n:
        raise TpmError(TPM_RC.KEY_SIZE)
    return EccKey(parameters, number)


def associate_value(point: Point) -> int:
    """SP 800-56A, 5.7.2.2: the implicit value of an ephemeral point, for ECMQV and SM2 key exchange."""
    half = (point.curve.n.bit_length() + 1) // 2
    return (point.x & (1 << half) - 1) + (1 << half)


def mqv_point(static: EccKey, ephemeral: EccKey, their_static: Point, their_ephemeral: Point) -> Point:
    """SP 800-56A, 5.7.2.3: ECMQV's shared point; SM2's key exchange computes the same with its own values."""
    curve = static.curve
    implicit = (ephemeral.d + associate_value(ephemeral.public) * static.d) % curve.n * curve.h
    factor = associate_value(their_ephemeral)
    return combination((implicit, their_ephemeral), (implicit * factor, their_static))


def sm2_exchange_value(point: Point) -> int:
    """GM/T 0003.3, 6.1: the associate value of SM2's key exchange, which has one bit less than ECMQV's."""
    half = -(-point.curve.n.bit_length() // 2) - 1
    return (point.x & (1 << half) - 1) + (1 << half)


def sm2_exchange_point(
    static: EccKey, ephemeral: EccKey, their_static: Point, their_ephemeral: Point
) -> Point:
    """GM/T 0003.3, 6.1: SM2's shared point, before its key derivation."""
    curve = static.curve
    secret = (static.d + sm2_exchange_value(ephemeral.public) * ephemeral.d) % curve.n * curve.h
    factor = sm2_exchange_value(their_ephemeral)
    return combination((secret, their_static), (secret * factor, their_ephemeral))
