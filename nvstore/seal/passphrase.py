"""Passphrases: where they come from, and the keys made of them with Argon2id (RFC 9106)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from nvstore.files import OsFiles, Reader, read_descriptor, read_file
from nvstore.keys import KEY_SIZE
from nvstore.provider_errors import (
    BackupDamaged,
    TooExpensive,
    WeakPassphrase,
)

MIN_PASSPHRASE: Final = 8
SALT_SIZE: Final = 16
MAX_MEMORY_KIB: Final = 4 << 20
MAX_ITERATIONS: Final = 64
MAX_LANES: Final = 64
DEAR_MEMORY_KIB: Final = 1 << 20
DEAR_ITERATIONS: Final = 8
"""What a file asks for beyond these is done only if an operator says so: it takes gigabytes, and minutes."""


@dataclass(frozen=True)
class Cost:
    """What one guess at a passphrase costs."""

    memory_kib: int
    iterations: int
    lanes: int


HOST_COST: Final = Cost(64 << 10, 3, 4)
"""The second recommendation of RFC 9106, clause 4: 64 MiB."""
BACKUP_COST: Final = Cost(256 << 10, 3, 4)
"""A backup leaves the host, and is opened rarely: 256 MiB, about a second."""


def check_passphrase(passphrase: bytes) -> None:
    """Raise WeakPassphrase if it is too short to be worth stretching."""
    if len(passphrase) < MIN_PASSPHRASE:
        raise WeakPassphrase(len(passphrase), MIN_PASSPHRASE)


def stretch(passphrase: bytes, salt: bytes, cost: Cost) -> bytes:
    """Return the key that Argon2id makes of a passphrase."""
    kdf = Argon2id(
        salt=salt, length=KEY_SIZE, iterations=cost.iterations, lanes=cost.lanes, memory_cost=cost.memory_kib
    )
    return kdf.derive(passphrase)


def describe_stretching(salt: bytes, cost: Cost) -> dict[str, int | str]:
    """Return what must be stored to stretch the same passphrase again."""
    return {
        "memory_kib": cost.memory_kib,
        "iterations": cost.iterations,
        "lanes": cost.lanes,
        "salt": salt.hex(),
    }


def stretch_as_described(
    passphrase: bytes, description: object, place: object, *, allow_expensive: bool = False
) -> bytes:
    """
    Stretch with stored parameters.

    BackupDamaged: they are impossible, or would exhaust this host.
    TooExpensive: they are beyond what this program writes, unless `allow_expensive`.
    """
    match description:
        case {
            "memory_kib": int(memory),
            "iterations": int(iterations),
            "lanes": int(lanes),
            "salt": str(salt),
        } if (
            1 <= lanes <= MAX_LANES
            and 8 * lanes <= memory <= MAX_MEMORY_KIB
            and 1 <= iterations <= MAX_ITERATIONS
        ):
            try:
                octets = bytes.fromhex(salt)
            except ValueError:
                octets = b""
            dear = memory > DEAR_MEMORY_KIB or iterations > DEAR_ITERATIONS
            if len(octets) == SALT_SIZE and dear and not allow_expensive:
                raise TooExpensive(place, f"{memory >> 10} MiB and {iterations} rounds of Argon2id")
            if len(octets) == SALT_SIZE:
                return stretch(passphrase, octets, Cost(memory, iterations, lanes))
    raise BackupDamaged(place, "its parameters of Argon2id are impossible")


def passphrase_from_file(path: Path, files: Reader | None = None) -> bytes:
    """Return the first line of a file that its owner alone can read."""
    return _first_line(read_file(files or OsFiles(), path, secret=True))


def passphrase_from_fd(descriptor: int) -> bytes:
    """Return the first line of what an open descriptor gives."""
    return _first_line(read_descriptor(descriptor))


def _first_line(octets: bytes) -> bytes:
    return octets.split(b"\n", 1)[0].removesuffix(b"\r")
