"""`vtpm create`, `list`, `show` and `delete`: the TPMs of VMs."""

import json
import re
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from vtpm.cli.errors import explained
from vtpm.cli.passphrase import passphrase_of, passphrase_options
from vtpm.cli.place import Place
from vtpm.cli.profile_choice import profile_option
from vtpm.cli.provisioning import Wishes, manufactured, provisioning_options

if TYPE_CHECKING:
    from vtpm.daemon.guests import Guest

NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+@:-]{0,79}")

as_json_option = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")


@click.command(short_help="Make the TPM of a VM.")
@click.argument("vm")
@click.option("--uuid", "vm_uuid", type=click.UUID, help="The VM's UUID; a new one if it is not given.")
@click.option("--provider", help="The key provider; the default one if it is not given.")
@click.option("--group", default="", help="The group of VMs whose default provider it is made under.")
@profile_option
@provisioning_options
@click.option("--allow-unverified", is_flag=True, help="Accept a provider without a verified backup.")
@passphrase_options
@as_json_option
@click.pass_obj
def create(
    place: Place,
    /,
    vm: str,
    vm_uuid: uuid.UUID | None,
    provider: str | None,
    group: str,
    profile_name: str,
    passphrase_file: Path | None,
    passphrase_fd: int | None,
    *,
    allow_unverified: bool,
    as_json: bool,
    **wanted: Any,
) -> None:
    """Make a new TPM for a VM; a daemon that runs serves it at once."""
    check_socket_name(vm)
    with explained():
        from vtpm.daemon.admin import ask  # noqa: PLC0415 - help needs none

        host = place.host()
        provider = provider or host.providers.default_of(group)
        unlock(host, provider, passphrase_of(passphrase_file, passphrase_fd))
        wishes = Wishes(**wanted, provider=provider, allow_unverified=allow_unverified)
        blobs = manufactured(place, host, vm, profile_name, wishes)
        host.create_state(
            vm_uuid or uuid.uuid4(),
            vm,
            blobs,
            provider=provider,
            allow_unverified=allow_unverified,
            group=group,
        ).close()
        ask(place.run_dir, "rescan")
        tell(describe(place, vm), as_json=as_json)


@click.command("list", short_help="List the TPMs.")
@as_json_option
@click.pass_obj
def list_vms(place: Place, *, as_json: bool) -> None:
    """List the TPMs of this host, and whether they are in use."""
    with explained():
        statuses = [with_socket(place, status.to_json()) for status in place.host().list_states()]
        served, lost = looked_after(place)
    vms = [
        {**status, **served.get(status["name"], {}), **without(lost.get(status["name"]))}
        for status in statuses
    ]
    if as_json:
        click.echo(json.dumps(vms))
        return
    from vtpm.cli.table import print_table  # noqa: PLC0415 - JSON needs no table

    print_table(
        ("VM", "UUID", "Provider", "Generation", "State"),
        [
            (
                vm["name"],
                vm["vm"],
                vm["provider"],
                vm["generation"],
                state_of(vm, is_served=bool(served)),
            )
            for vm in vms
        ],
    )
    for guest in lost.values():
        click.echo(f"{guest.name}: {guest.complaint}; {guest.remedy}", err=True)


@click.command(short_help="Show the TPM of a VM.")
@click.argument("vm")
@as_json_option
@click.pass_obj
def show(place: Place, vm: str, *, as_json: bool) -> None:
    """Show what is known of a VM's TPM, without opening its state."""
    with explained():
        tell(describe(place, vm), as_json=as_json)


@click.command(short_help="Delete the TPM of a VM.")
@click.argument("vm")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def delete(place: Place, vm: str, *, yes: bool) -> None:
    """Delete a VM's TPM: whatever was sealed to it is lost."""
    with explained():
        name = place.host().show_state(vm).name
        if not yes:
            click.confirm(f"Delete the TPM of {name}, and with it all that was sealed to it?", abort=True)
        remove(place, name)
    click.echo(f"{name}: deleted")


def remove(place: Place, name: str) -> None:
    """Delete the TPM of a VM that is off, which a daemon serves no more."""
    from vtpm.daemon.admin import ask  # noqa: PLC0415 - help needs no daemon

    ask(place.run_dir, "release", name=name)
    try:
        place.host().delete_state(name)
    finally:
        ask(place.run_dir, "rescan")


def check_socket_name(vm: str) -> None:
    """The name of a VM must do as that of its socket."""
    if NAME.fullmatch(vm) is None:
        raise click.UsageError(
            f"{vm!r} cannot be the name of a socket: use letters, digits and _ . + @ : -, 80 at most, "
            "none of . + @ : - first"
        )


def unlock(host: Any, provider: str | None, passphrase: bytes | None) -> None:
    """Unlock a provider that a passphrase seals, if one was given."""
    name = provider or host.providers.default
    if passphrase is not None and name is not None:
        host.providers.unlock(name, passphrase=passphrase)


def describe(place: Place, vm: str) -> dict[str, Any]:
    """What is known of a VM's TPM."""
    status: dict[str, Any] = place.host().inspect_state(vm).to_json()
    served, lost = looked_after(place)
    name = status["name"]
    return {**with_socket(place, status), **served.get(name, {}), **without(lost.get(name))}


def with_socket(place: Place, status: dict[str, Any]) -> dict[str, Any]:
    """The status of a state, with the place of its socket."""
    return {**status, "socket": str(place.run_dir / f"{status['name']}.sock")}


def daemon_status(place: Place) -> dict[str, Any]:
    """What the daemon says of its VMs; nothing if there is none."""
    from vtpm.daemon.admin import ask  # noqa: PLC0415 - help needs no daemon

    return ask(place.run_dir, "status") or {}


def looked_after(place: Place) -> tuple[dict[str, Any], "dict[str, Guest]"]:
    """What the daemon says of its VMs, and the guests that run without a TPM that it or another one had."""
    from vtpm.daemon.guests import noted_guests, without_tpm  # noqa: PLC0415 - help needs no daemon

    noted = noted_guests(place.run_dir)
    served = daemon_status(place)
    return served, without_tpm(noted, served)


def without(guest: "Guest | None") -> dict[str, Any]:
    """What a view says of a guest that runs without its TPM."""
    return (
        {}
        if guest is None
        else {"without_tpm": guest.process, "problem": f"{guest.complaint}; {guest.remedy}"}
    )


def state_of(vm: dict[str, Any], *, is_served: bool) -> str:
    """A word for what a TPM does."""
    if "without_tpm" in vm:
        return "runs without its TPM"
    if "running" not in vm:
        return "not served" if is_served else "no daemon"
    if vm["failed"]:
        return "failed"
    if vm["alarm"]:
        return "NV unavailable"
    if vm["running"]:
        return "running"
    return "connected" if vm["connected"] else "off"


def tell(facts: dict[str, Any], *, as_json: bool) -> None:
    """Facts, for people or for programs."""
    if as_json:
        click.echo(json.dumps(facts))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        text = "; ".join(map(str, value)) if isinstance(value, list) else value
        click.echo(f"{name.replace('_', ' '):<{width}}  {'-' if text in (None, '') else text}")
