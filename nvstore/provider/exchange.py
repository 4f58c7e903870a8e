"""
Handing a provider to other hosts: encrypted to each of them, and acknowledged key by key.

A host is enrolled once: it makes an X25519 key pair, its identity, whose private key is sealed as a KDK is.
The id of a host is the fingerprint of its public key.
A package is a JSON object for one host: what people may read of a provider, and its KDKs by HPKE (RFC 9180).
Whoever knows the public key of a host can write a package to it, so that it must be authenticated:
by a MAC under the KDK that is current there, or, the first time, by an operator who compares the kdk_id.
An acknowledgment repeats the package's challenge, and has MACs of all of it under each KDK that it names.
From then on the host needs nothing from the origin.
"""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from nvstore import box
from nvstore.document import BadDocument, canonical, pretty, read_document
from nvstore.files import create_file, host_name, read_file, replace_file
from nvstore.keys import (
    ACKNOWLEDGMENT,
    ACKNOWLEDGMENT_WHOLE,
    HOST_ID,
    HOST_IDENTITY,
    KEY_SIZE,
    PACKAGE,
    PACKAGE_MAC,
    PACKAGE_SHOWN,
    context,
    expand,
)
from nvstore.provider.backup import Backup, check_host_tpm
from nvstore.provider.files import check_new_name
from nvstore.provider.merge import known_by, received
from nvstore.provider.provider import BackupEntry, HostEntry, Provider
from nvstore.provider.providers import Providers
from nvstore.provider.setting import IDENTITY_FILE, Setting
from nvstore.provider_errors import IdentityExists, IdentityMissing, PackageRefused, ProviderExists
from nvstore.seal.sealer import Sealer, description_of, recover
from nvstore.seal.sealing_key import SealingKey

PACKAGE_FILE: Final = "nvstore provider package"
ACKNOWLEDGMENT_FILE: Final = "nvstore provider acknowledgment"
CHALLENGE_SIZE: Final = 16
_SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


class Identity(NamedTuple):
    """A host, to those who want to hand it something."""

    host_id: str
    name: str
    public: bytes

    def encode(self) -> bytes:
        """Return the content of the file that is given to the origin."""
        fields = {"host_id": self.host_id, "name": self.name, "public": self.public.hex()}
        return pretty(IDENTITY_FILE, fields)


class Received(NamedTuple):
    """What came of a package."""

    provider: str
    kdk_id: str
    keys: tuple[str, ...]
    acknowledgment: bytes
    """The content of the file that goes back to the origin."""


class Exchange:
    """The identity of this host, and what it hands out and receives; `Host.exchange`."""

    def __init__(self, setting: Setting, providers: Providers) -> None:
        self._setting, self._providers, self._path = setting, providers, setting.identity
        self._book, self._ring, self._audit = setting.book, setting.ring, setting.audit
        self._chain = setting.chain

    def __repr__(self) -> str:
        return f"Exchange({str(self._path)!r})"

    def enroll(self, *, key_file: Path | None = None, seals: Sequence[Sealer] = ()) -> Identity:
        """Make the identity of this host, sealed by its TPM or a key file; IdentityExists if it has one."""
        with self._audit.entry("enroll") as facts, self._book.exclusive():
            if self._setting.files.exists(self._path):
                raise IdentityExists(self._path)
            self._setting.files.make_directory(self._path.parent)
            sealer, *_ = self._setting.sealers("host", None, key_file, seals)
            sealing = sealer.make(self._setting.files, self._setting.entropy, "this host's identity")
            secret = self._setting.entropy(KEY_SIZE)
            public = X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()
            identity = Identity(_host_id_of(public), host_name(), public)
            salt, associated = self._setting.entropy(box.SALT_SIZE), context(bytes.fromhex(identity.host_id))
            sealed = box.seal(sealing.key, HOST_IDENTITY, salt, secret, associated)
            seal = {**sealing.description, "box": sealed.hex()}
            fields = {**read_document(identity.encode(), IDENTITY_FILE), "seal": seal}
            replace_file(self._setting.files, self._path, pretty(IDENTITY_FILE, fields))
            facts["host_id"] = identity.host_id
        return identity

    def identity(self) -> Identity:
        """Return the identity of this host, or raise IdentityMissing."""
        return self._read()[0]

    def push(self, name: str, to: Identity, out: Path, *, host_id: str | None = None) -> None:
        """
        Write a provider's keys to a new file that only this host opens; it counts when acknowledged.

        `host_id` is what the operator read on that host: needed unless the provider was pushed there before.
        """
        with self._audit.entry("provider-push", begun=True, provider=name, host=to.host_id) as facts:
            provider = self._chain.open(name)
            known = _check_recipient(provider, to, host_id)
            kdks = {kdk_id: self._ring[kdk_id] for kdk_id in provider.kdk_ids}
            backup = Backup(
                name,
                provider.current,
                tuple(key.entry for key in provider.keys),
                self._setting.now(),
                host_name(),
                tuple(kdks.values()),
                require_host_tpm=provider.require_host_tpm,
            )
            challenge = self._setting.entropy(CHALLENGE_SIZE).hex()
            fields = {**_fields(backup, provider, to), "challenge": challenge}
            shown = read_document(pretty(PACKAGE_FILE, fields), PACKAGE_FILE)
            macs = {kdk_id.hex(): _shown_mac(kdk, shown).hex() for kdk_id, kdk in kdks.items()}
            shown = {**shown, "macs": macs}
            public = X25519PublicKey.from_public_bytes(to.public)
            sealed = _SUITE.encrypt(backup.secret, public, info=context(PACKAGE, canonical(shown)))
            content = {**shown, "sealed": sealed.hex()}
            mac = _package_mac(kdks[provider.current], content)
            with self._book.exclusive():
                after = self._chain.open(name)
                self._chain.write(after.with_host(replace(known, name=to.name, challenge=challenge)))
            create_file(
                self._setting.files, out, [pretty(PACKAGE_FILE, {**content, "mac": mac.hex()})]
            ).close()
            self._setting.files.flush_directory(out.absolute().parent)
            facts["kdk_id"] = provider.current.hex()

    def receive(
        self,
        path: Path,
        *,
        kdk_id: bytes | None = None,
        passphrase: bytes | None = None,
        key_file: Path | None = None,
        seals: Sequence[Sealer] = (),
    ) -> Received:
        """
        Put the provider of a package on this host, and return the acknowledgment.

        `kdk_id` is what the operator read at the origin: needed until this host has a key of the provider.
        A provider that is here keeps its seals, and its new keys get the same ones.
        """
        with self._audit.entry("provider-receive", path=path.absolute()) as facts:
            package = self._read_document(path, PACKAGE_FILE)
            identity, seal = self._read()
            backup, backups = self._open(path, package, identity, seal)
            facts |= {"provider": backup.provider, "kdk_id": backup.current.hex()}
            here = self._here(backup)
            self._authenticate(path, package, backup, here, kdk_id)
            after = received(here, backup, backup.provider, has_certificates="macs" in package)
            if here is not None and here.keys:
                after = replace(after, default_for=here.default_for)
            sealing = self._sealing(backup, here, passphrase, key_file, seals)
            self._providers.install(after, backup, sealing, backups)
        ids = tuple(kdk_id.hex() for kdk_id in backup.kdk_ids)
        acknowledgment = self._acknowledgment(backup, identity, str(package.get("challenge", "")))
        return Received(backup.provider, backup.current.hex(), ids, acknowledgment)

    def acknowledge(self, path: Path) -> HostEntry:
        """Note at the origin which keys a host has, as its acknowledgment proves."""
        with self._audit.entry("provider-acknowledge", path=path.absolute()) as facts:
            document = self._read_document(path, ACKNOWLEDGMENT_FILE)
            try:
                name, host_id = str(document["provider"]), str(document["host_id"])
                ids = [bytes.fromhex(key["kdk_id"]) for key in document["keys"]]
                facts |= {"provider": name, "host": host_id}
                macs = document.pop("macs", None)
                if macs is None:
                    remedy = "update vtpm on that host, push to it again and receive that there"
                    raise PackageRefused(path, "an earlier version wrote it, which proves too little", remedy)
                macs = {bytes.fromhex(kdk_id): bytes.fromhex(mac) for kdk_id, mac in macs.items()}
                challenge = str(document["challenge"])
            except (AttributeError, KeyError, TypeError, ValueError):
                raise PackageRefused(path, "fields are missing or malformed", "ask for another one") from None
            with self._book.exclusive():
                provider = self._chain.open(name)
                host = next((known for known in provider.hosts if known.host_id == host_id), None)
                if host is None:
                    raise PackageRefused(path, f"nothing was pushed to host {host_id}", "push it there first")
                current = self._ring[provider.current]
                mac = macs.get(provider.current, b"")
                if not hmac.compare_digest(mac, _whole_mac(current, document)) or provider.current not in ids:
                    remedy = "push the provider to that host again"
                    raise PackageRefused(path, "it does not prove that the host has the current key", remedy)
                if not host.challenge or not hmac.compare_digest(challenge.encode(), host.challenge.encode()):
                    why = "it answers an earlier push, or was noted already"
                    raise PackageRefused(path, why, "acknowledge what the newest push led to, or push again")
                proven = {
                    kdk_id
                    for kdk_id in provider.kdk_ids
                    if kdk_id in ids
                    and hmac.compare_digest(macs.get(kdk_id, b""), _whole_mac(self._ring[kdk_id], document))
                }
                had = tuple(kdk_id for kdk_id in provider.kdk_ids if kdk_id in proven | set(host.kdk_ids))
                host = replace(host, kdk_ids=had, acknowledged=self._setting.now(), challenge="")
                self._chain.write(provider.with_host(host))
        return host

    def _read(self) -> tuple[Identity, dict[str, Any]]:
        try:
            octets = read_file(self._setting.files, self._path)
        except FileNotFoundError:
            raise IdentityMissing from None
        identity = read_identity(octets, self._path)
        return identity, dict(read_document(octets, IDENTITY_FILE)["seal"])

    def _read_document(self, path: Path, kind: str) -> dict[str, Any]:
        try:
            return read_document(read_file(self._setting.files, path), kind)
        except FileNotFoundError:
            raise PackageRefused(path, "it is not there", "name the file") from None
        except BadDocument as error:
            raise PackageRefused(path, str(error), "name the file that was meant") from None

    def _open(
        self, path: Path, package: dict[str, Any], identity: Identity, seal: dict[str, Any]
    ) -> tuple[Backup, tuple[BackupEntry, ...]]:
        """Return what is in a package, and the backups that the origin knows of."""
        if package.get("to") != identity.host_id:
            reason = f"it is for host {package.get('to')}, and this one is {identity.host_id}"
            raise PackageRefused(path, reason, "push it to this host")
        shown = {name: value for name, value in package.items() if name not in {"sealed", "mac"}}
        try:
            sealed, private = bytes.fromhex(package["sealed"]), self._private(identity, seal)
            secret = _SUITE.decrypt(sealed, private, info=context(PACKAGE, canonical(shown)))
            return Backup.of(shown, secret), tuple(map(BackupEntry.from_json, shown["backups"]))
        except InvalidTag:
            raise PackageRefused(path, "it was altered", "push it again") from None
        except (KeyError, TypeError, ValueError) as error:
            raise PackageRefused(path, f"it is malformed: {error}", "push it again") from None

    def _private(self, identity: Identity, seal: dict[str, Any]) -> X25519PrivateKey:
        sealing = recover(self._setting.files, "this host's identity", description_of(seal), None)
        associated = context(bytes.fromhex(identity.host_id))
        try:
            secret = box.unseal(sealing.key, HOST_IDENTITY, bytes.fromhex(seal["box"]), associated)
        except (box.BoxError, ValueError):
            remedy = "remove it and enroll this host anew"
            raise PackageRefused(self._path, "the identity of this host does not open", remedy) from None
        return X25519PrivateKey.from_private_bytes(secret)

    def _here(self, backup: Backup) -> Provider | None:
        """Return the provider of this name, authenticated, or None if there is none."""
        here = self._book.find(backup.provider)
        if here is None:
            check_new_name(backup.provider)
            return None
        return self._chain.checked(here)

    def _authenticate(
        self,
        path: Path,
        package: dict[str, Any],
        backup: Backup,
        here: Provider | None,
        kdk_id: bytes | None,
    ) -> None:
        """
        Raise PackageRefused unless it is certain whose keys these are.

        A key that was current once does not authenticate: its holder may be a host that was given up.
        """
        if here is None or not here.keys:
            found = backup.current.hex()
            if kdk_id != backup.current:
                reason = f"nothing here proves where it comes from; the key in it is {found}"
                raise PackageRefused(
                    path, reason, f"compare {found} with the origin's, and give it as kdk_id"
                )
            if not _authenticates(package, backup, backup.current):
                raise PackageRefused(path, "it does not come from a host that has the key", "push it again")
            return
        if here.current not in backup.kdk_ids:
            if {*here.kdk_ids, *(entry.kdk_id for entry in here.retired)}.isdisjoint(backup.kdk_ids):
                raise ProviderExists(here.name, here.current, backup.current, here.holders(here.current))
            reason = f"it does not come from a host that has the key {here.current.hex()}, current here"
            raise PackageRefused(path, reason, "bring that host up to date, and push it again")
        if not _authenticates(package, backup, here.current):
            reason = "it does not come from a host that has the key that is current here"
            remedy = "push it again, after an update of vtpm there if that is of an earlier version"
            raise PackageRefused(path, reason, remedy)

    def _sealing(
        self,
        backup: Backup,
        here: Provider | None,
        passphrase: bytes | None,
        key_file: Path | None,
        seals: Sequence[Sealer],
    ) -> list[SealingKey]:
        """Return the seals of what was received: those that are here, or else those that were asked for."""
        current = here.current_key if here else None
        if here is not None and current is not None:
            if backup.require_host_tpm:
                check_host_tpm(here.name, [seal["kind"] for seal in current.seals])
            return self._ring.sealing_of(here.name, current)
        sealers = self._setting.sealers(backup.provider, passphrase, key_file, seals)
        if backup.require_host_tpm:
            check_host_tpm(backup.provider, [sealer.kind for sealer in sealers])
        return self._ring.make(sealers, backup.provider)

    def _acknowledgment(self, backup: Backup, identity: Identity, challenge: str) -> bytes:
        kdks = known_by(backup)
        keys = [
            {"kdk_id": kdk_id.hex(), "mac": _acknowledgment_mac(kdk, kdk_id, identity.host_id).hex()}
            for kdk_id, kdk in kdks.items()
        ]
        fields = {
            "provider": backup.provider,
            "host_id": identity.host_id,
            "name": identity.name,
            "challenge": challenge,
            "keys": keys,
        }
        shown = read_document(pretty(ACKNOWLEDGMENT_FILE, fields), ACKNOWLEDGMENT_FILE)
        macs = {kdk_id.hex(): _whole_mac(kdk, shown).hex() for kdk_id, kdk in kdks.items()}
        return pretty(ACKNOWLEDGMENT_FILE, {**fields, "macs": macs})


def read_identity(octets: bytes, path: object) -> Identity:
    """Return the identity in a file, or raise PackageRefused."""
    try:
        fields = read_document(octets, IDENTITY_FILE)
        identity = Identity(str(fields["host_id"]), str(fields["name"]), bytes.fromhex(fields["public"]))
    except BadDocument as error:
        raise PackageRefused(path, str(error), "use what `enroll` wrote on that host") from None
    except (KeyError, TypeError, ValueError):
        raise PackageRefused(path, "fields are missing or malformed", "enroll that host again") from None
    if len(identity.public) != KEY_SIZE or identity.host_id != _host_id_of(identity.public):
        raise PackageRefused(path, "its id is not the fingerprint of its key", "enroll that host again")
    return identity


def _host_id_of(public: bytes) -> str:
    return hashlib.sha512(context(HOST_ID, public)).digest()[:16].hex()


def _fields(backup: Backup, provider: Provider, to: Identity) -> dict[str, Any]:
    backups = [entry.to_json() for entry in provider.backups]
    return {**backup.fields(), "to": to.host_id, "backups": backups}


def _check_recipient(provider: Provider, to: Identity, host_id: str | None) -> HostEntry:
    """Return what is known of a host, or raise PackageRefused unless it is certain which one it is."""
    if host_id is not None and host_id != to.host_id:
        reason = f"it is the identity of host {to.host_id}, not {host_id}"
        raise PackageRefused("the identity", reason, "bring the file from that host again")
    known = next((host for host in provider.hosts if host.host_id == to.host_id), None)
    if known is None and host_id is None:
        namesake = next((host for host in provider.hosts if host.name == to.name), None)
        other = f", and host {to.name} was {namesake.host_id} so far" if namesake else ""
        reason = f"nothing was pushed to host {to.host_id} yet{other}"
        remedy = "compare the id with what `vtpm provider enroll` shows there, and give it as --host-id"
        raise PackageRefused("the identity", reason, remedy)
    return known or HostEntry(to.host_id, to.name)


def _authenticates(package: dict[str, Any], backup: Backup, kdk_id: bytes) -> bool:
    """
    Tell whether a package comes from who has its current key, and this one, which is current here.

    One of an earlier version has no MAC under keys but its current one.
    """
    kdks = known_by(backup)
    content = {name: value for name, value in package.items() if name != "mac"}
    expected = _package_mac(kdks[backup.current], content).hex()
    if not hmac.compare_digest(expected.encode(), str(package.get("mac")).encode()):
        return False
    macs = package.get("macs")
    if macs is None:
        return kdk_id == backup.current
    shown = {name: package[name] for name in package.keys() - {"sealed", "mac", "macs"}}
    made = str(macs.get(kdk_id.hex())) if isinstance(macs, dict) else ""
    return hmac.compare_digest(_shown_mac(kdks[kdk_id], shown).hex().encode(), made.encode())


def _shown_mac(kdk: bytes, shown: dict[str, Any]) -> bytes:
    return expand(kdk, 32, PACKAGE_SHOWN, canonical(shown))


def _whole_mac(kdk: bytes, document: dict[str, Any]) -> bytes:
    return expand(kdk, 32, ACKNOWLEDGMENT_WHOLE, canonical(document))


def _package_mac(kdk: bytes, content: dict[str, Any]) -> bytes:
    return expand(kdk, 32, PACKAGE_MAC, canonical(content))


def _acknowledgment_mac(kdk: bytes, kdk_id: bytes, host_id: str) -> bytes:
    return expand(kdk, 32, ACKNOWLEDGMENT, kdk_id, host_id.encode())
