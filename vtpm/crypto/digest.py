"""Hash algorithms and HMAC (Part 1, "Hash Functions" and "HMAC Algorithm")."""

import hashlib
import hmac
from collections.abc import Callable
from typing import Any

from vtpm.spec.constants import TPM_ALG
from vtpm.spec.limits import DIGEST_SIZES

NAMES = {
    TPM_ALG.SHA1: "sha1",
    TPM_ALG.SHA256: "sha256",
    TPM_ALG.SHA384: "sha384",
    TPM_ALG.SHA512: "sha512",
    TPM_ALG.SM3_256: "sm3",
    TPM_ALG.SHA3_256: "sha3_256",
    TPM_ALG.SHA3_384: "sha3_384",
    TPM_ALG.SHA3_512: "sha3_512",
}


def _constructor(name: str) -> Callable[..., Any]:
    return getattr(hashlib, name, None) or (lambda *data: hashlib.new(name, *data))


CONSTRUCTORS: dict[int, Callable[..., Any]] = {alg: _constructor(name) for alg, name in NAMES.items()}


def digest_size(alg: TPM_ALG) -> int:
    """Octets of a digest."""
    return DIGEST_SIZES[alg]


def digest(alg: TPM_ALG, *parts: bytes) -> bytes:
    """The digest of the parts, one after the other."""
    return CONSTRUCTORS[alg](b"".join(parts)).digest()  # type: ignore[no-any-return]


def hmac_digest(alg: TPM_ALG, key: bytes, message: bytes) -> bytes:
    """The HMAC of a message."""
    return hmac.digest(key, message, NAMES[alg])
