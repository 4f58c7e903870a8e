"""`vtpm provider backup`, `verify`, `drill`, `restore` and `share`: a key outlives its host."""

import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vtpm.cli import caller
from vtpm.cli.errors import explained
from vtpm.cli.passphrase import passphrase_of, passphrase_options, required_passphrase
from vtpm.cli.place import Place
from vtpm.cli.provider import as_json_option, tell
from vtpm.cli.seals import PATH, Secret, seal_options, seals_of, secret_options, unlock_options, unlocked

if TYPE_CHECKING:
    from nvstore import Share

DIRECTORY = click.Path(file_okay=False, path_type=Path)


def threshold(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """The numbers in `3/5`: any three of five shares."""
    if value is None:
        return None
    needed, _, made = value.partition("/")
    if not (needed.isdecimal() and made.isdecimal() and 2 <= int(needed) <= int(made) <= 255):
        raise click.BadParameter(f"{value!r} is not like 3/5: at least 2 needed, at most 255 made")
    return int(needed), int(made)


@click.command()
@click.argument("name")
@click.option("--out", required=True, type=PATH, help="Write the backup to this file, which must not exist.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["nvstore", "pkcs12"]),
    default="nvstore",
    show_default=True,
    help="A format of this project's own, or the one that other tools read.",
)
@click.option(
    "--shares",
    callback=threshold,
    metavar="T/N",
    help="Draw the passphrase, and split it.",
)
@click.option("--shares-dir", type=DIRECTORY, help="Write the shares to this directory.")
@unlock_options
@passphrase_options
@click.pass_obj
def backup(
    place: Place,
    name: str,
    out: Path,
    form: str,
    shares: tuple[int, int] | None,
    shares_dir: Path | None,
    unlock_file: Path | None,
    passphrase_file: Path | None,
    passphrase_fd: int | None,
) -> None:
    """Write a backup of a provider's keys, encrypted by a passphrase of its own."""
    if (shares is None) != (shares_dir is None):
        raise click.UsageError("--shares and --shares-dir belong together")
    with explained():
        from nvstore import Format, draw_passphrase, save_share  # noqa: PLC0415 - help needs no store
        from vtpm.daemon.clock import entropy  # noqa: PLC0415

        providers = unlocked(place.host(), name, unlock_file)
        made: list[Share] = []
        if shares is None or shares_dir is None:
            secret = required_passphrase(passphrase_file, passphrase_fd, "the backup", is_new=True)
        elif passphrase_of(passphrase_file, passphrase_fd) is not None:
            raise click.UsageError("a passphrase is given, or drawn for --shares")
        else:
            secret, made = draw_passphrase(*shares, entropy)
            for one in made:
                save_share(shares_dir, name, one, caller.files())
        providers.backup(name, out=out, passphrase=secret, form=Format(form), shares=made)
    if made:
        click.echo(f"give the {len(made)} shares in {shares_dir} to their holders, and remove them there")
    click.echo(f"{out} holds the key of provider {name}; keep it and its passphrase apart, and verify it now")


@click.command()
@click.argument("file", type=PATH)
@secret_options
@as_json_option
@click.pass_obj
def verify(place: Place, /, file: Path, *, allow_expensive: bool, as_json: bool, **secret: Any) -> None:
    """Read a backup back: it must give the provider's key, and then VMs may be created under it."""
    with explained():
        report = place.host().providers.verify(
            file, Secret(**secret).read(), allow_expensive=interruptible(allow_expensive)
        )
    if as_json:
        click.echo(json.dumps(report.to_json()))
        return
    click.echo(f"{file} opens and holds the key {report.kdk_id} of provider {report.provider}")
    if not report.recorded:
        click.echo("that provider is not on this host: nothing was recorded")


@click.command()
@click.argument("file", type=PATH)
@secret_options
@as_json_option
@click.pass_obj
def drill(place: Place, /, file: Path, *, allow_expensive: bool, as_json: bool, **secret: Any) -> None:
    """Restore a backup in memory, and decrypt this host's VMs with nothing but its keys."""
    with explained():
        report = place.host().drill(
            file, Secret(**secret).read(), allow_expensive=interruptible(allow_expensive)
        )
    if as_json:
        click.echo(json.dumps(report.to_json()))
        return
    click.echo(f"{file} opens the state of {len(report.opened)} VMs: {', '.join(report.opened) or 'none'}")
    if report.elsewhere:
        click.echo(f"under other keys, and not tried: {', '.join(report.elsewhere)}")
    if not report.opened:
        click.echo("no VM of this host is under its keys: the drill has proved nothing, and counts as none")


@click.command()
@click.argument("file", type=PATH)
@click.option("--dry-run", is_flag=True, help="Tell whether it would succeed, and change nothing.")
@click.option("--name", help="Give it another name here.")
@secret_options
@seal_options
@as_json_option
@click.pass_obj
def restore(
    place: Place,
    /,
    file: Path,
    name: str | None,
    passphrase_file: Path | None,
    passphrase_fd: int | None,
    shares: tuple[Path, ...],
    *,
    allow_expensive: bool,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Put a provider on this host from its backup, in a new seal."""
    with explained():
        secret = Secret(passphrase_file, passphrase_fd, shares).read()
        seals = seals_of(f"provider {name or 'that is restored'}", **options)
        seals["seal_passphrase"] = seals.pop("passphrase")
        report = place.host().providers.restore(
            file,
            secret,
            dry_run=dry_run,
            name=name,
            allow_expensive=interruptible(allow_expensive),
            **seals,
        )
        if as_json:
            click.echo(json.dumps(report.to_json()))
        elif dry_run:
            click.echo(
                f"{file} would restore provider {name or report.provider} with the key {report.kdk_id}"
            )
        else:
            tell(place, name or report.provider, as_json=False)
        for warning in report.warnings:
            click.echo(f"warning: {warning}", err=True)


def interruptible(allow_expensive: bool) -> bool:  # noqa: FBT001 - the value of an option
    """Let Ctrl-C end at once what takes minutes; files outlive that as they do a kill."""
    if allow_expensive:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    return allow_expensive


@click.command()
@click.argument("files", type=PATH, nargs=-1, required=True)
@as_json_option
def share(files: tuple[Path, ...], *, as_json: bool) -> None:
    """Check shares of a recovery passphrase, each on its own; the backup names their set as `share_set`."""
    with explained():
        from nvstore import load_share  # noqa: PLC0415 - help needs no store

        found = [(path, load_share(path)) for path in files]
    facts = [
        {"path": str(path), "set": s.set_id, "index": s.index, "needed": s.threshold, "made": s.count}
        for path, s in found
    ]
    if as_json:
        click.echo(json.dumps(facts))
        return
    for fact in facts:
        click.echo(
            "{path}: share {index} of {made} in set {set}, of which {needed} are needed".format(**fact)
        )
