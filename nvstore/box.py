"""
A sealed box: authenticated encryption that commits to its key.

    box = salt 32 ‖ commitment 32 ‖ ciphertext ‖ tag 16

The salt is random; the key of the box and the commitment are 32 octets each of
HKDF-Expand-SHA-512(sealing key, context(label, salt)), where `context` is that of `keys`.
This key seals nothing else, so the nonce of AES-256-GCM can be fixed, and no count of nonces is kept that
a restored snapshot of the host could set back.
The commitment comes from the same derivation, so a box opens under one key only, which GCM alone lacks.
The associated data is authenticated and is not part of the box.
"""

# ruff: noqa: N818  an error is called by what is wrong

from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import constant_time
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from nvstore.keys import FIRST_BLOCK, KEY_SIZE, Prf, context

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


class Sealing(NamedTuple):
    """One box in the making: its key is derived, and may be used once."""

    prefix: bytes
    """Salt and commitment: the octets before the ciphertext."""
    cipher: AESGCM

    def __repr__(self) -> str:
        return "Sealing()"

    def seal(self, plaintext: bytes, associated: bytes) -> bytes:
        """Return the octets from the ciphertext on; large ones are not copied again."""
        return self.cipher.encrypt(_NONCE, plaintext, associated)


class Sealer:
    """Seals many boxes under one key and label."""

    __slots__ = ("_info", "_prf")

    def __init__(self, key: bytes, label: bytes) -> None:
        self._prf = Prf(key)
        self._info = context(label, bytes(SALT_SIZE))[:-SALT_SIZE]

    def __repr__(self) -> str:
        return "Sealer()"

    def begin(self, salt: bytes) -> Sealing:
        """Begin a box with this salt, which no other box may have."""
        block = self._prf(self._info + salt + FIRST_BLOCK)
        return Sealing(salt + block[KEY_SIZE:], AESGCM(block[:KEY_SIZE]))


def seal(key: bytes, label: bytes, salt: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """Return a box."""
    sealing = Sealer(key, label).begin(salt)
    return sealing.prefix + sealing.seal(plaintext, associated)


def unseal(key: bytes, label: bytes, box: bytes, associated: bytes) -> bytes:
    """Return the plaintext, or raise OtherKey or Tampered."""
    if len(box) < OVERHEAD:
        raise Tampered
    sealing = Sealer(key, label).begin(box[:SALT_SIZE])
    if not constant_time.bytes_eq(sealing.prefix, box[:PREFIX_SIZE]):
        raise OtherKey
    try:
        return sealing.cipher.decrypt(_NONCE, box[PREFIX_SIZE:], associated)
    except InvalidTag:
        raise Tampered from None
