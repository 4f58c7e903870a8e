"""What must hold before a domain gets a TPM of this host, or loses it, so that nothing sealed is lost."""

from dataclasses import dataclass

from vtpm.libvirt.definition import EMULATOR, EXTERNAL, Definition, DefinitionError
from vtpm.libvirt.hypervisor import Domain


@dataclass(frozen=True)
class EmulatorState:
    """What an emulator of libvirt's keeps for a domain: a directory or a file."""

    path: str
    is_ours: bool
    """Do the programs in swtpm's place keep it? What swtpm has left beside it is older, then."""

    def how_to_import(self, definition: Definition, name: str) -> str:
        """The commands that take it over as the TPM of a domain."""
        tpm, uuid = definition.tpm, definition.uuid
        if self.is_ours:
            return (
                f"`vtpm --state-dir {self.path} state export tpm --out FILE --passphrase-file P`, as the "
                "user who owns it, and "
                f"`vtpm state import FILE --name {name} --uuid {uuid} --passphrase-file P`"
            )
        key = " --pwdfile FILE` (of `virsh secret-get-value`)" if tpm and tpm.is_encrypted else "`"
        return f"`vtpm import-swtpm {self.path} {name} --uuid {uuid}{key}"


def check_attachable(
    definition: Definition, name: str, socket: str, state: EmulatorState | None, *, is_known: bool
) -> None:
    """
    DefinitionError if a guest would find another TPM than it had.

    `is_known` says that this host has a TPM for the domain, which may have been imported from the emulator.
    """
    tpm = definition.tpm
    if tpm is None or (tpm.backend == EXTERNAL and tpm.socket == socket):
        return
    if tpm.backend == EMULATOR:
        if state is not None and not is_known:
            raise DefinitionError(
                f"the domain {definition.name} has an emulated TPM with a state, {state.path}; shut it down, "
                f"take that over with {state.how_to_import(definition, name)}, then attach it; "
                "or, if nothing depends on it, remove that state"
            )
        return
    what = f"one at {tpm.socket}" if tpm.backend == EXTERNAL else f"of the kind {tpm.backend}"
    raise DefinitionError(
        f"the domain {definition.name} has another TPM, {what}, and what is sealed to that would not open; "
        "remove its <tpm> with `virsh edit` if that is meant"
    )


def check_detachable(definition: Definition, socket: str) -> None:
    """DefinitionError if the domain has no TPM, or another than that at this socket."""
    tpm = definition.tpm
    if tpm is None:
        raise DefinitionError(f"the domain {definition.name} has no TPM; nothing has to be done")
    if tpm.backend != EXTERNAL or tpm.socket != socket:
        raise DefinitionError(
            f"the TPM of the domain {definition.name} is none of this host's daemon at {socket}; "
            "use `virsh edit` for it"
        )


def check_not_saved(domain: Domain) -> None:
    """DefinitionError if the next start goes on with a saved run, which has the device that it had."""
    if domain.has_managed_save:
        raise DefinitionError(
            f"the domain {domain.name} is saved, and its next start goes on where it was, with that TPM; "
            "start it and shut it down first"
        )


def remarks(domain: Domain) -> list[str]:
    """What an operator should know of a change to the definition of a domain."""
    told = []
    if domain.is_active:
        told.append(
            f"{domain.name} runs: its TPM changes when it is shut down and started again; a guest's reboot "
            "does not change it, for no TPM can be plugged in"
        )
    if domain.snapshots:
        told.append(
            f"{domain.name} has snapshots ({', '.join(domain.snapshots)}): one of them brings back the "
            "definition that it was taken with"
        )
    return told
