"""`vtpm profile`: the kinds of TPM, and the change of a TPM from one to another."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vtpm.cli.errors import explained
from vtpm.cli.passphrase import passphrase_of, passphrase_options
from vtpm.cli.place import Place
from vtpm.cli.profile_choice import profile_of
from vtpm.cli.vm import unlock

if TYPE_CHECKING:
    from vtpm.state.migration import Migration
    from vtpm.state.profile import Profile

as_json_option = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")


@click.group(short_help="Show profiles, and give a TPM another one.")
def profile() -> None:
    """Algorithms, commands and limits that are chosen when a TPM is made."""


@profile.command("list", short_help="List the profiles.")
@as_json_option
def list_profiles(*, as_json: bool) -> None:
    """List the profiles of this program."""
    from vtpm.state.profile import PROFILES  # noqa: PLC0415 - help needs none

    if as_json:
        click.echo(json.dumps(sorted(PROFILES)))
        return
    from vtpm.cli.table import print_table  # noqa: PLC0415 - JSON needs no table

    print_table(
        ("Profile", "Algorithms", "Curves", "Commands", "Transient slots", "Revision"),
        [
            (
                kind.name,
                len(kind.algorithms),
                len(kind.curves),
                len(kind.commands),
                kind.transient_slots,
                f"{kind.revision / 100:.2f}",
            )
            for kind in PROFILES.values()
        ],
    )


@profile.command("show", short_help="Show a profile.")
@click.argument("name")
@as_json_option
def show_profile(name: str, *, as_json: bool) -> None:
    """Show a profile, by its name or from a file; what --json says can be edited and used as a file."""
    from vtpm.state.profile_document import document_of  # noqa: PLC0415 - help needs none

    with explained():
        document = document_of(profile_of(name))
    if as_json:
        click.echo(json.dumps(document, indent=2))
        return
    width = max(map(len, document))
    for field, value in document.items():
        click.echo(f"{field:<{width}}  {_text(value)}")


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {number:#x}" for name, number in value.items()) or "-"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    return str(value)


@profile.command(short_help="Give a VM's TPM another profile.")
@click.argument("vm")
@click.argument("name")
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@click.option("--allow-loss", is_flag=True, help="Delete what the new profile cannot keep.")
@click.option("--provider", help="The key provider that the passphrase unlocks.")
@passphrase_options
@as_json_option
@click.pass_obj
def migrate(
    place: Place,
    vm: str,
    name: str,
    provider: str | None,
    passphrase_file: Path | None,
    passphrase_fd: int | None,
    *,
    dry_run: bool,
    allow_loss: bool,
    as_json: bool,
) -> None:
    """
    Give the TPM of a VM that is off another profile: a name of `vtpm profile list`, or a file.

    It says what changes, and refuses what would lose state unless --allow-loss is given.
    """
    from vtpm.daemon.admin import ask  # noqa: PLC0415 - help needs none of them
    from vtpm.state.migration import MigrationError  # noqa: PLC0415

    with explained():
        kind = profile_of(name)
        host = place.host()
        vm_name = host.show_state(vm).name
        secret = passphrase_of(passphrase_file, passphrase_fd)
        unlock(host, provider, secret)
        ask(place.run_dir, "release", name=vm_name)
        try:
            with host.open_state(vm_name) as store:
                migration = _planned(store.load(), kind)
                tell_migration(migration, vm_name, kind.name, as_json=as_json)
                if not dry_run:
                    changes = migration.apply(allow_loss=allow_loss)
                    if changes:
                        store.commit(changes)
        except MigrationError as error:
            raise click.ClickException(f"{vm_name}: {error}") from None
        finally:
            ask(place.run_dir, "rescan")
    if not as_json:
        click.echo("nothing was written" if dry_run else f"{vm_name}: its profile is {kind.name}")


def _planned(blobs: dict[str, bytes], kind: "Profile") -> "Migration":
    from vtpm.daemon.clock import entropy  # noqa: PLC0415 - help needs none of them
    from vtpm.daemon.device.custody import custody_of  # noqa: PLC0415
    from vtpm.daemon.device.stateblobs import SUSPENDED  # noqa: PLC0415
    from vtpm.state.migration import Migration  # noqa: PLC0415
    from vtpm.state.saved import SavedStateError  # noqa: PLC0415
    from vtpm.state.tpm import TpmState  # noqa: PLC0415

    custody_of(blobs).check_start()
    running = {SUSPENDED} & blobs.keys()
    try:
        tpm = TpmState.restore({name: blob for name, blob in blobs.items() if name not in running}, entropy)
    except SavedStateError as error:
        raise click.ClickException(f"{error}; restore the state from a backup") from None
    return Migration(tpm, kind, running)


def tell_migration(migration: "Migration", vm: str, profile_name: str, *, as_json: bool) -> None:
    """What a migration changes and loses."""
    facts = {
        "changes": list(migration.changes),
        "losses": migration.losses,
        "obstacles": migration.obstacles,
    }
    if as_json:
        click.echo(json.dumps({"vm": vm, "profile": profile_name, **facts}))
        return
    for word, lines in facts.items():
        for line in lines:
            click.echo(f"{word.removesuffix('s')}: {line}")
    if not migration.changes:
        click.echo(f"{vm}: it has this profile already")
