"""
An envelope around a state blob, for a stream between hosts that share a key (swtpm.8, --migration-key).

It says what it is: an identifier, its version, how the key was made of a secret, a salt for this blob;
then a commitment to the key, and the blob under AES-256-GCM, whose additional data are everything before it.
The salt is a MAC of the blob, so that equal blobs give equal envelopes and a blob can be read in parts.

Version 2 has a key for each use, derived by HMAC-SHA-512 from scrypt's:
one for the salt, one for the commitment, and one for each blob, so that its nonce is zero.
Version 1, which is read, had one key for all of that, and no commitment.
A version never changes; a new one reads every older one.
"""

import hashlib
import hmac
import struct
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vtpm.control.blobs import ENVELOPE as IDENTIFIER
from vtpm.control.blobs import BlobError

VERSION: Final = 2
SALT_SIZE: Final = 16
NONCE_SIZE: Final = 12
KEY_SIZE: Final = 32
VERSIONED: Final = struct.Struct(f">{len(IDENTIFIER)}sH")
FIRST_HEAD: Final = struct.Struct(f">{len(IDENTIFIER)}sH{SALT_SIZE}s{NONCE_SIZE}s")
HEAD: Final = struct.Struct(f">{len(IDENTIFIER)}sHBBB{SALT_SIZE}s{KEY_SIZE}s{KEY_SIZE}s")
"""Identifier, version; log2 N, r and p of scrypt, and its salt; the salt of the blob; the commitment."""


class Cost(NamedTuple):
    """The parameters of scrypt (RFC 7914): it takes 128 · 2^log_n · r octets of memory."""

    log_n: int
    r: int
    p: int


COST: Final = Cost(16, 8, 1)
"""What is written: 64 MiB, a fraction of a second at each end of a migration, in which the guest waits."""

FIRST_COST: Final = Cost(14, 8, 1)
MOST: Final = Cost(20, 8, 4)
"""What is read: no peer makes this host spend more than 1 GiB, or longer than some seconds."""

SALT_LABEL: Final = b"vTPM envelope v2 salt"
COMMITMENT_LABEL: Final = b"vTPM envelope v2 commitment"
BLOB_LABEL: Final = b"vTPM envelope v2 blob"


class Front(NamedTuple):
    """What of an envelope decides about its key."""

    version: int
    cost: Cost
    salt: bytes


def key_of(secret: bytes, front: Front) -> bytes:
    """The key of a secret that may be a passphrase, from which those of the blobs are derived."""
    cost, n = front.cost, 1 << front.cost.log_n
    most = 128 * cost.r * (n + cost.p + 2)
    return hashlib.scrypt(secret, salt=front.salt, n=n, r=cost.r, p=cost.p, maxmem=most, dklen=KEY_SIZE)


def is_envelope(octets: bytes) -> bool:
    """Are these octets an envelope, of whatever version?"""
    return octets.startswith(IDENTIFIER)


def front_of(octets: bytes) -> Front:
    """What decides about an envelope's key; BlobError if there is none, or it costs too much."""
    version = VERSIONED.unpack_from(octets)[1] if len(octets) >= VERSIONED.size else 0
    if version > VERSION:
        raise BlobError(f"the envelope has version {version}, newer than {VERSION}; update this host first")
    if version == 0 or len(octets) < (FIRST_HEAD if version == 1 else HEAD).size:
        raise BlobError("the encrypted state blob is incomplete; take it from its source again")
    if version == 1:
        return Front(1, FIRST_COST, bytes(FIRST_HEAD.unpack_from(octets)[2]))
    _, _, log_n, r, p, salt, *_ = HEAD.unpack_from(octets)
    cost = Cost(log_n, r, p)
    if not all(0 < given <= most for given, most in zip(cost, MOST, strict=True)):
        raise BlobError(
            f"the envelope asks for scrypt with N = 2^{log_n}, r = {r}, p = {p}, which is not done here; "
            "take the state blob from its source again"
        )
    return Front(version, cost, bytes(salt))


def seal(key: bytes, front: Front, blob: bytes) -> bytes:
    """A blob in an envelope of the newest version."""
    salt = _derived(key, SALT_LABEL, blob)
    commitment, blob_key = _derived(key, COMMITMENT_LABEL, salt), _derived(key, BLOB_LABEL, salt)
    head = HEAD.pack(IDENTIFIER, VERSION, *front.cost, front.salt, salt, commitment)
    return head + AESGCM(blob_key).encrypt(bytes(NONCE_SIZE), blob, head)


def unseal(key: bytes, octets: bytes) -> bytes:
    """The blob in an envelope with a front; BlobError if the key is another, or the envelope was altered."""
    try:
        if VERSIONED.unpack_from(octets)[1] == 1:
            head = octets[: FIRST_HEAD.size]
            return AESGCM(key).decrypt(FIRST_HEAD.unpack(head)[3], octets[FIRST_HEAD.size :], head)
        head = octets[: HEAD.size]
        salt, commitment = HEAD.unpack(head)[-2:]
        if hmac.compare_digest(commitment, _derived(key, COMMITMENT_LABEL, salt)):
            blob_key = _derived(key, BLOB_LABEL, salt)
            return AESGCM(blob_key).decrypt(bytes(NONCE_SIZE), octets[HEAD.size :], head)
    except InvalidTag:
        pass
    raise BlobError(
        "the state blob is encrypted under another migration key, or was altered; "
        "give both hosts the same key, and take the blob from its source again"
    )


def _derived(key: bytes, label: bytes, content: bytes) -> bytes:
    return hmac.digest(key, len(label).to_bytes(4) + label + content, "sha512")[:KEY_SIZE]
