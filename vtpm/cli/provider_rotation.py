"""`vtpm provider rotate` and `retire`: a provider's key gets a successor."""

from pathlib import Path

import click

from vtpm.cli.errors import explained
from vtpm.cli.place import Place
from vtpm.cli.provider import as_json_option, tell, warn_of_bundles
from vtpm.cli.seals import unlock_options, unlocked


@click.command()
@click.argument("name")
@click.option("--promote", "step", flag_value="promote", help="Write under the successor from now on.")
@click.option("--abandon", "step", flag_value="abandon", help="Give the rotation up before that.")
@click.option("--without", multiple=True, metavar="HOST", help="Do not wait for this host to acknowledge.")
@unlock_options
@as_json_option
@click.pass_obj
def rotate(
    place: Place,
    name: str,
    step: str | None,
    without: tuple[str, ...],
    unlock_file: Path | None,
    *,
    as_json: bool,
) -> None:
    """
    Begin a rotation: make the successor of a provider's key.

    Then back it up, verify that, push it to the other hosts, --promote it, and `vtpm rekey --all`.
    """
    with explained():
        host = place.host()
        unlocked(host, name, unlock_file)
        if step == "promote":
            host.rotations.promote(name, without=without)
            host.rekeying.finish_rotations()
        elif step == "abandon":
            host.rotations.abandon(name)
        else:
            host.rotations.begin(name)
        tell(place, name, as_json=as_json)


@click.command()
@click.argument("name")
@click.argument("kdk_id")
@click.option("--yes", is_flag=True, help="Do not ask.")
@unlock_options
@as_json_option
@click.pass_obj
def retire(
    place: Place, name: str, kdk_id: str, unlock_file: Path | None, *, yes: bool, as_json: bool
) -> None:
    """
    Destroy an older key of a provider on this host, which no state needs any more.

    Bundles and snapshots that only this key opens are named first; they are lost with its last copy.
    """
    try:
        octets = bytes.fromhex(kdk_id)
    except ValueError:
        raise click.UsageError(f"{kdk_id!r} is no key id: `vtpm provider show --json` lists them") from None
    with explained():
        host = place.host()
        unlocked(host, name, unlock_file)
        warn_of_bundles(host, [octets])
        if not yes:
            click.confirm(f"Destroy the key {kdk_id} of provider {name} on this host?", abort=True)
        host.rotations.retire(name, octets)
        tell(place, name, as_json=as_json)
