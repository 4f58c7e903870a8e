"""Primary keys that were derived before, since nothing takes a TPM longer than the search for primes."""

from dataclasses import dataclass

from vtpm.crypto.rsa import RsaKey
from vtpm.state.saved import OCTETS, read, versioned
from vtpm.wire.integers import UINT32
from vtpm.wire.structure import structure

PRIMARY_PREFIX = "primary/"

MOST = 16
"""How many are remembered; the oldest makes room for a new one."""


@dataclass(frozen=True, slots=True)
class Primary:
    """The RSA key of a primary object, and where its derivation left the generator."""

    key: RsaKey
    generator: tuple[bytes, int]
    hierarchy: int
    """Whose seed it comes from, and with which it must go."""


@structure
class SavedPrimary:
    """Version 1 of `primary/…`."""

    hierarchy: UINT32
    p: OCTETS
    q: OCTETS
    exponent: UINT32
    generator_key: OCTETS
    generator_counter: OCTETS

    __repr__ = object.__repr__


def primary_blob(place: bytes) -> str:
    """The name of the blob that holds a primary key; `place` is a digest of all that it is derived from."""
    return f"{PRIMARY_PREFIX}{place.hex()}"


def place_of(name: str) -> bytes:
    """The inverse of `primary_blob`."""
    return bytes.fromhex(name.removeprefix(PRIMARY_PREFIX))


def save_primary(primary: Primary) -> bytes:
    """The blob of a primary key."""
    key, (generator_key, counter) = primary.key, primary.generator
    form = SavedPrimary(
        hierarchy=primary.hierarchy,
        p=key.p.to_bytes((key.p.bit_length() + 7) // 8, "big"),
        q=key.q.to_bytes((key.q.bit_length() + 7) // 8, "big"),
        exponent=key.exponent,
        generator_key=generator_key,
        generator_counter=counter.to_bytes(16, "big"),
    )
    return versioned(1, form)


def load_primary(name: str, blob: bytes) -> Primary:
    """A primary key from its blob."""
    form: SavedPrimary = read(name, blob, {1: SavedPrimary})
    key = RsaKey(int.from_bytes(form.p, "big"), int.from_bytes(form.q, "big"), form.exponent)
    generator = form.generator_key, int.from_bytes(form.generator_counter, "big")
    return Primary(key, generator, form.hierarchy)
