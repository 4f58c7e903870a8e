"""`vtpm provider`: the keys under which state is encrypted."""

import json
from pathlib import Path

import click

from vtpm.cli.errors import explained
from vtpm.cli.passphrase import passphrase_options, required_passphrase
from vtpm.cli.place import Place

PATH = click.Path(dir_okay=False, path_type=Path)


@click.group(short_help="Manage the keys that encrypt state.")
def provider() -> None:
    """Manage key providers: a provider's key derives the keys of its VMs' state."""


@provider.command()
@click.argument("name")
@click.option("--key-file", type=PATH, help="Seal with this file, made if it is absent.")
@click.option("--passphrase", "by_passphrase", is_flag=True, help="Seal with a passphrase, asked for.")
@passphrase_options
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
@click.pass_obj
def init(
    place: Place,
    name: str,
    key_file: Path | None,
    passphrase_file: Path | None,
    passphrase_fd: int | None,
    *,
    by_passphrase: bool,
    as_json: bool,
) -> None:
    """Make a provider; its key is sealed by a file that only the service reads, or by a passphrase."""
    by_passphrase = by_passphrase or passphrase_file is not None or passphrase_fd is not None
    if by_passphrase and key_file is not None:
        raise click.UsageError("a key is sealed by a passphrase or by a file: give one of them")
    with explained():
        secret = None
        if by_passphrase:
            secret = required_passphrase(passphrase_file, passphrase_fd, f"provider {name}", is_new=True)
        place.host().providers.init(name, key_file=key_file, passphrase=secret)
        tell(place, name, as_json=as_json)


@provider.command()
@click.argument("name")
@click.option("--out", required=True, type=PATH, help="Write the backup to this file, which must not exist.")
@click.option("--unlock-file", type=PATH, help="File with the passphrase that seals the provider itself.")
@passphrase_options
@click.pass_obj
def backup(
    place: Place,
    name: str,
    out: Path,
    unlock_file: Path | None,
    passphrase_file: Path | None,
    passphrase_fd: int | None,
) -> None:
    """Write a backup of a provider's key, encrypted by a passphrase of its own."""
    with explained():
        from nvstore import passphrase_from_file  # noqa: PLC0415 - help needs no store

        host = place.host()
        if unlock_file is not None:
            host.providers.unlock(name, passphrase_from_file(unlock_file))
        secret = required_passphrase(passphrase_file, passphrase_fd, "the backup", is_new=True)
        host.providers.backup(name, out=out, passphrase=secret)
    click.echo(f"{out} holds the key of provider {name}; keep it and its passphrase apart, and verify it now")


@provider.command()
@click.argument("file", type=PATH)
@passphrase_options
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
@click.pass_obj
def verify(
    place: Place, file: Path, passphrase_file: Path | None, passphrase_fd: int | None, *, as_json: bool
) -> None:
    """Read a backup back: it must give the provider's key, and then VMs may be created under it."""
    with explained():
        secret = required_passphrase(passphrase_file, passphrase_fd, "the backup")
        report = place.host().providers.verify(file, passphrase=secret)
    if as_json:
        click.echo(json.dumps(report.to_json()))
        return
    click.echo(f"{file} opens and holds the key {report.kdk_id} of provider {report.provider}")
    if not report.recorded:
        click.echo("that provider is not on this host: nothing was recorded")


@provider.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
@click.pass_obj
def show(place: Place, name: str | None, *, as_json: bool) -> None:
    """Show a provider, or the default one."""
    with explained():
        name = name or place.host().providers.default
        if name is None:
            raise click.ClickException("there is no provider; make one by `vtpm provider init NAME`")
        tell(place, name, as_json=as_json)


@provider.command("list")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
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


def tell(place: Place, name: str, *, as_json: bool) -> None:
    """What a provider is, for people or for programs."""
    status = place.host().providers.show(name)
    click.echo(json.dumps(status.to_json()) if as_json else "\n".join(status.lines()))
