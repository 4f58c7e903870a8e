"""States that leave and come: bundles to keep, imports, clones, what travels with a running VM, snapshots."""

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

from nvstore.audit import Audit
from nvstore.document import timestamp
from nvstore.errors import BundleExists, BundleMissing, BundleOfOther, NvstoreError, UnknownState
from nvstore.files import Files, create_file, host_name, read_file
from nvstore.keys import Entropy, KeySource, check_succession
from nvstore.seal.passphrase import Cost
from nvstore.state.bundle import (
    Bundle,
    BundleReport,
    is_under_passphrase,
    needed_by,
    open_bundle,
    write_bundle,
)
from nvstore.state.file import FileStore
from nvstore.state.place import Place, find_current
from nvstore.state.record import Record
from nvstore.state.stream import Part, is_sealed, key_of, open_part, seal_part
from nvstore.state.vm import Vm

Change = Callable[[Mapping[str, bytes]], Mapping[str, bytes]]
"""Makes the blobs of a clone from those of its origin."""

Generation = tuple[bytes, int]
"""The incarnation of a state on this host, and the number of a generation of it."""

Amendment = Callable[[Mapping[str, bytes], Generation], Mapping[str, bytes | None]]
"""Gives what is to change of the blobs of a state, in the generation that it becomes by that."""


class Creator(Protocol):
    """How a host makes a state: `Host._create`."""

    def __call__(
        self,
        vm: UUID,
        name: str,
        blobs: Mapping[str, bytes],
        provider: str | None,
        operation: str,
        *,
        allow_unverified: bool,
        lineage: str = "",
    ) -> FileStore:
        """Make a state, registered and audited."""


@dataclass(frozen=True)
class Surroundings:
    """What transfers need of their host."""

    files: Files
    entropy: Entropy
    clock: Callable[[], float]
    audit: Audit
    keys: KeySource
    cost: Cost
    locate: Callable[[UUID | str], tuple[UUID, str, Place]]
    """Gives UUID, name and place of a state, or raises UnknownState."""
    create: Creator
    check_revertible: Callable[[UUID], None]
    """Raises RevertRefused."""
    word: Callable[[UUID], tuple[Vm, bytes]]
    """Gives what a state says of its VM, and the id of its key."""
    check_key: Callable[[UUID, str, str, bytes], None]
    """Raises StreamKeyRefused, or KeyMissing, unless a key may have sealed what comes of a VM's state."""


class Transfers:
    """The states of a host that leave and come; `Host.transfers`."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._host = surroundings

    def __repr__(self) -> str:
        return "Transfers()"

    def export(self, vm: UUID | str, out: Path, passphrase: bytes | None = None) -> BundleReport:
        """
        Write the newest generation of a state, which may be in use, to a bundle that must not exist yet.

        Without a passphrase it is encrypted under the provider's key.
        The file is read back and opened before this returns.
        """
        host = self._host
        uuid, name, place = host.locate(vm)
        with host.audit.entry("export", begun=True, vm=uuid, name=name, path=out.absolute()) as facts:
            record, blobs = self._newest(uuid, place)
            header = record.header
            facts |= {"provider": header.provider, "kdk_id": header.kdk_id.hex()}
            facts |= {"generation": header.generation}
            bundle = Bundle(
                uuid,
                name,
                header.provider,
                header.kdk_id,
                header.incarnation,
                header.generation,
                timestamp(host.clock()),
                host_name(),
                blobs,
            )
            content = write_bundle(bundle, host.keys, passphrase, cost=host.cost, entropy=host.entropy)
            try:
                create_file(host.files, out, [content]).close()
            except FileExistsError:
                raise BundleExists(out) from None
            host.files.flush_directory(out.parent)
            return self.test(out, passphrase)

    def test(self, path: Path, passphrase: bytes | None = None) -> BundleReport:
        """Open a bundle and forget its content: what says that it will open when it is needed."""
        bundle, by_passphrase = self._open(path, passphrase)
        return BundleReport.of(path, bundle, by_passphrase=by_passphrase)

    def bundles_under(self, kdk_ids: Collection[bytes]) -> list[Path]:
        """
        Return the bundles, made on this host and still where they were written, that only these keys open.

        What was copied or moved elsewhere is not known.
        """
        wanted = {kdk_id.hex() for kdk_id in kdk_ids}
        exported = [entry for entry in self._host.audit.entries() if entry["op"] == "export"]
        paths = {Path(str(entry.get("path"))) for entry in exported if entry.get("kdk_id") in wanted}
        found = []
        for path in sorted(paths):
            with suppress(OSError, NvstoreError):  # it is gone, or is something else by now
                kdk_id = needed_by(read_file(self._host.files, path), path)
                if kdk_id in wanted:
                    found.append(path)
        return found

    def import_state(
        self,
        path: Path,
        passphrase: bytes | None = None,
        *,
        vm: UUID | None = None,
        name: str | None = None,
        provider: str | None = None,
        allow_unverified: bool = False,
    ) -> FileStore:
        """
        Make the state of a bundle a state of this host, under a provider of this host, and leave it open.

        StateExists where the VM has a state; KeyMissing if the bundle is under a provider that is not here.
        """
        bundle, _ = self._open(path, passphrase)
        lineage = f"bundle of VM {bundle.vm}, generation {bundle.generation}, exported {bundle.exported}"
        return self._host.create(
            vm or bundle.vm,
            name or bundle.name,
            bundle.blobs,
            provider,
            "import",
            allow_unverified=allow_unverified,
            lineage=f"{lineage} on {bundle.host}",
        )

    def clone(
        self,
        origin: UUID | str,
        vm: UUID,
        name: str,
        how: str,
        change: Change,
        *,
        provider: str | None = None,
        allow_unverified: bool = False,
    ) -> FileStore:
        """Make the state of a new VM of another one, which may be in use; `how` names what `change` does."""
        uuid, origin_name, place = self._host.locate(origin)
        record, blobs = self._newest(uuid, place)
        lineage = f"{how} of VM {origin_name} ({uuid}), generation {record.header.generation}"
        return self._host.create(
            vm,
            name,
            change(blobs),
            provider or record.header.provider,
            "clone",
            allow_unverified=allow_unverified,
            lineage=lineage,
        )

    def revert(self, vm: UUID | str, path: Path, passphrase: bytes | None = None, *, reason: str) -> int:
        """
        Put the content of a bundle of this VM in force as its next generation; return its number.

        RevertRefused: the policy of the VM forbids it. BundleOfOther: the bundle is of another VM.
        """
        host = self._host
        uuid, name, place = host.locate(vm)
        with host.audit.entry("revert", vm=uuid, name=name, path=path.absolute(), reason=reason) as facts:
            host.check_revertible(uuid)
            bundle, _ = self._open(path, passphrase)
            if bundle.vm != uuid:
                raise BundleOfOther(path, bundle.vm, uuid)
            with FileStore.open(place, uuid, host.keys) as store:
                store.commit({**dict.fromkeys(store.load()), **bundle.blobs})
                facts |= {"from": bundle.generation, "generation": store.generation}
                facts |= {"provider": store.provider, "kdk_id": store.kdk_id.hex()}
                return store.generation

    def expect(
        self,
        vm: UUID,
        name: str,
        blobs: Mapping[str, bytes],
        provider: str | None,
        *,
        allow_unverified: bool = False,
    ) -> None:
        """Make the state of a VM that is to come, with what its user notes of that."""
        self._host.create(vm, name, blobs, provider, "expect", allow_unverified=allow_unverified).close()

    def amend(
        self, vm: UUID | str, operation: str, change: Amendment, reason: str | None = None, **more: Any
    ) -> None:
        """
        Change a state that nobody has open, and note it under a name, with `more`; Locked where somebody has.

        What changes nothing is not noted.
        """
        host = self._host
        uuid, name, place = host.locate(vm)
        with FileStore.open(place, uuid, host.keys) as store:
            if not (changes := change(store.load(), (store.incarnation, store.generation + 1))):
                return
            with host.audit.entry(operation, vm=uuid, name=name, reason=reason, **more) as facts:
                store.commit(changes)
                facts |= {"provider": store.provider, "generation": store.generation}

    def wrap(self, vm: UUID, content: bytes) -> bytes:
        """
        Seal a part of a VM's state that leaves with it, under its provider's current key.

        The state itself says which provider, and what its policy is.
        """
        known, kdk_id = self._host.word(vm)
        current = self._host.keys.current(known.provider)
        check_succession(self._host.keys, known.provider, kdk_id, current)
        return seal_part(self._host.keys, known.provider, vm, Part(content, not known.reverts, host_name()))

    @staticmethod
    def is_wrapped(octets: bytes) -> bool:
        """Tell whether these octets are what `wrap` gives."""
        return is_sealed(octets)

    def unwrap(self, vm: UUID, octets: bytes) -> Part:
        """
        Open a part of a VM's state that came with it; KeyMissing names the key that is not here.

        Its header names a key, and does not choose: StreamKeyRefused unless that is one of the provider of
        the state on this host.
        """
        named, kdk_id = key_of(octets)
        try:
            self._host.locate(vm)
            provider = self._host.word(vm)[0].provider
        except UnknownState:
            provider = ""
        self._host.check_key(vm, provider, named, kdk_id)
        return open_part(self._host.keys, vm, octets)

    def _newest(self, vm: UUID, place: Place) -> tuple[Record, dict[str, bytes]]:
        found = find_current(place, vm, self._host.keys)
        return found.record, found.blobs.as_dict()

    def _open(self, path: Path, passphrase: bytes | None) -> tuple[Bundle, bool]:
        try:
            octets = read_file(self._host.files, path)
        except FileNotFoundError:
            raise BundleMissing(path) from None
        by_passphrase = is_under_passphrase(octets, path)
        return open_bundle(octets, path, self._host.keys, passphrase), by_passphrase
