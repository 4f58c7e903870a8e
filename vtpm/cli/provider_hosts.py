"""`vtpm provider enroll`, `push`, `receive` and `acknowledge`: a key reaches other hosts."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import click

from vtpm.cli.caller import read, write_new
from vtpm.cli.errors import explained
from vtpm.cli.place import Place
from vtpm.cli.provider import as_json_option
from vtpm.cli.seals import PATH, seal_options, seals_of, unlock_options, unlocked

DEVICE: Final = "device:/dev/tpmrm0"
out_option = click.option("--out", required=True, type=PATH, help="Write to this file, which must not exist.")


@click.command()
@click.option("--out", type=PATH, help="Write the identity to this file, for `push` on another host.")
@click.option("--key-file", type=PATH, help="Seal its key with this file, made if it is absent.")
@click.option("--tpm-tcti", metavar="TCTI", help="Seal it with the TPM at this TCTI.")
@as_json_option
@click.pass_obj
def enroll(
    place: Place, out: Path | None, key_file: Path | None, tpm_tcti: str | None, *, as_json: bool
) -> None:
    """
    Make the identity of this host, or show it; providers are pushed to it.

    Its key is sealed by the TPM of this host, if there is one and tpm2-pytss is installed, or else by a file.
    """
    with explained():
        from nvstore import IdentityMissing, TpmSealer  # noqa: PLC0415 - help needs no store

        exchange = place.host().exchange
        try:
            identity = exchange.identity()
        except IdentityMissing:
            if tpm_tcti is None and key_file is None and has_tpm():
                tpm_tcti = DEVICE
            seals = [TpmSealer(tpm_tcti)] if tpm_tcti else []
            identity = exchange.enroll(key_file=key_file, seals=seals)
        if out is not None:
            write_new(out, identity.encode())
    if as_json:
        click.echo(json.dumps({"host_id": identity.host_id, "name": identity.name}))
    else:
        click.echo(f"host {identity.name} is {identity.host_id}")


@click.command()
@click.argument("name")
@click.option("--to", required=True, type=PATH, help="The identity that `enroll` wrote on the other host.")
@click.option("--host-id", help="The id that it showed there; needed the first time.")
@out_option
@unlock_options
@click.pass_obj
def push(place: Place, name: str, to: Path, host_id: str | None, out: Path, unlock_file: Path | None) -> None:
    """Write a provider's keys to a file that only one host opens."""
    with explained():
        from nvstore import read_identity  # noqa: PLC0415 - help needs no store

        identity = read_identity(read(to), to)
        host = place.host()
        kdk_id = unlocked(host, name, unlock_file).show(name).kdk_id
        host.exchange.push(name, identity, out, host_id=host_id)
    click.echo(f"{out} is for host {identity.name} ({identity.host_id}); there, run")
    click.echo(f"  vtpm provider receive {out.name} --kdk-id {kdk_id} --out {out.name}.ack")
    click.echo("and bring what that writes back, for `vtpm provider acknowledge`")


@click.command()
@click.argument("file", type=PATH)
@click.option("--kdk-id", help="The key id that the origin showed; needed the first time.")
@out_option
@seal_options
@click.pass_obj
def receive(place: Place, /, file: Path, kdk_id: str | None, out: Path, **options: Any) -> None:
    """Put a provider that was pushed to this host into a seal, and write the acknowledgment."""
    try:
        known = bytes.fromhex(kdk_id) if kdk_id else None
    except ValueError:
        raise click.UsageError(f"{kdk_id!r} is no key id") from None
    with explained():
        host = place.host()
        seals = seals_of("the provider", **options)
        received = host.exchange.receive(file, kdk_id=known, **seals)
        write_new(out, received.acknowledgment)
        click.echo("\n".join(host.providers.show(received.provider).lines()))


@click.command()
@click.argument("file", type=PATH)
@click.option("--unlock-file", type=PATH, help="File with the passphrase that seals the provider.")
@click.pass_obj
def acknowledge(place: Place, file: Path, unlock_file: Path | None) -> None:
    """Note that another host has a provider's keys, as its acknowledgment proves."""
    with explained():
        host = place.host()
        if unlock_file is not None:
            for name in (status.name for status in host.providers.list()):
                unlocked(host, name, unlock_file)
        entry = host.exchange.acknowledge(file)
    keys = ", ".join(kdk_id.hex() for kdk_id in entry.kdk_ids)
    click.echo(f"host {entry.name} ({entry.host_id}) has {keys}")


def has_tpm() -> bool:
    """Whether this host has a TPM that this program can talk to."""
    return Path("/dev/tpmrm0").exists() and find_spec("tpm2_pytss") is not None
