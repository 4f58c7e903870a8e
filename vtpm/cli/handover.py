"""`vtpm state offer`, `expect`, `admit` and `reclaim`: TPMs that go to another host with a run."""

import json
from typing import TYPE_CHECKING, Any, TextIO

import click

from vtpm.cli.errors import explained
from vtpm.cli.passphrase import passphrase_of, passphrase_options
from vtpm.cli.place import Place
from vtpm.cli.vm import unlock

if TYPE_CHECKING:
    from pathlib import Path

    from nvstore import Host
    from vtpm.libvirt.hypervisor import Domain

MEMBERS = ("vm", "name", "provider", "key")
"""What an offer has."""


@click.command(short_help="Tell another host of a TPM that is to come.")
@click.argument("vm")
@click.option("--provider", help="The key provider that the passphrase unlocks.")
@passphrase_options
@click.pass_obj
def offer(
    place: Place,
    vm: str,
    provider: str | None,
    passphrase_file: "Path | None",
    passphrase_fd: int | None,
) -> None:
    """
    Print what another host must know to expect the TPM of a VM; it holds no secret.

        vtpm state offer GUEST | ssh HOST vtpm state expect
    """
    with explained():
        from vtpm.daemon.handover import offer_of  # noqa: PLC0415 - help needs no store

        host = place.host()
        unlock(host, provider, passphrase_of(passphrase_file, passphrase_fd))
        click.echo(json.dumps(offer_of(host, vm)))


@click.command(short_help="Expect a TPM that another host has offered.")
@click.argument("file", type=click.File(), default="-")
@click.option("--dry-run", is_flag=True, help="Only say whether it could be opened here.")
@click.option("--allow-unverified", is_flag=True, help="Accept a provider without a verified backup.")
@click.option(
    "--in-the-clear", is_flag=True, help="Admit, once and within an hour, a state that comes without a seal."
)
@click.pass_obj
def expect(place: Place, file: TextIO, *, dry_run: bool, allow_unverified: bool, in_the_clear: bool) -> None:
    """
    Prepare for a TPM that comes with the run of its VM: check that its key is here, and serve its socket.

    The hook of libvirt does this by itself.
    """
    try:
        offered = json.load(file)
        chosen = {member: str(offered[member]) for member in MEMBERS}
    except (ValueError, KeyError, TypeError):
        raise click.ClickException("this is no offer; give what `vtpm state offer` prints") from None
    with explained():
        how = {"dry_run": dry_run, "allow_unverified": allow_unverified, "in_the_clear": in_the_clear}
        socket = expect_tpm(place, **chosen, **how)
    click.echo(f"{chosen['name']}: " + ("could come" if dry_run else f"is expected at {socket}"))


@click.command(short_help="Admit one state that would be refused when it comes.")
@click.argument("vm")
@click.option("--in-the-clear", is_flag=True, help="One without a seal, as in save files of before.")
@click.option(
    "--revert", is_flag=True, help="One that does not follow from what is here, whatever the policy."
)
@click.option("--reason", required=True, help="Why; it is noted in the audit log.")
@click.option("--minutes", type=int, default=60, show_default=True, help="How long it is admitted.")
@click.option("--provider", help="The key provider that the passphrase unlocks.")
@passphrase_options
@click.pass_obj
def admit(
    place: Place,
    vm: str,
    reason: str,
    minutes: int,
    provider: str | None,
    passphrase_file: "Path | None",
    passphrase_fd: int | None,
    *,
    in_the_clear: bool,
    revert: bool,
) -> None:
    """
    Let the hypervisor bring one state of a VM that is off which would be refused otherwise.

    It is used up by the first arrival that needs it.
    What is in the clear, anybody may have made: admit only a save file or a snapshot that you know.
    """
    with explained():
        from vtpm.daemon.admin import ask  # noqa: PLC0415 - help needs neither
        from vtpm.daemon.handover import admit as admit_one  # noqa: PLC0415

        host = place.host()
        name = host.show_state(vm).name
        unlock(host, provider, passphrase_of(passphrase_file, passphrase_fd))
        what: dict[str, Any] = {"in_the_clear": in_the_clear, "revert": revert, "minutes": minutes}
        if not ask(place.run_dir, "admit", name=name, reason=reason, **what):
            admit_one(host, name, reason=reason, **what)
    click.echo(f"{name}: the next such state is admitted, within {minutes} minutes")


@click.command(short_help="Take what is stored here, if a TPM is lost elsewhere.")
@click.argument("vm")
@click.option("--reason", required=True, help="Why; it is noted in the audit log.")
@click.option("--provider", help="The key provider that the passphrase unlocks.")
@passphrase_options
@click.pass_obj
def reclaim(
    place: Place,
    vm: str,
    reason: str,
    provider: str | None,
    passphrase_file: "Path | None",
    passphrase_fd: int | None,
) -> None:
    """
    Use what is stored of a TPM that went to another host, or came and may not have stayed.

    Whatever it became elsewhere is not in it: do this only if that is lost.
    """
    with explained():
        host = place.host()
        name = host.show_state(vm).name
        unlock(host, provider, passphrase_of(passphrase_file, passphrase_fd))
        note_custody(place, host, name, "reclaim", reason)
    click.echo(f"{name}: is taken as it is stored here")


def expect_tpm(place: Place, **offered: Any) -> str:
    """Have the daemon expect a TPM, whose key it can open; the socket."""
    from vtpm.daemon.admin import ask  # noqa: PLC0415 - help needs no daemon

    socket = ask(place.run_dir, "expect", **offered)
    if socket is None:
        raise click.ClickException(f"nothing serves {place.run}; start `vtpm serve`, then try again")
    return str(socket)


def note_custody(place: Place, host: "Host", name: str, change: str, reason: str | None = None) -> None:
    """Note who has a TPM: through the daemon that serves it, or else in what is stored."""
    from vtpm.daemon.admin import ask  # noqa: PLC0415 - help needs neither
    from vtpm.daemon.handover import change_custody  # noqa: PLC0415

    if not ask(place.run_dir, "custody", name=name, change=change, reason=reason):
        change_custody(host, name, change, reason)


def note_key(place: Place, domain: "Domain", name: str) -> None:
    """Have the definition of a domain say which key its TPM needs: another host looks before it comes."""
    host = place.host()
    provider = host.show_state(name).provider
    key = (provider, host.providers.current(provider).hex())
    for definition in (domain.definition(), domain.running_definition()):
        if definition is not None and definition.key != key:
            domain.note_key(*key)
