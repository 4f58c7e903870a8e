"""
A sealed box: authenticated encryption that commits to its key.

    box = salt 32 ‖ commitment 32 ‖ ciphertext ‖ tag 16

The salt is random, and a key is derived for each box from the sealing key, a label and the salt.
This key seals nothing else, so the nonce of AES-256-GCM can be fixed, and no count of nonces is kept that
a restored snapshot of the host could set back.
The commitment comes from the same derivation, so a box opens under one key only, which GCM alone lacks.
The associated data is authenticated and is not part of the box.
"""

# ruff: noqa: N818  an error is called by what is wrong

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import constant_time
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from nvstore.keys import KEY_SIZE, expand

SALT_SIZE: Final = 32
COMMITMENT_SIZE: Final = 32
TAG_SIZE: Final = 16
PREFIX_SIZE: Final = SALT_SIZE + COMMITMENT_SIZE
OVERHEAD: Final = PREFIX_SIZE + TAG_SIZE
_NONCE: Final = bytes(12)


class BoxError(Exception):
    """A box does not open; the caller knows what it is, and names the error."""


class OtherKey(BoxError):
    """The box was sealed under another key, or its first 64 octets were altered."""


class Tampered(BoxError):
    """The key is right, and the ciphertext or the associated data are not what was sealed."""


def _derive(key: bytes, label: bytes, salt: bytes) -> tuple[bytes, bytes]:
    derived = expand(key, KEY_SIZE + COMMITMENT_SIZE, label, salt)
    return derived[:KEY_SIZE], derived[KEY_SIZE:]


def seal(key: bytes, label: bytes, salt: bytes, plaintext: bytes, associated: bytes) -> tuple[bytes, bytes]:
    """Return the box in two pieces, before and from the ciphertext, so that large ones need not be copied."""
    box_key, commitment = _derive(key, label, salt)
    return salt + commitment, AESGCM(box_key).encrypt(_NONCE, plaintext, associated)


def unseal(key: bytes, label: bytes, box: bytes, associated: bytes) -> bytes:
    """Return the plaintext, or raise OtherKey or Tampered."""
    if len(box) < OVERHEAD:
        raise Tampered
    box_key, commitment = _derive(key, label, box[:SALT_SIZE])
    if not constant_time.bytes_eq(commitment, box[SALT_SIZE:PREFIX_SIZE]):
        raise OtherKey
    try:
        return AESGCM(box_key).decrypt(_NONCE, box[PREFIX_SIZE:], associated)
    except InvalidTag:
        raise Tampered from None
