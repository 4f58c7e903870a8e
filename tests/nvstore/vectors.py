"""
The vectors of the record format: how they were made, and how they are read.

A vector is a header of `name: value` lines, an empty line, and the record in hexadecimal.
`expect` is `blobs` or the code of the error; each vector has one reason to fail.
Run as a program, this module writes them anew: they are the same on every machine.
"""

import random
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID

from nvstore.keys import kdk_id_of
from nvstore.state.blobs import Blobs
from nvstore.state.metadata import Metadata
from nvstore.state.record import FIRST_PREVIOUS, SUITE, WITHOUT_METADATA, Opening
from nvstore.state.vm import Vm

DIRECTORY = Path(__file__).with_name("vectors")
VM = UUID("6c1f3d6e-54d0-4d6a-8f0e-3b1d4a7c9e21")
KDK = bytes(range(32))


@dataclass
class Vector:
    """One record, with what it needs and what must come of it."""

    record: bytes
    expect: str = "blobs"
    comment: str = ""
    vm: UUID = VM
    kdk: bytes = KDK
    blobs: dict[str, bytes] = field(default_factory=dict)

    def encode(self) -> str:
        """Return the text of the vector."""
        lines = [
            f"expect: {self.expect}",
            f"comment: {self.comment}",
            f"vm: {self.vm}",
            f"kdk: {self.kdk.hex()}",
        ]
        lines += [f"blob {name}: {data.hex()}" for name, data in self.blobs.items()]
        text = self.record.hex()
        return "\n".join([*lines, "", *(text[i : i + 96] for i in range(0, len(text), 96)), ""])


def read_vector(text: str) -> Vector:
    """Return the vector of a text."""
    head, body = text.split("\n\n")
    fields = {name: value for name, _, value in (line.partition(": ") for line in head.splitlines())}
    blobs = {name[5:]: bytes.fromhex(data) for name, data in fields.items() if name.startswith("blob ")}
    kdk, vm = bytes.fromhex(fields["kdk"]), UUID(fields["vm"])
    return Vector(bytes.fromhex(body), fields["expect"], fields["comment"], vm, kdk, blobs)


def record_of(
    blobs: dict[str, bytes],
    *,
    provider: str = "main",
    generation: int = 1,
    pad: int = 0,
    metadata: bytes | None = None,
) -> bytes:
    """Write a record with entropy that is the same every time; of suite 2 if it has metadata."""
    rng = random.Random(sum(map(len, blobs)) + generation)
    opening = Opening(
        KDK,
        kdk_id=kdk_id_of(KDK),
        provider=provider,
        vm=VM,
        incarnation=rng.randbytes(16),
        vm_salt=rng.randbytes(32),
        epoch=1,
        entropy=rng.randbytes,
    )
    encoded = Blobs(blobs)
    front = metadata or b""
    plaintext = encoded.encode(len(front) + encoded.size + pad, front)
    suite = WITHOUT_METADATA if metadata is None else SUITE
    return b"".join(opening.record(generation, FIRST_PREVIOUS, 1_700_000_000_000, plaintext, suite)[:2])


def with_field(record: bytes, at: int, octets: bytes, *, checksum: bool = True) -> bytes:
    """Overwrite a field of the header, and correct the checksum or not."""
    (size,) = struct.unpack_from(">I", record, 12)
    header = record[:at] + octets + record[at + len(octets) : size - 4]
    crc = struct.pack(">I", zlib.crc32(header)) if checksum else record[size - 4 : size]
    return header + crc + record[size:]


def flipped(record: bytes, at: int) -> bytes:
    """Change one bit of one octet, counted from the end if negative."""
    altered = bytearray(record)
    altered[at] ^= 1
    return bytes(altered)


SCENARIOS: dict[str, Callable[[], Vector]] = {}


def scenario(make: Callable[[], Vector]) -> Callable[[], Vector]:
    """Register a scenario under its name."""
    SCENARIOS[make.__name__] = make
    return make


ONE = {"permanent": b"the seed of everything"}


@scenario
def one_blob() -> Vector:
    """The smallest useful record."""
    return Vector(record_of(ONE), blobs=ONE)


@scenario
def no_blobs() -> Vector:
    """A state may be empty."""
    return Vector(record_of({}))


@scenario
def several_blobs() -> Vector:
    """Names are sorted by their octets, data may be empty, padding is zero."""
    blobs = {"z": b"", "a": b"\0\1\2", "é": b"last", "nv/01800001": bytes(range(64))}
    return Vector(
        record_of(blobs, generation=9, pad=100),
        blobs=dict(sorted(blobs.items(), key=lambda b: b[0].encode())),
    )


@scenario
def longest_provider() -> Vector:
    """A provider's name has up to 64 octets."""
    return Vector(record_of(ONE, provider="p" * 64), blobs=ONE)


@scenario
def ciphertext_altered() -> Vector:
    """The tag does not fit."""
    return Vector(flipped(record_of(ONE), -20), "altered-state")


@scenario
def tag_altered() -> Vector:
    """The tag does not fit."""
    return Vector(flipped(record_of(ONE), -1), "altered-state")


@scenario
def commitment_altered() -> Vector:
    """The commitment is not that of the key."""
    return Vector(flipped(record_of(ONE), 313 + 40), "altered-state")


@scenario
def generation_altered() -> Vector:
    """The header is authenticated, whatever its checksum says."""
    return Vector(with_field(record_of(ONE), 24, struct.pack(">Q", 2)), "altered-state")


@scenario
def wrapped_dek_altered() -> Vector:
    """The DEK does not unwrap."""
    return Vector(with_field(record_of(ONE), 300, b"\0\0\0\0"), "altered-state")


@scenario
def provider_renamed() -> Vector:
    """The provider's name is part of the derivation of the KEK."""
    return Vector(with_field(record_of(ONE), 305, b"nain"), "altered-state")


@scenario
def checksum_wrong() -> Vector:
    """A damaged header is damage, not tampering."""
    return Vector(with_field(record_of(ONE), 80, bytes(8), checksum=False), "corrupt-state")


@scenario
def truncated() -> Vector:
    """The record ends before its box does."""
    return Vector(record_of(ONE)[:-1], "corrupt-state")


@scenario
def unknown_suite() -> Vector:
    """A suite that is not known is refused before any key is used."""
    return Vector(with_field(record_of(ONE), 8, struct.pack(">H", 3)), "suite-refused")


def metadata_of(**fields: Any) -> bytes:
    """Return metadata of a VM."""
    vm = Vm(VM, "guest \u00e9", "main", "2026-01-01T00:00:00Z", lineage="made here")
    return Metadata(replace(vm, **fields), 3).encode()


@scenario
def metadata() -> Vector:
    """Suite 2: what the state says of itself stands in front of the blobs."""
    return Vector(record_of(ONE, generation=4, pad=50, metadata=metadata_of()), blobs=ONE)


@scenario
def metadata_anchored() -> Vector:
    """A state that a TPM remembers, and that must not be reverted."""
    front = metadata_of(anchor="device:/dev/tpmrm0", anchored_since=2, reverts=False)
    return Vector(record_of(ONE, generation=4, metadata=front), blobs=ONE)


@scenario
def metadata_not_canonical() -> Vector:
    """The document has one encoding only."""
    front = metadata_of().replace(b'"reverts":true', b'"reverts": 1 ')
    return Vector(record_of(ONE, metadata=front), "corrupt-state")


@scenario
def metadata_missing() -> Vector:
    """A record of suite 2 without metadata is none."""
    return Vector(record_of(ONE, metadata=b"\0\0\0\0"), "corrupt-state")


@scenario
def suite_lowered() -> Vector:
    """The suite is authenticated: metadata are not cut off by it."""
    record = record_of(ONE, metadata=metadata_of())
    return Vector(with_field(record, 8, struct.pack(">H", 1)), "altered-state")


@scenario
def unknown_kind() -> Vector:
    """So is another kind of content."""
    return Vector(with_field(record_of(ONE), 10, struct.pack(">H", 2)), "suite-refused")


@scenario
def another_vm() -> Vector:
    """The record of another VM."""
    return Vector(record_of(ONE), "foreign-state", vm=UUID(int=1))


@scenario
def another_key() -> Vector:
    """The key that is needed is not the one at hand."""
    return Vector(record_of(ONE), "key-missing", kdk=bytes(32))


def written() -> Iterator[tuple[str, str]]:
    """Yield every vector as it belongs in its file."""
    for name, make in SCENARIOS.items():
        vector = make()
        vector.comment = (make.__doc__ or "").strip()
        yield name, vector.encode()


if __name__ == "__main__":
    DIRECTORY.mkdir(exist_ok=True)
    for name, text in written():
        (DIRECTORY / f"{name}.txt").write_text(text, encoding="utf-8")
    sys.stdout.write(f"{len(SCENARIOS)} vectors in {DIRECTORY}\n")
