"""Signatures of digests (Part 1, Annexes "RSA" and "ECC")."""

from hmac import compare_digest

import gmpy2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, utils

from vtpm.crypto.digest import digest, digest_size
from vtpm.crypto.ecc import OPENSSL, EccKey, Point, combination, generated_key, generator_of
from vtpm.crypto.primes import Generator
from vtpm.crypto.rsa import RsaKey, RsaPublicKey
from vtpm.spec.constants import TPM_ALG
from vtpm.wire.error import TPM_RC, TpmError

HASHES: dict[TPM_ALG, hashes.HashAlgorithm] = {
    TPM_ALG.SHA1: hashes.SHA1(),  # noqa: S303 - a guest may ask for it
    TPM_ALG.SHA256: hashes.SHA256(),
    TPM_ALG.SHA384: hashes.SHA384(),
    TPM_ALG.SHA512: hashes.SHA512(),
    TPM_ALG.SHA3_256: hashes.SHA3_256(),
    TPM_ALG.SHA3_384: hashes.SHA3_384(),
    TPM_ALG.SHA3_512: hashes.SHA3_512(),
    TPM_ALG.SM3_256: hashes.SM3(),
}
"""The hashes as OpenSSL takes them."""

OF_SIZE: dict[int, hashes.HashAlgorithm] = {
    kind.digest_size: kind for kind in (hashes.SHA224(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512())
}
"""What stands for any hash of a size, where a digest is made already."""

Pair = tuple[int, int]
ATTEMPTS = 100
"""How often a signature with an unusable nonce is tried again."""


def pss_salt_size(alg: TPM_ALG, modulus_bits: int) -> int:
    """The longest salt that fits (FIPS 186-4 bounds it by the digest)."""
    size = digest_size(alg)
    return max(0, min(size, (modulus_bits + 6) // 8 - size - 2))


def rsassa_sign(key: RsaKey, alg: TPM_ALG, message_digest: bytes) -> bytes:
    """RFC 8017, 8.2.1; TPM_RC_SIZE if the digest does not fit the key or the algorithm."""
    _check_digest(alg, message_digest)
    try:
        return key.openssl.sign(message_digest, padding.PKCS1v15(), utils.Prehashed(HASHES[alg]))
    except ValueError:
        raise TpmError(TPM_RC.SIZE) from None


def rsassa_verify(key: RsaPublicKey, alg: TPM_ALG, message_digest: bytes, signature: bytes) -> None:
    """RFC 8017, 8.2.2; TPM_RC_SIGNATURE if it is not the key's."""
    try:
        key.openssl.verify(signature, message_digest, padding.PKCS1v15(), utils.Prehashed(HASHES[alg]))
    except (InvalidSignature, ValueError):
        raise TpmError(TPM_RC.SIGNATURE) from None


def rsapss_sign(key: RsaKey, alg: TPM_ALG, message_digest: bytes) -> bytes:
    """RFC 8017, 8.1.1, with the longest salt that fits; TPM_RC_SIZE if not even an empty one does."""
    _check_digest(alg, message_digest)
    salt = pss_salt_size(alg, key.public.modulus.bit_length())
    scheme = padding.PSS(padding.MGF1(HASHES[alg]), salt)
    try:
        return key.openssl.sign(message_digest, scheme, utils.Prehashed(HASHES[alg]))
    except ValueError:
        raise TpmError(TPM_RC.SIZE) from None


def rsapss_verify(key: RsaPublicKey, alg: TPM_ALG, message_digest: bytes, signature: bytes) -> None:
    """RFC 8017, 8.1.2, with any salt; TPM_RC_SIGNATURE if it is not the key's."""
    scheme = padding.PSS(padding.MGF1(HASHES[alg]), padding.PSS.AUTO)
    try:
        key.openssl.verify(signature, message_digest, scheme, utils.Prehashed(HASHES[alg]))
    except (InvalidSignature, ValueError):
        raise TpmError(TPM_RC.SIGNATURE) from None


def _check_digest(alg: TPM_ALG, message_digest: bytes) -> None:
    if len(message_digest) != digest_size(alg):
        raise TpmError(TPM_RC.SIZE)


def truncated(message_digest: bytes, order: int) -> int:
    """FIPS 186-4, 6.4: the leftmost bits of a digest, as many as the order has."""
    excess = max(0, 8 * len(message_digest) - order.bit_length())
    return int.from_bytes(message_digest, "big") >> excess


def ecdsa_sign(key: EccKey, alg: TPM_ALG, message_digest: bytes, generate: Generator) -> Pair:
    """FIPS 186-4, 6.4."""
    if key.curve.id in OPENSSL and len(message_digest) == digest_size(alg):
        scheme = ec.ECDSA(utils.Prehashed(HASHES[alg]))
        return utils.decode_dss_signature(key.openssl.sign(message_digest, scheme))
    n, e = key.curve.n, truncated(message_digest, key.curve.n)
    for _ in range(ATTEMPTS):
        nonce = generated_key(key.curve.id, generate)
        r = nonce.public.x % n
        s = _inverse(nonce.d, n) * (e + r * key.d) % n
        if r and s:
            return r, s
    raise TpmError(TPM_RC.NO_RESULT)


def _inverse(secret: int, order: int) -> int:
    """The inverse modulo a prime; zero of zero."""
    return int(gmpy2.powmod_sec(secret, order - 2, order))


def ecdsa_verify(key: Point, message_digest: bytes, signature: Pair) -> None:
    """FIPS 186-4, 6.4; TPM_RC_SIGNATURE if it is not the key's."""
    n, (r, s) = key.curve.n, signature
    if not (0 < r < n and 0 < s < n):
        raise TpmError(TPM_RC.SIGNATURE)
    e = truncated(message_digest, n)
    size = min((n.bit_length() + 7) // 8, digest_size(TPM_ALG.SHA512))
    if key.curve.id in OPENSSL and size in OF_SIZE and e.bit_length() <= 8 * size:
        try:
            scheme = ec.ECDSA(utils.Prehashed(OF_SIZE[size]))
            key.openssl.verify(utils.encode_dss_signature(r, s), e.to_bytes(size, "big"), scheme)
        except InvalidSignature:
            raise TpmError(TPM_RC.SIGNATURE) from None
        return
    inverse = pow(s, -1, n)
    point = _sum_or_refusal(key, e * inverse % n, r * inverse % n)
    if point.x % n != r:
        raise TpmError(TPM_RC.SIGNATURE)


def _sum_or_refusal(key: Point, of_generator: int, of_key: int) -> Point:
    try:
        return combination((of_generator, generator_of(key.curve)), (of_key, key))
    except TpmError:
        raise TpmError(TPM_RC.SIGNATURE) from None


def sm2_sign(key: EccKey, message_digest: bytes, generate: Generator) -> Pair:
    """GM/T 0003.2, 6.1, of a digest that holds the signer's identity already."""
    n, e = key.curve.n, int.from_bytes(message_digest, "big")
    for _ in range(ATTEMPTS):
        nonce = generated_key(key.curve.id, generate)
        r = (e + nonce.public.x) % n
        s = _inverse(1 + key.d, n) * (nonce.d - r * key.d) % n
        if r and r + nonce.d != n and s:
            return r, s
    raise TpmError(TPM_RC.NO_RESULT)


def sm2_verify(key: Point, message_digest: bytes, signature: Pair) -> None:
    """GM/T 0003.2, 7.1; TPM_RC_SIGNATURE if it is not the key's."""
    n, (r, s) = key.curve.n, signature
    t = (r + s) % n
    if not (0 < r < n and 0 < s < n and t):
        raise TpmError(TPM_RC.SIGNATURE)
    point = _sum_or_refusal(key, s, t)
    if (int.from_bytes(message_digest, "big") + point.x) % n != r:
        raise TpmError(TPM_RC.SIGNATURE)


def schnorr_digest(alg: TPM_ALG, point: Point, message_digest: bytes) -> int:
    """The r of ECSCHNORR: H(x || digest), cut to the octets of the order."""
    size = (point.curve.n.bit_length() + 7) // 8
    return int.from_bytes(digest(alg, point.x.to_bytes(size, "big"), message_digest)[:size], "big")


def ecschnorr_sign(key: EccKey, alg: TPM_ALG, message_digest: bytes, generate: Generator) -> Pair:
    """
    Part 1, "EC Schnorr": r = H(x of k G || digest), s = k + r d.

    An r that the order would reduce is not used: not everybody verifies such a signature.
    """
    n = key.curve.n
    for _ in range(ATTEMPTS):
        nonce = generated_key(key.curve.id, generate)
        r = schnorr_digest(alg, nonce.public, message_digest)
        s = (nonce.d + r * key.d) % n
        if 0 < r < n and s:
            return r, s
    raise TpmError(TPM_RC.NO_RESULT)


def ecschnorr_verify(key: Point, alg: TPM_ALG, message_digest: bytes, signature: Pair) -> None:
    """Part 1, "EC Schnorr"; TPM_RC_SIGNATURE if it is not the key's."""
    n, (r, s) = key.curve.n, signature
    if not (0 < r < n and 0 < s < n):
        raise TpmError(TPM_RC.SIGNATURE)
    point = _sum_or_refusal(key, s, n - r)
    if schnorr_digest(alg, point, message_digest) != r:
        raise TpmError(TPM_RC.SIGNATURE)


def ecdaa_sign(
    key: EccKey, alg: TPM_ALG, message_digest: bytes, commitment: int, generate: Generator
) -> Pair:
    """
    Part 1, "ECDAA": a nonce k and s = r + T d, with T = H(k || digest) and r the committed number.

    The digest takes k as the signature has it, at the size of the field.
    """
    n, size = key.curve.n, key.curve.size
    for _ in range(ATTEMPTS):
        nonce = generated_key(key.curve.id, generate).d
        t = int.from_bytes(digest(alg, nonce.to_bytes(size, "big"), message_digest), "big") % n
        s = (commitment + t * key.d) % n
        if t and s:
            return nonce, s
    raise TpmError(TPM_RC.NO_RESULT)


def hmac_verify(expected: bytes, given: bytes) -> None:
    """TPM_RC_SIGNATURE if the two are not the same."""
    if not compare_digest(expected, given):
        raise TpmError(TPM_RC.SIGNATURE)
