"""The providers of one host: their life cycle, and the keys that stores ask of them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nvstore.document import seconds_of, timestamp
from nvstore.files import create_file, host_name, read_file
from nvstore.keys import KEY_SIZE, kdk_id_of
from nvstore.provider.backup import Backup, BackupReport, KeyEntry, check_host_tpm
from nvstore.provider.backup_file import Format, open_backup, write_backup
from nvstore.provider.files import check_provider_name
from nvstore.provider.lifecycle import DAY, UNPROVEN, USABLE, State, Step
from nvstore.provider.provider import BackupEntry, Provider, SealedKey, activated, obstacles_of
from nvstore.provider.setting import Setting
from nvstore.provider.shares import Share
from nvstore.provider.status import ProviderStatus, backup_warnings, status_of
from nvstore.provider_errors import (
    BackupExists,
    BackupMissing,
    KeyMissing,
    ProviderExists,
    ProviderMissing,
    ProviderNotActive,
    ProviderUnverified,
    WrongKey,
)
from nvstore.seal.sealer import Sealer
from nvstore.seal.sealing_key import PASSPHRASE, SealingKey


class Providers:
    """The key providers of one host; `Host.providers`."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._book, self._ring, self._audit = setting.book, setting.ring, setting.audit

    def __repr__(self) -> str:
        return f"Providers({self._book!r}, {self._ring!r})"

    def init(
        self,
        name: str,
        *,
        passphrase: bytes | None = None,
        key_file: Path | None = None,
        seals: Sequence[Sealer] = (),
        require_host_tpm: bool = False,
    ) -> ProviderStatus:
        """
        Make a provider with a new KDK, in each of these seals, or else sealed by a key file.

        The key file is made if it is not there; its default place is the host's directory of keys.
        The first provider of a host becomes its default.
        """
        check_provider_name(name)
        with self._audit.entry("provider-init", provider=name) as facts, self._book.exclusive():
            if here := self._book.find(name):
                raise ProviderExists(name, here.current, holders=here.holders(here.current))
            sealers = self._setting.sealers(name, passphrase, key_file, seals)
            if require_host_tpm:
                check_host_tpm(name, [sealer.kind for sealer in sealers])
            kdk = self._setting.entropy(KEY_SIZE)
            entry = KeyEntry(kdk_id_of(kdk), 1, self._setting.now())
            sealed = self._ring.seal(self._ring.make(sealers, name), name, kdk)
            key = SealedKey(entry, sealed)
            self._book.write(Provider(name, entry.kdk_id, (key,), require_host_tpm=require_host_tpm))
            self._ring.put(entry.kdk_id, kdk)
            self._adopt_default(name)
            facts["kdk_id"] = entry.kdk_id.hex()
        return self.show(name)

    def unlock(self, name: str, passphrase: bytes) -> ProviderStatus:
        """Unseal the keys of a provider for this process; WrongPassphrase if it does not open them."""
        for key in self._book.read(name).keys:
            self._ring.kdk(name, key, passphrase)
        return self.show(name)

    def forget_keys(self) -> None:
        """Drop all keys that this process has unsealed."""
        self._ring.clear()

    def reseal(
        self,
        name: str,
        *,
        passphrase: bytes | None = None,
        key_file: Path | None = None,
        seals: Sequence[Sealer] = (),
        keep: bool = False,
    ) -> ProviderStatus:
        """Put the keys of a provider into new seals, which replace the old ones unless `keep`."""
        with self._audit.entry("provider-reseal", provider=name) as facts, self._book.exclusive():
            provider = self._book.read(name)
            kdks = [self._ring.kdk(name, key) for key in provider.keys]
            made = self._ring.make(self._setting.sealers(name, passphrase, key_file, seals), name)
            keys = tuple(
                SealedKey(key.entry, (key.seals if keep else ()) + self._ring.seal(made, name, kdk))
                for key, kdk in zip(provider.keys, kdks, strict=True)
            )
            if provider.require_host_tpm:
                check_host_tpm(name, [seal["kind"] for key in keys for seal in key.seals])
            facts |= {
                "kdk_id": provider.current.hex(),
                "seal": ", ".join(one.description["kind"] for one in made),
            }
            self._book.write(activated(replace(provider, keys=keys)))
        return self.show(name)

    def backup(
        self,
        name: str,
        out: Path,
        passphrase: bytes,
        *,
        form: Format = Format.NVSTORE,
        shares: Sequence[Share] = (),
    ) -> ProviderStatus:
        """
        Write a backup of all keys of a provider to a new file, durable on return.

        `shares` are those of a passphrase that `draw_passphrase` drew; the backup names their set.
        """
        with self._audit.entry("provider-backup", begun=True, provider=name, path=out.absolute()) as facts:
            provider = self._book.read(name).after(Step.EXPORT)
            if self._setting.files.exists(out):
                raise BackupExists(out)
            now = self._setting.now()
            entries = tuple(key.entry for key in provider.keys)
            kdks = tuple(self._ring.kdk(name, key) for key in provider.keys)
            backup = Backup(
                name,
                provider.current,
                entries,
                now,
                host_name(),
                kdks,
                require_host_tpm=provider.require_host_tpm,
                share_set=shares[0].set_id if shares else "",
            )
            cost, entropy = self._setting.backup_cost, self._setting.entropy
            content = write_backup(backup, passphrase, cost=cost, entropy=entropy, form=form)
            create_file(self._setting.files, out, [content]).close()
            self._setting.files.flush_directory(out.parent)
            with self._book.exclusive():
                entry = BackupEntry(str(out.absolute()), host_name(), backup.kdk_ids, now)
                self._book.write(self._book.read(name).after(Step.EXPORT).with_backup(entry))
            facts["kdk_id"] = provider.current.hex()
        return self.show(name)

    def verify(self, path: Path, passphrase: bytes) -> BackupReport:
        """
        Read a backup back, decrypt it, and make sure that its keys reproduce their ids.

        If its provider is on this host, the backup counts as verified from now on.
        WrongKey: a provider of this name is here, with another key.
        """
        with self._audit.entry("provider-verify", path=path.absolute()) as facts:
            backup = self.open_backup(path, passphrase)
            facts |= {"provider": backup.provider, "kdk_id": backup.current.hex()}
            here = self._book.find(backup.provider)
            if here is not None and here.state is State.DESTROYED:
                here = None
            if here is not None:
                _check_holds(backup, here, path)
                self._note_verified(here.name, path, backup)
        return BackupReport.of(path, backup, recorded=here is not None)

    def restore(
        self,
        path: Path,
        passphrase: bytes,
        *,
        dry_run: bool = False,
        name: str | None = None,
        seal_passphrase: bytes | None = None,
        key_file: Path | None = None,
        seals: Sequence[Sealer] = (),
    ) -> BackupReport:
        """
        Put a provider on this host from its backup, sealed anew; `dry_run` tells whether that would succeed.

        A provider that is here with the same key gets the new seal, which helps when its key file is lost.
        ProviderExists: the name is taken by another key.
        """
        with self._audit.entry("provider-restore", path=path.absolute(), dry_run=dry_run or None) as facts:
            backup = self.open_backup(path, passphrase)
            name = name or backup.provider
            facts |= {"provider": name, "kdk_id": backup.current.hex()}
            check_provider_name(name)
            here = self._book.find(name)
            if here is not None and here.current not in backup.kdk_ids:
                raise ProviderExists(name, here.current, backup.current, here.holders(here.current))
            sealers = self._setting.sealers(name, seal_passphrase, key_file, seals)
            if backup.require_host_tpm or (here is not None and here.require_host_tpm):
                check_host_tpm(name, [sealer.kind for sealer in sealers])
            if not dry_run:
                self.install(name, backup, self._ring.make(sealers, name))
                self._note_verified(name, path, backup)
        return BackupReport.of(path, backup, recorded=not dry_run)

    def install(
        self, name: str, backup: Backup, made: Sequence[SealingKey], backups: Sequence[BackupEntry] = ()
    ) -> None:
        """
        Put the keys of a backup into these seals, under this name; what else is known of it here stays.

        `backups` are those that another host knows of.
        """
        with self._book.exclusive():
            keys = tuple(
                SealedKey(entry, self._ring.seal(made, name, kdk))
                for entry, kdk in zip(backup.keys, backup.kdks, strict=True)
            )
            here = self._book.find(name) or Provider(name, backup.current, keys)
            others = tuple(key for key in here.keys if key.entry.kdk_id not in backup.kdk_ids)
            after = replace(
                here,
                keys=tuple(sorted((*others, *keys), key=lambda key: key.entry.epoch)),
                state=State.CREATED if here.state is State.DESTROYED else here.state,
                require_host_tpm=here.require_host_tpm or backup.require_host_tpm,
                retired=tuple(entry for entry in here.retired if entry.kdk_id not in backup.kdk_ids),
            )
            for known in backups:
                after = after.with_backup(known)
            if _epoch(after, backup.current) > _epoch(after, here.current):
                after = replace(after, current=backup.current)
            if after.state in {State.CREATED, State.EXPORTED} and after.last_verified():
                after = after.after(Step.VERIFY)
            self._book.write(activated(after))
            for entry, kdk in zip(backup.keys, backup.kdks, strict=True):
                self._ring.put(entry.kdk_id, kdk)
            self._adopt_default(name)

    def show(self, name: str) -> ProviderStatus:
        """Return the status of one provider."""
        provider = self._book.read(name)
        current = provider.current_key
        opens_itself = current is not None and any(seal["kind"] != PASSPHRASE for seal in current.seals)
        default, groups = self._book.defaults()
        return status_of(
            provider,
            unlocked=provider.current in self._ring or opens_itself,
            default=name == default,
            groups=sorted(group for group, chosen in groups.items() if chosen == name),
            obstacles=obstacles_of(provider),
            now=self._setting.clock(),
        )

    def list(self) -> list[ProviderStatus]:
        """Return the status of every provider of this host, by name."""
        return [self.show(name) for name in self._book.names()]

    @property
    def default(self) -> str | None:
        """The provider of a new state for which none is named."""
        return self._book.defaults()[0]

    def default_of(self, group: str) -> str | None:
        """Return the provider of a new state of this group of VMs for which none is named."""
        default, groups = self._book.defaults()
        return groups.get(group, default)

    def set_default(self, name: str, *, group: str | None = None) -> None:
        """Make this provider the default, or that of a group of VMs."""
        with self._audit.entry("provider-default", provider=name, group=group), self._book.exclusive():
            self._book.read(name)
            default, groups = self._book.defaults()
            if group is None:
                self._book.write_defaults(name, groups)
            else:
                check_provider_name(group, "group of VMs")
                self._book.write_defaults(default, {**groups, group: name})

    def key(self, provider: str, kdk_id: bytes) -> bytes:
        """Return the KDK with this id, whatever the name of its provider; see KeySource."""
        if kdk_id in self._ring:
            return self._ring[kdk_id]
        return self._ring.kdk(*self._sealed(provider, kdk_id))

    def having(self, provider: str, kdk_id: bytes) -> str:
        """
        Return which provider of this host has a key that `provider` has elsewhere, and can use it.

        KeyMissing, or the error with which unsealing it ends, where none has.
        """
        name, _ = self._sealed(provider, kdk_id)
        self.key(name, kdk_id)
        return name

    def _sealed(self, provider: str, kdk_id: bytes) -> tuple[str, SealedKey]:
        known = self._book.with_key(kdk_id)
        sealed = known.key(kdk_id) if known else None
        if known is None or sealed is None:
            namesake = self._book.find(provider)
            raise KeyMissing(
                kdk_id, provider, namesake.current if namesake else None, self._book.holders(kdk_id)
            )
        return known.name, sealed

    def holders(self, kdk_id: bytes) -> Sequence[str]:
        """Return in words the backups and hosts that are known to hold a key."""
        return self._book.holders(kdk_id)

    def current(self, provider: str) -> bytes:
        """Return the id of the key that protects what is written now; see KeySource."""
        return self._book.read(provider).current

    def choose(self, name: str | None, *, allow_unverified: bool, group: str = "") -> str:
        """Return the provider for a new state, or raise an error that says why there is none."""
        chosen = name or self.default_of(group)
        if chosen is None:
            raise ProviderMissing(None)
        provider = self._book.read(chosen)
        if provider.state in USABLE or (provider.state in UNPROVEN and allow_unverified):
            return chosen
        if provider.state in UNPROVEN and provider.last_verified() is None:
            raise ProviderUnverified(chosen)
        raise ProviderNotActive(chosen, provider.state.value, obstacles_of(provider))

    def backup_warnings(self, name: str) -> Sequence[str]:
        """Return the warnings that every state under this provider repeats, until a backup is verified."""
        provider = self._book.find(name)
        return backup_warnings(provider, self._setting.clock()) if provider else []

    def raise_alarms(self) -> Sequence[str]:
        """Return the warnings about backups whose last alarm is a day old; they are noted as raised now."""
        due = []
        with self._book.exclusive():
            raised, now = self._book.alarms(), self._setting.clock()
            for provider in self._book.all():
                last = raised.get(provider.name)
                warnings = backup_warnings(provider, now)
                if not warnings:
                    raised.pop(provider.name, None)
                elif last is None or now - seconds_of(last) >= DAY:
                    raised[provider.name] = timestamp(now)
                    due += warnings
            if due:
                self._book.write_alarms(raised)
        for warning in due:
            with self._audit.entry("alarm", warning=warning):
                pass
        return due

    def open_backup(self, path: Path, passphrase: bytes) -> Backup:
        """Open a backup, in either format."""
        try:
            octets = read_file(self._setting.files, path)
        except FileNotFoundError:
            raise BackupMissing(path) from None
        return open_backup(octets, path, passphrase)

    def note_drilled(self, path: Path, backup: Backup) -> None:
        """Note that state of this host was decrypted with a backup."""
        if self._book.find(backup.provider) is not None:
            self._note_verified(backup.provider, path, backup, drilled=self._setting.now())

    def _adopt_default(self, name: str) -> None:
        default, groups = self._book.defaults()
        if default is None:
            self._book.write_defaults(name, groups)

    def _note_verified(self, name: str, path: Path, backup: Backup, drilled: str | None = None) -> None:
        entry = BackupEntry(
            str(path.absolute()), host_name(), backup.kdk_ids, backup.exported, self._setting.now(), drilled
        )
        with self._book.exclusive():
            provider = self._book.read(name).with_backup(entry)
            if provider.current in backup.kdk_ids:
                provider = provider.after(Step.VERIFY)
            self._book.write(activated(provider))


def _epoch(provider: Provider, kdk_id: bytes) -> int:
    key = provider.key(kdk_id)
    return key.entry.epoch if key else 0


def _check_holds(backup: Backup, here: Provider, path: Path) -> None:
    """Raise WrongKey unless the backup holds the current key of the provider of its name."""
    if here.current not in backup.kdk_ids:
        older = set(here.kdk_ids) & set(backup.kdk_ids)
        what = f"the backup {path}, made before the last rotation," if older else f"the backup {path}"
        raise WrongKey(what, here.current, backup.current, here.holders(here.current))
