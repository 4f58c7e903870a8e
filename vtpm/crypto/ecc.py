"""
Elliptic curves: points, keys and key agreement (Part 1, Annex "ECC").

OpenSSL does the arithmetic of secret numbers on the NIST and Brainpool curves.
On the others it is done here with gmpy2, and so are sums of products, whose numbers are public on all curves.
There the sequence of doublings and additions is the same for every number.
The time of a single operation may still depend on its values, so it is not constant in the strict sense.
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

Field = tuple[mpz, mpz]
"""The modulus p, and a of the curve's equation."""

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
        """The point multiplied by a number, which may be secret; TPM_RC_NO_RESULT if it is at infinity."""
        scalar %= self.curve.n
        if not scalar:
            raise TpmError(TPM_RC.NO_RESULT)
        return EccKey(self.curve, scalar).shared_point(self)


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
        return combination((self.d, generator_of(self.curve)))

    @property
    def octets(self) -> bytes:
        """The private number, at the size of the field."""
        return self.d.to_bytes(self.curve.size, "big")

    def shared_x(self, point: Point) -> bytes:
        """The x coordinate of the product of key and point: what key derivation takes."""
        if self.curve.id in OPENSSL:
            return self.openssl.exchange(ec.ECDH(), point.openssl)
        return combination((self.d, point)).x_octets

    @cached_property
    def _following(self) -> "EccKey":
        return EccKey(self.curve, self.d + 1)

    def shared_point(self, point: Point) -> Point:
        """
        The product of key and point.

        OpenSSL gives only x coordinates.
        That of the next multiple of the point leaves one y: the one whose sum with the point has it.
        """
        curve, p = self.curve, self.curve.p
        if curve.id not in OPENSSL:
            return combination((self.d, point))
        if self.d + 1 == curve.n:
            return Point(curve, point.x, p - point.y)
        x = int.from_bytes(self.shared_x(point), "big")
        following = int.from_bytes(self._following.shared_x(point), "big")
        double = (x * point.x + curve.a) * (x + point.x) + 2 * curve.b - following * (x - point.x) ** 2
        return computed(curve, x, int(double * gmpy2.invert(2 * point.y, p) % p))


class ArithmeticFault(Exception):  # noqa: N818 - not an error of the caller's
    """A point that was computed here is not on its curve: the machine has miscalculated."""


def computed(curve: Curve, x: int, y: int) -> Point:
    """
    A point that comes out of a product with a secret number; ArithmeticFault if it is not on the curve.

    A product that went astray to another curve, where discrete logarithms are easy, must not leave.
    """
    if not is_on_curve(curve, x, y):
        raise ArithmeticFault
    return Point(curve, x, y)


def combination(*terms: tuple[int, Point]) -> Point:
    """The sum of products of numbers and points; TPM_RC_NO_RESULT if it is at infinity."""
    curve = terms[0][1].curve
    field = mpz(curve.p), mpz(curve.a)
    total = INFINITY
    for scalar, point in terms:
        total = _add(field, total, _multiply(field, curve.n, scalar, (mpz(point.x), mpz(point.y), mpz(1))))
    x, y, z = total
    if z == 0:
        raise TpmError(TPM_RC.NO_RESULT)
    inverse = gmpy2.invert(z, curve.p)
    square = inverse * inverse % curve.p
    return computed(curve, int(x * square % curve.p), int(y * square * inverse % curve.p))


def _multiply(field: Field, n: int, scalar: int, point: Jacobian) -> Jacobian:
    """Montgomery's ladder over a number that is brought to one bit more than the order, whatever it is."""
    bits = n.bit_length()
    scalar = scalar % n + n
    scalar += n * (1 - (scalar >> bits))
    first, second = point, _double(field, point)
    for bit in range(bits - 1, -1, -1):
        both = _add(field, first, second)
        if scalar >> bit & 1:
            first, second = both, _double(field, second)
        else:
            first, second = _double(field, first), both
    return first


def _double(field: Field, point: Jacobian) -> Jacobian:
    x, y, z = point
    p, a = field
    if z == 0 or y == 0:
        return INFINITY
    yy = y * y % p
    s = 4 * x * yy % p
    zz = z * z % p
    m = (3 * x * x + a * zz * zz) % p
    x3 = (m * m - 2 * s) % p
    return x3, (m * (s - x3) - 8 * yy * yy) % p, 2 * y * z % p


def _add(field: Field, first: Jacobian, second: Jacobian) -> Jacobian:
    if first[2] == 0:
        return second
    if second[2] == 0:
        return first
    p, _ = field
    (x1, y1, z1), (x2, y2, z2) = first, second
    zz1, zz2 = z1 * z1 % p, z2 * z2 % p
    u1, u2 = x1 * zz2 % p, x2 * zz1 % p
    s1, s2 = y1 * z2 * zz2 % p, y2 * z1 * zz1 % p
    if u1 == u2:
        return _double(field, first) if s1 == s2 else INFINITY
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
    """SP 800-56A, 5.7.2.2: the associate value of an ephemeral point in ECMQV."""
    half = (point.curve.n.bit_length() + 1) // 2
    return (point.x & (1 << half) - 1) + (1 << half)


def mqv_point(static: EccKey, ephemeral: EccKey, their_static: Point, their_ephemeral: Point) -> Point:
    """SP 800-56A, 5.7.2.3: the shared point of ECMQV."""
    curve = static.curve
    implicit = (ephemeral.d + associate_value(ephemeral.public) * static.d) % curve.n * curve.h
    theirs = combination((1, their_ephemeral), (associate_value(their_ephemeral), their_static))
    return theirs.times(implicit)


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
    theirs = combination((1, their_static), (sm2_exchange_value(their_ephemeral), their_ephemeral))
    return theirs.times(secret)
