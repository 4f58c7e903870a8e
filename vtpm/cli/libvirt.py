"""`vtpm attach`, `detach` and `status`: the TPMs of libvirt's domains."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import UUID

import click

from vtpm.cli.access import access_problem
from vtpm.cli.errors import explained
from vtpm.cli.handover import note_key
from vtpm.cli.passphrase import passphrase_of, passphrase_options
from vtpm.cli.place import Place
from vtpm.cli.profile_choice import profile_option
from vtpm.cli.provisioning import DEFAULT_KEYS, Wishes, manufactured, provisioning_options
from vtpm.cli.vm import as_json_option, check_socket_name, looked_after, tell, unlock

if TYPE_CHECKING:
    from nvstore import Host
    from vtpm.libvirt.attachment import EmulatorState
    from vtpm.libvirt.definition import Definition
    from vtpm.libvirt.hypervisor import Domain, Hypervisor

SYSTEM_STATES: Final = Path("/var/lib/libvirt/swtpm")
"""Where the libvirt of the system keeps the states of its emulators, and below it <uuid>/tpm2."""

STATES: Final = "states"
"""Where the programs in swtpm's place keep what they have, in such a directory."""

F = TypeVar("F", bound=Callable[..., Any])


def making_options(command: F) -> F:
    """The options that say how a TPM is made where there is none."""
    for option in (
        passphrase_options,
        click.option("--allow-unverified", is_flag=True, help="Accept a provider without a verified backup."),
        provisioning_options,
        profile_option,
        click.option("--group", default="", help="The group of VMs whose default provider it is made under."),
        click.option("--provider", help="The key provider of a new TPM; the default one if it is not given."),
    ):
        command = option(command)
    return command


connect_option = click.option(
    "--connect", "uri", metavar="URI", help="The libvirt to use, such as qemu:///session."
)
dry_run_option = click.option("--dry-run", is_flag=True, help="Only show what would change.")


@dataclass(frozen=True)
class Making:
    """How a TPM is made where there is none: what `making_options` have given."""

    provider: str | None
    group: str
    profile_name: str
    banks: str | None
    platform: str
    passphrase_file: Path | None
    passphrase_fd: int | None
    provision: bool
    allow_unverified: bool
    keys: tuple[str, ...] = DEFAULT_KEYS
    tool: Path | None = None

    def make(self, place: Place, host: "Host", name: str, uuid: UUID) -> None:
        """Make the TPM of a domain, and have a daemon serve it."""
        from vtpm.daemon.admin import ask  # noqa: PLC0415 - help needs no daemon

        provider = self.provider or host.providers.default_of(self.group)
        unlock(host, provider, passphrase_of(self.passphrase_file, self.passphrase_fd))
        wishes = Wishes(
            self.banks, self.keys, self.platform, self.provision, provider, self.allow_unverified, self.tool
        )
        blobs = manufactured(place, host, name, self.profile_name, wishes)
        host.create_state(
            uuid, name, blobs, provider=provider, allow_unverified=self.allow_unverified, group=self.group
        ).close()
        ask(place.run_dir, "rescan")


@click.command(short_help="Give a domain of libvirt a TPM.")
@click.argument("domain", required=False)
@click.option(
    "--file",
    "file",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help="Change the definition in this file instead, and print it: for `virsh create`.",
)
@click.option("--name", help="The name of a new TPM, and of its socket; the domain's if it is not given.")
@click.option(
    "--model", help="The device, such as tpm-crb or tpm-tis; the usual one of the machine if not given."
)
@connect_option
@dry_run_option
@making_options
@click.pass_obj
def attach(
    place: Place,
    /,
    domain: str | None,
    file: Path | None,
    name: str | None,
    model: str | None,
    uri: str | None,
    *,
    dry_run: bool,
    **making: Any,
) -> None:
    """
    Have the definition of DOMAIN, a name or a UUID, use a TPM of this host, which is made if there is none.

    The TPM is bound to the domain's UUID: it is kept when the domain is detached, and found again.
    A domain that runs uses it after it was shut down and started again.
    The definition of a transient domain is printed, for the next `virsh create`.
    """
    if (domain is None) is (file is None):
        raise click.UsageError("give a DOMAIN or --file")
    with explained():
        from vtpm.libvirt.definition import Definition  # noqa: PLC0415 - help needs no libvirt

        if file is not None:
            place.become_owner()
            with click.open_file(os.fspath(file)) as stream:
                text = stream.read()
            foreign = emulator_state(Definition(text), is_session=os.geteuid() != 0)
            change = Change.of(place, text, name, model, foreign=foreign)
            change.carry_out(place, Making(**making), dry_run=dry_run)
            if not dry_run:
                click.echo(change.text, nl=False)
            return
        hypervisor = connected(place, uri)
        found = hypervisor.domain(domain or "")
        attach_domain(place, hypervisor, found, name, model, Making(**making), dry_run=dry_run)


def attach_domain(
    place: Place,
    hypervisor: "Hypervisor",
    domain: "Domain",
    name: str | None,
    model: str | None,
    making: Making,
    *,
    dry_run: bool,
) -> None:
    """Make the TPM of a domain if there is none, then change the domain's definition."""
    from vtpm.libvirt.attachment import check_not_saved, remarks  # noqa: PLC0415 - help needs no libvirt

    definition = domain.definition()
    foreign = emulator_state(definition, is_session=hypervisor.is_session)
    change = Change.of(place, definition.text, name, model, foreign=foreign)
    if change.is_needed:
        check_not_saved(domain)
        hypervisor.check_external(definition)
    change.carry_out(place, making, dry_run=dry_run)
    if not dry_run and change.is_needed:
        if domain.is_persistent:
            hypervisor.define(change.text)
        else:
            click.echo(
                f"{domain.name} is transient: give this definition to its next `virsh create`", err=True
            )
            click.echo(change.text)
    for remark in remarks(domain) if change.is_needed else []:
        click.echo(remark, err=True)
    if not dry_run:
        if domain.is_persistent:
            note_key(place, domain, change.name)
        complaint = access_problem(Path(change.socket), hypervisor.user_of_guests())
        if complaint:
            click.echo(complaint, err=True)
        click.echo(
            f"{domain.name}: its TPM is {change.name}, at {change.socket}", err=not domain.is_persistent
        )


@dataclass(frozen=True)
class Change:
    """What attaching does to a definition and to this host."""

    before: "Definition"
    text: str
    name: str
    socket: str
    is_known: bool
    """Is there a TPM for this domain already?"""

    @classmethod
    def of(
        cls, place: Place, text: str, name: str | None, model: str | None, *, foreign: "EmulatorState | None"
    ) -> "Change":
        """The change that a definition needs; an error if it would lose something."""
        from vtpm.libvirt.attachment import check_attachable  # noqa: PLC0415 - help needs no libvirt
        from vtpm.libvirt.definition import Definition  # noqa: PLC0415

        definition = Definition(text)
        known = known_name(place.host(), definition.uuid)
        if known and name not in {None, known}:
            raise click.UsageError(f"--name {name}: the TPM of {definition.name} is called {known}")
        chosen = known or name or definition.name
        check_socket_name(chosen)
        socket = str(socket_of(place, chosen))
        check_attachable(definition, chosen, socket, foreign, is_known=bool(known))
        return cls(definition, definition.with_socket(socket, model), chosen, socket, bool(known))

    @property
    def is_needed(self) -> bool:
        """Does the definition change?"""
        return self.text != self.before.text

    def carry_out(self, place: Place, making: Making, *, dry_run: bool) -> None:
        """Make the TPM if there is none, or say what would be done."""
        from vtpm.libvirt.definition import difference  # noqa: PLC0415 - help needs no libvirt

        if not dry_run:
            if not self.is_known:
                making.make(place, place.host(), self.name, self.before.uuid)
            return
        what = "is kept" if self.is_known else "would be made"
        click.echo(f"the TPM {self.name} {what}, for {self.before.uuid}", err=True)
        shown = difference(self.before.name, self.before.text, self.text)
        click.echo(shown or f"the definition of {self.before.name} stays as it is")


@click.command(short_help="Take the TPM from a domain of libvirt.")
@click.argument("domain")
@connect_option
@dry_run_option
@click.pass_obj
def detach(place: Place, domain: str, uri: str | None, *, dry_run: bool) -> None:
    """Remove the TPM from the definition of DOMAIN; the TPM itself is kept, for it to be attached again."""
    with explained():
        from vtpm.libvirt.attachment import (  # noqa: PLC0415 - help needs no libvirt
            check_detachable,
            check_not_saved,
            remarks,
        )
        from vtpm.libvirt.definition import difference  # noqa: PLC0415

        hypervisor = connected(place, uri)
        found = hypervisor.domain(domain)
        definition = found.definition()
        name = known_name(place.host(), definition.uuid) or definition.name
        check_detachable(definition, str(socket_of(place, name)))
        if not found.is_persistent:
            raise click.ClickException(f"{found.name} is transient: leave <tpm> out of its next definition")
        check_not_saved(found)
        text = definition.without_tpm()
        if dry_run:
            click.echo(difference(found.name, definition.text, text))
            return
        hypervisor.define(text)
    for remark in remarks(found):
        click.echo(remark, err=True)
    click.echo(f"{found.name}: has no TPM; the TPM {name} is kept until `vtpm delete {name}`")


@click.command(short_help="Show the TPM of a domain of libvirt.")
@click.argument("domain")
@connect_option
@as_json_option
@click.pass_obj
def status(place: Place, domain: str, uri: str | None, *, as_json: bool) -> None:
    """Show what DOMAIN is defined with, what its run has, and whether its TPM can be reached."""
    with explained():
        hypervisor = connected(place, uri)
        facts = facts_of(place, hypervisor, hypervisor.domain(domain))
    tell(facts, as_json=as_json)
    if facts["problems"]:
        raise click.exceptions.Exit(1)


def facts_of(place: Place, hypervisor: "Hypervisor", domain: "Domain") -> dict[str, Any]:
    """What is known of a domain and its TPM, and what is wrong with it."""
    from vtpm.daemon.guests import REMEDY  # noqa: PLC0415 - help needs no daemon

    host, definition, running = place.host(), domain.definition(), domain.running_definition()
    name = known_name(host, domain.uuid)
    socket = socket_of(place, name or domain.name)
    defined = definition.tpm
    is_ours = defined is not None and defined.socket == str(socket)
    problems = []
    all_served, lost = looked_after(place)
    served = all_served.get(name or "", {})
    if name in lost:
        problems.append(f"{lost[name].complaint}; {lost[name].remedy}")
    elif is_without_tpm(running, socket, served):
        problems.append(f"it runs without its TPM, to which it has no connection; {REMEDY}")
    if is_ours and name is None:
        problems.append(f"there is no TPM for {domain.uuid}: attach it")
    if name is not None:
        known = host.show_state(name)
        if known.problem:
            problems.append(f"the state of {name}: {known.problem}; see `vtpm state verify {name}`")
        if custody := custody_problem(host, name):
            problems.append(custody)
        if is_ours and not served:
            problems.append(
                f"{name} is not served, though a daemon runs: look into its log"
                if all_served
                else f"{name} is not served: start `vtpm serve`"
            )
    complaint = access_problem(socket, hypervisor.user_of_guests()) if is_ours and served else ""
    return {
        "domain": domain.name,
        "uuid": str(domain.uuid),
        "persistent": domain.is_persistent,
        "running": domain.is_active,
        "defined": described(definition),
        "in_its_run": described(running) if running else None,
        "tpm": name,
        "generation": host.show_state(name).generation if name else None,
        "socket": str(socket) if name else None,
        "connected": served.get("connected"),
        "problems": [*problems, complaint] if complaint else problems,
    }


def is_without_tpm(running: "Definition | None", socket: Path, served: dict[str, Any]) -> bool:
    """Does a run have a TPM by its definition, which no daemon has a connection for?"""
    tpm = None if running is None else running.tpm
    return tpm is not None and tpm.socket == str(socket) and not served.get("connected")


def custody_problem(host: "Host", name: str) -> str:
    """Why a TPM would not start from what is stored here; empty if it would, or if its key is needed."""
    from nvstore import NvstoreError  # noqa: PLC0415 - help needs no store
    from vtpm.daemon.device.custody import custody_of  # noqa: PLC0415
    from vtpm.daemon.errors import DeviceError  # noqa: PLC0415

    try:
        custody_of(host.read_state(name)).check_start()
    except NvstoreError:  # what is wrong with the state itself is told apart
        return ""
    except DeviceError as error:
        return str(error)
    return ""


def described(definition: "Definition") -> str:
    """The TPM of a definition, in a line."""
    tpm = definition.tpm
    if tpm is None:
        return "no TPM"
    return f"{tpm.model}, {tpm.backend}{' at ' + tpm.socket if tpm.socket else ''}"


def connected(place: Place, uri: str | None) -> "Hypervisor":
    """A connection to libvirt, made with the rights that only root may have."""
    from vtpm.libvirt.hypervisor import Hypervisor  # noqa: PLC0415 - help needs no libvirt

    hypervisor = Hypervisor(uri)
    place.become_owner()
    return hypervisor


def known_name(host: "Host", uuid: UUID) -> str | None:
    """The name of the TPM that is bound to a UUID, if there is one."""
    from nvstore import UnknownState  # noqa: PLC0415 - help needs no store

    try:
        return host.show_state(uuid).name
    except UnknownState:
        return None


def socket_of(place: Place, name: str) -> Path:
    """The control socket of a TPM, as a definition names it."""
    return place.run_dir.absolute() / f"{name}.sock"


def emulator_state(definition: "Definition", *, is_session: bool) -> "EmulatorState | None":
    """What libvirt's emulator keeps of this domain, if it does."""
    from vtpm.libvirt.attachment import EmulatorState  # noqa: PLC0415 - help needs no libvirt

    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    states = config / "libvirt/qemu/swtpm" if is_session else SYSTEM_STATES
    tpm = definition.tpm
    directory = Path(tpm.state) if tpm and tpm.state else states / str(definition.uuid) / "tpm2"
    if directory.is_file():
        return EmulatorState(str(directory), is_ours=False)
    if not directory.is_dir() or not any(directory.iterdir()):
        return None
    return EmulatorState(str(directory), is_ours=(directory / STATES).is_dir())
