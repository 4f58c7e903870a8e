"""What a provider is on this host after keys came from a backup or from another host."""

from dataclasses import replace
from typing import Final, NamedTuple

from nvstore.provider.backup import Backup, KeyEntry
from nvstore.provider.chain import certified, check_certificates, follows, with_certificates
from nvstore.provider.lifecycle import State
from nvstore.provider.provider import Provider, SealedKey

_OLDER: Final = "a rotation that was promoted after that is not in it: compare the key with other hosts'"


class Merged(NamedTuple):
    """A provider whose keys are still to be sealed, and what an operator should know of it."""

    provider: Provider
    warnings: list[str]


def known_by(backup: Backup) -> dict[bytes, bytes]:
    """Return the KDKs in a backup by their ids, which they reproduce."""
    return dict(zip(backup.kdk_ids, backup.kdks, strict=True))


def restored(here: Provider | None, backup: Backup, name: str) -> Merged:
    """
    Return a provider with the keys of a backup, which an operator's passphrase authenticates.

    The newest key of the backup becomes current, also if it was to follow when the backup was made:
    states may be under it, and what is under it is never written under an older one.
    Where a provider is here, an older key than its current one never becomes current.
    """
    kdks = known_by(backup)
    provider = _with_keys(here, backup, name)
    own = certified(tuple(key for key in provider.keys if key.entry.kdk_id in kdks), kdks)
    by_id = {key.entry.kdk_id: key for key in own}
    provider = replace(provider, keys=tuple(by_id.get(key.entry.kdk_id, key) for key in provider.keys))
    newest = max(backup.keys, key=lambda entry: entry.epoch).kdk_id
    made = f"the backup was made on {backup.host} at {backup.exported}"
    if here is None or not here.keys:
        warnings = [f"{made}: {_OLDER}"]
        if newest != backup.current:
            warnings.append(f"its newest key {newest.hex()} is current here, and was to follow then")
        return Merged(replace(provider, current=newest, rotation=None), warnings)
    if here.key(newest) is None and _epoch(provider, newest) > _epoch(provider, here.current):
        return Merged(_promoted(provider, newest), [])
    if backup.current != here.current:
        return Merged(provider, [f"{made}, and the key {here.current.hex()} stays current here"])
    return Merged(provider, [])


def received(here: Provider | None, package: Backup, name: str, *, has_certificates: bool) -> Provider:
    """
    Return a provider with the keys of a package, which the current key here authenticates, or a fingerprint.

    Its current key becomes current if the one that is current here certifies it.
    """
    kdks = known_by(package)
    check_certificates(list(package.keys), kdks, name)
    provider = _with_keys(here, package, name)
    if here is None or not here.keys:
        keys = provider.keys if has_certificates else certified(provider.keys, kdks)
        return replace(provider, keys=keys, current=package.current)
    if not has_certificates:  # the key that is current here has authenticated what came
        older = {here.current: kdks[here.current]}
        keys = tuple(
            replace(key, entry=with_certificates(key.entry, older))
            if here.key(key.entry.kdk_id) is None and key.entry.epoch > _epoch(provider, here.current)
            else key
            for key in provider.keys
        )
        provider = replace(provider, keys=keys)
    entries = {key.entry.kdk_id: key.entry for key in provider.keys}
    if follows(here.current, package.current, entries, kdks):
        return _promoted(provider, package.current)
    return provider


def _with_keys(here: Provider | None, backup: Backup, name: str) -> Provider:
    """Return a provider that has the keys of a backup beside its own; what is known here stays as it is."""
    before = here or Provider(name, backup.current, ())
    if not before.keys:  # nothing authenticates the rest of such a file
        before = Provider(name, backup.current, (), retired=before.retired)
    entries = {key.entry.kdk_id: key.entry for key in before.keys}
    for entry in backup.keys:
        known = entries.get(entry.kdk_id)
        entries[entry.kdk_id] = _joined(known, entry) if known else entry
    return replace(
        before,
        keys=tuple(SealedKey(entry, ()) for entry in sorted(entries.values(), key=lambda e: e.epoch)),
        require_host_tpm=before.require_host_tpm or backup.require_host_tpm,
        retired=tuple(entry for entry in before.retired if entry.kdk_id not in backup.kdk_ids),
    )


def _joined(known: KeyEntry, other: KeyEntry) -> KeyEntry:
    """Return a key with the certificates of both, if they are for the same epoch: that of here stays."""
    if known.epoch != other.epoch:
        return known
    return replace(known, certificates={**other.certificates, **known.certificates})


def _promoted(provider: Provider, kdk_id: bytes) -> Provider:
    """Return a provider after a key became current that another host has promoted."""
    state = State.ACTIVE if provider.state is State.ROTATING else provider.state
    return replace(provider, current=kdk_id, rotation=None, state=state)


def _epoch(provider: Provider, kdk_id: bytes) -> int:
    key = provider.key(kdk_id)
    return key.entry.epoch if key else 0
