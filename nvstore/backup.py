"""
The backup of a provider: one file that says what it is, and opens with a passphrase and nothing else.

It is a sealed document (see `document`) with the provider's name, the ids of its keys, when and where it was
made, and the parameters of Argon2id.
Its box holds the KDKs, 32 octets each, in the order in which `keys` lists their ids.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from nvstore import box
from nvstore.document import BadDocument, canonical, pretty, read_document
from nvstore.keys import KEY_SIZE, PROVIDER_BACKUP, Entropy, kdk_id_of
from nvstore.passphrase import (
    SALT_SIZE,
    Cost,
    check_passphrase,
    describe_stretching,
    stretch,
    stretch_as_described,
)
from nvstore.provider_errors import (
    BackupDamaged,
    WrongPassphrase,
)

FORMAT: Final = "nvstore provider backup"


@dataclass(frozen=True)
class KeyEntry:
    """What is told of a KDK without telling the KDK."""

    kdk_id: bytes
    epoch: int
    created: str


@dataclass(frozen=True)
class Backup:
    """An opened backup; `kdks` are secret."""

    provider: str
    current: bytes
    keys: tuple[KeyEntry, ...]
    exported: str
    host: str
    kdks: tuple[bytes, ...]

    def __repr__(self) -> str:
        return f"Backup(provider={self.provider!r}, current={self.current.hex()}, {len(self.keys)} keys)"


def write_backup(
    provider: str,
    current: bytes,
    keys: Sequence[KeyEntry],
    kdk: Callable[[bytes], bytes],
    *,
    passphrase: bytes,
    exported: str,
    host: str,
    cost: Cost,
    entropy: Entropy,
) -> bytes:
    """Return the content of a backup file."""
    check_passphrase(passphrase)
    salt = entropy(SALT_SIZE)
    fields: dict[str, Any] = {
        "provider": provider,
        "current": current.hex(),
        "keys": [{"kdk_id": k.kdk_id.hex(), "epoch": k.epoch, "created": k.created} for k in keys],
        "exported": exported,
        "host": host,
        "argon2id": describe_stretching(salt, cost),
    }
    shown = read_document(pretty(FORMAT, fields), FORMAT)
    secret = b"".join(kdk(key.kdk_id) for key in keys)
    key = stretch(passphrase, salt, cost)
    sealed = box.seal(key, PROVIDER_BACKUP, entropy(box.SALT_SIZE), secret, canonical(shown))
    return pretty(FORMAT, {**fields, "box": sealed.hex()})


def open_backup(octets: bytes, path: Path, passphrase: bytes) -> Backup:
    """Open a backup, or raise BackupDamaged or WrongPassphrase; every key in it reproduces its id."""
    try:
        document = read_document(octets, FORMAT)
        sealed = bytes.fromhex(document.pop("box"))
        keys = tuple(
            KeyEntry(bytes.fromhex(k["kdk_id"]), int(k["epoch"]), str(k["created"])) for k in document["keys"]
        )
        current = bytes.fromhex(document["current"])
        facts = str(document["provider"]), str(document["exported"]), str(document["host"])
    except BadDocument as error:
        raise BackupDamaged(path, str(error)) from None
    except (KeyError, TypeError, ValueError):
        raise BackupDamaged(path, "fields are missing or malformed") from None
    key = stretch_as_described(passphrase, document.get("argon2id"), path)
    try:
        secret = box.unseal(key, PROVIDER_BACKUP, sealed, canonical(document))
    except box.OtherKey:
        raise WrongPassphrase(path) from None
    except box.Tampered:
        raise BackupDamaged(path, "the passphrase is right, but the file was altered") from None
    kdks = tuple(secret[i : i + KEY_SIZE] for i in range(0, len(secret), KEY_SIZE))
    if tuple(map(kdk_id_of, kdks)) != tuple(k.kdk_id for k in keys) or current not in {
        k.kdk_id for k in keys
    }:
        raise BackupDamaged(path, "its keys do not reproduce the ids it names")
    provider, exported, host = facts
    return Backup(provider, current, keys, exported, host, kdks)
