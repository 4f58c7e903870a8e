"""The providers of one host: their life cycle, and the keys that stores ask of them."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from nvstore.audit import Audit
from nvstore.backup import Backup, KeyEntry, open_backup, write_backup
from nvstore.document import BadDocument, pretty, read_document, timestamp
from nvstore.errors import (
    BadName,
)
from nvstore.files import Files, create_file, host_name, read_file, replace_file
from nvstore.keys import KEY_SIZE, Entropy, kdk_id_of
from nvstore.passphrase import Cost
from nvstore.provider import BackupEntry, Provider, ProviderStatus, SealedKey, read_provider, status_of
from nvstore.provider_errors import (
    BackupExists,
    BackupMissing,
    KeyMissing,
    ProviderDamaged,
    ProviderExists,
    ProviderMissing,
    ProviderUnverified,
    WrongKey,
)
from nvstore.seal import KEY_FILE, Sealer, unseal

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SUFFIX: Final = ".provider"
_DEFAULT: Final = "nvstore default provider"


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

    def to_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {**vars(self), "keys": list(self.keys)}


class Providers:
    """The key providers of one host; `Host.providers`."""

    def __init__(
        self,
        directory: Path,
        key_directory: Path,
        files: Files,
        entropy: Entropy,
        clock: Callable[[], float],
        host_cost: Cost,
        backup_cost: Cost,
        audit: Audit,
    ) -> None:
        self._directory, self._key_directory = directory, key_directory
        self._files, self._entropy, self._clock = files, entropy, clock
        self._host_cost, self._backup_cost, self._audit = host_cost, backup_cost, audit
        self._kdks: dict[bytes, bytes] = {}
        files.make_directory(directory)
        files.make_directory(key_directory)

    def __repr__(self) -> str:
        return f"Providers({str(self._directory)!r}, {len(self._kdks)} keys unlocked)"

    def init(
        self, name: str, *, passphrase: bytes | None = None, key_file: Path | None = None
    ) -> ProviderStatus:
        """
        Make a provider with a new KDK, sealed by this passphrase or else by a key file.

        The key file is made if it is not there; its default place is the host's directory of keys.
        The first provider of a host becomes its default.
        """
        check_provider_name(name)
        with self._audit.entry("provider-init", provider=name) as facts, self._exclusive():
            if self._files.exists(self._path(name)):
                raise ProviderExists(name, self._read(name).current)
            kdk = self._entropy(KEY_SIZE)
            entry = KeyEntry(kdk_id_of(kdk), 1, timestamp(self._clock()))
            seal = self._sealer(name, passphrase, key_file).seal(self._files, self._entropy, name, kdk)
            self._write(Provider(name, entry.kdk_id, (SealedKey(entry, seal),)))
            self._kdks[entry.kdk_id] = kdk
            if self.default is None:
                self._write_default(name)
            facts["kdk_id"] = entry.kdk_id.hex()
        return self.show(name)

    def unlock(self, name: str, passphrase: bytes) -> ProviderStatus:
        """Unseal the keys of a provider for this process; WrongPassphrase if it does not open them."""
        for key in self._read(name).keys:
            if key.seal["kind"] != KEY_FILE and key.entry.kdk_id not in self._kdks:
                self._kdks[key.entry.kdk_id] = unseal(
                    self._files, name, key.entry.kdk_id, key.seal, passphrase
                )
        return self.show(name)

    def forget_keys(self) -> None:
        """Drop all keys that this process has unsealed."""
        self._kdks.clear()

    def backup(self, name: str, out: Path, passphrase: bytes) -> ProviderStatus:
        """Write a backup of all keys of a provider to a new file, durable on return."""
        with self._audit.entry("provider-backup", provider=name, path=out.absolute()) as facts:
            provider = self._read(name)
            if self._files.exists(out):
                raise BackupExists(out)
            now = timestamp(self._clock())
            entries = [key.entry for key in provider.keys]
            content = write_backup(
                name,
                provider.current,
                entries,
                lambda kdk_id: self.key(name, kdk_id),
                passphrase=passphrase,
                exported=now,
                host=host_name(),
                cost=self._backup_cost,
                entropy=self._entropy,
            )
            create_file(self._files, out, [content]).close()
            self._files.flush_directory(out.parent)
            ids = tuple(entry.kdk_id for entry in entries)
            self._record(name, BackupEntry(str(out.absolute()), host_name(), ids, now))
            facts["kdk_id"] = provider.current.hex()
        return self.show(name)

    def verify(self, path: Path, passphrase: bytes) -> BackupReport:
        """
        Read a backup back, decrypt it, and make sure that its keys reproduce their ids.

        If its provider is on this host, the backup counts as verified from now on.
        WrongKey: a provider of this name is here, with another key.
        """
        with self._audit.entry("provider-verify", path=path.absolute()) as facts:
            backup = self._open_backup(path, passphrase)
            facts |= {"provider": backup.provider, "kdk_id": backup.current.hex()}
            here = self._find(backup.provider)
            if here is not None:
                _check_holds(backup, here, path)
                self._record_verified(here.name, path, backup)
        return _report(path, backup, recorded=here is not None)

    def restore(
        self,
        path: Path,
        passphrase: bytes,
        *,
        dry_run: bool = False,
        name: str | None = None,
        seal_passphrase: bytes | None = None,
        key_file: Path | None = None,
    ) -> BackupReport:
        """
        Put a provider on this host from its backup, sealed anew; `dry_run` tells whether that would succeed.

        A provider that is here with the same key gets the new seal, which helps when its key file is lost.
        ProviderExists: the name is taken by another key.
        """
        with self._audit.entry("provider-restore", path=path.absolute(), dry_run=dry_run or None) as facts:
            backup = self._open_backup(path, passphrase)
            name = name or backup.provider
            facts |= {"provider": name, "kdk_id": backup.current.hex()}
            check_provider_name(name)
            here = self._find(name)
            if here is not None and here.current != backup.current:
                raise ProviderExists(name, here.current, backup.current)
            if not dry_run:
                self._put(
                    name, backup, self._sealer(name, seal_passphrase, key_file), here.backups if here else ()
                )
                self._record_verified(name, path, backup)
        return _report(path, backup, recorded=not dry_run)

    def _put(self, name: str, backup: Backup, sealer: Sealer, backups: tuple[BackupEntry, ...]) -> None:
        with self._exclusive():
            keys = tuple(
                SealedKey(entry, sealer.seal(self._files, self._entropy, name, kdk))
                for entry, kdk in zip(backup.keys, backup.kdks, strict=True)
            )
            self._write(Provider(name, backup.current, keys, backups))
            self._kdks.update(zip((entry.kdk_id for entry in backup.keys), backup.kdks, strict=True))
            if self.default is None:
                self._write_default(name)

    def show(self, name: str) -> ProviderStatus:
        """Return the status of one provider."""
        provider = self._read(name)
        unlocked = provider.current in self._kdks or provider.keys[-1].seal["kind"] == KEY_FILE
        return status_of(provider, unlocked=unlocked, default=name == self.default, now=self._clock())

    def list(self) -> list[ProviderStatus]:
        """Return the status of every provider of this host, by name."""
        return [self.show(name) for name in self._names()]

    @property
    def default(self) -> str | None:
        """The provider of a new state for which none is named."""
        try:
            octets = read_file(self._files, self._directory / "default")
        except FileNotFoundError:
            return None
        try:
            return str(read_document(octets, _DEFAULT)["name"])
        except (BadDocument, KeyError) as error:
            raise ProviderDamaged(self._directory / "default", str(error)) from None

    def set_default(self, name: str) -> None:
        """Make this provider the default."""
        with self._exclusive():
            self._write_default(self._read(name).name)

    def key(self, provider: str, kdk_id: bytes) -> bytes:
        """Return the KDK with this id, whatever the name of its provider; see KeySource."""
        if kdk_id not in self._kdks:
            for known in map(self._read, self._names()):
                if key := known.key(kdk_id):
                    self._kdks[kdk_id] = unseal(self._files, known.name, kdk_id, key.seal, None)
                    break
            else:
                namesake = self._find(provider)
                raise KeyMissing(
                    kdk_id, provider, namesake.current if namesake else None, self._holders(kdk_id)
                )
        return self._kdks[kdk_id]

    def current(self, provider: str) -> bytes:
        """Return the id of the key that protects what is written now; see KeySource."""
        return self._read(provider).current

    def choose(self, name: str | None, *, allow_unverified: bool) -> str:
        """Return the provider for a new state, or raise ProviderMissing or ProviderUnverified."""
        chosen = name or self.default
        if chosen is None:
            raise ProviderMissing(None)
        if self._read(chosen).last_verified() is None and not allow_unverified:
            raise ProviderUnverified(chosen)
        return chosen

    def unverified(self, name: str) -> Sequence[str]:
        """Return the warning that states under this provider repeat until a backup of it is verified."""
        provider = self._find(name)
        if provider is None or provider.last_verified():
            return []
        return [ProviderUnverified(name).cause]

    def _path(self, name: str) -> Path:
        return self._directory / (name + _SUFFIX)

    def _names(self) -> Sequence[str]:
        names = self._files.entries(self._directory)
        return [name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)]

    def _find(self, name: str) -> Provider | None:
        if not _NAME.fullmatch(name):
            return None
        try:
            return read_provider(read_file(self._files, self._path(name)), self._path(name))
        except FileNotFoundError:
            return None

    def _read(self, name: str) -> Provider:
        provider = self._find(name)
        if provider is None:
            raise ProviderMissing(name)
        return provider

    def _write(self, provider: Provider) -> None:
        replace_file(self._files, self._path(provider.name), provider.encode())

    def _write_default(self, name: str) -> None:
        replace_file(self._files, self._directory / "default", pretty(_DEFAULT, {"name": name}))

    def _record(self, name: str, backup: BackupEntry) -> None:
        with self._exclusive():
            self._write(self._read(name).with_backup(backup))

    def _record_verified(self, name: str, path: Path, backup: Backup) -> None:
        ids = tuple(entry.kdk_id for entry in backup.keys)
        now = timestamp(self._clock())
        self._record(name, BackupEntry(str(path.absolute()), host_name(), ids, backup.exported, now))

    def _open_backup(self, path: Path, passphrase: bytes) -> Backup:
        try:
            octets = read_file(self._files, path)
        except FileNotFoundError:
            raise BackupMissing(path) from None
        return open_backup(octets, path, passphrase)

    def _sealer(self, name: str, passphrase: bytes | None, key_file: Path | None) -> Sealer:
        path = key_file.absolute() if key_file else self._key_directory / f"{name}.key"
        return Sealer(path, passphrase, self._host_cost)

    def _holders(self, kdk_id: bytes) -> Sequence[str]:
        return [
            f"the backup {backup.describe()}"
            for provider in map(self._read, self._names())
            for backup in provider.backups
            if kdk_id in backup.kdk_ids
        ]

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Keep other processes from changing providers meanwhile."""
        lock = self._files.lock(self._directory / "lock", wait=True)
        try:
            yield
        finally:
            lock.release()


def check_provider_name(name: str) -> None:
    """Raise BadName unless this can be the name of a provider, which is also the name of its file."""
    if not _NAME.fullmatch(name):
        raise BadName("provider", name, "use up to 64 letters, digits, dots, hyphens and underscores")


def _check_holds(backup: Backup, here: Provider, path: Path) -> None:
    """Raise WrongKey unless the backup holds the current key of the provider of its name."""
    held = {entry.kdk_id for entry in backup.keys}
    if here.current not in held:
        ours = {key.entry.kdk_id for key in here.keys}
        what = f"the backup {path}, made before the last rotation," if held & ours else f"the backup {path}"
        raise WrongKey(what, here.current, backup.current)


def _report(path: Path, backup: Backup, *, recorded: bool) -> BackupReport:
    keys = tuple(entry.kdk_id.hex() for entry in backup.keys)
    return BackupReport(
        str(path), backup.provider, backup.current.hex(), keys, backup.exported, backup.host, recorded
    )
