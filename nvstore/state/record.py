"""
A record: one generation of one VM's state, encrypted.

    header ‖ CRC-32 of the header ‖ box of the plaintext, whose associated data are header and CRC

The plaintext is the state's metadata and its blobs; see `metadata` and `blobs`.
Records of suite 1, which earlier versions wrote, have the blobs alone.

Field by field, and why it is there:

| field | octets | why |
|---|---|---|
| magic | 8 | `nvrecord` |
| suite | 2 | 2: HKDF-SHA-512 with AES-256-GCM as in `box`; 1: so, too, without metadata; others are refused |
| kind | 2 | what the plaintext is; 1 is the state of a running VM |
| header size | 4 | from the magic to the end of the CRC, so that the provider's name may have any length |
| box size | 8 | from the end of the CRC to the end of the record |
| generation | 8 | counts the records from 1 |
| previous | 48 | the link of the record before this one; zeros in the first |
| written | 8 | milliseconds since 1970, for people; nothing is decided by it |
| kdk_id | 16 | which key is needed: a fingerprint, so that no name can promise the wrong key |
| VM | 16 | its UUID: a record cannot be given to another VM |
| incarnation | 16 | random at creation: nor to a later VM of the same UUID |
| open epoch | 8 | counts the openings, each of which has its own DEK |
| opening | 16 | random at each opening: two openings that count as the same epoch differ, so a fork shows |
| vm salt | 32 | salt of the KEK; without it a KDK opens nothing of this VM |
| wrapped DEK | 112 | a box of the DEK under the KEK, which depends on kdk_id, VM, incarnation, provider |
| provider | 1 + n | the name at the time of writing, after its length |

The link of a record is the salt of its box and the tag, 48 octets:
nobody without the DEK makes another record with the same, and nothing needs to be hashed for it.
The CRC tells damage from tampering and is trusted for nothing: whoever alters the header can correct it,
and then fails at the box.
That an older record of the same VM is put back is not visible here: `history` compares with the host's mark.
"""

# ruff: noqa: N818  an error is called by what is wrong

import struct
import zlib
from typing import Final, NamedTuple
from uuid import UUID

from nvstore import box
from nvstore.keys import DEK, KEY_SIZE, RECORD, Entropy, context, kek_of

MAGIC: Final = b"nvrecord"
SUITE: Final = 2
WITHOUT_METADATA: Final = 1
"""The suite of earlier versions."""

STATE: Final = 1
LINK_SIZE: Final = box.SALT_SIZE + box.TAG_SIZE
FIRST_PREVIOUS: Final = bytes(LINK_SIZE)
PAGE: Final = 4096
"""Records are padded to a multiple of this, so that their size says little of what changed."""

_RECORD: Final = struct.Struct(">8sHHIQQ48sQ")
_OPENING: Final = struct.Struct(">16s16s16sQ16s32s112sB")
_CRC: Final = struct.Struct(">I")
WRAPPED_DEK_SIZE: Final = box.OVERHEAD + KEY_SIZE
_FIXED: Final = _RECORD.size + _OPENING.size
MIN_HEADER: Final = _FIXED + 1 + _CRC.size
MAX_HEADER: Final = _FIXED + 255 + _CRC.size


class Damaged(Exception):
    """A header that is not what any version writes; the text says why."""


class UnknownSuite(Exception):
    """A header, undamaged, of a suite or kind that is not accepted."""


class Header(NamedTuple):
    """What stands before the box; the fields are described above."""

    suite: int
    kind: int
    box_size: int
    generation: int
    previous: bytes
    written: int
    kdk_id: bytes
    vm: UUID
    incarnation: bytes
    open_epoch: int
    opening: bytes
    vm_salt: bytes
    wrapped_dek: bytes
    provider: str

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
        salt = self.octets[self.header_size : self.header_size + box.SALT_SIZE]
        return salt + self.octets[-box.TAG_SIZE :]

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
    ) -> None:
        self.vm, self.epoch = vm, epoch
        self.identity = entropy(16)
        self._entropy = entropy
        dek = entropy(KEY_SIZE)
        kek = kek_of(kdk, vm_salt, provider, kdk_id, vm, incarnation)
        wrapped = box.seal(kek, DEK, entropy(box.SALT_SIZE), dek, _dek_context(epoch, self.identity))
        name = provider.encode()
        fields = (kdk_id, vm.bytes, incarnation, epoch, self.identity, vm_salt, wrapped, len(name))
        self._fields = _OPENING.pack(*fields) + name
        self._header_size = _RECORD.size + len(self._fields) + _CRC.size
        self._sealer = box.Sealer(dek, RECORD)
        self._next: box.Sealing | None = None
        self.overhead = self._header_size + box.OVERHEAD
        """Octets of a record besides its plaintext."""

    def __repr__(self) -> str:
        return f"Opening(vm={self.vm}, epoch={self.epoch})"

    def prepare(self) -> None:
        """Derive the key of the next record now, when there is nothing else to do."""
        self._next = self._sealer.begin(self._entropy(box.SALT_SIZE))

    def record(
        self, generation: int, previous: bytes, written: int, plaintext: bytes, suite: int = SUITE
    ) -> tuple[bytes, bytes, bytes]:
        """Return the next record in two pieces, and its link; `suite` says what the plaintext is."""
        sealing = self._next or self._sealer.begin(self._entropy(box.SALT_SIZE))
        self._next = None
        box_size = len(plaintext) + box.OVERHEAD
        fields = (MAGIC, suite, STATE, self._header_size, box_size, generation, previous, written)
        header = _RECORD.pack(*fields) + self._fields
        header += _CRC.pack(zlib.crc32(header))
        ciphertext = sealing.seal(plaintext, header)
        return (
            header + sealing.prefix,
            ciphertext,
            sealing.prefix[: box.SALT_SIZE] + ciphertext[-box.TAG_SIZE :],
        )


def _dek_context(epoch: int, opening: bytes) -> bytes:
    return context(epoch.to_bytes(8, "big"), opening)


def read_record(octets: bytes) -> Record:
    """Return the record at the start of these octets, or raise Damaged or UnknownSuite."""
    if len(octets) < MIN_HEADER:
        msg = f"{len(octets)} octets are too few for a record"
        raise Damaged(msg)
    magic, suite, kind, header_size, box_size, generation, previous, written = _RECORD.unpack_from(octets)
    kdk_id, vm, incarnation, epoch, opening, vm_salt, wrapped_dek, provider_size = _OPENING.unpack_from(
        octets, _RECORD.size
    )
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
    if suite not in {SUITE, WITHOUT_METADATA} or kind != STATE:
        msg = f"suite {suite}, kind {kind}"
        raise UnknownSuite(msg)
    name = header[_FIXED:]
    if len(name) != provider_size or not box.OVERHEAD <= box_size <= len(octets) - header_size:
        msg = f"a provider of {provider_size} octets and a box of {box_size} do not fit"
        raise Damaged(msg)
    try:
        provider = name.decode()
    except UnicodeDecodeError:
        msg = "the name of the provider is no UTF-8"
        raise Damaged(msg) from None
    parsed = Header(
        suite,
        kind,
        box_size,
        generation,
        previous,
        written,
        kdk_id,
        UUID(bytes=vm),
        incarnation,
        epoch,
        opening,
        vm_salt,
        wrapped_dek,
        provider,
    )
    return Record(parsed, octets[: header_size + box_size], header_size)
