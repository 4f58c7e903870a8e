"""
What a state says of itself: its registration, and since when its file is complete.

It stands in front of the blobs in every record, under the same key: nobody without that key changes it.

    u32 length of the document ‖ the document, in canonical form ‖ complete since u64

The document has the members of the registration but for the UUID, which the header has.
Every generation from `complete since` on is in the file, as far as the ring holds as many:
a slot of theirs that is empty or cannot be read was not left so by this program.
"""

import struct
from typing import Final, NamedTuple, Self
from uuid import UUID

from nvstore.document import BadDocument, canonical, read_json
from nvstore.state.blobs import Blobs, MalformedBlobs
from nvstore.state.record import WITHOUT_METADATA, Header
from nvstore.state.vm import Vm, vm_of

_SIZE: Final = struct.Struct(">I")
_SINCE: Final = struct.Struct(">Q")


class Metadata(NamedTuple):
    """What a record says of its state."""

    registration: Vm
    complete_since: int

    def encode(self) -> bytes:
        """Return it as it stands in front of the blobs."""
        document = canonical(self.registration.fields())
        return _SIZE.pack(len(document)) + document + _SINCE.pack(self.complete_since)

    @classmethod
    def decode(cls, octets: bytes, vm: UUID) -> tuple[Self, int]:
        """Return what stands in front of these octets, and where it ends; MalformedBlobs if nothing does."""
        try:
            (size,) = _SIZE.unpack_from(octets)
            end = _SIZE.size + size
            document = read_json(octets[_SIZE.size : end])
            (since,) = _SINCE.unpack_from(octets, end)
            metadata = cls(vm_of(vm, document), since)
        except (BadDocument, KeyError, TypeError, ValueError, struct.error) as error:
            msg = f"the metadata are malformed: {error}"
            raise MalformedBlobs(msg) from None
        if metadata.encode() != octets[: end + _SINCE.size]:
            msg = "the metadata are not in their canonical form"
            raise MalformedBlobs(msg)
        return metadata, end + _SINCE.size


class Content(NamedTuple):
    """What a record holds."""

    metadata: Metadata | None
    """None in a record of an earlier version."""
    blobs: Blobs

    @classmethod
    def decode(cls, plaintext: bytes, header: Header) -> Self:
        """Return the content of a record, or raise MalformedBlobs."""
        if header.suite == WITHOUT_METADATA:
            return cls(None, Blobs.decode(plaintext))
        metadata, end = Metadata.decode(plaintext, header.vm)
        return cls(metadata, Blobs.decode(plaintext[end:]))
