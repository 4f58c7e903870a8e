"""State blobs that travel encrypted: vtpm/control/envelope.py."""

import pytest

from vtpm.control.blobs import BlobError, BlobKeyError, Form
from vtpm.control.envelope import HEAD, is_envelope, key_of, salt_of, seal, unseal
from vtpm.control.messages import PTM_BLOB_TYPE

SALT = bytes(range(16))
KEY = key_of(b"a secret", SALT)
BLOB = b"the state" * 100


def test_version_1() -> None:
    """Version 1 never changes."""
    sealed = (
        "7654504d20656e76656c6f70650d0a1a000001000102030405060708090a0b0c0d0e0f3ba1a43f"
        "f965fed007a77bfc83b13e9e05a6d4543da2a96c71c3a159f226f9b560"
    )
    assert KEY.hex() == "ca19e9660c8decf0b658f094c3940e8a7840f6d75731f462adb76456c9f8d071"
    assert seal(KEY, SALT, b"state").hex() == sealed


def test_there_and_back() -> None:
    """What is sealed says so, gives its salt, hides the blob, and is unsealed; equal blobs seal equally."""
    sealed = seal(KEY, SALT, BLOB)
    assert is_envelope(sealed)
    assert not is_envelope(BLOB)
    assert salt_of(sealed) == SALT
    assert b"state" not in sealed
    assert sealed == seal(KEY, SALT, BLOB) != seal(KEY, SALT, BLOB + b"s")
    assert unseal(KEY, sealed) == BLOB


@pytest.mark.parametrize("at", range(HEAD.size + 3))
def test_altered(at: int) -> None:
    """No octet can be altered: neither of what precedes the blob nor of the blob itself."""
    sealed = bytearray(seal(KEY, SALT, BLOB))
    sealed[at] ^= 1
    with pytest.raises(BlobError, match="altered"):
        unseal(KEY, bytes(sealed))


def test_refusals() -> None:
    """Another key, an envelope cut short, a version that is not known, and no key at all."""
    sealed = seal(KEY, SALT, BLOB)
    with pytest.raises(BlobError, match="another migration key"):
        unseal(key_of(b"another", SALT), sealed)
    with pytest.raises(BlobError, match="incomplete"):
        salt_of(sealed[: HEAD.size - 1])
    with pytest.raises(BlobError, match="version 258"):
        salt_of(sealed[:17] + b"\1\2" + sealed[19:])
    with pytest.raises(BlobKeyError, match="migration key"):
        Form().unwrap(PTM_BLOB_TYPE.PERMANENT, sealed)
