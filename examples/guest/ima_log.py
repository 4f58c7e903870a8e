"""The list of what Linux measured while it ran (Documentation/security/IMA-templates)."""

import hashlib
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

PCR = 10


class ImaLogError(ValueError):
    """The octets are no list of measurements."""


@dataclass(frozen=True)
class Measurement:
    """One entry: the digest of its data that went into the SHA-1 bank, the name of its template, its data."""

    pcr: int
    digest: bytes
    template: str
    data: bytes

    @property
    def is_violation(self) -> bool:
        """Whether the file was open for writing, so that nothing vouches for what was read."""
        return self.digest == bytes(20)

    def fields(self) -> list[bytes]:
        """The fields of the data: of ima-ng and ima-sig, the file's digest and its name come first."""
        return list(_fields(self.data))

    def digest_for(self, bank: str, *, is_known: bool = True) -> bytes:
        """What the kernel extends into a bank: the padded SHA-1 digest, if the bank's hash is not known."""
        size = hashlib.new(bank).digest_size
        if self.is_violation:
            return b"\xff" * size
        return hashlib.new(bank, self.data).digest() if is_known else self.digest.ljust(size, b"\0")


def _fields(octets: bytes) -> Iterator[bytes]:
    while octets:
        field, octets = _sized(octets)
        yield field


def _sized(octets: bytes) -> tuple[bytes, bytes]:
    """A field with its size before it, and what comes after it."""
    size = int.from_bytes(octets[:4], "little")
    if len(octets) < 4 + size:
        raise ImaLogError(f"the list ends within a field of {size} octets, of which {len(octets)} are left")
    return octets[4 : 4 + size], octets[4 + size :]


def parse(log: bytes) -> Iterator[Measurement]:
    """
    The measurements of binary_runtime_measurements, in order.

    Raises ImaLogError.
    """
    while log:
        if len(log) < 24:
            raise ImaLogError(f"the list ends within an entry, of which {len(log)} octets are left")
        pcr, digest = struct.unpack_from("<I20s", log)
        template, log = _sized(log[24:])
        data, log = _sized(log)
        yield Measurement(pcr, digest, template.decode(), data)


def replay(measurements: Iterable[Measurement], bank: str, *, is_known: bool = True) -> bytes:
    """The value of PCR 10 of a bank that the measurements lead to, from the state after a reset."""
    value = bytes(hashlib.new(bank).digest_size)
    for measurement in measurements:
        digest = measurement.digest_for(bank, is_known=is_known)
        value = hashlib.new(bank, value + digest).digest()
    return value
