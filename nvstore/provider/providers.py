"""The providers of one host: their life cycle, and the keys that stores ask of them."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from nvstore.document import seconds_of, timestamp
from nvstore.errors import AuditBroken, AuditFailed, AuditUnwritable, NvstoreError, StreamKeyRefused
from nvstore.files import create_file, host_name, read_file
from nvstore.keys import KEY_SIZE, check_succession, kdk_id_of
from nvstore.provider.backup import Backup, BackupReport, KeyEntry, check_host_tpm
from nvstore.provider.backup_file import Format, open_backup, write_backup
from nvstore.provider.files import check_new_name, check_provider_name
from nvstore.provider.lifecycle import DAY, UNPROVEN, USABLE, State, Step
from nvstore.provider.merge import known_by, restored
from nvstore.provider.provider import BackupEntry, Provider, SealedKey, activated, obstacles_of
from nvstore.provider.setting import Setting
from nvstore.provider.shares import Share
from nvstore.provider.status import ProviderStatus, backup_warnings, status_of
from nvstore.provider_errors import (
    BackupExists,
    BackupMissing,
    KeyFileDamaged,
    KeyFileMissing,
    KeyMissing,
    KeyUncertified,
    NoSealOpens,
    ProviderAltered,
    ProviderDamaged,
    ProviderExists,
    ProviderLocked,
    ProviderMissing,
    ProviderNotActive,
    ProviderUnverified,
    SealFailed,
    WrongKey,
)
from nvstore.seal.sealer import Sealer, description_of
from nvstore.seal.sealing_key import KEY_FILE, PASSPHRASE, SealingKey

UNOPENED: Final = (KeyFileMissing, KeyFileDamaged, SealFailed, NoSealOpens, WrongKey)
"""What opening a provider ends with whose seals are lost."""


class Providers:
    """The key providers of one host; `Host.providers`."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._book, self._ring, self._audit = setting.book, setting.ring, setting.audit
        self._chain = setting.chain

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
        check_new_name(name)
        with self._audit.entry("provider-init", provider=name) as facts, self._book.exclusive():
            if here := self._book.find(name):
                raise ProviderExists(name, here.current, holders=here.holders(here.current))
            sealers = self._setting.sealers(name, passphrase, key_file, seals)
            if require_host_tpm:
                check_host_tpm(name, [sealer.kind for sealer in sealers])
            kdk = self._setting.entropy(KEY_SIZE)
            entry = KeyEntry(kdk_id_of(kdk), 1, self._setting.now())
            made = self._ring.make(sealers, name)
            sealed = self._ring.seal(made, name, kdk, require_host_tpm=require_host_tpm)
            self._ring.put(entry.kdk_id, kdk)
            provider = Provider(
                name, entry.kdk_id, (SealedKey(entry, sealed),), require_host_tpm=require_host_tpm
            )
            self._chain.write(self._as_default(provider))
            facts["kdk_id"] = entry.kdk_id.hex()
        return self.show(name)

    def unlock(self, name: str, passphrase: bytes) -> ProviderStatus:
        """Unseal the keys of a provider for this process; WrongPassphrase if it does not open them."""
        self._chain.open(name, passphrase)
        return self.show(name)

    def check(self, name: str) -> None:
        """Raise ProviderAltered, or what keeps its keys sealed, unless its file is as it was written."""
        self._chain.open(name)

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
        unlock: bytes | None = None,
    ) -> ProviderStatus:
        """
        Put the keys of a provider into new seals, which replace the old ones unless `keep`.

        `unlock` is the passphrase of a seal that is there: it opens here even what requires a TPM.
        A key file that seals nothing any more is destroyed, or named in `left_behind` if it lies elsewhere.
        An older copy of the provider's file still opens with its older seals.
        """
        with self._audit.entry("provider-reseal", provider=name) as facts, self._book.exclusive():
            provider = self._chain.open(name, unlock, recovery=True)
            made = self._ring.make(self._setting.sealers(name, passphrase, key_file, seals), name)
            keys = tuple(
                SealedKey(key.entry, self._resealed(provider, key, made, keep=keep)) for key in provider.keys
            )
            if provider.require_host_tpm:
                check_host_tpm(name, [seal["kind"] for key in keys for seal in key.seals])
            facts |= {
                "kdk_id": provider.current.hex(),
                "seal": ", ".join(one.description["kind"] for one in made),
            }
            self._chain.write(activated(replace(provider, keys=keys)))
            left = [str(path) for path in self._setting.remove_key_files(provider)]
            facts["left"] = ", ".join(left)
        return replace(self.show(name), left_behind=left)

    def _resealed(
        self, provider: Provider, key: SealedKey, made: Sequence[SealingKey], *, keep: bool
    ) -> tuple[dict[str, Any], ...]:
        descriptions = [one.description for one in made]
        kept = [seal for seal in key.seals if description_of(seal) not in descriptions] if keep else []
        kdk, required = self._ring[key.entry.kdk_id], provider.require_host_tpm
        return (*kept, *self._ring.seal(made, provider.name, kdk, require_host_tpm=required))

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
            provider = self._chain.open(name).after(Step.EXPORT)
            if self._setting.files.exists(out):
                raise BackupExists(out)
            now = self._setting.now()
            entries = tuple(key.entry for key in provider.keys)
            kdks = tuple(self._ring[kdk_id] for kdk_id in provider.kdk_ids)
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
                entry = replace(entry, current=backup.current)
                self._chain.write(self._chain.open(name).after(Step.EXPORT).with_backup(entry))
            facts["kdk_id"] = provider.current.hex()
        return self.show(name)

    def verify(self, path: Path, passphrase: bytes, *, allow_expensive: bool = False) -> BackupReport:
        """
        Read a backup back, decrypt it, and make sure that its keys reproduce their ids.

        If its provider is on this host, the backup counts as verified from now on.
        WrongKey: a provider of this name is here, with another key.
        """
        with self._audit.entry("provider-verify", path=path.absolute()) as facts:
            backup = self.open_backup(path, passphrase, allow_expensive=allow_expensive)
            facts |= {"provider": backup.provider, "kdk_id": backup.current.hex()}
            here = self._book.find(backup.provider)
            if here is not None and here.state is State.DESTROYED:
                here = None
            if here is not None:
                _check_holds(backup, here, path)
                here = self._chain.checked(here, known=known_by(backup))
                self._note_verified(here.name, path, backup)
        return BackupReport.of(path, backup, recorded=here is not None)

    def restore(
        self,
        path: Path,
        passphrase: bytes,
        *,
        dry_run: bool = False,
        name: str | None = None,
        allow_expensive: bool = False,
        seal_passphrase: bytes | None = None,
        key_file: Path | None = None,
        seals: Sequence[Sealer] = (),
    ) -> BackupReport:
        """
        Put a provider on this host from its backup, sealed anew; `dry_run` tells whether that would succeed.

        A provider that is here keeps what it has beyond the backup, and its current key if that is later.
        Its seals are replaced if others are named, or if they are lost.
        A file of it that was altered, or whose seals open nothing any more, is set aside.
        ProviderExists: the name is taken by other keys.
        """
        with self._audit.entry("provider-restore", path=path.absolute(), dry_run=dry_run or None) as facts:
            backup = self.open_backup(path, passphrase, allow_expensive=allow_expensive)
            name = name or backup.provider
            facts |= {"provider": name, "kdk_id": backup.current.hex()}
            check_provider_name(name)
            asked = seal_passphrase is not None or key_file is not None or bool(seals)
            sealers = self._setting.sealers(name, seal_passphrase, key_file, seals)
            here, warnings = self._trusted(name, backup)
            required = backup.require_host_tpm or (here is not None and here.require_host_tpm)
            made = self._sealing_here(here) if here is not None and not asked else None
            if required and made is None:
                check_host_tpm(name, [sealer.kind for sealer in sealers])
            if not dry_run:
                if here is None and (aside := self._book.set_aside(name)):
                    facts["aside"] = aside
                    warnings.append(f"the file that was here is kept as {aside}")
                merged = restored(here, backup, name)
                warnings += merged.warnings
                self.install(merged.provider, backup, made or self._ring.make(sealers, name))
                self._note_verified(name, path, backup)
        return replace(BackupReport.of(path, backup, recorded=not dry_run), warnings=tuple(warnings))

    def _trusted(self, name: str, backup: Backup) -> tuple[Provider | None, list[str]]:
        """Return the provider that is here, if its file can be believed, and else what is wrong with it."""
        try:
            here = self._book.find(name)
            if here is None:
                check_new_name(name)
                return None, []
            known = {*here.kdk_ids, *(entry.kdk_id for entry in here.retired)}
            if known.isdisjoint(backup.kdk_ids):
                raise ProviderExists(name, here.current, backup.current, here.holders(here.current))
            return self._chain.checked(here, known=known_by(backup)), []
        except (ProviderAltered, ProviderDamaged, *UNOPENED) as error:
            return None, [error.cause]

    def _sealing_here(self, here: Provider) -> Sequence[SealingKey] | None:
        """Return the seals that a provider has, or None if they are not to be had any more."""
        current = here.current_key
        if current is None:
            return None
        with suppress(NvstoreError):
            return self._ring.sealing_of(here.name, current)
        return None

    def install(
        self,
        provider: Provider,
        source: Backup,
        made: Sequence[SealingKey],
        backups: Sequence[BackupEntry] = (),
    ) -> None:
        """
        Put a provider, as `merge` made it with the keys of `source`, into these seals.

        `backups` are those that another host knows of.
        """
        for known in backups:
            provider = provider.with_backup(known)
        for kdk_id, kdk in known_by(source).items():
            self._ring.put(kdk_id, kdk)
        with self._book.exclusive():
            required = provider.require_host_tpm
            keys = tuple(
                SealedKey(
                    key.entry,
                    self._ring.seal(
                        made, provider.name, self._ring[key.entry.kdk_id], require_host_tpm=required
                    ),
                )
                for key in provider.keys
            )
            after = replace(provider, keys=keys)
            if after.state in {State.CREATED, State.EXPORTED} and after.last_verified():
                after = after.after(Step.VERIFY)
            self._chain.write(activated(self._as_default(after)))

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
            authenticated=self._is_checked(provider),
        )

    def key_files(self, name: str) -> Sequence[Path]:
        """Return the key files that seal a provider; what the file says of them is not authenticated."""
        current = self._book.read(name).current_key
        seals = current.seals if current else ()
        return [Path(str(seal.get("path"))) for seal in seals if seal["kind"] == KEY_FILE]

    def _is_checked(self, provider: Provider) -> bool:
        """Tell whether a file is authenticated, if its keys are at hand; ProviderAltered if it is not."""
        if not all(kdk_id in self._ring for kdk_id in provider.kdk_ids):
            return False
        return self._chain.checked(provider).is_authenticated

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
            if group is not None:
                check_provider_name(group, "group of VMs")
            chosen, of = self._chain.open(name), group or ""
            for former in self._book.claims().get(of, []):
                if former != name:
                    before = self._chain.open(former)
                    left = tuple(one for one in before.default_for if one != of)
                    self._chain.write(replace(before, default_for=left))
            after = tuple(sorted({*chosen.default_for, of}))
            self._chain.write(replace(chosen, default_for=after))
            self._book.write_defaults(*self._book.defaults())

    def key(self, provider: str, kdk_id: bytes) -> bytes:
        """Return the KDK with this id, whatever the name of its provider; see KeySource."""
        if kdk_id not in self._ring:
            self._chain.open(self._name_of(provider, kdk_id))
        return self._ring[kdk_id]

    def having(self, provider: str, kdk_id: bytes) -> str:
        """
        Return which provider of this host has a key that `provider` has elsewhere, and can use it.

        KeyMissing, or the error with which unsealing it ends, where none has.
        """
        name = self._name_of(provider, kdk_id)
        self._chain.open(name)
        return name

    def check_stream_key(self, vm: UUID, provider: str, named: str, kdk_id: bytes) -> None:
        """
        Refuse what comes of a VM's state unless its key is one of the provider of the state on this host.

        `named` is what the provider is called where it comes from.
        Without `provider` the VM has no state here, and any key of this host is one.
        StreamKeyRefused: it is another provider's; KeyMissing: it is not on this host, or no more.
        """
        holder = self._name_of(provider or named, kdk_id)
        if provider and holder != provider:
            raise StreamKeyRefused(
                vm,
                kdk_id,
                f"of the provider {holder!r}, but the TPM is under {provider!r} here",
                f"if it belongs under the other one, `vtpm rekey {vm} --provider {holder}`, then try again",
            )
        current = self.current(holder)
        try:
            check_succession(self, holder, kdk_id, current)
        except KeyUncertified:
            check_succession(self, holder, current, kdk_id)

    def _name_of(self, provider: str, kdk_id: bytes) -> str:
        known = self._book.with_key(kdk_id, provider)
        if known is None:
            namesake = self._book.find(provider)
            raise KeyMissing(
                kdk_id, provider, namesake.current if namesake else None, self._book.holders(kdk_id)
            )
        return known.name

    def holders(self, kdk_id: bytes) -> Sequence[str]:
        """Return in words the backups and hosts that are known to hold a key."""
        return self._book.holders(kdk_id)

    def current(self, provider: str) -> bytes:
        """Return the id of the key that protects what is written now; see KeySource."""
        opened = self._chain.open(provider)
        if not opened.is_authenticated:
            with suppress(OSError, AuditBroken, AuditFailed, AuditUnwritable):
                self._chain.bring_forward(provider)
        if opened.current_key is None:
            raise KeyMissing(opened.current, provider, None, self._book.holders(opened.current))
        return opened.current

    def check_succession(self, provider: str, before: bytes, after: bytes) -> None:
        """Raise KeyUncertified unless a key follows another; see KeySource."""
        self._chain.check_succession(provider, before, after)

    def check_authenticated(self, provider: str, kdk_id: bytes) -> None:
        """Raise ProviderAltered if nothing protects the file that has this key; see KeySource."""
        known = self._book.with_key(kdk_id, provider)
        if known is not None and not known.is_authenticated:
            said = "it is one of an earlier version, from before what is under its keys was written"
            raise ProviderAltered(known.name, said)

    def choose(self, name: str | None, *, allow_unverified: bool, group: str = "") -> str:
        """Return the provider for a new state, or raise an error that says why there is none."""
        chosen = name or self._certain_default_of(group)
        if chosen is None:
            raise ProviderMissing(None)
        provider = self._chain.open(chosen)
        if provider.state in USABLE or (provider.state in UNPROVEN and allow_unverified):
            return chosen
        if provider.state in UNPROVEN and provider.last_verified() is None:
            raise ProviderUnverified(chosen)
        raise ProviderNotActive(chosen, provider.state.value, obstacles_of(provider))

    def _certain_default_of(self, group: str) -> str | None:
        """Return the default provider; ProviderAltered if several say that they are, or one was altered."""
        claims = self._book.claims()
        claimants = claims.get(group) or claims.get("", [])
        for other in self._book.names():
            if other not in claimants:
                with suppress(ProviderLocked, *UNOPENED):
                    self._chain.open(other)
        if len(claimants) > 1:
            said = f"it is the default of the same VMs as {', '.join(claimants[:-1])}"
            raise ProviderAltered(claimants[-1], said)
        return next(iter(claimants), None)

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
                elif last is None or not 0 <= now - seconds_of(last) < DAY:
                    raised[provider.name] = timestamp(now)
                    due += warnings
            if due:
                self._book.write_alarms(raised)
        for warning in due:
            with self._audit.entry("alarm", warning=warning):
                pass
        return due

    def open_backup(self, path: Path, passphrase: bytes, *, allow_expensive: bool = False) -> Backup:
        """Open a backup, in either format; see `backup_file.open_backup`."""
        try:
            octets = read_file(self._setting.files, path)
        except FileNotFoundError:
            raise BackupMissing(path) from None
        return open_backup(octets, path, passphrase, allow_expensive=allow_expensive)

    def note_drilled(self, path: Path, backup: Backup) -> None:
        """Note that state of this host was decrypted with a backup."""
        if self._book.find(backup.provider) is not None:
            self._note_verified(backup.provider, path, backup, drilled=self._setting.now())

    def _as_default(self, provider: Provider) -> Provider:
        """Return a provider as the default of this host, if there is none; within `exclusive`."""
        default, groups = self._book.defaults()
        if default is not None:
            return provider
        self._book.write_defaults(provider.name, groups)
        return replace(provider, default_for=tuple(sorted({*provider.default_for, ""})))

    def _note_verified(self, name: str, path: Path, backup: Backup, drilled: str | None = None) -> None:
        entry = BackupEntry(
            str(path.absolute()),
            host_name(),
            backup.kdk_ids,
            backup.exported,
            self._setting.now(),
            drilled,
            backup.current,
        )
        with self._book.exclusive():
            provider = self._chain.open(name, known=known_by(backup)).with_backup(entry)
            if provider.current in backup.kdk_ids:
                provider = provider.after(Step.VERIFY)
            self._chain.write(activated(provider), known=known_by(backup))


def _check_holds(backup: Backup, here: Provider, path: Path) -> None:
    """Raise WrongKey unless the backup holds the current key of the provider of its name."""
    if here.current not in backup.kdk_ids:
        older = set(here.kdk_ids) & set(backup.kdk_ids)
        what = f"the backup {path}, made before the last rotation," if older else f"the backup {path}"
        raise WrongKey(what, here.current, backup.current, here.holders(here.current))
