"""
The keys between a provider's key and a record, and the one table of derivation labels.

KDK → KEK of a VM → DEK of an opening → key of a record.
A key is used for one thing only: the label in its derivation says for which.
Every derivation is HKDF with SHA-512 (RFC 5869), whose one block is enough for all that is derived here.
"""

import hmac
from collections.abc import Callable
from typing import Final, Protocol
from uuid import UUID

from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_SIZE: Final = 32
KDK_ID_SIZE: Final = 16
BLOCK: Final = 64
FIRST_BLOCK: Final = b"\x01"
"""The counter of HKDF-Expand for its first block."""

KDK_ID: Final = b"nvstore v1 kdk id"
KEK: Final = b"nvstore v1 kek"
DEK: Final = b"nvstore v1 dek"
RECORD: Final = b"nvstore v1 record"
MARK: Final = b"nvstore v1 mark"
HOST_SEAL: Final = b"nvstore v1 host seal"
KEY_CERTIFICATE: Final = b"nvstore v1 key certificate"
PROVIDER_DOCUMENT: Final = b"nvstore v1 provider document"
PROVIDER_BACKUP: Final = b"nvstore v1 provider backup"
PKCS12_BACKUP: Final = b"nvstore v1 pkcs12 backup"
SHARE: Final = b"nvstore v1 share"
SHARE_SET: Final = b"nvstore v1 share set"
HOST_ID: Final = b"nvstore v1 host id"
HOST_IDENTITY: Final = b"nvstore v1 host identity"
PACKAGE: Final = b"nvstore v1 package"
PACKAGE_MAC: Final = b"nvstore v1 package mac"
ACKNOWLEDGMENT: Final = b"nvstore v1 acknowledgment"
PACKAGE_SHOWN: Final = b"nvstore v1 package shown"
ACKNOWLEDGMENT_WHOLE: Final = b"nvstore v1 whole acknowledgment"
STATE_BUNDLE: Final = b"nvstore v1 state bundle"
BUNDLE_KEY: Final = b"nvstore v1 state bundle key"
SECRET: Final = b"nvstore v1 secret"
SECRET_KEY: Final = b"nvstore v1 secret key"
STATE_STREAM_1: Final = b"nvstore v1 state stream"
STREAM_KEY_1: Final = b"nvstore v1 state stream key"
STATE_STREAM: Final = b"nvstore v2 state stream"
STREAM_KEY: Final = b"nvstore v2 state stream key"
STREAM_SALT: Final = b"nvstore v2 state stream salt"
AUDIT_ROOT: Final = b"nvstore v1 audit root"
AUDIT_LINE: Final = b"nvstore v1 audit line"
AUDIT_NEXT: Final = b"nvstore v1 audit next"

Entropy = Callable[[int], bytes]
"""Gives that many random octets; `os.urandom`, or a test's."""


class KeySource(Protocol):
    """Where KDKs come from: what a store asks of the providers."""

    def key(self, provider: str, kdk_id: bytes) -> bytes:
        """Return the KDK with this id, or raise KeyMissing, WrongKey or ProviderLocked."""
        ...

    def current(self, provider: str) -> bytes:
        """Return the id of the KDK under which this provider protects what is written now."""
        ...

    def check_succession(self, provider: str, before: bytes, after: bytes) -> None:
        """
        Raise KeyUncertified unless what is under the key `before` may be written under `after`.

        It may if they are the same key, or the older one certifies the newer one, directly or through others.
        """
        ...

    def check_authenticated(self, provider: str, kdk_id: bytes) -> None:
        """
        Raise ProviderAltered if the file that has this key is of the first version, which nothing protects.

        Whatever was written when files were authenticated already must not be opened with such a file.
        """
        ...


def context(*fields: bytes) -> bytes:
    """Return the fields, each after its length in four octets, so that no two lists give the same octets."""
    return b"".join(len(field).to_bytes(4, "big") + field for field in fields)


class Prf:
    """HMAC-SHA-512 under one key that is used many times: the key schedule is done once."""

    __slots__ = ("_keyed",)

    def __init__(self, key: bytes) -> None:
        self._keyed = hmac.new(key, digestmod="sha512")

    def __repr__(self) -> str:
        return "Prf()"

    def __call__(self, message: bytes) -> bytes:
        """Return the 64 octets for this message."""
        mac = self._keyed.copy()
        mac.update(message)
        return mac.digest()


def expand(key: bytes, size: int, *fields: bytes) -> bytes:
    """Return up to 64 octets of HKDF-Expand (RFC 5869, clause 2.3): its first block."""
    assert size <= BLOCK
    return Prf(key)(context(*fields) + FIRST_BLOCK)[:size]


def kdk_id_of(kdk: bytes) -> bytes:
    """Return the fingerprint that identifies a KDK; it tells nothing of the key."""
    return expand(kdk, KDK_ID_SIZE, KDK_ID)


def kek_of(kdk: bytes, vm_salt: bytes, provider: str, kdk_id: bytes, vm: UUID, incarnation: bytes) -> bytes:
    """Return the key of one incarnation of one VM; it encrypts nothing but DEKs."""
    info = context(KEK, provider.encode(), kdk_id, vm.bytes, incarnation)
    return HKDF(SHA512(), KEY_SIZE, vm_salt, info).derive(kdk)


def mark_key_of(kdk: bytes, kdk_id: bytes, vm: UUID) -> Prf:
    """Return what authenticates the host's high-water mark of one VM."""
    return Prf(expand(kdk, KEY_SIZE, MARK, kdk_id, vm.bytes))


def check_succession(keys: KeySource, provider: str, before: bytes, after: bytes) -> None:
    """Raise KeyUncertified unless `after` is `before` or a successor of it; see KeySource."""
    if before != after:
        keys.check_succession(provider, before, after)
