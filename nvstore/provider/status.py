"""The status of a provider, with a warning for all that should be done about it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from nvstore.document import seconds_of
from nvstore.provider.lifecycle import DAY, State
from nvstore.provider.provider import BackupEntry, HostEntry, Provider
from nvstore.provider_errors import ProviderUnverified

OLD_AFTER_DAYS: Final = 90
"""A backup that was verified longer ago than this should be verified again."""

DRILL_AFTER_DAYS: Final = 180
"""A backup should decrypt real state at least as often as this."""


@dataclass(frozen=True)
class ProviderStatus:
    """A provider, as an operator wants to see it."""

    name: str
    kdk_id: str
    state: str
    """One of `lifecycle.State`."""
    seal: str
    """The kinds of seal of the current key, of which any one opens it."""
    unlocked: bool
    default: bool
    groups: Sequence[str]
    """The groups of VMs whose default it is."""
    require_host_tpm: bool
    created: str
    keys: Sequence[str]
    backups: Sequence[BackupEntry]
    hosts: Sequence[HostEntry]
    successor: str | None
    """The key that a rotation under way leads to."""
    delete_after: str | None
    last_verified: str | None
    last_drilled: str | None
    warnings: Sequence[str]
    lacking: Sequence[str] = ()
    """Which host is not known to have which key, in words."""
    authenticated: bool = False
    """Its keys are unsealed in this process, and have authenticated what this says."""
    left_behind: Sequence[str] = ()
    """Key files that sealed it until it was resealed, and that are not removed."""

    def to_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            **vars(self),
            "groups": list(self.groups),
            "keys": list(self.keys),
            "backups": [backup.to_json() for backup in self.backups],
            "hosts": [host.to_json() for host in self.hosts],
            "warnings": list(self.warnings),
            "lacking": list(self.lacking),
            "left_behind": list(self.left_behind),
        }

    def lines(self) -> list[str]:
        """Return it for people; warnings come last, one a line."""
        roles = ["the default"] if self.default else []
        roles += [f"the default of group {group}" for group in self.groups]
        lines = [
            ", ".join([f"provider {self.name}: {self.state}", *roles]),
            f"  key       {self.kdk_id}, since {self.created}",
            f"  sealed by {self.seal}{'' if self.unlocked else ', locked'}",
        ]
        if self.require_host_tpm:
            lines.append("  requires  that a host seals its key with a TPM")
        if self.successor:
            lines.append(f"  successor {self.successor}")
        lines += [f"  backup    {backup.describe()}" for backup in self.backups]
        lines += [f"  host      {host.describe()}" for host in self.hosts]
        lines += [f"  lacks     {lack}" for lack in self.lacking]
        lines += [
            f"  left      {path}: it opens older copies of the provider's file" for path in self.left_behind
        ]
        if not self.authenticated:
            lines.append("  unchecked its keys are sealed, and nothing of this is authenticated")
        return lines + [f"  warning   {warning}" for warning in self.warnings]


def backup_warnings(provider: Provider, now: float) -> list[str]:
    """Return what is wrong with the backups of a provider: the warnings that are alarms as well."""
    if provider.state is State.DESTROYED:
        return []
    verified = provider.last_verified()
    if verified is None:
        return [ProviderUnverified(provider.name).cause]
    days = int((now - seconds_of(verified)) // DAY)
    if days > OLD_AFTER_DAYS:
        return [
            f"the last backup of provider {provider.name!r} was verified {days} days ago: verify one again"
        ]
    return []


def drill_warnings(provider: Provider, now: float) -> list[str]:
    """Return whether a drill of a backup is overdue; without a backup, that is another warning."""
    exported, drilled = provider.first_exported(), provider.last_drilled()
    if provider.state is State.DESTROYED or provider.last_verified() is None or exported is None:
        return []
    days = int((now - seconds_of(drilled or exported)) // DAY)
    if days <= DRILL_AFTER_DAYS:
        return []
    since = f"the last drill was {days} days ago" if drilled else f"none was made in {days} days"
    return [f"a drill of a backup of provider {provider.name!r} is overdue: {since}"]


def status_of(
    provider: Provider,
    *,
    unlocked: bool,
    default: bool,
    groups: Sequence[str],
    obstacles: Sequence[str],
    now: float,
    authenticated: bool = False,
) -> ProviderStatus:
    """Return the status of a provider; `obstacles` are what keeps it from becoming active."""
    current = provider.current_key
    warnings = [*backup_warnings(provider, now), *drill_warnings(provider, now), *obstacles]
    if provider.last_verified() and not provider.is_backed_up_as_current():
        warnings.append(
            f"the verified backups were made before the key {provider.current.hex()} became current:"
            " one that is made and verified now says so"
        )
    if provider.rotation:
        warnings.append(_rotation_warning(provider))
    if provider.delete_after and provider.state is State.PENDING_DELETION:
        warnings.append(
            f"its keys may be destroyed after {provider.delete_after}, unless the deletion is canceled"
        )
    return ProviderStatus(
        name=provider.name,
        kdk_id=provider.current.hex(),
        state=provider.state.value,
        seal=", ".join(seal["kind"] for seal in current.seals) if current else "nothing: destroyed",
        unlocked=unlocked,
        default=default,
        groups=groups,
        require_host_tpm=provider.require_host_tpm,
        created=current.entry.created if current else "",
        keys=[kdk_id.hex() for kdk_id in provider.kdk_ids],
        backups=provider.backups,
        hosts=provider.hosts,
        successor=provider.rotation.successor.hex() if provider.rotation else None,
        delete_after=provider.delete_after,
        last_verified=provider.last_verified(),
        last_drilled=provider.last_drilled(),
        warnings=warnings,
        lacking=_lacking(provider),
        authenticated=authenticated,
    )


def _lacking(provider: Provider) -> list[str]:
    """Return in words which hosts are not known to have the current key or its successor."""
    wanted = [provider.current, *([provider.rotation.successor] if provider.rotation else [])]
    keys = [key.entry for kdk_id in dict.fromkeys(wanted) if (key := provider.key(kdk_id))]
    return [
        f"{host.describe()} has not acknowledged the key {key.kdk_id.hex()} of {key.created}"
        for host in provider.hosts
        for key in keys
        if key.kdk_id not in host.kdk_ids
    ]


def _rotation_warning(provider: Provider) -> str:
    rotation = provider.rotation
    assert rotation is not None
    if rotation.promoted:
        return f"its key was rotated at {rotation.promoted}: rekey the VMs that are still under an older one"
    waiting = without_successor(provider)
    if not provider.last_verified(rotation.successor):
        return "a rotation waits for a verified backup that holds the successor"
    if waiting:
        return f"a rotation waits for {', '.join(host.describe() for host in waiting)} to acknowledge"
    return "a rotation can be promoted"


def without_successor(provider: Provider) -> list[HostEntry]:
    """Return the hosts that have the current key and have not acknowledged the one that will follow it."""
    if provider.rotation is None:
        return []
    successor = provider.rotation.successor
    return [h for h in provider.hosts if provider.current in h.kdk_ids and successor not in h.kdk_ids]
