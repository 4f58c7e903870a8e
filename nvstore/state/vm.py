"""
What is noted of a VM besides its TPM: its name, its provider, and what the operator allowed.

The state itself holds it, encrypted and authenticated (see `metadata`), and its word counts.
The file of a registration is an index of that, to find a state by its name, and without a key.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from nvstore.document import BadDocument, pretty, read_document
from nvstore.errors import BadName, CorruptState

FORMAT: Final = "nvstore vm"


@dataclass(frozen=True)
class Vm:
    """The registration of one VM."""

    uuid: UUID
    name: str
    provider: str
    created: str
    allow_unverified: bool = False
    reverts: bool = True
    """An operator may put an older generation in force."""
    group: str = ""
    """The group of VMs to which it belongs, whose default provider it was made under."""
    lineage: str = ""
    """Where the state came from, if it was not made here from nothing."""
    anchor: str = ""
    """The TCTI of the TPM that remembers the state, if one does."""
    anchored_since: int = 0
    """The generation since which it does."""

    def fields(self) -> dict[str, Any]:
        """Return all but the UUID, as documents have it."""
        return {name: value for name, value in vars(self).items() if name != "uuid"}

    def differences(self, other: "Vm") -> list[str]:
        """Return the names of the fields in which another registration differs."""
        return [name for name, value in vars(self).items() if getattr(other, name) != value]

    def encode(self) -> bytes:
        """Return the content of its file."""
        return pretty(FORMAT, {**vars(self), "uuid": str(self.uuid)})


def read_vm(octets: bytes, path: object) -> Vm:
    """Return the registration of a file, or raise CorruptState."""
    try:
        document = read_document(octets, FORMAT)
        return vm_of(UUID(str(document["uuid"])), document)
    except BadDocument as error:
        raise CorruptState(path, str(error)) from None
    except (KeyError, TypeError, ValueError):
        raise CorruptState(path, "fields are missing or malformed") from None


def vm_of(vm: UUID, document: Mapping[str, Any]) -> Vm:
    """Return the registration that a document has; KeyError, TypeError or ValueError if it has none."""
    name, provider, created = (str(document[field]) for field in ("name", "provider", "created"))
    return Vm(
        vm,
        name,
        provider,
        created,
        allow_unverified=bool(document["allow_unverified"]),
        reverts=bool(document.get("reverts", True)),
        group=str(document.get("group", "")),
        lineage=str(document.get("lineage", "")),
        anchor=str(document.get("anchor", "")),
        anchored_since=int(document.get("anchored_since", 0)),
    )


def check_vm_name(name: str) -> None:
    """Raise BadName unless this can be the name of a VM, and of a file made after it."""
    fits = (
        0 < len(name.encode()) <= 200 and name.isprintable() and "/" not in name and not name.startswith(".")
    )
    if not fits:
        raise BadName("VM", name, "use 1 to 200 octets, no slash or control character, no dot in front")
    try:
        UUID(name)
    except ValueError:
        return
    raise BadName("VM", name, "it reads as a UUID: choose another name")


@dataclass(frozen=True)
class StateStatus:
    """A state, as an operator wants to see it; no key is needed to tell this."""

    vm: UUID
    name: str
    provider: str
    kdk_id: str
    generation: int
    written: str
    size: int
    records: int
    owner: str
    problem: str
    """The code of the error with which opening would end, as far as it shows without a key; or empty."""
    warnings: tuple[str, ...]
    lineage: str = ""
    """Where it came from, if it was not made here from nothing."""
    freshness: str = ""
    """What an older state would be recognized by."""

    def to_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {**vars(self), "vm": str(self.vm), "warnings": list(self.warnings)}

    def lines(self) -> list[str]:
        """Return it for people; warnings come last, one a line."""
        written = self.written or "never written"
        lines = [
            f"VM {self.name} ({self.vm})",
            f"  provider   {self.provider}, key {self.kdk_id or 'unknown'}",
            f"  generation {self.generation}, {written}, {self.records} kept, {self.size} octets",
            f"  in use by  {self.owner or 'nobody'}",
        ]
        return lines + [f"  warning    {warning}" for warning in self.warnings]
