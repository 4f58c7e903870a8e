"""
What a host knows of one provider: its keys, how they are sealed, its backups; and the status that follows.

A provider is a name for a row of KDKs, of which one is current.
The name is a label: what identifies a key is its fingerprint, `kdk_id`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from nvstore.backup import KeyEntry
from nvstore.document import BadDocument, pretty, read_document, seconds_of
from nvstore.provider_errors import (
    ProviderDamaged,
)

FORMAT: Final = "nvstore provider"
OLD_AFTER_DAYS: Final = 90
"""A backup that was verified longer ago than this should be verified again."""
_DAY: Final = 86400


@dataclass(frozen=True)
class BackupEntry:
    """A backup that this host made or read."""

    path: str
    host: str
    kdk_ids: tuple[bytes, ...]
    exported: str
    verified: str | None = None

    def describe(self) -> str:
        """Return in words where it is, and whether it is known to open."""
        verified = f"verified {self.verified}" if self.verified else "never verified"
        return f"{self.path} on {self.host}, {verified}"

    def to_json(self) -> dict[str, Any]:
        """Return it as it is stored and shown."""
        return {
            "path": self.path,
            "host": self.host,
            "kdk_ids": [kdk_id.hex() for kdk_id in self.kdk_ids],
            "exported": self.exported,
            "verified": self.verified,
        }


@dataclass(frozen=True)
class SealedKey:
    """A KDK of this provider, and the seal that keeps it on this host."""

    entry: KeyEntry
    seal: dict[str, Any]


@dataclass(frozen=True)
class Provider:
    """The provider's file, without secrets."""

    name: str
    current: bytes
    keys: tuple[SealedKey, ...]
    backups: tuple[BackupEntry, ...] = ()

    def key(self, kdk_id: bytes) -> SealedKey | None:
        """Return the key with this id, if it is one of this provider's."""
        return next((key for key in self.keys if key.entry.kdk_id == kdk_id), None)

    def last_verified(self) -> str | None:
        """Return when a backup of the current key was last verified."""
        return max(
            (b.verified for b in self.backups if b.verified and self.current in b.kdk_ids), default=None
        )

    def with_backup(self, backup: BackupEntry) -> "Provider":
        """Return it with this backup in place of what was known of the same file."""
        others = tuple(
            known for known in self.backups if (known.path, known.host) != (backup.path, backup.host)
        )
        return replace(self, backups=(*others, backup))

    def encode(self) -> bytes:
        """Return the content of the provider's file."""
        keys = [
            {
                "kdk_id": k.entry.kdk_id.hex(),
                "epoch": k.entry.epoch,
                "created": k.entry.created,
                "seal": k.seal,
            }
            for k in self.keys
        ]
        backups = [backup.to_json() for backup in self.backups]
        return pretty(
            FORMAT, {"name": self.name, "current": self.current.hex(), "keys": keys, "backups": backups}
        )


def read_provider(octets: bytes, path: object) -> Provider:
    """Return the provider of a file, or raise ProviderDamaged."""
    try:
        document = read_document(octets, FORMAT)
        keys = tuple(
            SealedKey(
                KeyEntry(bytes.fromhex(k["kdk_id"]), int(k["epoch"]), str(k["created"])), dict(k["seal"])
            )
            for k in document["keys"]
        )
        backups = tuple(
            BackupEntry(
                b["path"], b["host"], tuple(map(bytes.fromhex, b["kdk_ids"])), b["exported"], b["verified"]
            )
            for b in document["backups"]
        )
        provider = Provider(str(document["name"]), bytes.fromhex(document["current"]), keys, backups)
    except BadDocument as error:
        raise ProviderDamaged(path, str(error)) from None
    except (KeyError, TypeError, ValueError):
        raise ProviderDamaged(path, "fields are missing or malformed") from None
    if provider.key(provider.current) is None:
        raise ProviderDamaged(path, "its current key is not among its keys")
    return provider


@dataclass(frozen=True)
class ProviderStatus:
    """A provider, as an operator wants to see it."""

    name: str
    kdk_id: str
    state: str
    """`created`, then `exported` once there is a backup, then `active` once one was verified."""
    seal: str
    unlocked: bool
    default: bool
    created: str
    keys: Sequence[str]
    backups: Sequence[BackupEntry]
    last_verified: str | None
    warnings: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "name": self.name,
            "kdk_id": self.kdk_id,
            "state": self.state,
            "seal": self.seal,
            "unlocked": self.unlocked,
            "default": self.default,
            "created": self.created,
            "keys": list(self.keys),
            "backups": [backup.to_json() for backup in self.backups],
            "last_verified": self.last_verified,
            "warnings": list(self.warnings),
        }

    def lines(self) -> list[str]:
        """Return it for people; warnings come last, one a line."""
        default = ", the default" if self.default else ""
        lines = [
            f"provider {self.name}: {self.state}{default}",
            f"  key       {self.kdk_id}, since {self.created}",
            f"  sealed by {self.seal}{'' if self.unlocked else ', locked'}",
            *(f"  backup    {b.describe()}" for b in self.backups),
        ]
        return lines + [f"  warning   {warning}" for warning in self.warnings]


def status_of(provider: Provider, *, unlocked: bool, default: bool, now: float) -> ProviderStatus:
    """Return the status of a provider, with a warning for all that should be done."""
    current = provider.key(provider.current)
    assert current is not None
    verified = provider.last_verified()
    exported = any(provider.current in backup.kdk_ids for backup in provider.backups)
    warnings = []
    if verified is None:
        warnings.append(
            "no backup was ever verified: losing this host would lose every VM under this provider"
        )
    elif (days := int((now - seconds_of(verified)) // _DAY)) > OLD_AFTER_DAYS:
        warnings.append(f"the last backup was verified {days} days ago: verify one again")
    return ProviderStatus(
        name=provider.name,
        kdk_id=provider.current.hex(),
        state="active" if verified else "exported" if exported else "created",
        seal=current.seal["kind"],
        unlocked=unlocked,
        default=default,
        created=current.entry.created,
        keys=[key.entry.kdk_id.hex() for key in provider.keys],
        backups=provider.backups,
        last_verified=verified,
        warnings=warnings,
    )
