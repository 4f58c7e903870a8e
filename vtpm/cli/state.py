"""`vtpm state`: what is stored of a VM's TPM, looked at, repaired, taken back, kept, moved and cloned."""

import json
import uuid
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import click

from vtpm.cli.errors import explained
from vtpm.cli.handover import admit, expect, offer, reclaim
from vtpm.cli.passphrase import passphrase_of, passphrase_options
from vtpm.cli.place import Place
from vtpm.cli.vm import check_socket_name

PATH = click.Path(dir_okay=False, path_type=Path)
as_json_option = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
reason_option = click.option("--reason", required=True, help="Why; it is noted in the audit log.")


@click.group(short_help="Look at, repair, keep, move and clone stored states.")
def state() -> None:
    """Manage the stored states of VMs' TPMs; every change is noted in the audit log."""


def noted(place: Place, vm: str, what: str, value: str) -> None:
    """Change what is noted of a VM; by the daemon, if it has the state open, or the key."""
    from nvstore import Locked, ProviderLocked  # noqa: PLC0415 - help needs no store
    from vtpm.daemon.admin import ask  # noqa: PLC0415
    from vtpm.daemon.noting import changed  # noqa: PLC0415

    host = place.host()
    try:
        changed(host, vm, what, value)
    except (Locked, ProviderLocked):
        name = host.show_state(vm).name
        if ask(place.run_dir, "note", name=name, what=what, value=value) is not True:
            raise


for command in (offer, expect, admit, reclaim):
    state.add_command(command)


@state.command()
@click.argument("vm", required=False)
@as_json_option
@click.pass_obj
def verify(place: Place, vm: str | None, *, as_json: bool) -> None:
    """Decrypt a VM's state, or all of them, and check that nothing is altered, rolled back or forked."""
    from nvstore import NvstoreError  # noqa: PLC0415 - help needs no store

    with explained():
        host = place.host()
        results = []
        for name in [vm] if vm else [status.name for status in host.list_states()]:
            try:
                status = host.verify_state(name)
                results.append({"vm": status.name, "generation": status.generation, "problem": None})
            except NvstoreError as error:
                if vm:
                    raise
                results.append({"vm": name, "generation": None, "problem": str(error)})
    if as_json:
        click.echo(json.dumps(results))
    else:
        for result in results:
            found = result["problem"] or f"generation {result['generation']} is intact"
            click.echo(f"{result['vm']}: {found}")
    if any(result["problem"] for result in results):
        raise click.exceptions.Exit(1)


@state.command()
@click.argument("vm")
@as_json_option
@click.pass_obj
def history(place: Place, vm: str, *, as_json: bool) -> None:
    """List the generations that the state of a VM still holds."""
    with explained():
        host = place.host()
        entries = host.history(vm)
        warnings = host.inspect_state(vm).warnings
    for warning in warnings:
        click.echo(warning, err=True)
    if as_json:
        click.echo(json.dumps([entry._asdict() for entry in entries]))
        return
    from vtpm.cli.table import print_table  # noqa: PLC0415 - JSON needs no table

    print_table(
        ("Generation", "Written", "Acknowledged", "Key", "Blobs", "Problem"),
        [
            (
                "-" if entry.generation is None else entry.generation,
                entry.written or "-",
                {True: "yes", False: "no", None: "-"}[entry.acknowledged],
                entry.kdk_id or "-",
                entry.blobs,
                entry.problem or "-",
            )
            for entry in entries
        ],
    )


@state.command()
@click.argument("vm")
@click.option("--generation", type=click.IntRange(1), help="This one; the newest usable one if not given.")
@reason_option
@click.pass_obj
def repair(place: Place, vm: str, generation: int | None, reason: str) -> None:
    """Put an older generation in force where the state does not open; what came after it is lost."""
    with explained():
        status = place.host().repair_state(vm, generation=generation, reason=reason)
    click.echo(f"{status.name}: the state opens again, as generation {status.generation}")


@state.command()
@click.argument("vm")
@click.argument("generation", type=click.IntRange(1), required=False)
@click.option("--snapshot", "bundle", type=PATH, help="Go back to what this bundle of the VM holds.")
@reason_option
@passphrase_options
@click.pass_obj
def revert(
    place: Place,
    vm: str,
    generation: int | None,
    bundle: Path | None,
    reason: str,
    passphrase_file: Path | None,
    passphrase_fd: int | None,
) -> None:
    """
    Go back to an older generation, or to a snapshot, on purpose.

    With neither, the state file itself was put back: it is accepted as it is.
    The old content gets a new number, so that what is given up cannot come back unnoticed.
    """
    if bundle is not None and generation is not None:
        raise click.UsageError("give a generation or --snapshot")
    with explained():
        host = place.host()
        if bundle is not None:
            secret = passphrase_of(passphrase_file, passphrase_fd)
            number = host.transfers.revert(vm, bundle, secret, reason=reason)
        else:
            number = host.revert_state(vm, generation=generation, reason=reason).generation
    click.echo(f"{vm}: reverted, as generation {number}")


@state.command()
@click.argument("vm")
@click.option("--reverts", type=click.Choice(["allow", "deny"]), required=True, help="May it be reverted?")
@click.pass_obj
def policy(place: Place, vm: str, reverts: str) -> None:
    """Say whether a VM's state may be reverted."""
    with explained():
        noted(place, vm, "reverts", reverts)
    click.echo(f"{vm}: reverts are {'allowed' if reverts == 'allow' else 'denied'}")


@state.command()
@click.argument("vm")
@click.option("--tcti", help="Where that TPM is, as in device:/dev/tpmrm0.")
@click.option("--off", is_flag=True, help="Anchor it no more.")
@click.pass_obj
def anchor(place: Place, vm: str, tcti: str | None, *, off: bool) -> None:
    """
    Have this host's TPM remember a VM's state, so that no copy of a whole disk brings an old one back.

    The state is taken as it is; after the TPM was replaced, this accepts it again.
    """
    if off is (tcti is not None):
        raise click.UsageError("give --tcti or --off")
    with explained():
        noted(place, vm, "anchor", tcti or "")
    click.echo(f"{vm}: anchored in the TPM at {tcti}" if tcti else f"{vm}: no longer anchored")


@state.command()
@click.argument("vm")
@click.option("--out", required=True, type=PATH, help="Write the bundle to this file, which must not exist.")
@passphrase_options
@as_json_option
@click.pass_obj
def export(
    place: Place,
    vm: str,
    out: Path,
    passphrase_file: Path | None,
    passphrase_fd: int | None,
    *,
    as_json: bool,
) -> None:
    """Write a VM's state, which may be in use, to a bundle under a passphrase, or else under its provider."""
    with explained():
        secret = passphrase_of(passphrase_file, passphrase_fd)
        report = place.host().transfers.export(vm, out, secret)
    tell_bundle(report, as_json=as_json)


@state.command()
@click.argument("vm")
@as_json_option
@click.pass_obj
def snapshot(place: Place, vm: str, *, as_json: bool) -> None:
    """Keep a bundle of a VM's state on this host, under its provider, to revert to."""
    from nvstore.owned import acting_for  # noqa: PLC0415 - help needs no store

    with explained():
        host = place.host()
        status = host.show_state(vm)
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        directory = host.directory / "snapshots"
        with acting_for(host.directory):
            directory.mkdir(mode=0o700, exist_ok=True)
        out = directory / f"{status.name}-{status.generation}-{now}.bundle"
        report = host.transfers.export(vm, out)
    tell_bundle(report, as_json=as_json)


@state.command()
@click.argument("file", type=PATH)
@passphrase_options
@as_json_option
@click.pass_obj
def test(
    place: Place, file: Path, passphrase_file: Path | None, passphrase_fd: int | None, *, as_json: bool
) -> None:
    """Open a bundle and forget its content: it will open when it is needed."""
    with explained():
        secret = passphrase_of(passphrase_file, passphrase_fd)
        report = place.host().transfers.test(file, secret)
    tell_bundle(report, as_json=as_json)


@state.command("import")
@click.argument("file", type=PATH)
@click.option("--name", help="The VM's name; the one in the bundle if it is not given.")
@click.option("--uuid", "vm", type=click.UUID, help="The VM's UUID; the one in the bundle if not given.")
@click.option("--provider", help="The key provider of this host; the default one if it is not given.")
@click.option("--allow-unverified", is_flag=True, help="Accept a provider without a verified backup.")
@passphrase_options
@click.pass_obj
def import_bundle(
    place: Place,
    file: Path,
    name: str | None,
    vm: uuid.UUID | None,
    provider: str | None,
    passphrase_file: Path | None,
    passphrase_fd: int | None,
    *,
    allow_unverified: bool,
) -> None:
    """Make the state in a bundle the state of a VM of this host."""
    with explained():
        secret = passphrase_of(passphrase_file, passphrase_fd)
        transfers = place.host().transfers
        store = transfers.import_state(
            file, secret, vm=vm, name=name, provider=provider, allow_unverified=allow_unverified
        )
        store.close()
        rescan(place)
    click.echo(f"{store.vm}: imported under provider {store.provider}")


@state.command()
@click.argument("origin")
@click.argument("name")
@click.option("--uuid", "vm", type=click.UUID, help="The clone's UUID; a new one if it is not given.")
@click.option(
    "--how",
    type=click.Choice(["copy", "fork", "replace"]),
    default="fork",
    show_default=True,
    help="copy: the same secrets; replace: a new TPM; fork: a new identity that opens what is sealed here.",
)
@click.option("--provider", help="The key provider; the origin's if it is not given.")
@click.option("--allow-unverified", is_flag=True, help="Accept a provider without a verified backup.")
@click.pass_obj
def clone(
    place: Place,
    origin: str,
    name: str,
    vm: uuid.UUID | None,
    how: str,
    provider: str | None,
    *,
    allow_unverified: bool,
) -> None:
    """Make the TPM of a new VM from that of another one, for a clone of its disks."""
    with explained():
        from vtpm.cli.clone import cloned  # noqa: PLC0415 - help needs no TPM

        check_socket_name(name)
        host = place.host()
        host.transfers.clone(
            origin,
            vm or uuid.uuid4(),
            name,
            how,
            partial(cloned, place, host, provider, name, how),
            provider=provider,
            allow_unverified=allow_unverified,
        ).close()
        rescan(place)
    click.echo(f"{name}: a {how} of {origin}")
    if how == "copy":
        click.echo("both VMs have the same secrets now: nobody can tell one TPM from the other", err=True)


def rescan(place: Place) -> None:
    """Tell a daemon that runs of a new VM."""
    from vtpm.daemon.admin import ask  # noqa: PLC0415 - help needs no daemon

    ask(place.run_dir, "rescan")


def tell_bundle(report: Any, *, as_json: bool) -> None:
    """What a bundle is, for people or for programs."""
    if as_json:
        click.echo(json.dumps(report.to_json()))
        return
    under = "a passphrase" if report.protection == "passphrase" else f"provider {report.provider}"
    click.echo(
        f"{report.path}: VM {report.name} ({report.vm}), generation {report.generation}, opens with {under}"
    )
