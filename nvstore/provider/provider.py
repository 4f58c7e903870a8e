"""
What a host knows of one provider: its keys and how they are sealed, its backups, and other hosts with them.

A provider is a name for a row of KDKs, of which one is current.
The name is a label: what identifies a key is its fingerprint, `kdk_id`.
"""

from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

from nvstore.document import BadDocument, canonical, pretty, read_document, read_timestamp
from nvstore.provider.backup import KeyEntry
from nvstore.provider.lifecycle import State, Step, state_after
from nvstore.provider_errors import HostTpmRequired, ProviderAltered, ProviderDamaged
from nvstore.seal.sealing_key import BINDING, HOST_TPM

FORMAT: Final = "nvstore provider"
VERSION: Final = 2
"""The version that is authenticated; the first one is not."""


@dataclass(frozen=True)
class BackupEntry:
    """A backup that this host made or read."""

    path: str
    host: str
    kdk_ids: tuple[bytes, ...]
    exported: str
    verified: str | None = None
    drilled: str | None = None
    """When state of this host's VMs was last decrypted with the keys in it."""
    current: bytes = b""
    """The key that it makes current where it is restored; empty if that was not noted."""

    def describe(self) -> str:
        """Return in words where it is, and whether it is known to open."""
        verified = f"verified {self.verified}" if self.verified else "never verified"
        return f"{self.path} on {self.host}, {verified}"

    def to_json(self) -> dict[str, Any]:
        """Return it as it is stored and shown."""
        ids = [kdk_id.hex() for kdk_id in self.kdk_ids]
        return {**vars(self), "kdk_ids": ids, "current": self.current.hex()}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Self:
        """Return it from what is stored."""
        ids = tuple(map(bytes.fromhex, fields["kdk_ids"]))
        path, host, exported = str(fields["path"]), str(fields["host"]), str(fields["exported"])
        verified, drilled = read_timestamp(fields["verified"]), read_timestamp(fields.get("drilled"))
        return cls(path, host, ids, exported, verified, drilled, bytes.fromhex(fields.get("current", "")))


@dataclass(frozen=True)
class HostEntry:
    """Another host that was handed keys of this provider."""

    host_id: str
    name: str
    kdk_ids: tuple[bytes, ...] = ()
    """The keys that it has acknowledged."""
    acknowledged: str | None = None
    challenge: str = ""
    """What the acknowledgment of the last push must repeat; empty once it was noted."""

    def describe(self) -> str:
        """Return in words which host it is."""
        return f"host {self.name} ({self.host_id})"

    def to_json(self) -> dict[str, Any]:
        """Return it as it is stored and shown."""
        return {**vars(self), "kdk_ids": [kdk_id.hex() for kdk_id in self.kdk_ids]}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Self:
        """Return it from what is stored."""
        ids = tuple(map(bytes.fromhex, fields["kdk_ids"]))
        names, challenge = (str(fields["host_id"]), str(fields["name"])), str(fields.get("challenge", ""))
        return cls(*names, ids, read_timestamp(fields["acknowledged"]), challenge)


@dataclass(frozen=True)
class SealedKey:
    """A KDK of this provider, and the seals that keep it on this host, of which any one opens it."""

    entry: KeyEntry
    seals: tuple[dict[str, Any], ...]

    def sealed_by(self, kind: str) -> bool:
        """Tell whether one of its seals is of this kind."""
        return any(seal["kind"] == kind for seal in self.seals)

    def to_json(self) -> dict[str, Any]:
        """Return it as it is stored."""
        return {**self.entry.to_json(), "seals": list(self.seals)}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Self:
        """Return it from what is stored; the first version knew one seal for each key."""
        seals = fields["seals"] if "seals" in fields else [fields["seal"]]
        return cls(KeyEntry.from_json(fields), tuple({**seal, "kind": str(seal["kind"])} for seal in seals))


@dataclass(frozen=True)
class Rotation:
    """A rotation under way: `successor` becomes current when it is promoted."""

    successor: bytes
    begun: str
    promoted: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as it is stored and shown."""
        return {**vars(self), "successor": self.successor.hex()}

    @classmethod
    def from_json(cls, fields: dict[str, Any] | None) -> Self | None:
        """Return it from what is stored."""
        if fields is None:
            return None
        return cls(
            bytes.fromhex(fields["successor"]), str(fields["begun"]), read_timestamp(fields["promoted"])
        )


@dataclass(frozen=True)
class Provider:
    """The provider's file, without secrets."""

    name: str
    current: bytes
    keys: tuple[SealedKey, ...]
    backups: tuple[BackupEntry, ...] = ()
    state: State = State.CREATED
    require_host_tpm: bool = False
    hosts: tuple[HostEntry, ...] = ()
    rotation: Rotation | None = None
    delete_after: str | None = None
    """When its keys may be destroyed, if that was asked for."""
    retired: tuple[KeyEntry, ...] = ()
    """Keys that were destroyed here."""
    sequence: int = 0
    """How often the file was changed."""
    default_for: tuple[str, ...] = ()
    """The groups of VMs whose default it is; an empty name stands for all that have no other one."""
    mac: bytes = field(default=b"", compare=False, repr=False)
    """What authenticates the file that it was read from; empty in the first version."""
    signed: bytes = field(default=b"", compare=False, repr=False)
    """What that authenticates: all other members in canonical form."""

    @property
    def is_authenticated(self) -> bool:
        """Tell whether it was read from a file that its keys authenticate, or has none any more."""
        return bool(self.mac) or not self.keys

    def key(self, kdk_id: bytes) -> SealedKey | None:
        """Return the key with this id, if it is one of this provider's."""
        return next((key for key in self.keys if key.entry.kdk_id == kdk_id), None)

    @property
    def current_key(self) -> SealedKey | None:
        """Return the current key; None once the keys are destroyed."""
        return self.key(self.current)

    @property
    def kdk_ids(self) -> tuple[bytes, ...]:
        """Return the ids of the keys that are here, oldest first."""
        return tuple(key.entry.kdk_id for key in self.keys)

    def last_verified(self, kdk_id: bytes | None = None) -> str | None:
        """Return when a backup of this key, or else of the current one, was last verified."""
        wanted = kdk_id or self.current
        return max((b.verified for b in self.backups if b.verified and wanted in b.kdk_ids), default=None)

    def is_backed_up_as_current(self) -> bool:
        """Tell whether a verified backup names the current key as current, or is of an earlier version."""
        named = {b.current for b in self.backups if b.verified and self.current in b.kdk_ids}
        return not named.isdisjoint({self.current, b""})

    def last_drilled(self) -> str | None:
        """Return when state was last decrypted with a backup of the current key, if it ever was."""
        return max((b.drilled for b in self.backups if b.drilled and self.current in b.kdk_ids), default=None)

    def first_exported(self) -> str | None:
        """Return when the current key was first backed up."""
        return min((b.exported for b in self.backups if self.current in b.kdk_ids), default=None)

    def with_backup(self, backup: BackupEntry) -> Self:
        """Return it with this backup in place of what was known of the same file."""
        same = [known for known in self.backups if (known.path, known.host) == (backup.path, backup.host)]
        others = tuple(known for known in self.backups if known not in same)
        drilled = backup.drilled or next((known.drilled for known in same if known.drilled), None)
        return replace(self, backups=(*others, replace(backup, drilled=drilled)))

    def with_host(self, host: HostEntry) -> Self:
        """Return it with this host in place of what was known of it."""
        return replace(self, hosts=(*(h for h in self.hosts if h.host_id != host.host_id), host))

    def after(self, step: Step, **changes: Any) -> Self:
        """Return it after a step of its life, or raise StepRefused."""
        return replace(self, state=state_after(step, self.state, self.name), **changes)

    def holders(self, kdk_id: bytes) -> list[str]:
        """Return in words the backups and hosts that are known to hold a key."""
        backups = [f"the backup {backup.describe()}" for backup in self.backups if kdk_id in backup.kdk_ids]
        return backups + [host.describe() for host in self.hosts if kdk_id in host.kdk_ids]

    def fields(self) -> dict[str, Any]:
        """Return the members of the provider's file, but for what authenticates them."""
        return {
            "name": self.name,
            "sequence": self.sequence,
            "default_for": list(self.default_for),
            "state": self.state.value,
            "current": self.current.hex(),
            "require_host_tpm": self.require_host_tpm,
            "keys": [key.to_json() for key in self.keys],
            "backups": [backup.to_json() for backup in self.backups],
            "hosts": [host.to_json() for host in self.hosts],
            "rotation": self.rotation.to_json() if self.rotation else None,
            "delete_after": self.delete_after,
            "retired": [entry.to_json() for entry in self.retired],
        }

    def encode(self, mac: bytes) -> bytes:
        """Return the content of the provider's file."""
        return pretty(FORMAT, {**self.fields(), "mac": mac.hex()}, version=VERSION)


def read_provider(octets: bytes, path: object) -> Provider:
    """Return the provider of a file, or raise ProviderDamaged."""
    try:
        fields = read_document(octets, FORMAT, newest=VERSION)
        mac = bytes.fromhex(fields.pop("mac", ""))
        provider = Provider(
            str(fields["name"]),
            bytes.fromhex(fields["current"]),
            tuple(map(SealedKey.from_json, fields["keys"])),
            tuple(map(BackupEntry.from_json, fields["backups"])),
            require_host_tpm=bool(fields.get("require_host_tpm")),
            hosts=tuple(map(HostEntry.from_json, fields.get("hosts", []))),
            rotation=Rotation.from_json(fields.get("rotation")),
            delete_after=read_timestamp(fields.get("delete_after")),
            retired=tuple(map(KeyEntry.from_json, fields.get("retired", []))),
            sequence=int(fields.get("sequence", 0)),
            default_for=tuple(map(str, fields.get("default_for", []))),
            mac=mac,
            signed=canonical(fields),
        )
        provider = replace(provider, state=_state_of(fields, provider))
    except BadDocument as error:
        raise ProviderDamaged(path, str(error)) from None
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ProviderDamaged(path, "fields are missing or malformed") from None
    if provider.current_key is None and provider.state is not State.DESTROYED:
        raise ProviderDamaged(path, "its current key is not among its keys")
    if len(set(provider.kdk_ids)) != len(provider.keys):
        raise ProviderDamaged(path, "it has a key twice")
    if provider.keys and bool(provider.mac) is not (fields["version"] == VERSION):
        raise ProviderAltered(provider.name, "what authenticates it was removed, or its version changed")
    if not provider.mac and any(BINDING in seal for key in provider.keys for seal in key.seals):
        raise ProviderAltered(provider.name, "what authenticates it was removed: its seals are of later")
    return provider


def _state_of(fields: dict[str, Any], provider: Provider) -> State:
    """Return the state; the first version did not store it, and had the first ones only."""
    if "state" in fields:
        return State(fields["state"])
    if provider.last_verified():
        return State.ACTIVE
    exported = any(provider.current in backup.kdk_ids for backup in provider.backups)
    return State.EXPORTED if exported else State.CREATED


def obstacles_of(provider: Provider) -> list[str]:
    """Return what keeps a verified provider from becoming active on this host."""
    current = provider.current_key
    if provider.require_host_tpm and current is not None and not current.sealed_by(HOST_TPM):
        return [HostTpmRequired(provider.name).cause]
    return []


def activated(provider: Provider) -> Provider:
    """Return it active, if it is verified and nothing stands in the way."""
    if provider.state is State.VERIFIED and not obstacles_of(provider):
        return provider.after(Step.ACTIVATE)
    return provider
