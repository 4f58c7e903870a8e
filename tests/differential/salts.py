"""Part 1, 16.6.11: salts, which the caller makes and encrypts for a key, by means of another library."""

import hashlib
from random import Random

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

from tests.sessions import HASHES
from vtpm.spec.algorithms import TPMS_ECC_POINT, TPMS_SCHEME_HASH
from vtpm.spec.constants import TPM_ALG, TPM_ECC_CURVE
from vtpm.spec.objects import TPMS_ECC_PARMS, TPMS_RSA_PARMS, TPMT_PUBLIC

CURVES: dict[TPM_ECC_CURVE, type[ec.EllipticCurve]] = {
    TPM_ECC_CURVE.NIST_P192: ec.SECP192R1,
    TPM_ECC_CURVE.NIST_P224: ec.SECP224R1,
    TPM_ECC_CURVE.NIST_P256: ec.SECP256R1,
    TPM_ECC_CURVE.NIST_P384: ec.SECP384R1,
    TPM_ECC_CURVE.NIST_P521: ec.SECP521R1,
}
DIGESTS: dict[TPM_ALG, type[hashes.HashAlgorithm]] = {
    TPM_ALG.SHA1: hashes.SHA1,
    TPM_ALG.SHA256: hashes.SHA256,
    TPM_ALG.SHA384: hashes.SHA384,
    TPM_ALG.SHA512: hashes.SHA512,
}
LABEL = b"SECRET\0"


def salt_for(public: TPMT_PUBLIC, random: Random) -> tuple[bytes, bytes] | None:
    """A salt and its encrypted form; None for a key that this library cannot encrypt for."""
    if isinstance(public.parameters, TPMS_RSA_PARMS) and isinstance(public.unique, bytes):
        return _by_rsa(public, public.parameters, public.unique, random)
    if isinstance(public.parameters, TPMS_ECC_PARMS) and isinstance(public.unique, TPMS_ECC_POINT):
        return _by_ecc(public, CURVES.get(public.parameters.curve_id), public.unique, random)
    return None


def _by_rsa(
    public: TPMT_PUBLIC, parameters: TPMS_RSA_PARMS, modulus: bytes, random: Random
) -> tuple[bytes, bytes] | None:
    details = parameters.scheme.details
    digest = DIGESTS.get(details.hash_alg if isinstance(details, TPMS_SCHEME_HASH) else public.name_alg)
    if digest is None:
        return None
    salt = random.randbytes(digest().digest_size)
    numbers = RSAPublicNumbers(parameters.exponent or 65537, int.from_bytes(modulus, "big"))
    try:
        key = numbers.public_key()
        return salt, key.encrypt(salt, OAEP(MGF1(digest()), digest(), LABEL))
    except ValueError:
        return None


def _by_ecc(
    public: TPMT_PUBLIC, curve: type[ec.EllipticCurve] | None, point: TPMS_ECC_POINT, random: Random
) -> tuple[bytes, bytes] | None:
    name = HASHES.get(public.name_alg)
    if curve is None or name is None:
        return None
    x, y = (int.from_bytes(octets, "big") for octets in (point.x, point.y))
    try:
        theirs = ec.EllipticCurvePublicNumbers(x, y, curve()).public_key()
    except ValueError:
        return None
    mine = ec.derive_private_key(random.getrandbits(128) + 1, curve())
    size = (curve().key_size + 7) // 8
    numbers = mine.public_key().public_numbers()
    own = [number.to_bytes(size, "big") for number in (numbers.x, numbers.y)]
    message = mine.exchange(ec.ECDH(), theirs) + LABEL + own[0] + x.to_bytes(size, "big")
    salt = hashlib.new(name, (1).to_bytes(4, "big") + message).digest()
    return salt, b"".join(len(octets).to_bytes(2, "big") + octets for octets in own)
