"""The named errors of nvstore: each says what is wrong, and what an operator can do about it."""

# ruff: noqa: N818  an error is called by what is wrong

from typing import ClassVar
from uuid import UUID


class NvstoreError(Exception):
    """What nvstore refuses: `code` for programs; `cause` and `remedy`, one sentence each, for people."""

    code: ClassVar[str]

    def __init__(self, cause: str, remedy: str) -> None:
        super().__init__(f"{cause}; {remedy}")
        self.cause = cause
        self.remedy = remedy


class StateError(NvstoreError):
    """A state that cannot be used as it is."""


class StateMissing(StateError):
    """The host has seen a state of this VM, and it is gone."""

    code = "state-missing"

    def __init__(self, vm: UUID, place: object, seen: int) -> None:
        was = (
            f"although this host has seen its generation {seen}"
            if seen
            else "since its creation was interrupted"
        )
        remedy = (
            "put the file back from a backup; delete and create it only if what was sealed to it may be lost"
            if seen
            else "create it again"
        )
        super().__init__(f"the state of VM {vm} is not at {place}, {was}", remedy)


class UnknownState(StateError):
    """Nothing of this name was ever created here."""

    code = "unknown-state"

    def __init__(self, vm: str) -> None:
        super().__init__(
            f"this host knows no state of a VM {vm!r}", "list the states, create it, or import it"
        )


class StateExists(StateError):
    """A state is already there, or was: it is not made anew."""

    code = "state-exists"

    def __init__(self, vm: object, found: str) -> None:
        super().__init__(
            f"VM {vm} already has {found}", "open it, or delete it first if its content may be lost"
        )


class ForeignState(StateError):
    """The state of another VM, or of an earlier VM of the same UUID."""

    code = "foreign-state"

    def __init__(self, vm: UUID, found: str) -> None:
        super().__init__(f"the file at the place of VM {vm} holds {found}", "put this VM's own file back")


class CorruptState(StateError):
    """The structure of the file is damaged: a bad medium, an incomplete copy."""

    code = "corrupt-state"

    def __init__(self, place: object, damage: str) -> None:
        super().__init__(
            f"the state at {place} is damaged: {damage}",
            "restore the file from a backup, or let repair fall back to an older generation",
        )


class AlteredState(StateError):
    """A record whose structure is whole does not authenticate: it is not what was written."""

    code = "altered-state"

    def __init__(self, place: object, generation: int, what: str) -> None:
        super().__init__(
            f"generation {generation} of the state at {place} was altered after it was written: {what}",
            "find out who wrote to the file; restore it, or let repair fall back to an older generation",
        )


class RolledBack(StateError):
    """The state is older than what this host has acknowledged."""

    code = "rolled-back"

    def __init__(self, vm: UUID, found: int, seen: int, by: str = "this host") -> None:
        super().__init__(
            f"the state of VM {vm} is generation {found}, but {by} has seen generation {seen}",
            "put the newest file back, or grant this revert if it is meant",
        )


class Forked(StateError):
    """The state was continued elsewhere: same ancestry, another history than this host's."""

    code = "forked"

    def __init__(self, vm: UUID, generation: int, how: str) -> None:
        super().__init__(
            f"generation {generation} of the state of VM {vm} is not the one this host knows: {how}",
            "decide which of the two histories is the VM's, and import that one",
        )


class SuiteRefused(StateError):
    """A format or a set of algorithms that this version does not accept."""

    code = "suite-refused"

    def __init__(self, place: object, found: str) -> None:
        super().__init__(
            f"{place} uses {found}, which this version does not accept", "use the version that wrote it"
        )


class GenerationMissing(StateError):
    """A generation that is not kept."""

    code = "generation-missing"

    def __init__(self, vm: UUID, generation: int, kept: str) -> None:
        super().__init__(
            f"generation {generation} of VM {vm} is not kept; these are: {kept}", "choose one of them"
        )


class NothingToRepair(StateError):
    """The state opens: repair would only lose what is newest."""

    code = "nothing-to-repair"

    def __init__(self, vm: UUID, generation: int) -> None:
        super().__init__(
            f"the state of VM {vm} opens at generation {generation}",
            "open it; to go back on purpose, revert it",
        )


class RevertRefused(StateError):
    """The policy of a VM forbids to revert its state."""

    code = "revert-refused"

    def __init__(self, vm: UUID) -> None:
        super().__init__(
            f"the policy of VM {vm} forbids reverts",
            f"change it with `vtpm state policy {vm} --reverts allow`; or, if one older "
            f"state is to come back, `vtpm state admit {vm} --revert --reason WHY`",
        )


class MarkMissing(StateError):
    """A state for which this host has no high-water mark, so that nothing says how new it must be."""

    code = "mark-missing"

    def __init__(self, vm: UUID, place: object) -> None:
        super().__init__(
            f"this host has no high-water mark of VM {vm} at {place}, so an old state would go unnoticed",
            "put the mark back, or adopt the state if it is known to be the newest",
        )


class MarkDamaged(StateError):
    """The high-water mark cannot be read or does not authenticate."""

    code = "mark-damaged"

    def __init__(self, place: object, damage: str) -> None:
        super().__init__(
            f"the high-water mark at {place} {damage}",
            "find out why; then adopt the state if it is known to be the newest",
        )


class AnchorMissing(StateError):
    """The TPM of this host does not remember a state that it should remember."""

    code = "anchor-missing"

    def __init__(self, vm: UUID, tcti: str) -> None:
        super().__init__(
            f"the TPM at {tcti} does not remember VM {vm}: it was cleared or replaced",
            "find out why; then anchor the state again if it is known to be the newest",
        )


class AnchorLeft(StateError):
    """The TPM of this host remembers a state that is not anchored here."""

    code = "anchor-left"

    def __init__(self, vm: UUID) -> None:
        super().__init__(
            f"the TPM of this host remembers VM {vm}, and the state here is from before it was anchored",
            "put the newest state back; or, if this is the newest: vtpm state anchor VM --off",
        )


class NameDiffers(StateError):
    """The index of this host calls a VM by another name than its state does."""

    code = "name-differs"

    def __init__(self, vm: UUID, known: str, name: str) -> None:
        super().__init__(
            f"the state of VM {vm} is that of {name!r}, and vms/{vm}.vm calls it {known!r}",
            "try again: opening it puts that file right; find out who changed it",
        )


class AnchorUnavailable(NvstoreError):
    """The TPM of this host does not do what is asked of it."""

    code = "anchor-unavailable"

    def __init__(self, tcti: str, reason: str) -> None:
        super().__init__(
            f"the TPM at {tcti} that remembers the state fails: {reason}",
            "make it accessible to this user, or remove the anchor from the VM",
        )


class TctiRefused(NvstoreError):
    """What is named as the place of a TPM is none that may be opened."""

    code = "tcti-refused"

    def __init__(self, tcti: str, variable: str) -> None:
        super().__init__(
            f"the TCTI {tcti[:80]!r} is refused: it is no TPM device of this host",
            "name a device as in device:/dev/tpmrm0; if a file holds another one, find out who wrote it; "
            f"a simulator on this host (swtpm:port=2321) must be named by {variable} in the environment, too",
        )


class Locked(NvstoreError):
    """Somebody else has it open."""

    code = "locked"

    def __init__(self, what: object, owner: str) -> None:
        super().__init__(
            f"{what} is in use by {owner or 'a process that left no record'}",
            "shut the VM down, or wait until that command is done; "
            "do not end a daemon for it, which other guests need",
        )
        self.owner = owner


class StoreUnavailable(NvstoreError):
    """A commit failed in the operating system: it was not acknowledged, the last good generation stays."""

    code = "store-unavailable"

    def __init__(self, place: object, reason: str, generation: int) -> None:
        super().__init__(
            f"a commit to {place} failed: {reason}; generation {generation} stays",
            "remove the cause; the next commit writes a new file",
        )


class StoreClosed(NvstoreError):
    """The store was used after `close` or `erase`."""

    code = "store-closed"

    def __init__(self, place: object) -> None:
        super().__init__(f"the store at {place} is closed", "open the state again")


class BundleDamaged(NvstoreError):
    """A file is no bundle, or an incomplete one."""

    code = "bundle-damaged"

    def __init__(self, place: object, damage: str) -> None:
        super().__init__(f"{place} is no usable bundle: {damage}", "use another copy, or export it again")


class BundleAltered(NvstoreError):
    """A bundle that does not authenticate."""

    code = "bundle-altered"

    def __init__(self, place: object) -> None:
        super().__init__(
            f"the bundle {place} was altered after it was written", "use another copy, or export it again"
        )


class BundleExists(NvstoreError):
    """A bundle is never overwritten."""

    code = "bundle-exists"

    def __init__(self, place: object) -> None:
        super().__init__(f"{place} exists, and may be a bundle that is still needed", "choose another file")


class BundleMissing(NvstoreError):
    """No file where the bundle should be."""

    code = "bundle-missing"

    def __init__(self, place: object) -> None:
        super().__init__(f"there is no bundle {place}", "name the file of a bundle")


class BundleOfOther(NvstoreError):
    """A VM goes back to its own state only."""

    code = "bundle-of-other"

    def __init__(self, place: object, found: UUID, wanted: UUID) -> None:
        super().__init__(
            f"the bundle {place} is of VM {found}, not of VM {wanted}",
            "name a bundle of this VM, or import the other one as a VM of its own",
        )


class PassphraseNeeded(NvstoreError):
    """A bundle under a passphrase that was not given."""

    code = "passphrase-needed"

    def __init__(self, place: object) -> None:
        super().__init__(f"the bundle {place} is encrypted under a passphrase", "give that passphrase")


class StreamDamaged(NvstoreError):
    """Octets that came with a VM are no part of a state, or an incomplete one."""

    code = "stream-damaged"

    def __init__(self, damage: str) -> None:
        super().__init__(
            f"what came of the state cannot be read: {damage}",
            "send it again from its host, or use an older save file",
        )


class StreamAltered(NvstoreError):
    """A part of a state that does not authenticate."""

    code = "stream-altered"

    def __init__(self, vm: UUID) -> None:
        super().__init__(
            f"what came of the state of VM {vm} was altered on its way",
            "send it again from its host, or use an older save file",
        )


class StreamOfOther(NvstoreError):
    """A VM goes on with its own state only."""

    code = "stream-of-other"

    def __init__(self, found: UUID, wanted: UUID) -> None:
        super().__init__(
            f"the state that came is of VM {found}, not of VM {wanted}",
            "a copy of a VM gets a TPM of its own with `vtpm state clone`",
        )


class StreamKeyRefused(NvstoreError):
    """A part of a state under a key that is none of the state's provider."""

    code = "stream-key-refused"

    def __init__(self, vm: UUID, kdk_id: bytes, why: str, remedy: str) -> None:
        super().__init__(
            f"what came of the state of VM {vm} is sealed under the key {kdk_id.hex()}, {why}", remedy
        )


class InTheClear(NvstoreError):
    """A state that came without a seal: anybody could have made it."""

    code = "in-the-clear"

    def __init__(self, vm: UUID) -> None:
        super().__init__(
            f"the state that came for VM {vm} is in the clear, so that anybody may have made it",
            "migrate from a host whose `vtpm serve` seals it; or, if it is a save file or snapshot from "
            f"before states were sealed, `vtpm state admit {vm} --in-the-clear --reason WHY`, then try again",
        )


class NotNewer(NvstoreError):
    """A state that came for one that was given away, and does not follow from it."""

    code = "not-newer"

    def __init__(self, vm: UUID) -> None:
        super().__init__(
            f"the TPM of VM {vm} went to another host with its run, and the state that was given does not "
            "follow from what was given away",
            f"go on there; or, if that is lost, `vtpm state reclaim {vm} --reason WHY` takes what is here; "
            f"after `vtpm state admit {vm} --revert --reason WHY` what was given is taken",
        )


class ArrivalFailed(NvstoreError):
    """A state that came cannot be used."""

    code = "arrival-failed"

    def __init__(self, vm: UUID, why: str) -> None:
        super().__init__(
            f"the state that came for VM {vm} cannot be used: {why}", "send it again from its host"
        )


class AuditBroken(NvstoreError):
    """The audit log was changed, or cut."""

    code = "audit-broken"

    def __init__(self, place: object, line: int, why: str) -> None:
        super().__init__(
            f"line {line} of {place} is wrong: {why}",
            "compare it with a copy; then `vtpm audit restart --reason TEXT` keeps it aside as evidence, "
            "and begins another log",
        )


class AuditFailed(NvstoreError):
    """An operation was done and could not be noted."""

    code = "audit-failed"

    def __init__(self, place: object, operation: str, reason: str) -> None:
        super().__init__(
            f"{operation} is done, but could not be noted in {place}: {reason}", "remove the cause"
        )


class AuditIntact(NvstoreError):
    """An audit log that is whole was to be put aside."""

    code = "audit-intact"

    def __init__(self, place: object, lines: int) -> None:
        super().__init__(f"the {lines} lines of {place} are intact", "go on with it: it is bounded by itself")


class AuditUnwritable(NvstoreError):
    """An operation was not begun, since it could not have been noted."""

    code = "audit-unwritable"

    def __init__(self, place: object, operation: str, reason: str) -> None:
        super().__init__(
            f"{operation} was not begun: it cannot be noted in {place}: {reason}",
            "make room or mend the disk, then try again",
        )


class UnsafeFile(NvstoreError):
    """A file or directory that others can read or replace."""

    code = "unsafe-file"

    def __init__(self, place: object, why: str, remedy: str) -> None:
        super().__init__(f"{place} {why}", remedy)


class BadName(NvstoreError):
    """A name that cannot be used."""

    code = "bad-name"

    def __init__(self, what: str, name: str, rule: str) -> None:
        super().__init__(f"{name!r} is no name for a {what}", rule)
