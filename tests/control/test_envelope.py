"""State blobs that travel encrypted: vtpm/control/envelope.py."""

import hmac
import struct

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vtpm.control.blobs import BlobError, BlobKeyError, Form
from vtpm.control.envelope import (
    COST,
    HEAD,
    MOST,
    VERSION,
    Cost,
    Front,
    front_of,
    is_envelope,
    key_of,
    seal,
    unseal,
)
from vtpm.control.messages import PTM_BLOB_TYPE

SALT = bytes(range(16))
FRONT = Front(VERSION, Cost(14, 8, 1), SALT)
KEY = key_of(b"a secret", FRONT)
BLOB = b"the state" * 100


def test_version_1() -> None:
    """Version 1 never changes."""
    sealed = (
        "7654504d20656e76656c6f70650d0a1a000001000102030405060708090a0b0c0d0e0f3ba1a43f"
        "f965fed007a77bfc83b13e9e05a6d4543da2a96c71c3a159f226f9b560"
    )
    front = front_of(bytes.fromhex(sealed))
    assert front == Front(1, Cost(14, 8, 1), SALT)
    key = key_of(b"a secret", front)
    assert key.hex() == "ca19e9660c8decf0b658f094c3940e8a7840f6d75731f462adb76456c9f8d071"
    assert unseal(key, bytes.fromhex(sealed)) == b"state"
    with pytest.raises(BlobError, match="another migration key"):
        unseal(key, bytes.fromhex(sealed)[:-1] + b"\0")


def expanded(label: bytes, content: bytes) -> bytes:
    """A key of version 2."""
    return hmac.digest(KEY, struct.pack(">I", len(label)) + label + content, "sha512")[:32]


def test_version_2() -> None:
    """Version 2 is what its description says: a key for each use, and a commitment to them."""
    salt = expanded(b"vTPM envelope v2 salt", BLOB)
    commitment = expanded(b"vTPM envelope v2 commitment", salt)
    head = b"vTPM envelope\r\n\x1a\0" + bytes((0, 2, 14, 8, 1)) + SALT + salt + commitment
    blob_key = expanded(b"vTPM envelope v2 blob", salt)
    assert seal(KEY, FRONT, BLOB) == head + AESGCM(blob_key).encrypt(bytes(12), BLOB, head)
    assert front_of(head + b"") == FRONT


def test_committed() -> None:
    """An envelope that decrypts under two keys does not open: it commits to one of them."""
    sealed = seal(KEY, FRONT, BLOB)
    other = key_of(b"another secret", FRONT)
    with pytest.raises(BlobError, match="another migration key"):
        unseal(other, sealed)
    forged = sealed[: HEAD.size - 32] + bytes(32) + sealed[HEAD.size :]
    with pytest.raises(BlobError, match="another migration key"):
        unseal(KEY, forged)


@pytest.mark.parametrize("field", range(3))
@pytest.mark.parametrize("value", [0, 255])
def test_cost(field: int, value: int) -> None:
    """No envelope has its key made at any cost; what is written is within what is read."""
    sealed = bytearray(seal(KEY, FRONT, BLOB))
    sealed[19 + field] = value
    with pytest.raises(BlobError, match="asks for scrypt"):
        front_of(bytes(sealed))
    assert all(given <= most for given, most in zip(COST, MOST, strict=True))


def test_there_and_back() -> None:
    """What is sealed says so, gives its salt, hides the blob, and is unsealed; equal blobs seal equally."""
    sealed = seal(KEY, FRONT, BLOB)
    assert is_envelope(sealed)
    assert not is_envelope(BLOB)
    assert front_of(sealed) == FRONT
    assert b"state" not in sealed
    assert sealed == seal(KEY, FRONT, BLOB) != seal(KEY, FRONT, BLOB + b"s")
    assert unseal(KEY, sealed) == BLOB


@pytest.mark.parametrize("at", range(HEAD.size + 3))
def test_altered(at: int) -> None:
    """No octet can be altered: neither of what precedes the blob nor of the blob itself."""
    sealed = bytearray(seal(KEY, FRONT, BLOB))
    sealed[at] ^= 1
    with pytest.raises(BlobError, match="altered"):
        unseal(KEY, bytes(sealed))


def test_refusals() -> None:
    """Another key, an envelope cut short, a version that is not known, and no key at all."""
    sealed = seal(KEY, FRONT, BLOB)
    with pytest.raises(BlobError, match="another migration key"):
        unseal(key_of(b"another", FRONT), sealed)
    with pytest.raises(BlobError, match="incomplete"):
        front_of(sealed[: HEAD.size - 1])
    with pytest.raises(BlobError, match="version 258"):
        front_of(sealed[:17] + b"\1\2" + sealed[19:])
    with pytest.raises(BlobKeyError, match="migration key"):
        Form().unwrap(PTM_BLOB_TYPE.PERMANENT, sealed)
