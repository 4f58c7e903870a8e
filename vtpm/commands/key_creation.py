"""Part 1, "Object Creation": the sensitive area and the unique of a new object, from a generator."""

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from vtpm.crypto import tdes
from vtpm.crypto.digest import digest, digest_size, hmac_digest
from vtpm.crypto.ecc import generated_key
from vtpm.crypto.rsa import RsaKey
from vtpm.spec.algorithms import (
    TPMS_ECC_POINT,
    TPMS_SCHEME_HASH,
    TPMS_SCHEME_XOR,
    TPMS_SENSITIVE_CREATE,
    TPMS_SYMCIPHER_PARMS,
    TPMT_SYM_DEF_OBJECT,
)
from vtpm.spec.constants import TPM_ALG
from vtpm.spec.objects import (
    TPMS_ECC_PARMS,
    TPMS_KEYEDHASH_PARMS,
    TPMS_RSA_PARMS,
    TPMT_PUBLIC,
    TPMT_SENSITIVE,
)
from vtpm.state.entity import without_trailing_zeros
from vtpm.wire.error import TPM_RC, TpmError

RsaMaker = Callable[[int, int], RsaKey]
"""Makes a key of so many bits with a public exponent (0 for the default one)."""


class Source(Protocol):
    """Where the octets of a key come from: random, or derived from a seed or a parent."""

    def __call__(self, count: int, /) -> bytes:
        """The next octets."""


def created(
    public: TPMT_PUBLIC,
    sensitive: TPMS_SENSITIVE_CREATE,
    source: Source,
    make_rsa: RsaMaker | None = None,
    before_seed: Callable[[], None] = lambda: None,
) -> tuple[TPMT_PUBLIC, TPMT_SENSITIVE]:
    """
    The public and sensitive areas of a new object, in the order in which the reference code draws octets.

    `before_seed` is called between the key and the seed, where primary keys take in proof values.
    """
    data = b"" if public.object_attributes.sensitiveDataOrigin else sensitive.data
    secret, unique = _secret_of(public, data, source, make_rsa)
    before_seed()
    seed = source(digest_size(public.name_alg))
    if unique is None:
        unique = symmetric_unique(public, seed, secret)
    elif public.object_attributes.sign or not public.object_attributes.restricted:
        # Only a Storage Parent protects something with its seed.
        seed = b""
    area = TPMT_SENSITIVE(
        sensitive_type=public.type,
        auth_value=without_trailing_zeros(sensitive.user_auth),
        seed_value=seed,
        sensitive=secret,
    )
    return replace(public, unique=unique), area


def _secret_of(
    public: TPMT_PUBLIC, data: bytes, source: Source, make_rsa: RsaMaker | None
) -> tuple[bytes, bytes | TPMS_ECC_POINT | None]:
    """The secret, and the unique of an asymmetric key."""
    parameters = public.parameters
    if isinstance(parameters, TPMS_RSA_PARMS):
        assert make_rsa is not None
        key = make_rsa(parameters.key_bits, parameters.exponent)
        size = parameters.key_bits // 8
        return key.p.to_bytes(size // 2, "big"), key.public.modulus.to_bytes(size, "big")
    if isinstance(parameters, TPMS_ECC_PARMS):
        point = generated_key(parameters.curve_id, source)
        return point.octets, TPMS_ECC_POINT(x=point.public.x_octets, y=point.public.y_octets)
    if isinstance(parameters, TPMS_SYMCIPHER_PARMS):
        check_cipher_key(parameters.sym, data)
        return data or _cipher_key(parameters.sym, source), None
    alg = _keyed_hash(parameters, public.name_alg)
    is_key = public.object_attributes.sign or public.object_attributes.decrypt
    if is_key and len(data) > BLOCK_SIZES.get(alg, SMALLEST_BLOCK):
        raise TpmError(TPM_RC.SIZE)
    return data or source(digest_size(alg)), None


def check_cipher_key(symmetric: TPMT_SYM_DEF_OBJECT, key: bytes) -> None:
    """Part 3, 12.2: TPM_RC_KEY_SIZE if a key is of the wrong size, TPM_RC_KEY if it is weak; none is none."""
    if key and len(key) * 8 != symmetric.key_bits:
        raise TpmError(TPM_RC.KEY_SIZE)
    if key and symmetric.algorithm is TPM_ALG.TDES and not tdes.is_usable(key):
        raise TpmError(TPM_RC.KEY)


def _cipher_key(symmetric: TPMT_SYM_DEF_OBJECT, source: Source) -> bytes:
    key = source(symmetric.key_bits // 8)
    if symmetric.algorithm is TPM_ALG.TDES:
        while not tdes.is_usable(key):
            key = source(len(key))
        key = tdes.with_odd_parity(key)
    return key


def _keyed_hash(parameters: TPMS_KEYEDHASH_PARMS, name_alg: TPM_ALG) -> TPM_ALG:
    details = parameters.scheme.details
    return details.hash_alg if isinstance(details, TPMS_SCHEME_HASH | TPMS_SCHEME_XOR) else name_alg


def largest_key(parameters: TPMS_KEYEDHASH_PARMS) -> int:
    """Octets of the largest secret of a keyed hash: a block of its hash, or the largest sealed data."""
    details = parameters.scheme.details
    if not isinstance(details, TPMS_SCHEME_HASH | TPMS_SCHEME_XOR):
        return MAX_SEALED
    return BLOCK_SIZES.get(details.hash_alg, SMALLEST_BLOCK)


MAX_SEALED = 128
SMALLEST_BLOCK = 64
BLOCK_SIZES = {
    TPM_ALG.SHA384: 128,
    TPM_ALG.SHA512: 128,
    TPM_ALG.SHA3_256: 136,
    TPM_ALG.SHA3_384: 104,
    TPM_ALG.SHA3_512: 72,
}
"""Octets of a hash's block, where it is not the smallest one."""


def symmetric_unique(public: TPMT_PUBLIC, seed: bytes, secret: bytes) -> bytes:
    """Part 1, "Symmetric Unique": binds seed and secret; a parent's is an HMAC, as in the reference code."""
    attributes, alg = public.object_attributes, public.name_alg
    if attributes.restricted and attributes.decrypt:
        return hmac_digest(alg, seed, secret)
    return digest(alg, seed, secret)
