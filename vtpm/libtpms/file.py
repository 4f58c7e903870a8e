"""
swtpm's state file: a header and tagged values around the state, which may be encrypted.

Encryption is AES-CBC with HMAC-SHA256 over what was encrypted, both under one key.
All of it is as swtpm 0.7 to 0.10 write it (src/swtpm/swtpm_nvstore.c, swtpm_aes.c, tlv.h).
"""

import hashlib
import hmac
import struct
from collections.abc import Callable, Mapping
from enum import IntEnum, IntFlag

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from vtpm.libtpms.errors import ForeignStateError

HEADER = struct.Struct(">BBHHI")
VERSION = 2
TAGGED = struct.Struct(">HI")
BLOCK = 16
KEY_SIZES = (16, 32)
"""Octets of the keys for AES-128-CBC and AES-256-CBC."""

SALT = b"swtpm"
ITERATIONS = 1000


class Flag(IntFlag):
    """What the header says of the content."""

    ENCRYPTED = 0x01
    MIGRATION_ENCRYPTED = 0x02
    MIGRATION_DATA = 0x04
    KEY_256 = 0x08
    MIGRATION_KEY_256 = 0x10


class Tag(IntEnum):
    """The tagged values."""

    DATA = 1
    ENCRYPTED_DATA = 2
    HMAC = 3
    MIGRATION_DATA = 4
    ENCRYPTED_MIGRATION_DATA = 5
    IV = 6
    MIGRATION_IV = 7


def key_of_passphrase(passphrase: bytes, size: int = 32, *, kdf: str = "pbkdf2") -> bytes:
    """
    The key from a passphrase as it was read; `kdf` is "pbkdf2" or "sha512" (swtpm(8), --key).

    `size` is 16 or 32 octets.
    """
    if kdf == "pbkdf2":
        return hashlib.pbkdf2_hmac("sha512", passphrase, SALT, ITERATIONS, size)
    if kdf == "sha512":
        return hashlib.sha512(passphrase).digest()[:size]
    raise ForeignStateError(f"the key derivation {kdf!r} is not one of swtpm's; give pbkdf2 or sha512")


def key_of_file(content: bytes) -> bytes:
    """A key from a key file: 16 or 32 octets, or as many in hexadecimal, perhaps after 0x."""
    text = content.strip().removeprefix(b"0x")
    if len(text) // 2 in KEY_SIZES:
        try:
            return bytes.fromhex(text.decode("ascii"))
        except ValueError:
            pass  # then it may be a binary key
    if len(content) in KEY_SIZES:
        return content
    raise ForeignStateError("the key file holds neither 16 or 32 octets nor as many in hexadecimal")


def is_state(octets: bytes) -> bool:
    """Do the octets begin with the header of a state of swtpm, and end where it says?"""
    if len(octets) < HEADER.size:
        return False
    version, oldest, size, _flags, total = HEADER.unpack_from(octets)
    return bool(0 < oldest <= version <= VERSION and size >= HEADER.size and total == len(octets))


def is_encrypted(octets: bytes) -> bool:
    """Is the state in the file encrypted?"""
    flags, _ = _header_of(octets)
    return bool(flags & (Flag.ENCRYPTED | Flag.MIGRATION_ENCRYPTED))


def unwrap(octets: bytes, key: bytes | Callable[[int], bytes] | None = None) -> bytes:
    """
    The state in a file or a state blob; ForeignStateError if it cannot be had.

    `key` is a key, or makes one of a number of octets from a passphrase.
    """
    flags, body = _header_of(octets)
    values = _values_of(body)
    if Tag.MIGRATION_DATA in values or Tag.ENCRYPTED_MIGRATION_DATA in values:
        size = 32 if flags & Flag.MIGRATION_KEY_256 else 16
        values = _values_of(
            _content_of(
                values, (Tag.MIGRATION_DATA, Tag.ENCRYPTED_MIGRATION_DATA, Tag.MIGRATION_IV), size, key
            )
        )
    size = 32 if flags & Flag.KEY_256 else 16
    return _content_of(values, (Tag.DATA, Tag.ENCRYPTED_DATA, Tag.IV), size, key)


def wrap(state: bytes, key: bytes | None = None, iv: bytes = b"") -> bytes:
    """A file that holds the state; encrypted under a key, with an `iv` of the key's size."""
    flags = Flag(0)
    if key is None:
        body = _tagged(Tag.DATA, state)
    else:
        flags = Flag.ENCRYPTED | (Flag.KEY_256 if len(key) == max(KEY_SIZES) else Flag(0))
        body = _encrypted(Tag.ENCRYPTED_DATA, Tag.IV, state, key, iv)
    return HEADER.pack(VERSION, 1, HEADER.size, flags, HEADER.size + len(body)) + body


def wrap_blob(state: bytes, key: bytes | None = None, iv: bytes = b"") -> bytes:
    """A state blob with the state, as swtpm migrates it; encrypted under a key, with an `iv` of its size."""
    flags, body = Flag.MIGRATION_DATA, _tagged(Tag.DATA, state)
    if key is None:
        body = _tagged(Tag.MIGRATION_DATA, body)
    else:
        flags |= Flag.MIGRATION_ENCRYPTED
        flags |= Flag.MIGRATION_KEY_256 if len(key) == max(KEY_SIZES) else Flag(0)
        body = _encrypted(Tag.ENCRYPTED_MIGRATION_DATA, Tag.MIGRATION_IV, body, key, iv)
    return HEADER.pack(VERSION, 1, HEADER.size, flags, HEADER.size + len(body)) + body


def _encrypted(tag: Tag, iv_tag: Tag, octets: bytes, key: bytes, iv: bytes) -> bytes:
    """Octets under a key, the code of authentication, and the initialization vector."""
    rest = len(key) - len(octets) % len(key)
    cipher = Cipher(AES(key), CBC(iv[:BLOCK])).encryptor()
    encrypted = cipher.update(octets + bytes((rest,)) * rest) + cipher.finalize()
    code = hmac.digest(key, encrypted + iv, "sha256")
    return _tagged(tag, encrypted) + _tagged(Tag.HMAC, code) + _tagged(iv_tag, iv)


def _header_of(octets: bytes) -> tuple[Flag, bytes]:
    if len(octets) < HEADER.size:
        raise ForeignStateError("the file is too short to be a state of swtpm; give its tpm2-00.permall")
    version, oldest, size, flags, total = HEADER.unpack_from(octets)
    if oldest > VERSION or version == 0 or size < HEADER.size:
        raise ForeignStateError(
            f"this is no state of swtpm, or one of version {version}, which is not known; "
            "give the file tpm2-00.permall of swtpm 0.2 to 0.10"
        )
    if version < VERSION:
        raise ForeignStateError(
            "the state is of swtpm 0.1; start it once with a newer swtpm, which rewrites it"
        )
    if total != len(octets):
        raise ForeignStateError(
            f"the file has {len(octets)} octets where its header says {total}; "
            "copy it again while swtpm is stopped"
        )
    return Flag(flags), octets[size:]


def _values_of(body: bytes) -> dict[int, bytes]:
    values = {}
    at = 0
    while at < len(body):
        if at + TAGGED.size > len(body):
            raise ForeignStateError("the file ends within a tagged value; copy it again")
        tag, size = TAGGED.unpack_from(body, at)
        at += TAGGED.size
        if at + size > len(body):
            raise ForeignStateError("the file ends within a tagged value; copy it again")
        values[tag] = body[at : at + size]
        at += size
    return values


def _tagged(tag: Tag, value: bytes) -> bytes:
    return TAGGED.pack(tag, len(value)) + value


def _content_of(
    values: Mapping[int, bytes],
    tags: tuple[Tag, Tag, Tag],
    size: int,
    key: bytes | Callable[[int], bytes] | None,
) -> bytes:
    plain, encrypted, iv = tags
    if plain in values:
        return values[plain]
    if encrypted not in values or Tag.HMAC not in values:
        raise ForeignStateError("the file holds no state; give the file tpm2-00.permall of a TPM 2.0")
    if key is None:
        raise ForeignStateError("the state is encrypted; give swtpm's key or passphrase")
    used = key if isinstance(key, bytes) else key(size)
    if len(used) != size:
        raise ForeignStateError(f"the state is encrypted under a key of {size} octets, not {len(used)}")
    return _decrypted(values[encrypted], values[Tag.HMAC], values.get(iv, b""), used)


def _decrypted(encrypted: bytes, code: bytes, iv: bytes, key: bytes) -> bytes:
    if not hmac.compare_digest(code, hmac.digest(key, encrypted + iv, "sha256")):
        raise ForeignStateError("the key or passphrase is not the state's, or the state was altered")
    if not encrypted or len(encrypted) % BLOCK:
        raise ForeignStateError("the encrypted state has no whole number of blocks; it was written so")
    cipher = Cipher(AES(key), CBC(iv[:BLOCK] or bytes(BLOCK))).decryptor()
    padded = cipher.update(encrypted) + cipher.finalize()
    rest = padded[-1]
    if not 1 <= rest <= len(key) or padded[-rest:] != bytes((rest,)) * rest:
        raise ForeignStateError("the padding of the decrypted state is malformed; it was written so")
    return padded[:-rest]
