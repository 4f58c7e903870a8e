"""`vtpm ek`: the endorsement keys of a VM's TPM, and their certificates."""

import json
from typing import Any

import click

from vtpm.cli.errors import explained
from vtpm.cli.look import look, look_options
from vtpm.cli.place import Place

as_json_option = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")


@click.command(short_help="Print endorsement keys and certificates.")
@click.argument("vm")
@look_options
@as_json_option
@click.pass_obj
def ek(place: Place, /, vm: str, *, as_json: bool, **unlocking: Any) -> None:
    """Print the endorsement keys of a VM's TPM and their certificates, as PEM; the VM may be running."""
    with explained():
        found = look(place, vm, "ek", **unlocking)
    if as_json:
        click.echo(json.dumps(found))
    elif not found:
        raise click.ClickException(
            f"{vm}: no endorsement key is persistent and no certificate in NV; the TPM was made with --bare, "
            "or its owner has removed them"
        )
    else:
        click.echo("\n".join(part for item in found for part in parts_of(item)))


def parts_of(item: dict[str, Any]) -> list[str]:
    """An endorsement key and its certificate, each under a line that says what it is."""
    parts = []
    if item["handle"]:
        parts.append(
            f"# {item['key']} endorsement key at {item['handle']}\n{item['public_key'] or ''}".rstrip()
        )
    if item["certificate"]:
        whose = "its certificate" if item["handle"] else "certificate of no persistent key"
        parts.append(
            f"# {whose} at {item['index']}, issued by {item['issuer']}, SHA-256 {item['sha256']}\n"
            f"{item['certificate']}".rstrip()
        )
    return parts
