"""What the backup of a provider holds, and what is told of it without the secret."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from nvstore.keys import KEY_SIZE, kdk_id_of
from nvstore.provider_errors import HostTpmRequired
from nvstore.seal.sealing_key import HOST_TPM, KEY_FILE

LAST_EPOCH: Final = (1 << 64) - 1


@dataclass(frozen=True)
class KeyEntry:
    """What is told of a KDK without telling the KDK."""

    kdk_id: bytes
    epoch: int
    created: str
    certificates: Mapping[bytes, bytes] = field(default_factory=dict)
    """By the ids of older keys, what each of them says of this one; see `chain`."""

    def to_json(self) -> dict[str, Any]:
        """Return it as it is stored."""
        by_id = {kdk_id.hex(): mac.hex() for kdk_id, mac in self.certificates.items()}
        fields = {"kdk_id": self.kdk_id.hex(), "epoch": self.epoch, "created": self.created}
        return {**fields, **({"certificates": by_id} if by_id else {})}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """Return it from what is stored; KeyError, TypeError or ValueError if it is malformed."""
        by_id = fields.get("certificates", {}).items()
        certificates = {bytes.fromhex(kdk_id): bytes.fromhex(mac) for kdk_id, mac in by_id}
        epoch = int(fields["epoch"])
        if not 0 < epoch <= LAST_EPOCH:
            msg = "the epoch of a key is impossible"
            raise ValueError(msg)
        return cls(bytes.fromhex(fields["kdk_id"]), epoch, str(fields["created"]), certificates)


@dataclass(frozen=True)
class Backup:
    """An opened backup, or one to be written; `kdks` are secret."""

    provider: str
    current: bytes
    keys: tuple[KeyEntry, ...]
    exported: str
    host: str
    kdks: tuple[bytes, ...]
    require_host_tpm: bool = False
    share_set: str = ""
    """The shares of which it has its passphrase, if it was drawn and not chosen; see `shares`."""

    def __repr__(self) -> str:
        return f"Backup(provider={self.provider!r}, current={self.current.hex()}, {len(self.keys)} keys)"

    @property
    def kdk_ids(self) -> tuple[bytes, ...]:
        """Return the ids of its keys."""
        return tuple(entry.kdk_id for entry in self.keys)

    def fields(self) -> dict[str, Any]:
        """Return what people may read of it."""
        return {
            "provider": self.provider,
            "current": self.current.hex(),
            "keys": [key.to_json() for key in self.keys],
            "exported": self.exported,
            "host": self.host,
            **({"require_host_tpm": True} if self.require_host_tpm else {}),
            **({"share_set": self.share_set} if self.share_set else {}),
        }

    @property
    def secret(self) -> bytes:
        """Return what is encrypted in it."""
        return b"".join(self.kdks)

    @classmethod
    def of(cls, fields: Mapping[str, Any], secret: bytes) -> Self:
        """
        Return a backup from its two parts.

        KeyError, TypeError or ValueError: they are malformed, or the keys do not reproduce their ids.
        """
        kdks = tuple(secret[i : i + KEY_SIZE] for i in range(0, len(secret), KEY_SIZE))
        keys = tuple(map(KeyEntry.from_json, fields["keys"]))
        current = bytes.fromhex(fields["current"])
        if tuple(map(kdk_id_of, kdks)) != tuple(key.kdk_id for key in keys) or current not in {
            key.kdk_id for key in keys
        }:
            msg = "its keys do not reproduce the ids it names"
            raise ValueError(msg)
        names = str(fields["provider"]), str(fields["exported"]), str(fields["host"])
        return cls(
            names[0],
            current,
            keys,
            names[1],
            names[2],
            kdks,
            require_host_tpm=bool(fields.get("require_host_tpm", False)),
            share_set=str(fields.get("share_set", "")),
        )


@dataclass(frozen=True)
class BackupReport:
    """What was found in a backup file; without secrets."""

    path: str
    provider: str
    kdk_id: str
    keys: tuple[str, ...]
    exported: str
    host: str
    recorded: bool
    """The provider is on this host, and its backup counts as verified from now on."""
    warnings: tuple[str, ...] = ()
    """What an operator should know of what was restored."""

    @classmethod
    def of(cls, path: Path, backup: Backup, *, recorded: bool) -> Self:
        """Return the report on a backup."""
        keys = tuple(kdk_id.hex() for kdk_id in backup.kdk_ids)
        current = backup.current.hex()
        return cls(str(path), backup.provider, current, keys, backup.exported, backup.host, recorded)

    def to_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {**vars(self), "keys": list(self.keys), "warnings": list(self.warnings)}


def check_host_tpm(provider: str, kinds: Collection[str]) -> None:
    """Raise HostTpmRequired unless a TPM seals, and no key file does."""
    if HOST_TPM not in kinds or KEY_FILE in kinds:
        raise HostTpmRequired(provider)
