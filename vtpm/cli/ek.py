"""`vtpm ek`: the endorsement keys of a VM's TPM, and their certificates."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vtpm.cli.caller import make_directory, write_new
from vtpm.cli.certificates import (
    EXPECTED,
    authority_for,
    certificate_in,
    models_of,
    public_of,
    put,
    tell_how_to_sign,
)
from vtpm.cli.errors import explained
from vtpm.cli.look import look, look_options
from vtpm.cli.place import Place
from vtpm.cli.provisioning import tool_certifier, tool_option

if TYPE_CHECKING:
    from vtpm.manufacture.provision import Certifier

CHANGE = "ek-certificate"
SHOW = "show"
as_json_option = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")


class EkGroup(click.Group):
    """`vtpm ek VM` is `vtpm ek show VM`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `show` where no subcommand is named."""
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = [SHOW, *args]
        return super().parse_args(ctx, args)


@click.group(cls=EkGroup, short_help="Endorsement keys and certificates.")
def ek() -> None:
    """
    Print endorsement keys, and have them certified anew.

    `vtpm ek VM` prints keys and certificates, as `vtpm ek show VM` does.
    """


@ek.command(SHOW, short_help="Print endorsement keys and certificates.")
@click.argument("vm")
@look_options
@as_json_option
@click.pass_obj
def show(place: Place, /, vm: str, *, as_json: bool, **unlocking: Any) -> None:
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


@ek.command(short_help="Certify endorsement keys anew.")
@click.argument("vm")
@click.option("--subject", help="What the certificates name; the VM if it is not given.")
@tool_option
@look_options
@click.pass_obj
def renew(place: Place, /, vm: str, subject: str | None, tool: Path | None, **unlocking: Any) -> None:
    """
    Give every persistent endorsement key of a VM's TPM a new certificate of this host's authority.

    The VM may be running: its guest reads the new ones at once.
    """
    with explained():
        from vtpm.daemon.authority.certifier import LocalCertifier  # noqa: PLC0415 - help needs none

        keys = persistent_keys(place, vm, unlocking)
        model, specification = models_of(look(place, vm, "identity", **unlocking))
        certifier: Certifier
        if tool is not None:
            certifier, origin = tool_certifier(tool, subject or vm, model, specification), str(tool)
        else:
            authority = authority_for(place, vm, unlocking)
            certifier = LocalCertifier(authority, subject or vm, model, None, specification)
            origin = "local authority"
        for item in keys:
            octets = certifier.certify_ek(public_of(item["tpmt_public"]))
            put(place, vm, CHANGE, octets, origin, unlocking)


@ek.command(short_help="Write requests to another authority.")
@click.argument("vm")
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option("--subject", help="What the certificates are to name; the VM if it is not given.")
@look_options
@click.pass_obj
def csr(place: Place, /, vm: str, directory: Path, subject: str | None, **unlocking: Any) -> None:
    """
    Write a certificate request (PKCS #10) for every endorsement key of a VM's TPM to a directory.

    An endorsement key cannot sign, so a key that nobody keeps has signed the request.
    The authority must put the public key that lies beside it in that one's place.
    """
    with explained():
        from vtpm.daemon.authority.certifier import request_ek  # noqa: PLC0415 - help needs none

        keys = persistent_keys(place, vm, unlocking)
        model, specification = models_of(look(place, vm, "identity", **unlocking))
        make_directory(directory)
        for item in keys:
            request = directory / f"ek-{item['handle'].removeprefix('0x')}.csr"
            key = public_of(item["tpmt_public"])
            write_new(request, request_ek(key, subject or vm, model, specification))
            public = request.with_suffix(".pub")
            write_new(public, item["public_key"].encode())
            tell_how_to_sign(request, public)
    click.echo(f"then, for each of them: vtpm ek install {vm} FILE.pem", err=True)


@ek.command("install", short_help="Put another authority's certificate in.")
@click.argument("vm")
@click.argument("certificate", type=EXPECTED)
@look_options
@click.pass_obj
def install(place: Place, /, vm: str, certificate: Path, **unlocking: Any) -> None:
    """
    Put a certificate, in PEM or DER, into a VM's TPM in place of the one that its key has.

    It is refused unless it is for an endorsement key of this TPM.
    """
    with explained():
        put(place, vm, CHANGE, certificate_in(certificate), str(certificate.absolute()), unlocking)


def persistent_keys(place: Place, vm: str, unlocking: dict[str, Any]) -> list[dict[str, Any]]:
    """The endorsement keys that can be certified."""
    keys = [item for item in look(place, vm, "ek", **unlocking) if item["public_key"]]
    if not keys:
        raise click.ClickException(
            f"{vm}: no endorsement key is persistent, so there is none to certify; make one in the guest"
        )
    return keys


def parts_of(item: dict[str, Any]) -> list[str]:
    """An endorsement key and its certificate, each under a line that says what it is."""
    parts = []
    if item["handle"]:
        title = f"# {item['key']} endorsement key at {item['handle']}"
        parts.append(f"{title}\n{item['public_key'] or ''}".rstrip())
    if item["certificate"]:
        whose = "its certificate" if item["handle"] else "certificate of no persistent key"
        parts.append(
            f"# {whose} at {item['index']}, issued by {item['issuer']}, SHA-256 {item['sha256']}\n"
            f"{item['certificate']}".rstrip()
        )
    return parts
