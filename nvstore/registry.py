"""The VMs that a host knows: their registrations, and where the state of each is."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from nvstore.errors import (
    CorruptState,
    MarkDamaged,
    NvstoreError,
    StateError,
    StateExists,
    StoreUnavailable,
    UnknownState,
    UnsafeFile,
)
from nvstore.files import Files, read_file, replace_file
from nvstore.keys import Entropy
from nvstore.names import Names
from nvstore.state.anchor import TpmAnchor
from nvstore.state.place import Place, read_mark, read_state
from nvstore.state.record import Header
from nvstore.state.vm import Vm, read_vm
from nvstore.tcti import host_tcti

_SUFFIX: Final = ".vm"


def anchor_at(tcti: str) -> TpmAnchor | None:
    """Return the anchor in the TPM at a TCTI; none for an empty one."""
    return TpmAnchor(tcti) if tcti else None


class Registry:
    """The registrations in one directory; a VM is also known by its state or mark alone."""

    def __init__(
        self,
        vms: Path,
        states: Path,
        marks: Path,
        files: Files,
        entropy: Entropy,
        clock: Callable[[], float],
        note: Callable[[str, UUID, dict[str, Any]], None],
        peek: Callable[[UUID], Vm],
    ) -> None:
        """`note` writes to the audit log; `peek` gives what a state says of its VM."""
        self._vms, self._states, self._marks = vms, states, marks
        self._files, self._entropy, self._clock = files, entropy, clock
        self._note, self._peek = note, peek
        for path in (vms, states, marks):
            files.make_directory(path)
        self._names = Names(vms / "names", files)

    def __repr__(self) -> str:
        return f"Registry({str(self._vms)!r})"

    def register(self, vm: Vm) -> None:
        """Write the registration of a VM, new or changed."""
        before = self.readable(vm.uuid)
        self._names.note(vm.name, vm.uuid)
        replace_file(self._files, self._path_of(vm.uuid), vm.encode())
        if before is not None and before.name != vm.name:
            self._names.forget(before.name, vm.uuid)

    def forget(self, vm: UUID) -> None:
        """Remove the registration of a VM for good."""
        with self.exclusive():
            before = self.readable(vm)
            self._files.remove(self._path_of(vm))
            self._files.flush_directory(self._vms)
            if before is not None:
                self._names.forget(before.name, vm)

    def place(self, vm: UUID) -> Place:
        """Return where the state of a VM is, or would be."""
        registration, damage = None, None
        try:
            registration = self.registration(vm)
        except CorruptState as error:
            damage = error
        return Place(
            self._states / f"{vm}.state",
            self._marks / f"{vm}.mark",
            self._states / f"{vm}.lock",
            self._files,
            self._entropy,
            self._clock,
            registration,
            damage,
            anchor_at,
            anchor_at(host_tcti()),
            partial(self._note_of, vm),
            self.mend,
        )

    def _note_of(self, vm: UUID, operation: str, facts: dict[str, Any]) -> None:
        self._note(operation, vm, facts)

    def mend(self, vm: Vm) -> None:
        """
        Make the registration of a VM what its state says, and note which fields differed.

        Where its name was another's in the index, that one's state is asked, too, if its key is at hand.
        """
        with self.exclusive():
            wrong, seen = [vm], {vm.uuid}
            while wrong:
                right = wrong.pop()
                try:
                    self._put_right(right)
                except OSError as error:
                    raise StoreUnavailable(self._path_of(right.uuid), str(error), 0) from error
                for other in self.uuids() - seen:
                    with suppress(NvstoreError):
                        known = self.registration(other)
                        if known is not None and known.name == right.name:
                            seen.add(other)
                            wrong.append(self._peek(other))

    def _put_right(self, vm: Vm) -> None:
        before = None
        with suppress(CorruptState):
            before = self.registration(vm.uuid)
        if before != vm:
            differed = vm.differences(before) if before else ["all"]
            self._note("index", vm.uuid, {"name": vm.name, "differed": " ".join(differed)})
            self._names.note(vm.name, vm.uuid)
            replace_file(self._files, self._path_of(vm.uuid), vm.encode())
        if before is not None and before.name != vm.name:
            self._names.forget(before.name, vm.uuid)

    def locate(self, vm: UUID | str) -> tuple[UUID, str, Place]:
        """Return the UUID, the name and the place of a VM, given by name or UUID."""
        uuid = self.uuid_of(vm)
        return uuid, self.name_of(uuid), self.place(uuid)

    def _path_of(self, vm: UUID) -> Path:
        return self._vms / f"{vm}{_SUFFIX}"

    def uuids(self) -> set[UUID]:
        """Return every VM of which this host has a registration, a state or a mark."""
        found = set()
        for directory, suffix in ((self._vms, _SUFFIX), (self._states, ".state"), (self._marks, ".mark")):
            for name in self._files.entries(directory):
                if name.endswith(suffix):
                    with suppress(ValueError):  # a file that is none of ours
                        found.add(UUID(name.removesuffix(suffix)))
        return found

    def registered(self) -> list[Vm]:
        """Return all registrations that can be read."""
        return [vm for uuid in self.uuids() if (vm := self.readable(uuid))]

    def registration(self, vm: UUID) -> Vm | None:
        """Return what was noted of a VM, if it was registered."""
        path = self._path_of(vm)
        try:
            return read_vm(read_file(self._files, path), path)
        except FileNotFoundError:
            return None
        except UnsafeFile as error:
            raise CorruptState(path, error.cause) from None

    def readable(self, vm: UUID) -> Vm | None:
        """Return what was noted of a VM, or None where it is unknown or damaged: that hinders no other VM."""
        with suppress(CorruptState):
            return self.registration(vm)
        return None

    def existing(self, vm: UUID) -> Vm:
        """Return what was noted of a VM, or raise UnknownState."""
        registration = self.registration(vm)
        if registration is None:
            raise UnknownState(str(vm))
        return registration

    def check_name(self, name: str, vm: UUID) -> None:
        """Raise StateExists where the name is another VM's; within `exclusive`."""
        if not self._names.is_complete:  # an earlier version had none
            for known in self.registered():
                self._names.note(known.name, known.uuid)
            self._names.complete()
        namesake = self._named(name)
        if namesake not in {None, vm}:
            raise StateExists(name, f"a state under this name, with the UUID {namesake}")

    def uuid_of(self, vm: UUID | str) -> UUID:
        """Return the UUID of a VM that is known, given by name or UUID, or raise UnknownState."""
        try:
            uuid = UUID(str(vm))
        except ValueError:
            named = self._named(str(vm))
            if named is None:
                named = next((known.uuid for known in self.registered() if known.name == vm), None)
            if named is None:
                raise UnknownState(str(vm)) from None
            return named
        paths = self._path_of(uuid), self._states / f"{uuid}.state", self._marks / f"{uuid}.mark"
        if not any(map(self._files.exists, paths)):
            raise UnknownState(str(vm))
        return uuid

    def _named(self, name: str) -> UUID | None:
        """Return the VM that is registered under a name, as far as the index tells."""
        found = self._names.find(name)
        registration = self.registration(found) if found else None
        return found if registration is not None and registration.name == name else None

    def users_of(self, kdk_ids: Collection[bytes], provider: str) -> list[str]:
        """Return the names of the VMs that need one of these keys, or are registered under a provider."""
        return sorted(self.name_of(vm) for vm in self.uuids() if self.needs(vm, kdk_ids, provider))

    def headers(self, vm: UUID) -> list[Header]:
        """Return the headers of a state's records, newest first; none if it cannot be read."""
        with suppress(StateError):
            return [record.header for record in read_state(self.place(vm), vm).records()]
        return []

    def known(self) -> dict[UUID, str]:
        """Return the names of all VMs by their UUIDs."""
        return {vm: self.name_of(vm) for vm in self.uuids()}

    def move(self, vms: Sequence[UUID], provider: str) -> None:
        """Register VMs under another provider."""
        with self.exclusive():
            for vm in vms:
                if registration := self.readable(vm):
                    self.register(replace(registration, uuid=vm, provider=provider))

    def name_of(self, vm: UUID) -> str:
        """Return the name of a VM, or else its UUID."""
        registration = self.readable(vm)
        return registration.name if registration else str(vm)

    def needs(self, vm: UUID, kdk_ids: Collection[bytes], provider: str) -> bool:
        """Tell whether any record of a state, or its mark, needs one of these keys."""
        needed = {header.kdk_id for header in self.headers(vm)}
        with suppress(MarkDamaged):
            if marks := read_mark(self.place(vm)):
                needed.add(marks.mark.kdk_id)
        if needed:
            return not needed.isdisjoint(kdk_ids)
        registration = self.readable(vm)  # nothing can be read: its registration decides
        return registration is not None and registration.provider == provider

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep other processes from registering VMs meanwhile."""
        lock = self._files.lock(self._vms / "lock", wait=True)
        try:
            yield
        finally:
            lock.release()
