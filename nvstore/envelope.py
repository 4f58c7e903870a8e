"""
A record: one generation of one VM's state, encrypted.

    header ‖ CRC-32 of the header ‖ box of the blobs, whose associated data are header and CRC

Field by field, and why it is there:

| field | octets | why |
|---|---|---|
| magic | 8 | `nvrecord` |
| suite | 2 | the algorithms; 1 is HKDF-SHA-256 with AES-256-GCM as in `box`; others are refused, not tried |
| kind | 2 | what the plaintext is; 1 is the state of a running VM |
| header size | 4 | from the magic to the end of the CRC, so that the provider's name may have any length |
| box size | 8 | from the end of the CRC to the end of the record |
| kdk_id | 16 | which key is needed: a fingerprint, so that no name can promise the wrong key |
| VM | 16 | its UUID: a record cannot be given to another VM |
| incarnation | 16 | random at creation: nor to a later VM of the same UUID |
| open epoch | 8 | counts the openings, each of which has its own DEK |
| opening | 16 | random at each opening: two openings that count as the same epoch differ, so a fork shows |
| generation | 8 | counts the records from 1 |
| previous | 32 | the link of the record before this one; zeros in the first |
| written | 8 | milliseconds since 1970, for people; nothing is decided by it |
| vm salt | 32 | salt of the KEK; without it a KDK opens nothing of this VM |
| wrapped DEK | 112 | a box of the DEK under the KEK, which depends on kdk_id, VM, incarnation, provider |
| provider | 1 + n | the name at the time of writing, after its length |

The link of a record is the SHA-256 of all its octets but the ciphertext; the tag stands for that.
The CRC tells damage from tampering and is trusted for nothing: whoever alters the header can correct it,
and then fails at the box.
That an older record of the same VM is put back is not visible here: `history` compares with the host's mark.
"""

# ruff: noqa: N818  an error is called by what is wrong

import hashlib
import struct
import zlib
from typing import Final, NamedTuple
from uuid import UUID

from nvstore import box
from nvstore.keys import DEK, KEY_SIZE, RECORD, Entropy, context, kek_of

MAGIC: Final = b"nvrecord"
SUITE: Final = 1
STATE: Final = 1
FIRST_PREVIOUS: Final = bytes(32)
PAGE: Final = 4096
"""Records are padded to a multiple of this, so that their size says little of what changed."""

_FIXED: Final = struct.Struct(">8sHHIQ16s16s16sQ16sQ32sQ32s112sB")
_CRC: Final = struct.Struct(">I")
WRAPPED_DEK_SIZE: Final = box.OVERHEAD + KEY_SIZE
MIN_HEADER: Final = _FIXED.size + 1 + _CRC.size
MAX_HEADER: Final = _FIXED.size + 255 + _CRC.size


class Damaged(Exception):
    """A header that is not what any version writes; the text says why."""


class UnknownSuite(Exception):
    """A header, undamaged, of a suite or kind that is not accepted."""


class Header(NamedTuple):
    """What stands before the box; the fields are described above."""

    suite: int
    kind: int
    box_size: int
    kdk_id: bytes
    vm: UUID
    incarnation: bytes
    open_epoch: int
    opening: bytes
    generation: int
    previous: bytes
    written: int
    vm_salt: bytes
    wrapped_dek: bytes
    provider: str

    def encode(self) -> bytes:
        """Return the header with its CRC."""
        provider = self.provider.encode()
        fixed = _FIXED.pack(
            MAGIC,
            self.suite,
            self.kind,
            _FIXED.size + len(provider) + _CRC.size,
            self.box_size,
            self.kdk_id,
            self.vm.bytes,
            self.incarnation,
            self.open_epoch,
            self.opening,
            self.generation,
            self.previous,
            self.written,
            self.vm_salt,
            self.wrapped_dek,
            len(provider),
        )
        header = fixed + provider
        return header + _CRC.pack(zlib.crc32(header))

    def dek(self, kdk: bytes) -> bytes:
        """Unwrap the DEK, or raise BoxError."""
        kek = kek_of(kdk, self.vm_salt, self.provider, self.kdk_id, self.vm, self.incarnation)
        return box.unseal(kek, DEK, self.wrapped_dek, _dek_context(self.open_epoch, self.opening))


class Record(NamedTuple):
    """A record as it was read: header and octets, not yet decrypted."""

    header: Header
    octets: bytes
    header_size: int

    @property
    def link(self) -> bytes:
        """What the next record names as its previous one."""
        prefix_end = self.header_size + box.PREFIX_SIZE
        return _link(self.octets[:prefix_end], self.octets[-box.TAG_SIZE :])

    def decrypt(self, kdk: bytes) -> bytes:
        """Return the plaintext, or raise BoxError."""
        associated = self.octets[: self.header_size]
        return box.unseal(self.header.dek(kdk), RECORD, self.octets[self.header_size :], associated)


class Opening:
    """One opening of a state for writing: a fresh DEK, and what all its records have in common."""

    def __init__(
        self,
        kdk: bytes,
        *,
        kdk_id: bytes,
        provider: str,
        vm: UUID,
        incarnation: bytes,
        vm_salt: bytes,
        epoch: int,
        entropy: Entropy,
        kind: int = STATE,
    ) -> None:
        self.kdk_id, self.provider, self.vm, self.incarnation = kdk_id, provider, vm, incarnation
        self.vm_salt, self.epoch, self.kind = vm_salt, epoch, kind
        self.identity = entropy(16)
        self._entropy = entropy
        self._dek = entropy(KEY_SIZE)
        kek = kek_of(kdk, vm_salt, provider, kdk_id, vm, incarnation)
        salt = entropy(box.SALT_SIZE)
        self._wrapped = b"".join(box.seal(kek, DEK, salt, self._dek, _dek_context(epoch, self.identity)))
        self.overhead = _FIXED.size + len(provider.encode()) + _CRC.size + box.OVERHEAD
        """Octets of a record besides its plaintext."""

    def __repr__(self) -> str:
        return f"Opening(vm={self.vm}, epoch={self.epoch}, provider={self.provider!r})"

    def record(
        self, generation: int, previous: bytes, written: int, plaintext: bytes
    ) -> tuple[bytes, bytes, bytes]:
        """Return the next record in two pieces, and its link."""
        header = Header(
            SUITE,
            self.kind,
            len(plaintext) + box.OVERHEAD,
            self.kdk_id,
            self.vm,
            self.incarnation,
            self.epoch,
            self.identity,
            generation,
            previous,
            written,
            self.vm_salt,
            self._wrapped,
            self.provider,
        ).encode()
        prefix, ciphertext = box.seal(self._dek, RECORD, self._entropy(box.SALT_SIZE), plaintext, header)
        front = header + prefix
        return front, ciphertext, _link(front, ciphertext[-box.TAG_SIZE :])


def _dek_context(epoch: int, opening: bytes) -> bytes:
    return context(epoch.to_bytes(8, "big"), opening)


def _link(front: bytes, tag: bytes) -> bytes:
    return hashlib.sha256(front + tag).digest()


def read_record(octets: bytes) -> Record:
    """Return the record at the start of these octets, or raise Damaged or UnknownSuite."""
    if len(octets) < MIN_HEADER:
        msg = f"{len(octets)} octets are too few for a record"
        raise Damaged(msg)
    magic, suite, kind, header_size, box_size, *fields, provider_size = _FIXED.unpack_from(octets)
    if magic != MAGIC:
        msg = "no record begins here"
        raise Damaged(msg)
    if not MIN_HEADER - 1 <= header_size <= min(MAX_HEADER, len(octets)):
        msg = f"a header of {header_size} octets is impossible"
        raise Damaged(msg)
    header = octets[: header_size - _CRC.size]
    if _CRC.unpack_from(octets, header_size - _CRC.size) != (zlib.crc32(header),):
        msg = "the checksum of the header is wrong"
        raise Damaged(msg)
    if suite != SUITE or kind != STATE:
        msg = f"suite {suite}, kind {kind}"
        raise UnknownSuite(msg)
    name = header[_FIXED.size :]
    if len(name) != provider_size or not box.OVERHEAD <= box_size <= len(octets) - header_size:
        msg = f"a provider of {provider_size} octets and a box of {box_size} do not fit"
        raise Damaged(msg)
    kdk_id, vm, incarnation, epoch, opening, generation, previous, written, vm_salt, wrapped = fields
    try:
        provider = name.decode()
    except UnicodeDecodeError:
        msg = "the name of the provider is no UTF-8"
        raise Damaged(msg) from None
    parsed = Header(
        suite,
        kind,
        box_size,
        kdk_id,
        UUID(bytes=vm),
        incarnation,
        epoch,
        opening,
        generation,
        previous,
        written,
        vm_salt,
        wrapped,
        provider,
    )
    return Record(parsed, octets[: header_size + box_size], header_size)
