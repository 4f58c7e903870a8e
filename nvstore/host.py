"""Host: everything that nvstore keeps in one directory of one host."""

import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final
from uuid import UUID

from nvstore.audit import Audit
from nvstore.document import timestamp
from nvstore.drill import DrillReport
from nvstore.errors import (
    AnchorUnavailable,
    MarkDamaged,
    NvstoreError,
    RevertRefused,
    StateError,
    StateExists,
    UnknownState,
)
from nvstore.files import Files, OsFiles, read_file, replace_file
from nvstore.keys import Entropy, KeySource
from nvstore.provider.exchange import Exchange
from nvstore.provider.files import ProviderFiles
from nvstore.provider.keyring import Keyring
from nvstore.provider.providers import Providers
from nvstore.provider.rotation import Rotations
from nvstore.provider.setting import Setting
from nvstore.provider.steps import Steps
from nvstore.rekeying import Rekeying, States
from nvstore.seal.passphrase import BACKUP_COST, HOST_COST, Cost
from nvstore.state.anchor import TpmAnchor
from nvstore.state.file import FileStore
from nvstore.state.history import Entry
from nvstore.state.place import (
    Place,
    Still,
    check_free,
    describe_owner,
    find_newest,
    lock_state,
    read_mark,
    read_state,
    remove_state,
)
from nvstore.state.record import Header
from nvstore.state.repair import repair, revert
from nvstore.state.vm import StateStatus, Vm, check_vm_name, read_vm
from nvstore.transfer import Surroundings, Transfers

_SUFFIX: Final = ".vm"


class Host:
    """
    The states and key providers of one host.

        providers/   <name>.provider, default
        keys/        <name>.key
        identity/    host.identity    the host's own, to which providers are pushed
        vms/         <uuid>.vm        name and provider
        states/      <uuid>.state, <uuid>.lock
        marks/       <uuid>.mark      the high-water marks, apart from the states
        audit/       log.jsonl, head

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
    ) -> None:
        """Make the directories that are missing; UnsafeFile if others could write to them."""
        self.directory = Path(directory).absolute()
        self._files: Files = files or OsFiles()
        self._entropy, self._clock = entropy, clock
        self._vms, self._states = self.directory / "vms", self.directory / "states"
        self._marks = Path(marks).absolute() if marks else self.directory / "marks"
        for path in (self.directory, self._vms, self._states, self._marks):
            self._files.make_directory(path)
        self.audit = Audit(self.directory / "audit", self._files, clock)
        self._files.make_directory(self.directory / "keys")
        setting = Setting(
            ProviderFiles(self.directory / "providers", self._files),
            Keyring(self._files, entropy),
            self._files,
            entropy,
            clock,
            self.audit,
            self._users_of,
            self.directory / "keys",
            passphrase_cost,
            backup_cost,
        )
        self.providers = Providers(setting)
        self.rotations = Rotations(setting)
        self.steps = Steps(setting)
        self.exchange = Exchange(setting, self.providers, self.directory / "identity")
        self.rekeying = Rekeying(
            States(self._known, self._place, self._headers, self._move, self.delete_state),
            self.providers,
            self.rotations,
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
                self._locate,
                self._create,
                self._check_revertible,
            )
        )

    def __repr__(self) -> str:
        return f"Host({str(self.directory)!r})"

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
            with self._exclusive():
                namesake = next((known for known in self._registered() if known.name == name), None)
                if namesake is not None and namesake.uuid != vm:
                    raise StateExists(name, f"a state under this name, with the UUID {namesake.uuid}")
                place, created = self._place(vm), timestamp(self._clock())
                check_free(place, vm)
                self._register(Vm(vm, name, chosen, created, allow_unverified, group=group, lineage=lineage))
                store = FileStore.create(place, vm, chosen, self.providers, blobs)
            facts |= {"provider": chosen, "kdk_id": store.kdk_id.hex(), "generation": store.generation}
        return store

    def _register(self, vm: Vm) -> None:
        replace_file(self._files, self._vm_path(vm.uuid), vm.encode())

    def open_state(self, vm: UUID | str, *, adopt: bool = False) -> FileStore:
        """
        Open the state of a VM, given by name or UUID, or raise the error that names what is wrong with it.

        `adopt` accepts a state for which this host has no usable high-water mark.
        """
        uuid = self._uuid_of(vm)
        try:
            store = FileStore.open(self._place(uuid), uuid, self.providers, adopt=adopt)
        except NvstoreError:
            with self.audit.entry("open", vm=uuid):
                raise
        if adopt:
            with self.audit.entry("adopt", vm=uuid, provider=store.provider, generation=store.generation):
                pass
        return store

    def drill(self, path: Path, passphrase: bytes) -> DrillReport:
        """
        Open a backup in memory, and decrypt the state of this host's VMs with nothing but its keys.

        DrillFailed: a state that is not under another key does not open.
        """
        with self.audit.entry("provider-drill", path=path.absolute()) as facts:
            backup = self.providers.open_backup(path, passphrase)
            facts |= {"provider": backup.provider, "kdk_id": backup.current.hex()}
            states = [(self._status(vm).name, vm, self._place(vm)) for vm in sorted(self._uuids(), key=str)]
            report = DrillReport.of(path, backup, states)
            facts |= {"opened": len(report.opened), "failed": len(report.failed)}
            report.check()
            if report.opened:
                self.providers.note_drilled(path, backup)
        return report

    def history(self, vm: UUID | str) -> list[Entry]:
        """Return what is kept of a state, newest first, with what is wrong with each; it may be in use."""
        uuid = self._uuid_of(vm)
        place = self._place(uuid)
        still = Still(place)
        marks = None
        with suppress(MarkDamaged):
            marks = read_mark(place, still)
        return read_state(place, uuid, still).entries(marks.mark if marks else None, self.providers)

    def verify_state(self, vm: UUID | str) -> StateStatus:
        """Read a state as opening would, and raise what opening would raise; it may be in use."""
        uuid = self._uuid_of(vm)
        place = self._place(uuid)
        find_newest(place, uuid, self.providers, reader=Still(place))
        return self._status(uuid)

    def read_state(self, vm: UUID | str) -> dict[str, bytes]:
        """Return the blobs of a state, which may be in use, or raise what opening it would raise."""
        uuid = self._uuid_of(vm)
        place = self._place(uuid)
        return find_newest(place, uuid, self.providers, reader=Still(place)).blobs.as_dict()

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
            self._check_revertible(uuid := self._uuid_of(vm))
        except RevertRefused:
            with self.audit.entry("revert", vm=uuid, name=self._name_of(uuid), reason=reason):
                raise
        return self._put_in_force(revert, "revert", vm, generation, reason)

    def admit_revert(self, vm: UUID | str) -> None:
        """
        Note that a hypervisor puts another state in the place of the stored one, as a snapshot of it does.

        RevertRefused: the policy of this VM forbids it.
        """
        uuid = self._uuid_of(vm)
        with self.audit.entry("revert", vm=uuid, name=self._name_of(uuid), reason="by the hypervisor"):
            self._check_revertible(uuid)

    def rename(self, vm: UUID | str, name: str) -> None:
        """Give a VM another name; StateExists where that is another's."""
        check_vm_name(name)
        uuid = self._uuid_of(vm)
        with self._exclusive(), self.audit.entry("rename", vm=uuid, name=name) as facts:
            registration = self._registration(uuid)
            if registration is None:
                raise UnknownState(str(vm))
            namesake = next((known for known in self._registered() if known.name == name), None)
            if namesake is not None and namesake.uuid != uuid:
                raise StateExists(name, f"a state under this name, with the UUID {namesake.uuid}")
            facts |= {"formerly": registration.name}
            self._register(replace(registration, name=name))

    def _check_revertible(self, vm: UUID) -> None:
        registration = self._registration(vm)
        if registration is not None and not registration.reverts:
            raise RevertRefused(vm)

    def set_policy(self, vm: UUID | str, *, reverts: bool) -> None:
        """Say whether states of this VM may be reverted."""
        uuid = self._uuid_of(vm)
        with self._exclusive(), self.audit.entry("policy", vm=uuid, reverts=reverts):
            registration = self._registration(uuid)
            if registration is None:
                raise UnknownState(str(vm))
            self._register(replace(registration, reverts=reverts))

    def set_anchor(self, vm: UUID | str, tcti: str) -> None:
        """
        Have the TPM at this TCTI remember the state of a VM outside of any disk; an empty one ends that.

        The state must be closed, and is taken as it is: so it is also accepted after the TPM was replaced.
        """
        uuid = self._uuid_of(vm)
        with self._exclusive(), self.audit.entry("anchor", vm=uuid, tcti=tcti) as facts:
            registration = self._registration(uuid)
            if registration is None:
                raise UnknownState(str(vm))
            place = replace(self._place(uuid), anchor=None)
            with FileStore.open(place, uuid, self.providers) as store:
                facts |= {"generation": store.generation}
                store.move_anchor(TpmAnchor(tcti) if tcti else None)
                self._register(replace(registration, anchor=tcti))
        if registration.anchor and registration.anchor != tcti:
            with suppress(AnchorUnavailable):  # a TPM that is gone remembers in vain
                TpmAnchor(registration.anchor).remove(uuid)

    def _put_in_force(
        self,
        operate: Callable[[Place, UUID, KeySource, int | None], FileStore],
        operation: str,
        vm: UUID | str,
        generation: int | None,
        reason: str,
    ) -> StateStatus:
        uuid = self._uuid_of(vm)
        with self.audit.entry(operation, vm=uuid, asked=generation, reason=reason) as facts:
            store = operate(self._place(uuid), uuid, self.providers, generation)
            store.close()
            facts |= {
                "provider": store.provider,
                "kdk_id": store.kdk_id.hex(),
                "generation": store.generation,
            }
        return self._status(uuid)

    def list_states(self) -> list[StateStatus]:
        """Return the status of every state of this host, by name; needs no key."""
        return sorted(map(self._status, self._uuids()), key=lambda status: (status.name, status.vm))

    def show_state(self, vm: UUID | str) -> StateStatus:
        """Return the status of one state, given by name or UUID."""
        return self._status(self._uuid_of(vm))

    def delete_state(self, vm: UUID | str) -> None:
        """
        Destroy the state of a VM with its mark and its registration; Locked while somebody has it open.

        The file is overwritten before it is removed.
        That is no promise of erasure where the disk or the file system keeps old blocks.
        """
        uuid = self._uuid_of(vm)
        place = self._place(uuid)
        with self.audit.entry("delete", vm=uuid):
            lock = lock_state(place)
            try:
                if place.anchor is not None:
                    place.anchor.remove(uuid)
                _overwrite(place)
                remove_state(place)
                self._files.remove(self._vm_path(uuid))
                self._files.flush_directory(self._vms)
            except BaseException:
                lock.release()
                raise
            lock.release(remove=True)

    def _place(self, vm: UUID) -> Place:
        registration = self._registration(vm)
        anchor = TpmAnchor(registration.anchor) if registration and registration.anchor else None
        return Place(
            self._states / f"{vm}.state",
            self._marks / f"{vm}.mark",
            self._states / f"{vm}.lock",
            self._files,
            self._entropy,
            self._clock,
            anchor,
        )

    def _locate(self, vm: UUID | str) -> tuple[UUID, str, Place]:
        uuid = self._uuid_of(vm)
        return uuid, self._name_of(uuid), self._place(uuid)

    def _vm_path(self, vm: UUID) -> Path:
        return self._vms / f"{vm}{_SUFFIX}"

    def _uuids(self) -> set[UUID]:
        """Return every VM of which this host has a registration, a state or a mark."""
        found = set()
        for directory, suffix in ((self._vms, _SUFFIX), (self._states, ".state"), (self._marks, ".mark")):
            for name in self._files.entries(directory):
                if name.endswith(suffix):
                    with suppress(ValueError):  # a file that is none of ours
                        found.add(UUID(name.removesuffix(suffix)))
        return found

    def _registered(self) -> list[Vm]:
        return [vm for uuid in self._uuids() if (vm := self._registration(uuid))]

    def _registration(self, vm: UUID) -> Vm | None:
        path = self._vm_path(vm)
        try:
            return read_vm(read_file(self._files, path), path)
        except FileNotFoundError:
            return None

    def _uuid_of(self, vm: UUID | str) -> UUID:
        try:
            uuid = UUID(str(vm))
        except ValueError:
            named = [registered.uuid for registered in self._registered() if registered.name == vm]
            if not named:
                raise UnknownState(str(vm)) from None
            return named[0]
        if uuid not in self._uuids():
            raise UnknownState(str(vm))
        return uuid

    def _status(self, vm: UUID) -> StateStatus:
        registration, place = self._registration(vm), self._place(vm)
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

    def _users_of(self, kdk_ids: Collection[bytes], provider: str) -> list[str]:
        """Return the names of the VMs that need one of these keys, or are registered under a provider."""
        return sorted(self._name_of(vm) for vm in self._uuids() if self._needs(vm, kdk_ids, provider))

    def _headers(self, vm: UUID) -> list[Header]:
        """Return the headers of a state's records, newest first; none if it cannot be read."""
        with suppress(StateError):
            return [record.header for record in read_state(self._place(vm), vm).records()]
        return []

    def _known(self) -> dict[UUID, str]:
        return {vm: self._name_of(vm) for vm in self._uuids()}

    def _move(self, vms: Sequence[UUID], provider: str) -> None:
        """Register VMs under another provider."""
        with self._exclusive():
            for vm in vms:
                if registration := self._registration(vm):
                    self._register(replace(registration, provider=provider))

    def _name_of(self, vm: UUID) -> str:
        registration = self._registration(vm)
        return registration.name if registration else str(vm)

    def _needs(self, vm: UUID, kdk_ids: Collection[bytes], provider: str) -> bool:
        """Tell whether any record of a state, or its mark, needs one of these keys."""
        needed = {header.kdk_id for header in self._headers(vm)}
        with suppress(MarkDamaged):
            if marks := read_mark(self._place(vm)):
                needed.add(marks.mark.kdk_id)
        if needed:
            return not needed.isdisjoint(kdk_ids)
        registration = self._registration(vm)  # nothing can be read: its registration decides
        return registration is not None and registration.provider == provider

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Keep other processes from registering VMs meanwhile."""
        lock = self._files.lock(self._vms / "lock", wait=True)
        try:
            yield
        finally:
            lock.release()


def _freshness(place: Place) -> str:
    tiers = [("host's mark", place.files.exists(place.mark)), ("host's TPM", place.anchor is not None)]
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
