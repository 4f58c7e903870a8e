"""
An envelope around a state blob, for a stream between hosts that share a key (swtpm.8, --migration-key).

It says what it is: an identifier, its version, the salt with which the key was made of a secret, a nonce;
then the blob under AES-256-GCM, whose additional data are everything before it.
The nonce is a MAC of the blob, so that equal blobs give equal envelopes and a blob can be read in parts.

Version 1 never changes; a new version reads every older one.
"""

import hashlib
import hmac
import struct
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vtpm.control.blobs import ENVELOPE as IDENTIFIER
from vtpm.control.blobs import BlobError

VERSION: Final = 1
SALT_SIZE: Final = 16
NONCE_SIZE: Final = 12
KEY_SIZE: Final = 32
HEAD = struct.Struct(f">{len(IDENTIFIER)}sH{SALT_SIZE}s{NONCE_SIZE}s")


def key_of(secret: bytes, salt: bytes) -> bytes:
    """The key of a secret that may be a passphrase: scrypt, with 16 MiB of memory."""
    return hashlib.scrypt(secret, salt=salt, n=1 << 14, r=8, p=1, dklen=KEY_SIZE)


def is_envelope(octets: bytes) -> bool:
    """Are these octets an envelope, of whatever version?"""
    return octets.startswith(IDENTIFIER)


def salt_of(octets: bytes) -> bytes:
    """The salt of an envelope's key; BlobError if there is none."""
    if len(octets) < HEAD.size:
        raise BlobError("the encrypted state blob is incomplete; take it from its source again")
    _, version, salt, _ = HEAD.unpack_from(octets)
    if version != VERSION:
        raise BlobError(f"the envelope has version {version}, newer than {VERSION}; update this host first")
    return bytes(salt)


def seal(key: bytes, salt: bytes, blob: bytes) -> bytes:
    """A blob in an envelope."""
    nonce = hmac.digest(key, IDENTIFIER + blob, "sha256")[:NONCE_SIZE]
    head = HEAD.pack(IDENTIFIER, VERSION, salt, nonce)
    return head + AESGCM(key).encrypt(nonce, blob, head)


def unseal(key: bytes, octets: bytes) -> bytes:
    """The blob in an envelope; BlobError if the key is another, or the envelope was altered."""
    head = octets[: HEAD.size]
    nonce = HEAD.unpack(head)[3]
    try:
        return AESGCM(key).decrypt(nonce, octets[HEAD.size :], head)
    except InvalidTag:
        raise BlobError(
            "the state blob is encrypted under another migration key, or was altered; "
            "give both hosts the same key, and take the blob from its source again"
        ) from None
