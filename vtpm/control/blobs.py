"""
State blobs: the state of a TPM as octets that travel over the control channel, or lie in a store.

A blob says what it is: an identifier, its version, its kind, then the named parts of the state.
A digest over everything before it ends the blob, so that a blob cut short or altered on its way is refused.
It is no protection against a forger: QEMU carries the blob inside the state of the whole virtual machine.

A volatile blob holds the digest of the permanent blob that it was taken with,
because sessions, PCRs and loaded objects are meaningless beside another permanent state.

Version 1 never changes; a new version reads every older one.
"""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Annotated, Final, NamedTuple

from vtpm.control.messages import BLOB32, PTM_BLOB_TYPE
from vtpm.wire.error import TpmError
from vtpm.wire.integers import UINT8, UINT16
from vtpm.wire.structure import marshal, structure, unmarshal
from vtpm.wire.vocabulary import ListOf, Octets, Tpm2b

IDENTIFIER: Final = b"vTPM state\r\n\x1a\x00"
ENVELOPE: Final = b"vTPM envelope\r\n\x1a\x00"
"""The identifier of an encrypted blob (vtpm/control/envelope.py)."""

VERSION: Final = 1
DIGEST_SIZE: Final = 32
MAX_PARTS: Final = 4096


class BlobError(ValueError):
    """A state blob cannot be used; the text says why and what to do."""


class BlobKeyError(BlobError):
    """A state blob is encrypted, and there is no key for it."""


class Opened(NamedTuple):
    """A blob out of octets that came, and what they say of where it is from."""

    blob: bytes
    is_sealed: bool = False
    """Did only somebody with the key make it?"""
    origin: str = ""
    """The host that it comes from, as that calls itself; empty if it is not said."""
    key: str = ""
    """The id of the key, in hexadecimal, if it has one."""


class Form:
    """How state blobs travel: as they are."""

    @property
    def is_encrypted(self) -> bool:
        """Do blobs travel encrypted?"""
        return False

    def wrap(self, blob: bytes) -> bytes:
        """The octets to send for a blob."""
        return blob

    def unwrap(self, kind: PTM_BLOB_TYPE, octets: bytes) -> Opened:  # noqa: ARG002 - other forms differ by kind
        """The blob in octets that came; BlobError if they hold none."""
        if octets.startswith(ENVELOPE):
            raise BlobKeyError("the state blob is encrypted; start this host's TPM with the migration key")
        return Opened(octets)

    def arrived(self) -> None:
        """What was unwrapped came to stay: what its host has ordered holds here, too."""


@structure
class Part:
    """A named part of a state, as the TPM gave it."""

    name: Annotated[bytes, Tpm2b(255)]
    octets: BLOB32


@structure
class Blob:
    """Version 1; `companion` is the digest of the permanent blob beside which a volatile one is valid."""

    identifier: Annotated[bytes, Octets(len(IDENTIFIER))]
    version: UINT16
    kind: UINT8
    companion: Annotated[bytes, Octets(DIGEST_SIZE)]
    parts: Annotated[tuple[Part, ...], ListOf(Part, MAX_PARTS)]


def pack(kind: PTM_BLOB_TYPE, state: Mapping[str, bytes], companion: bytes = bytes(DIGEST_SIZE)) -> bytes:
    """The blob of a state; equal states give equal blobs."""
    parts = tuple(Part(name.encode(), state[name]) for name in sorted(state))
    body = marshal(Blob(IDENTIFIER, VERSION, kind, companion, parts))
    return body + hashlib.sha256(body).digest()


def unpack(kind: PTM_BLOB_TYPE, blob: bytes) -> tuple[dict[str, bytes], bytes]:
    """The state in a blob, and its companion's digest; BlobError unless it is whole and of this kind."""
    if not blob.startswith(IDENTIFIER):
        raise BlobError(
            "the state blob is not one of this TPM's: it may come from swtpm, whose format is not read; "
            "migrate between hosts that run the same TPM"
        )
    body, digest = blob[:-DIGEST_SIZE], blob[-DIGEST_SIZE:]
    if not hmac.compare_digest(hashlib.sha256(body).digest(), digest):
        raise BlobError("the state blob is damaged or incomplete; take it from its source again")
    version = int.from_bytes(body[len(IDENTIFIER) : len(IDENTIFIER) + 2])
    if version != VERSION:
        raise BlobError(f"the state blob has version {version}, newer than {VERSION}; update this host first")
    try:
        content = unmarshal(Blob, body)
        state = {part.name.decode(): part.octets for part in content.parts}
    except (TpmError, UnicodeDecodeError):
        raise BlobError("the state blob is malformed; take it from its source again") from None
    if content.kind != kind:
        raise BlobError(f"the state blob is not of the kind {kind.name}; send each blob under its own type")
    return state, content.companion


def kind_of(blob: bytes) -> PTM_BLOB_TYPE:
    """The kind of a blob of this program's."""
    return PTM_BLOB_TYPE(blob[len(IDENTIFIER) + 2])


def digest_of(blob: bytes) -> bytes:
    """What a volatile blob remembers of its permanent companion."""
    return blob[-DIGEST_SIZE:]
