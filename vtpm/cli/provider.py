"""`vtpm provider`: the keys under which state is encrypted."""

import json
from collections.abc import Collection
from importlib import import_module
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Any, Final

import click

from vtpm.cli.errors import explained
from vtpm.cli.passphrase import passphrase_options
from vtpm.cli.place import Place
from vtpm.cli.seals import PATH, seal_options, seals_of, unlock_options, unlocked

if TYPE_CHECKING:
    from nvstore import Host

as_json_option = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")

ELSEWHERE: Final = {
    "acknowledge": "provider_hosts",
    "backup": "provider_backup",
    "drill": "provider_backup",
    "enroll": "provider_hosts",
    "push": "provider_hosts",
    "receive": "provider_hosts",
    "restore": "provider_backup",
    "retire": "provider_rotation",
    "rotate": "provider_rotation",
    "share": "provider_backup",
    "verify": "provider_backup",
}
"""The commands that have a module of their own, which is imported when they are named."""


class ProviderGroup(click.Group):
    """The commands here, and those elsewhere."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names."""
        return sorted({*super().list_commands(ctx), *ELSEWHERE})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name."""
        if cmd_name not in ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        command: click.Command = getattr(import_module(f"vtpm.cli.{ELSEWHERE[cmd_name]}"), cmd_name)
        return command


@click.group(cls=ProviderGroup, short_help="Manage the keys that encrypt state.")
def provider() -> None:
    """Manage key providers: a provider's key derives the keys of its VMs' state."""


@provider.command()
@click.argument("name")
@seal_options
@passphrase_options
@click.option("--require-host-tpm", is_flag=True, help="Only for hosts that seal the key with their TPM.")
@as_json_option
@click.pass_obj
def init(
    place: Place,
    /,
    name: str,
    passphrase_file: Path | None,
    passphrase_fd: int | None,
    *,
    require_host_tpm: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Make a provider; its key is sealed by a file that only the service reads, or as the options say."""
    options["seal_passphrase_file"] = options["seal_passphrase_file"] or passphrase_file
    if passphrase_fd is not None:
        options["seal_passphrase_fd"] = passphrase_fd
    with explained():
        seals = seals_of(f"provider {name}", **options)
        place.host().providers.init(name, **seals, require_host_tpm=require_host_tpm)
        tell(place, name, as_json=as_json)
        warn_of_key_file(place.host(), name)


@provider.command()
@click.argument("name")
@seal_options
@unlock_options
@click.option("--keep", is_flag=True, help="Keep the seals that are there; any one opens then.")
@as_json_option
@click.pass_obj
def reseal(
    place: Place, /, name: str, unlock_file: Path | None, *, keep: bool, as_json: bool, **options: Any
) -> None:
    """Put a provider's keys into another seal, as after its host got a TPM, or a new one."""
    with explained():
        from nvstore import passphrase_from_file  # noqa: PLC0415 - help needs no store

        host = place.host()
        seals = seals_of(f"provider {name}", **options)
        unlock = passphrase_from_file(unlock_file) if unlock_file else None
        status = host.providers.reseal(name, **seals, keep=keep, unlock=unlock)
        click.echo(json.dumps(status.to_json()) if as_json else "\n".join(status.lines()))
        if not keep:
            click.echo(
                f"older copies of {name}.provider still open with the seals in them;"
                f" if somebody may have one, rotate the key: vtpm provider rotate {name}",
                err=True,
            )


@provider.command()
@click.argument("name", required=False)
@as_json_option
@click.pass_obj
def show(place: Place, name: str | None, *, as_json: bool) -> None:
    """Show a provider, or the default one."""
    with explained():
        name = name or place.host().providers.default
        if name is None:
            raise click.ClickException("there is no provider; make one by `vtpm provider init NAME`")
        tell(place, name, as_json=as_json)


@provider.command("list")
@as_json_option
@click.pass_obj
def list_providers(place: Place, *, as_json: bool) -> None:
    """List the providers."""
    with explained():
        statuses = place.host().providers.list()
    if as_json:
        click.echo(json.dumps([status.to_json() for status in statuses]))
        return
    for status in statuses:
        click.echo("\n".join(status.lines()))


@provider.command()
@click.argument("name")
@click.option("--group", help="The default of this group of VMs alone; see `vtpm create --group`.")
@click.option(
    "--unlock", nargs=2, type=(str, PATH), multiple=True, metavar="NAME FILE", help="Unlock a provider."
)
@click.pass_obj
def default(place: Place, name: str, group: str | None, unlock: tuple[tuple[str, Path], ...]) -> None:
    """
    Make a provider the one for new VMs for which none is named.

    Its key says so, and that of the provider which was the default says that it is none any more:
    if passphrases seal them, both are unlocked by --unlock.
    """
    with explained():
        host = place.host()
        for provider_name, file in unlock:
            unlocked(host, provider_name, file)
        host.providers.set_default(name, group=group)
    click.echo(f"new VMs{f' of group {group}' if group else ''} are made under provider {name}")


@provider.command()
@click.argument("name")
@unlock_options
@as_json_option
@click.pass_obj
def disable(place: Place, name: str, unlock_file: Path | None, *, as_json: bool) -> None:
    """Make no new VMs under a provider; those that are there keep working."""
    with explained():
        host = place.host()
        unlocked(host, name, unlock_file)
        host.steps.disable(name)
        tell(place, name, as_json=as_json)


@provider.command()
@click.argument("name")
@unlock_options
@as_json_option
@click.pass_obj
def enable(place: Place, name: str, unlock_file: Path | None, *, as_json: bool) -> None:
    """Make new VMs under a disabled provider again."""
    with explained():
        host = place.host()
        unlocked(host, name, unlock_file)
        host.steps.enable(name)
        tell(place, name, as_json=as_json)


@provider.command()
@click.argument("name")
@click.option("--days", default=7, show_default=True, help="Destroy the keys no earlier than this.")
@click.option("--cancel", is_flag=True, help="Cancel the deletion.")
@unlock_options
@as_json_option
@click.pass_obj
def delete(
    place: Place, name: str, days: int, unlock_file: Path | None, *, cancel: bool, as_json: bool
) -> None:
    """Let a disabled provider's keys be destroyed in some days; refused while a VM needs them."""
    with explained():
        host = place.host()
        unlocked(host, name, unlock_file)
        steps = host.steps
        if cancel:
            steps.cancel_deletion(name)
        else:
            steps.schedule_deletion(name, days=days)
        tell(place, name, as_json=as_json)


@provider.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@unlock_options
@as_json_option
@click.pass_obj
def destroy(place: Place, name: str, unlock_file: Path | None, *, yes: bool, as_json: bool) -> None:
    """Destroy a provider's keys on this host, after its deletion has waited."""
    with explained():
        host = place.host()
        unlocked(host, name, unlock_file)
        warn_of_bundles(host, [bytes.fromhex(kdk_id) for kdk_id in host.providers.show(name).keys])
        if not yes:
            click.confirm(f"Destroy the keys of provider {name} on this host?", abort=True)
        host.steps.destroy(name)
        tell(place, name, as_json=as_json)


def tell(place: Place, name: str, *, as_json: bool) -> None:
    """What a provider is, for people or for programs."""
    from nvstore import NvstoreError, ProviderAltered  # noqa: PLC0415 - help needs no store

    providers = place.host().providers
    try:
        providers.check(name)
    except ProviderAltered:
        raise
    except NvstoreError:  # it is told as it is, unauthenticated
        pass
    status = providers.show(name)
    click.echo(json.dumps(status.to_json()) if as_json else "\n".join(status.lines()))


def warn_of_key_file(host: "Host", name: str) -> None:
    """Say what a key file beside the data is worth, and what this host has that is better."""
    from nvstore.files import on_same_file_system  # noqa: PLC0415 - help needs no store

    near = [p for p in host.providers.key_files(name) if on_same_file_system(p, host.directory / "states")]
    if not near:
        return
    better = [
        *(["--tpm"] if Path("/dev/tpmrm0").exists() else []),
        *(["--systemd-creds"] if which("systemd-creds") else []),
        "--passphrase",
        "--key-file on another disk",
    ]
    click.echo(
        f"the key file {near[0]} lies beside what it protects: whoever copies this disk has both.\n"
        f"Better on this host: vtpm provider reseal {name} {' or '.join(better)}",
        err=True,
    )


def warn_of_bundles(host: "Host", kdk_ids: Collection[bytes]) -> None:
    """Name the bundles on this host that only these keys open."""
    bundles = host.transfers.bundles_under(kdk_ids)
    if bundles:
        click.echo(
            "these bundles open with this key alone, unless a backup of it is kept:\n  "
            + "\n  ".join(map(str, bundles)),
            err=True,
        )
