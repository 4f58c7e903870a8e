"""
What makes a provider's file trustworthy: all of it is authenticated by its keys, and each key by older ones.

The attacker writes the disk while nothing runs, and has read all of it, but for what seals the keys.
`docs/metadata.md` says what he can do then, and what not.

    certificate of a key   expand(older KDK, 32, "nvstore v1 key certificate", older id, id, epoch as u64)
    k                      expand(KDK of current, 32, "nvstore v1 provider document", KDK, KDK, …)
    mac of a provider      expand(k, 32, "nvstore v1 provider document", canonical form of all other members)

The KDKs stand in the order of `keys`, so that the mac is of no use to somebody who has some of them only.
A certificate does not name the provider: a key is known by its id, whatever its provider is called on a host.
"""

import hmac
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from nvstore.audit import Audit
from nvstore.document import canonical, read_document
from nvstore.keys import KEY_CERTIFICATE, KEY_SIZE, PROVIDER_DOCUMENT, expand
from nvstore.provider.backup import KeyEntry
from nvstore.provider.files import ProviderFiles
from nvstore.provider.keyring import Keyring
from nvstore.provider.provider import FORMAT, VERSION, Provider, SealedKey
from nvstore.provider_errors import KeyUncertified, ProviderAltered

Kdks = Mapping[bytes, bytes]
"""KDKs by their ids."""

MAC_SIZE: Final = 32


class Chain:
    """Opens the providers of one host, and writes them: nothing that is not authenticated is acted on."""

    def __init__(self, book: ProviderFiles, ring: Keyring, audit: Audit) -> None:
        self._book, self._ring, self._audit = book, ring, audit

    def __repr__(self) -> str:
        return f"Chain({self._book!r})"

    def open(
        self,
        name: str,
        passphrase: bytes | None = None,
        *,
        known: Kdks | None = None,
        recovery: bool = False,
    ) -> Provider:
        """
        Return a provider whose file is what its keys say, with its keys unsealed; see `Keyring.unsealed`.

        `known` are keys that were had otherwise, as out of a backup.
        A file of the first version has certificates then, and is authenticated when it is next written.
        ProviderAltered: it was changed by somebody who does not have the keys.
        """
        provider = self._book.read(name)
        return self.checked(provider, passphrase, known=known, recovery=recovery)

    def checked(
        self,
        provider: Provider,
        passphrase: bytes | None = None,
        *,
        known: Kdks | None = None,
        recovery: bool = False,
    ) -> Provider:
        """Return a provider as `open` does, from what was read already."""
        if not provider.keys:
            return provider
        found = {kdk_id: kdk for kdk_id, kdk in (known or {}).items() if provider.key(kdk_id)}
        if len(found) < len(provider.keys):
            found = self._ring.unsealed(provider, passphrase, recovery=recovery)
        if provider.is_authenticated:
            if not hmac.compare_digest(mac_of(provider, provider.signed, found), provider.mac):
                raise ProviderAltered(provider.name, "its content does not authenticate under its keys")
            check_certificates([key.entry for key in provider.keys], found, provider.name)
        else:
            provider = self._brought_forward(provider, found)
        for kdk_id in found.keys() - (known or {}).keys():
            self._ring.put(kdk_id, found[kdk_id])
        return provider

    def write(self, provider: Provider, *, known: Kdks | None = None) -> None:
        """Write a provider, authenticated by its keys, which are unsealed or known; within `exclusive`."""
        had = known or {}
        kdks = {kdk_id: had.get(kdk_id) or self._ring[kdk_id] for kdk_id in provider.kdk_ids}
        keys = tuple(
            SealedKey(key.entry, self._ring.bound(provider, key, kdks[key.entry.kdk_id]))
            for key in provider.keys
        )
        after = replace(provider, keys=keys, sequence=provider.sequence + 1)
        self._book.write(after, mac_of(after, _signed(after), kdks) if kdks else b"")

    def bring_forward(self, name: str) -> None:
        """Authenticate a file of the first version; outside of `ProviderFiles.exclusive`."""
        with self._audit.entry("provider-authenticate", provider=name) as facts, self._book.exclusive():
            provider = self.open(name)
            if self._book.read(name).is_authenticated:
                return
            facts |= {"kdk_id": provider.current.hex(), "keys": len(provider.keys)}
            self.write(provider)

    def check_succession(self, provider: str, before: bytes, after: bytes) -> None:
        """Raise KeyUncertified unless `after` follows `before`; see `KeySource.check_succession`."""
        if before == after:
            return
        here = self._book.with_key(after, provider)
        if here is None:
            raise KeyUncertified(provider, before, after)
        opened = self.open(here.name)
        entries = {key.entry.kdk_id: key.entry for key in opened.keys}
        if not follows(before, after, entries, self._ring):
            raise KeyUncertified(provider, before, after)

    def _brought_forward(self, provider: Provider, kdks: Kdks) -> Provider:
        """Return a provider of the first version with certificates, and what `default` says in it."""
        default, groups = self._book.noted_defaults()
        default_for = [group for group, name in groups.items() if name == provider.name]
        if default == provider.name:
            default_for.append("")
        keys = certified(provider.keys, kdks)
        return replace(provider, keys=keys, default_for=tuple(sorted(default_for)))


def _signed(provider: Provider) -> bytes:
    fields = read_document(provider.encode(b""), FORMAT, newest=VERSION)
    del fields["mac"]
    return canonical(fields)


def mac_of(provider: Provider, signed: bytes, kdks: Kdks) -> bytes:
    """Return what authenticates the members of a provider's file."""
    row = (kdks[kdk_id] for kdk_id in provider.kdk_ids)
    key = expand(kdks[provider.current], KEY_SIZE, PROVIDER_DOCUMENT, *row)
    return expand(key, MAC_SIZE, PROVIDER_DOCUMENT, signed)


def certificate_of(older: bytes, older_id: bytes, newer: KeyEntry) -> bytes:
    """Return what a KDK says of the key that follows it."""
    return expand(older, MAC_SIZE, KEY_CERTIFICATE, older_id, newer.kdk_id, newer.epoch.to_bytes(8, "big"))


def with_certificates(entry: KeyEntry, older: Kdks) -> KeyEntry:
    """Return a key with the certificates of these older ones, beside those that it has."""
    made = {kdk_id: certificate_of(kdk, kdk_id, entry) for kdk_id, kdk in older.items()}
    return replace(entry, certificates={**entry.certificates, **made})


def certified(keys: tuple[SealedKey, ...], kdks: Kdks) -> tuple[SealedKey, ...]:
    """Return keys, each with the certificates of all that have a lower epoch."""
    return tuple(
        replace(
            key,
            entry=with_certificates(
                key.entry,
                {
                    other.entry.kdk_id: kdks[other.entry.kdk_id]
                    for other in keys
                    if other.entry.epoch < key.entry.epoch
                },
            ),
        )
        for key in keys
    )


def check_certificates(entries: list[KeyEntry], kdks: Kdks, name: str) -> None:
    """Raise ProviderAltered if a certificate by one of these keys is not what that key says."""
    for entry in entries:
        for older_id, made in entry.certificates.items():
            older = kdks.get(older_id)
            if older is not None and not hmac.compare_digest(certificate_of(older, older_id, entry), made):
                raise ProviderAltered(name, f"the certificate of the key {entry.kdk_id.hex()} is forged")


def follows(before: bytes, after: bytes, entries: Mapping[bytes, KeyEntry], kdks: "Keyring | Kdks") -> bool:
    """
    Tell whether certificates lead from a key to a later one.

    Those of the key itself count as well as those of keys between the two, as far as their KDKs are here.
    """
    reached, fresh = {before}, {before}
    while fresh and after not in reached:
        fresh = {
            entry.kdk_id
            for entry in entries.values()
            for older_id in fresh & entry.certificates.keys()
            if older_id in kdks
            and hmac.compare_digest(
                certificate_of(kdks[older_id], older_id, entry), entry.certificates[older_id]
            )
        } - reached
        reached |= fresh
    return after in reached and after != before
