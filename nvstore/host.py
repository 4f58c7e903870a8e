"""Host: everything that nvstore keeps in one directory of one host."""

import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID
from weakref import WeakValueDictionary

from nvstore.audit import Audit, Root, Witness
from nvstore.document import timestamp
from nvstore.drill import DrillReport
from nvstore.errors import (
    AnchorUnavailable,
    MarkDamaged,
    NvstoreError,
    RevertRefused,
    StateError,
    TctiRefused,
)
from nvstore.files import Files
from nvstore.keys import Entropy, KeySource
from nvstore.owned import files_of
from nvstore.provider.chain import Chain
from nvstore.provider.exchange import Exchange
from nvstore.provider.files import ProviderFiles
from nvstore.provider.keyring import Keyring
from nvstore.provider.providers import Providers
from nvstore.provider.rotation import Rotations
from nvstore.provider.setting import Setting
from nvstore.provider.steps import Steps
from nvstore.provider_errors import ProviderLocked
from nvstore.registry import Registry, anchor_at
from nvstore.rekeying import Rekeying, States
from nvstore.seal.passphrase import BACKUP_COST, HOST_COST, Cost
from nvstore.state.file import FileStore
from nvstore.state.history import Entry
from nvstore.state.place import (
    Place,
    Still,
    check_free,
    describe_owner,
    find_current,
    find_newest,
    lock_state,
    read_mark,
    read_state,
    remove_state,
)
from nvstore.state.repair import repair, revert
from nvstore.state.vm import StateStatus, Vm, check_vm_name
from nvstore.tcti import host_tcti
from nvstore.transfer import Surroundings, Transfers
from nvstore.vault import Vault


class Host:
    """
    The states and key providers of one host.

        providers/   <name>.provider, default
        keys/        <name>.key
        identity/    host.identity    the host's own, to which providers are pushed
        vms/         <uuid>.vm        name and provider; names/, which VM has a name
        states/      <uuid>.state, <uuid>.lock
        marks/       <uuid>.mark      the high-water marks, apart from the states
        vault/       <name>.secret    secrets of the host's own, each under a provider
        audit/       log.jsonl, older parts of it, head

    `marks` can be put on another disk, so that one restored disk does not bring both back.
    """

    def __init__(
        self,
        directory: Path | str,
        *,
        marks: Path | str | None = None,
        files: Files | None = None,
        entropy: Entropy = os.urandom,
        clock: Callable[[], float] = time.time,
        passphrase_cost: Cost = HOST_COST,
        backup_cost: Cost = BACKUP_COST,
        witness: Witness | None = None,
        require_host_tpm: bool = False,
    ) -> None:
        """
        Make the directories that are missing; UnsafeFile if others could write to them.

        Root works on the directory of another user in that user's name; see `owned`.
        With `require_host_tpm`, keys are unsealed by a TPM alone, whatever the providers' files say.
        """
        self.directory = Path(directory).absolute()
        self._files: Files = files or files_of(self.directory)
        self._entropy, self._clock = entropy, clock
        self._files.make_directory(self.directory)
        self._registry = Registry(
            self.directory / "vms",
            self.directory / "states",
            Path(marks).absolute() if marks else self.directory / "marks",
            self._files,
            entropy,
            clock,
            self._note,
            self._peek,
        )
        self._stores: WeakValueDictionary[UUID, FileStore] = WeakValueDictionary()
        """The states that are open in this process."""
        self.audit = Audit(self.directory / "audit", self._files, clock, entropy, witness=witness)
        self._files.make_directory(self.directory / "keys")
        book, ring = (
            ProviderFiles(self.directory / "providers", self._files),
            Keyring(self._files, entropy, require_host_tpm=require_host_tpm),
        )
        self.audit.root = partial(_audit_root, book, ring)
        self.audit.is_due = lambda: bool(book.names() or self._registry.uuids())
        setting = Setting(
            book,
            ring,
            Chain(book, ring, self.audit),
            self._files,
            entropy,
            clock,
            self.audit,
            self._users_of,
            self.directory / "keys",
            self.directory / "identity" / "host.identity",
            passphrase_cost,
            backup_cost,
        )
        self.providers = Providers(setting)
        self.vault = Vault(self.directory / "vault", self._files, entropy, clock, self.audit, self.providers)
        self.rotations = Rotations(setting)
        self.steps = Steps(setting)
        self.exchange = Exchange(setting, self.providers)
        self.rekeying = Rekeying(
            States(
                self._registry.known,
                self._registry.place,
                self._registry.headers,
                self._registry.move,
                self.delete_state,
            ),
            self.providers,
            self.rotations,
            self.vault,
            self.audit,
        )
        self.transfers = Transfers(
            Surroundings(
                self._files,
                entropy,
                clock,
                self.audit,
                self.providers,
                backup_cost,
                self._registry.locate,
                self._create,
                self._check_revertible,
                self._word,
                self.providers.check_stream_key,
            )
        )

    def __repr__(self) -> str:
        return f"Host({str(self.directory)!r})"

    def _users_of(self, kdk_ids: Collection[bytes], provider: str) -> list[str]:
        return [*self._registry.users_of(kdk_ids, provider), *self.vault.users_of(kdk_ids)]

    def _note(self, operation: str, vm: UUID, facts: dict[str, Any]) -> None:
        with self.audit.entry(operation, vm=vm, **facts):
            pass

    def _peek(self, vm: UUID) -> Vm:
        """Return what the state of a VM says of it, or raise what is in the way."""
        place = self._registry.place(vm)
        return find_newest(place, vm, self.providers, reader=Still(place)).registration(place)

    def _word(self, vm: UUID) -> tuple[Vm, bytes]:
        """Return what the state of a VM says of it, and the id of its key; from memory if it is open here."""
        store = self._stores.get(vm)
        if store is not None and not store.is_closed:
            return store.registration, store.kdk_id
        place = self._registry.place(vm)
        found = find_newest(place, vm, self.providers, reader=Still(place))
        return found.registration(place), found.record.header.kdk_id

    @contextmanager
    def _at_hand(self, vm: UUID, *, ask_anchor: bool = True) -> Iterator[FileStore]:
        """Give the store of a state: the one that is open in this process, or opened meanwhile; Locked."""
        open_here = self._stores.get(vm)
        if open_here is not None and not open_here.is_closed:
            yield open_here
            return
        place = self._registry.place(vm)
        with FileStore.open(place, vm, self.providers, ask_anchor=ask_anchor) as store:
            yield store

    def create_state(
        self,
        vm: UUID | str,
        name: str,
        blobs: Mapping[str, bytes],
        *,
        provider: str | None = None,
        allow_unverified: bool = False,
        group: str = "",
    ) -> FileStore:
        """
        Make the state of a new VM with these blobs as its first generation, and leave it open.

        StateExists where there is a state, or this host has ever acknowledged one: nothing is made anew.
        Without a provider, it is made under the default one of its group, or of the host.
        ProviderUnverified until a backup of the provider was verified, unless `allow_unverified` is given.
        """
        return self._create(
            UUID(str(vm)), name, blobs, provider, "create", allow_unverified=allow_unverified, group=group
        )

    def _create(
        self,
        vm: UUID,
        name: str,
        blobs: Mapping[str, bytes],
        provider: str | None,
        operation: str,
        *,
        allow_unverified: bool,
        group: str = "",
        lineage: str = "",
    ) -> FileStore:
        check_vm_name(name)
        with self.audit.entry(operation, vm=vm, name=name, provider=provider, lineage=lineage) as facts:
            chosen = self.providers.choose(provider, allow_unverified=allow_unverified, group=group)
            with self._registry.exclusive():
                self._registry.check_name(name, vm)
                place, created = self._registry.place(vm), timestamp(self._clock())
                check_free(place, vm)
                registration = Vm(vm, name, chosen, created, allow_unverified, group=group, lineage=lineage)
                self._registry.register(registration)
                store = FileStore.create(place, registration, self.providers, blobs)
            self._stores[vm] = store
            facts |= {"provider": chosen, "kdk_id": store.kdk_id.hex(), "generation": store.generation}
        return store

    def open_state(self, vm: UUID | str, *, adopt: bool = False, lock: int | None = None) -> FileStore:
        """
        Open the state of a VM, given by name or UUID, or raise the error that names what is wrong with it.

        `adopt` accepts a state for which this host has no usable high-water mark.
        `lock` opens a state beside the process that has it open, to go on in its place; see `FileStore.open`.
        """
        uuid = self._registry.uuid_of(vm)
        try:
            store = FileStore.open(self._registry.place(uuid), uuid, self.providers, adopt=adopt, lock=lock)
        except NvstoreError:
            with self.audit.entry("open", vm=uuid):
                raise
        self._stores[uuid] = store
        if adopt:
            with self.audit.entry("adopt", vm=uuid, provider=store.provider, generation=store.generation):
                pass
        return store

    def drill(self, path: Path, passphrase: bytes, *, allow_expensive: bool = False) -> DrillReport:
        """
        Open a backup in memory, and decrypt the state of this host's VMs with nothing but its keys.

        DrillFailed: a state that is not under another key does not open.
        """
        with self.audit.entry("provider-drill", path=path.absolute()) as facts:
            backup = self.providers.open_backup(path, passphrase, allow_expensive=allow_expensive)
            facts |= {"provider": backup.provider, "kdk_id": backup.current.hex()}
            trials: dict[str, Callable[[KeySource], object]] = {
                name: partial(find_newest, self._registry.place(vm), vm)
                for vm, name in sorted(self._registry.known().items(), key=str)
            }
            for secret in self.vault.names():
                trials[f"secret {secret}"] = partial(self.vault.open_with, secret)
            report = DrillReport.of(path, backup, trials)
            facts |= {"opened": len(report.opened), "failed": len(report.failed)}
            report.check()
            if report.opened:
                self.providers.note_drilled(path, backup)
        return report

    def history(self, vm: UUID | str) -> list[Entry]:
        """Return what is kept of a state, newest first, with what is wrong with each; it may be in use."""
        uuid = self._registry.uuid_of(vm)
        place = self._registry.place(uuid)
        still = Still(place)
        marks = None
        with suppress(MarkDamaged):
            marks = read_mark(place, still)
        return read_state(place, uuid, still).entries(marks.mark if marks else None, self.providers)

    def verify_state(self, vm: UUID | str) -> StateStatus:
        """Read a state as opening would, and raise what opening would raise; it may be in use."""
        uuid = self._registry.uuid_of(vm)
        place = self._registry.place(uuid)
        found = find_current(place, uuid, self.providers)
        status = self._status(uuid)
        return replace(status, warnings=(*status.warnings, *found.notes))

    def inspect_state(self, vm: UUID | str) -> StateStatus:
        """
        Return the status of a state as `show_state` does, and what its content and its anchor say, too.

        Where they cannot be asked, a warning says so.
        """
        uuid = self._registry.uuid_of(vm)
        status, warnings = self._status(uuid), []
        try:
            status = self.verify_state(uuid)
            if differing := self.index_differences(uuid):
                warnings.append(f"vms/{uuid}.vm differs from the state in {', '.join(differing)}")
        except ProviderLocked as error:
            warnings.append(f"neither content nor anchor was asked: {error}")
        except NvstoreError as error:
            if status.problem == "":
                status = replace(status, problem=error.code)
                warnings.append(str(error))
        return replace(status, warnings=(*status.warnings, *warnings))

    def index_differences(self, vm: UUID | str) -> list[str]:
        """Return the fields in which the file of a registration differs from what the state says."""
        uuid = self._registry.uuid_of(vm)
        place = self._registry.place(uuid)
        found = find_newest(place, uuid, self.providers, reader=Still(place))
        if found.metadata is None:
            return []
        said = found.metadata.registration
        return said.differences(place.registration) if place.registration else ["all"]

    def read_state(self, vm: UUID | str) -> dict[str, bytes]:
        """Return the blobs of a state, which may be in use, or raise what opening it would raise."""
        uuid = self._registry.uuid_of(vm)
        place = self._registry.place(uuid)
        return find_current(place, uuid, self.providers).blobs.as_dict()

    def repair_state(self, vm: UUID | str, *, generation: int | None = None, reason: str) -> StateStatus:
        """
        Put the newest usable generation of a state that does not open in force, or a given one.

        What is lost is what was committed after that generation.
        NothingToRepair: the state opens as it is.
        """
        return self._put_in_force(repair, "repair", vm, generation, reason)

    def revert_state(self, vm: UUID | str, *, generation: int | None = None, reason: str) -> StateStatus:
        """
        Put an older generation of the file in force, on purpose; without a number, its newest.

        RevertRefused: the policy of this VM forbids it.
        """
        try:
            self._check_revertible(uuid := self._registry.uuid_of(vm))
        except RevertRefused:
            with self.audit.entry("revert", vm=uuid, name=self._registry.name_of(uuid), reason=reason):
                raise
        return self._put_in_force(revert, "revert", vm, generation, reason)

    def admit_revert(self, vm: UUID | str, *, is_admitted: bool = False) -> None:
        """
        Note that a hypervisor puts another state in the place of the stored one, as a snapshot of it does.

        RevertRefused: the policy of this VM forbids it, and it is not what an operator has admitted.
        """
        uuid = self._registry.uuid_of(vm)
        with self.audit.entry(
            "revert", frequent=True, vm=uuid, name=self._registry.name_of(uuid), reason="by the hypervisor"
        ) as facts:
            if is_admitted:
                facts["admitted"] = "by an operator"
            else:
                self._check_revertible(uuid)

    def rename(self, vm: UUID | str, name: str) -> None:
        """Give a VM another name; StateExists where that is another's."""
        check_vm_name(name)
        uuid = self._registry.uuid_of(vm)
        with (
            self.audit.entry("rename", vm=uuid, name=name) as facts,
            self._at_hand(uuid) as store,
            self._registry.exclusive(),
        ):
            self._registry.check_name(name, uuid)
            facts |= {"formerly": store.registration.name}
            store.register(replace(store.registration, name=name))
            self._registry.register(store.registration)

    def _check_revertible(self, vm: UUID) -> None:
        """Raise RevertRefused if the state forbids it, or, where it does not open, anything kept of it."""
        try:
            allowed = [self._word(vm)[0].reverts]
        except StateError:
            allowed = [known.reverts for known in self._said_of(vm)]
        if not all(allowed):
            raise RevertRefused(vm)

    def _said_of(self, vm: UUID) -> Iterator[Vm]:
        """Give all that the index and the records of a state say of its VM, as far as they can be read."""
        place = self._registry.place(vm)
        if place.registration is not None:
            yield place.registration
        with suppress(StateError):
            history = read_state(place, vm, Still(place))
            for record in history.records():
                with suppress(StateError):
                    metadata = history.content(record, self.providers).metadata
                    if metadata is not None:
                        yield metadata.registration

    def set_policy(self, vm: UUID | str, *, reverts: bool) -> None:
        """Say whether states of this VM may be reverted."""
        uuid = self._registry.uuid_of(vm)
        with self.audit.entry("policy", vm=uuid, reverts=reverts), self._at_hand(uuid) as store:
            if store.registration.reverts != reverts:
                store.register(replace(store.registration, reverts=reverts))
            with self._registry.exclusive():
                self._registry.register(store.registration)

    def set_anchor(self, vm: UUID | str, tcti: str) -> None:
        """
        Have the TPM at this TCTI remember the state of a VM outside of any disk; an empty one ends that.

        The state is taken as it is: so it is also accepted after the TPM was replaced.
        """
        uuid = self._registry.uuid_of(vm)
        with (
            self.audit.entry("anchor", vm=uuid, tcti=tcti) as facts,
            self._at_hand(uuid, ask_anchor=False) as store,
        ):
            former = store.registration.anchor
            store.move_anchor(tcti)
            facts |= {"generation": store.generation, "formerly": former}
            with self._registry.exclusive():
                self._registry.register(store.registration)
        self._forget_anchored(uuid, {former, host_tcti()} - {tcti, ""})

    def _forget_anchored(self, vm: UUID, places: Collection[str]) -> None:
        for tcti in places:
            with suppress(AnchorUnavailable, TctiRefused):  # a TPM that is gone remembers in vain
                anchor = anchor_at(tcti)
                if anchor is not None:
                    anchor.remove(vm)

    def _put_in_force(
        self,
        operate: Callable[[Place, UUID, KeySource, int | None], FileStore],
        operation: str,
        vm: UUID | str,
        generation: int | None,
        reason: str,
    ) -> StateStatus:
        uuid = self._registry.uuid_of(vm)
        with self.audit.entry(operation, vm=uuid, asked=generation, reason=reason) as facts:
            store = operate(self._registry.place(uuid), uuid, self.providers, generation)
            store.close()
            facts |= {
                "provider": store.provider,
                "kdk_id": store.kdk_id.hex(),
                "generation": store.generation,
            }
        return self._status(uuid)

    def uuids(self) -> dict[str, UUID]:
        """Return the UUIDs of all VMs of this host by their names in the index."""
        return {name: vm for vm, name in sorted(self._registry.known().items(), key=str)}

    def names(self) -> list[str]:
        """Return the names of all VMs of this host, without reading their states."""
        return sorted(self._registry.known().values())

    def list_states(self) -> list[StateStatus]:
        """Return the status of every state of this host, by name; needs no key."""
        return sorted(map(self._status, self._registry.uuids()), key=lambda status: (status.name, status.vm))

    def show_state(self, vm: UUID | str) -> StateStatus:
        """Return the status of one state, given by name or UUID."""
        return self._status(self._registry.uuid_of(vm))

    def delete_state(self, vm: UUID | str) -> None:
        """
        Destroy the state of a VM with its mark and its registration; Locked while somebody has it open.

        The file is overwritten before it is removed.
        That is no promise of erasure where the disk or the file system keeps old blocks.
        """
        uuid = self._registry.uuid_of(vm)
        place = self._registry.place(uuid)
        with self.audit.entry("delete", begun=True, vm=uuid):
            lock = lock_state(place)
            try:
                known = [known.anchor for known in self._said_of(uuid)]
                self._forget_anchored(uuid, {*known, host_tcti()} - {""})
                _overwrite(place)
                remove_state(place)
                self._registry.forget(uuid)
            except BaseException:
                lock.release()
                raise
            lock.release(remove=True)

    def _status(self, vm: UUID) -> StateStatus:
        registration, place = self._registry.readable(vm), self._registry.place(vm)
        name = registration.name if registration else str(vm)
        provider = registration.provider if registration else ""
        kdk_id, generation, written, size, records, problem = "", 0, "", 0, 0, ""
        warnings = []
        try:
            still = Still(place)
            mark = read_mark(place, still)
            history = read_state(place, vm, still)
            size, own = history.ring.size, history.records()
            if own:
                newest = own[0].header
                provider, kdk_id = newest.provider, newest.kdk_id.hex()
                generation, written, records = newest.generation, timestamp(newest.written / 1000), len(own)
            history.check_mark(mark.mark if mark else None, place.mark)
        except NvstoreError as error:
            problem = error.code
            warnings.append(str(error))
        warnings += self.providers.backup_warnings(provider)
        owner = describe_owner(self._files.owner(place.lock))
        return StateStatus(
            vm,
            name,
            provider,
            kdk_id,
            generation,
            written,
            size,
            records,
            owner,
            problem,
            tuple(warnings),
            registration.lineage if registration else "",
            _freshness(place),
        )


def _freshness(place: Place) -> str:
    tiers = [
        ("host's mark", place.files.exists(place.mark)),
        ("host's TPM", bool(place.registration and place.registration.anchor)),
    ]
    return ", ".join(tier for tier, there in tiers if there) or "none"


def _overwrite(place: Place) -> None:
    try:
        file = place.files.open(place.state)
    except FileNotFoundError:
        return
    try:
        file.write(0, [bytes(file.size())])
        file.flush()
    finally:
        file.close()


def _audit_root(book: ProviderFiles, ring: Keyring) -> Root | None:
    """Return the default provider's key, for the audit log, if this process has unsealed it."""
    with suppress(NvstoreError):  # a damaged provider is told of where it is used
        name = book.defaults()[0]
        provider = book.find(name) if name else None
        if provider is not None and provider.current in ring:
            return Root(provider.name, provider.current, ring[provider.current])
    return None
