"""`vtpm rekey` and `shred`: states under another key, or under none any more."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import click

from vtpm.cli.errors import explained
from vtpm.cli.place import Place
from vtpm.cli.seals import unlock_options, unlocked

as_json_option = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")


@click.command(short_help="Put the state of VMs under a new key.")
@click.argument("vms", nargs=-1)
@click.option(
    "--all",
    "all_stale",
    is_flag=True,
    help="All VMs and secrets of this host that are not under the current key.",
)
@click.option("--shallow", "depth", flag_value="shallow", default=True, help="A new KEK for what is newest.")
@click.option("--deep", "depth", flag_value="deep", help="A new DEK for all; older generations are given up.")
@click.option("--provider", help="Move the VMs to this provider; with --all, those of this provider alone.")
@unlock_options
@as_json_option
@click.pass_obj
def rekey(
    place: Place,
    vms: tuple[str, ...],
    depth: str,
    provider: str | None,
    unlock_file: Path | None,
    *,
    all_stale: bool,
    as_json: bool,
) -> None:
    """
    Write the state of VMs again under the current key of their provider, while they run.

    The daemon does it for VMs that are open there.
    With --all, what was interrupted goes on where it was.
    """
    if all_stale == bool(vms):
        raise click.UsageError("name the VMs, or give --all")
    deep = depth == "deep"
    with explained():
        host = place.host()
        name = provider or host.providers.default
        if name is not None:
            unlocked(host, name, unlock_file)
        chosen = host.rekeying.stale(provider, deep=deep) if all_stale else list(vms)
        target = None if all_stale else provider
        secrets = host.vault.renew(provider) if all_stale else []
        in_use = partial(ask_daemon, place, deep=deep, provider=target)
        report = host.rekeying.rekey(chosen, deep=deep, provider=target, in_use=in_use)
    if as_json:
        click.echo(json.dumps({**report.to_json(), "secrets": secrets}))
    else:
        of_host = f" and {len(secrets)} secrets" if secrets else ""
        click.echo(f"{len(report.done)} VMs{of_host} rekeyed")
    left = [f"{vm}: in use by another process than the daemon" for vm in report.busy]
    left += [f"{vm}: {why}" for vm, why in report.failed]
    if left:
        raise click.ClickException("not rekeyed:\n  " + "\n  ".join(left))


@click.command(short_help="Destroy the TPM of a VM, and tell what that covers.")
@click.argument("vm")
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json_option
@click.pass_obj
def shred(place: Place, vm: str, *, yes: bool, as_json: bool) -> None:
    """Destroy a VM's TPM as `delete` does, and tell which copies of it are still readable, and with what."""
    with explained():
        from vtpm.daemon.admin import ask  # noqa: PLC0415 - help needs no daemon

        host = place.host()
        name = host.show_state(vm).name
        if not yes:
            click.confirm(f"Destroy the TPM of {name}, and with it all that was sealed to it?", abort=True)
        ask(place.run_dir, "release", name=name)
        try:
            report = host.rekeying.shred(name)
        finally:
            ask(place.run_dir, "rescan")
    click.echo(json.dumps(report.to_json()) if as_json else "\n".join(report.lines()))


def ask_daemon(place: Place, vm: str, **arguments: Any) -> bool:
    """Let the daemon rekey a VM that it has open; False if there is none, or the VM is not open there."""
    from vtpm.daemon.admin import ask  # noqa: PLC0415 - help needs no daemon

    return ask(place.run_dir, "rekey", name=vm, **arguments) is True
