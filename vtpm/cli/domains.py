"""`vtpm libvirt watch` and `hook`: TPMs that come, get another name and go with their domains."""

import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import click

from vtpm.cli.errors import explained
from vtpm.cli.handover import expect_tpm, note_custody, note_key
from vtpm.cli.libvirt import (
    Making,
    connect_option,
    connected,
    emulator_state,
    known_name,
    making_options,
    socket_of,
)
from vtpm.cli.place import Place
from vtpm.cli.vm import check_socket_name, remove
from vtpm.daemon.readiness import tell_ready

if TYPE_CHECKING:
    from vtpm.libvirt.definition import Definition
    from vtpm.libvirt.hypervisor import Domain, Event, Hypervisor

log = logging.getLogger(__name__)

COMES: Final = ("migrate", "restore")
"""The operations of libvirt's hook that come before the start of a QEMU that goes on with a run."""


@click.group("libvirt", short_help="Let TPMs come and go with libvirt's domains.")
def libvirt() -> None:
    """Let TPMs come and go with libvirt's domains."""


@libvirt.command()
@connect_option
@click.option(
    "--delete", is_flag=True, help="Delete the TPM of a domain that is undefined; it is kept otherwise."
)
@making_options
@click.pass_obj
def watch(place: Place, /, uri: str | None, *, delete: bool, **making: Any) -> None:
    """
    Follow what happens to domains until a signal, or the end of libvirt, ends it.

    A domain whose definition names a socket of this host's daemon gets the TPM of that name if it has none.
    A domain that is renamed takes its TPM with it, if that has its name.
    A TPM whose domain was migrated to another host is started here no more, until it comes back.
    Libvirt tells nobody whether `virsh undefine` was given --keep-tpm: without --delete every TPM is kept.
    """
    logging.basicConfig(format="vtpm: %(message)s", level=logging.INFO)
    ended: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: ended.append(received))
    with explained():
        from vtpm.libvirt.hypervisor import prepare_events  # noqa: PLC0415 - help needs no libvirt

        prepare_events()
        hypervisor = connected(place, uri)
        watcher = Watcher(place, hypervisor, Making(**making), deletes=delete)
        hypervisor.watch(watcher.take, lambda: bool(ended), watcher.begin)


MOVED: Final = {"went": "give-away", "came": "keep"}
"""What becomes of a TPM when the run of its domain has moved."""


class Watcher:
    """What is done about the domains of a hypervisor."""

    def __init__(self, place: Place, hypervisor: "Hypervisor", making: Making, *, deletes: bool) -> None:
        self._place, self._hypervisor, self._making, self._deletes = place, hypervisor, making, deletes
        self._former: dict[UUID, str] = {}
        """The former names of domains that are being renamed."""

    def begin(self) -> None:
        """Look after what is there already."""
        for domain in self._hypervisor.domains():
            self._tried(domain.name, self._ensure, domain)
        click.echo("ready")
        tell_ready()

    def take(self, event: "Event") -> None:
        """Look after one event; what goes wrong is reported and does not end the watch."""
        if event.kind == "former name":
            self._former[event.uuid] = event.name
        elif event.kind == "undefined":
            self._tried(event.name, self._undefined, event)
        elif event.kind in MOVED:
            self._tried(event.name, self._moved, event)
        else:
            domain = self._hypervisor.find(event.uuid)
            if domain is not None and event.kind == "renamed":
                self._tried(domain.name, self._renamed, domain)
            if domain is not None:
                self._tried(domain.name, self._ensure, domain)

    def _tried(self, name: str, act: Any, *arguments: Any) -> None:
        try:
            with explained():
                act(*arguments)
        except click.ClickException as error:
            log.error("%s: %s", name, error.format_message())  # noqa: TRY400 - the operator's to mend

    def _ensure(self, domain: "Domain") -> None:
        definition = domain.definition()
        if ensure(self._place, definition, self._making, is_session=self._hypervisor.is_session):
            log.info("%s: its TPM was made", domain.name)
        name = named(self._place, definition)
        if name is not None:
            note_key(self._place, domain, name)

    def _moved(self, event: "Event") -> None:
        name, domain = known_name(self._place.host(), event.uuid), self._hypervisor.find(event.uuid)
        if name is None or (domain is not None and named(self._place, domain.definition()) != name):
            return
        note_custody(self._place, self._place.host(), name, MOVED[event.kind])
        log.info("%s: its TPM %s %s", event.name, name, event.kind)

    def _renamed(self, domain: "Domain") -> None:
        former, name = self._former.pop(domain.uuid, ""), known_name(self._place.host(), domain.uuid)
        definition = domain.definition()
        tpm = definition.tpm
        if name is None or name != former or tpm is None or tpm.socket != str(socket_of(self._place, former)):
            return
        rename_tpm(self._place, former, domain.name)
        self._hypervisor.define(definition.with_socket(str(socket_of(self._place, domain.name))))
        log.info("%s: its TPM, %s until now, has its name", domain.name, former)

    def _undefined(self, event: "Event") -> None:
        name = known_name(self._place.host(), event.uuid)
        if name is None or self._hypervisor.find(event.uuid) is not None:
            return
        if not self._deletes:
            log.info("%s: was undefined; its TPM %s is kept until `vtpm delete %s`", event.name, name, name)
            return
        remove(self._place, name)
        log.info("%s: was undefined; its TPM %s was deleted", event.name, name)


@libvirt.command()
@click.argument("domain")
@click.argument("operation")
@click.argument("arguments", nargs=-1)
@making_options
@click.pass_obj
def hook(place: Place, /, domain: str, operation: str, arguments: tuple[str, ...], **making: Any) -> None:
    """
    Be the hook of libvirt's QEMU driver: called at a start and an end, with the definition at standard input.

    Before a start, the TPM that the definition names is made if there is none, and must be served;
    before a run comes from another host, the key of its TPM must be here:
    otherwise the start is refused, with a message that libvirt reports.
    After a run went to another host, its TPM is started here no more.
    """
    del arguments
    text = sys.stdin.read()
    if operation not in {*COMES, "prepare", "stopped"}:
        return
    with explained():
        from vtpm.libvirt.definition import Definition  # noqa: PLC0415 - help needs no libvirt

        status = status_of_run(domain) if operation == "stopped" else b""
        place.become_owner()
        definition, chosen = Definition(text), Making(**making)
        name = named(place, definition)
        if name is None:
            return
        if operation == "stopped":
            end(place, name, status)
        elif operation in COMES:
            provider, key = definition.key or (chosen.provider or "", "")
            vm, unverified = str(definition.uuid), chosen.allow_unverified
            expect_tpm(place, vm=vm, name=name, provider=provider, key=key, allow_unverified=unverified)
        else:
            ensure(place, definition, chosen, is_session=os.geteuid() != 0)
            if not socket_of(place, name).is_socket():
                raise click.ClickException(f"the TPM {name} of {domain} is not served; start `vtpm serve`")


def status_of_run(domain: str) -> bytes:
    """What libvirt keeps of a run until its hook was called for its end; nothing if it keeps none."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    place = Path("/run/libvirt/qemu") if os.geteuid() == 0 else Path(runtime) / "libvirt/qemu/run"
    try:
        return (place / f"{domain}.xml").read_bytes()
    except FileNotFoundError:
        return b""


def end(place: Place, name: str, status: bytes) -> None:
    """Do with a TPM what the end of its domain's run asks for."""
    from vtpm.daemon.admin import ask  # noqa: PLC0415 - help needs no daemon
    from vtpm.libvirt.job import ENDED, NEVER_CAME, WENT, end_of_run  # noqa: PLC0415 - help needs no libvirt

    way = end_of_run(status) if status else ENDED
    if way == NEVER_CAME:
        ask(place.run_dir, "withdraw", name=name)
    else:
        note_custody(place, place.host(), name, "give-away" if way == WENT else "keep")


def named(place: Place, definition: "Definition") -> str | None:
    """The TPM that a definition names by its socket, if that is one of this host's."""
    tpm = definition.tpm
    path = Path(tpm.socket) if tpm is not None and tpm.socket else None
    if path is None or path != socket_of(place, path.stem):
        return None
    return path.stem


def ensure(place: Place, definition: "Definition", making: Making, *, is_session: bool) -> bool:
    """
    Make the TPM that a definition names, if there is none; was one made?

    ClickException where the domain has another one, or an emulator's state that would be left behind.
    """
    name = named(place, definition)
    if name is None:
        return False
    host, uuid = place.host(), definition.uuid
    known = known_name(host, uuid)
    if known == name:
        return False
    if known is not None:
        raise click.ClickException(
            f"its definition names the socket of {name}, but its TPM is {known}; attach it again"
        )
    foreign = emulator_state(definition, is_session=is_session)
    if foreign is not None:
        raise click.ClickException(
            f"{foreign.path} holds the TPM that it had; take that over with "
            f"{foreign.how_to_import(definition, name)}"
        )
    making.make(place, host, name, uuid)
    return True


def rename_tpm(place: Place, former: str, name: str) -> None:
    """Give the TPM of a VM that is off another name."""
    from nvstore import ProviderLocked  # noqa: PLC0415 - help needs no store
    from vtpm.daemon.admin import ask  # noqa: PLC0415 - help needs no daemon

    check_socket_name(name)
    ask(place.run_dir, "release", name=former)
    try:
        place.host().rename(former, name)
    except ProviderLocked:  # the daemon may have the key
        ask(place.run_dir, "rescan")
        if ask(place.run_dir, "note", name=former, what="name", value=name) is not True:
            raise
    finally:
        ask(place.run_dir, "rescan")
