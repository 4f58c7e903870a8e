"""`vtpm platform`: the platform certificate of a VM's TPM."""

import json
from pathlib import Path
from typing import Any

import click

from vtpm.cli.caller import write_new
from vtpm.cli.certificates import (
    EXPECTED,
    authority_for,
    certificate_in,
    public_of,
    put,
    tell_how_to_sign,
)
from vtpm.cli.errors import explained
from vtpm.cli.look import look, look_options
from vtpm.cli.place import Place
from vtpm.cli.provisioning import PLATFORM, platform_of

CHANGE = "platform-certificate"
as_json_option = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
platform_option = click.option(
    "--platform",
    "named",
    metavar="MAKER,MODEL,VERSION",
    help=f"What the certificate says; what the present one says, or {PLATFORM}, if it is not given.",
)


@click.group(short_help="Platform certificate.")
def platform() -> None:
    """Print the platform certificate of a VM's TPM, and have another one made."""


@platform.command(short_help="Print the platform certificate.")
@click.argument("vm")
@look_options
@as_json_option
@click.pass_obj
def show(place: Place, /, vm: str, *, as_json: bool, **unlocking: Any) -> None:
    """Print the platform certificates of a VM's TPM, as PEM; the VM may be running."""
    with explained():
        found = look(place, vm, "platform", **unlocking)["certificates"]
    if as_json:
        click.echo(json.dumps(found))
    elif not found:
        raise click.ClickException(
            f"{vm}: no platform certificate is in NV; `vtpm platform renew {vm}` puts one there"
        )
    for item in [] if as_json else found:
        of = ", ".join(item["platform"] or ["no platform"])
        click.echo(
            f"# platform certificate at {item['index']}, of {of}, issued by {item['issuer']}, "
            f"SHA-256 {item['sha256']}\n{item['certificate']}".rstrip()
        )


@platform.command(short_help="Certify the platform anew.")
@click.argument("vm")
@click.option("--subject", help="What the certificate names; the VM if it is not given.")
@platform_option
@look_options
@click.pass_obj
def renew(place: Place, /, vm: str, subject: str | None, named: str | None, **unlocking: Any) -> None:
    """
    Give a VM's TPM a new platform certificate of this host's authority, or its first one.

    The VM may be running: its guest reads the new one at once.
    """
    with explained():
        from vtpm.daemon.authority.certifier import now  # noqa: PLC0415
        from vtpm.daemon.authority.local import serial_number  # noqa: PLC0415 - help needs neither

        key, text = key_and_platform(place, vm, named, unlocking)
        authority = authority_for(place, vm, unlocking)
        octets = authority.certify_platform(
            public_of(key), subject or vm, platform_of(text), serial_number(), now()
        )
        put(place, vm, CHANGE, octets, "local authority", unlocking)


@platform.command(short_help="Write a request to another authority.")
@click.argument("vm")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--subject", help="What the certificate is to name; the VM if it is not given.")
@platform_option
@look_options
@click.pass_obj
def csr(
    place: Place, /, vm: str, file: Path, subject: str | None, named: str | None, **unlocking: Any
) -> None:
    """
    Write a certificate request (PKCS #10) for the platform certificate of a VM's TPM to a file.

    An endorsement key cannot sign, so a key that nobody keeps has signed the request.
    The authority must put the public key that lies beside it in that one's place.
    """
    with explained():
        from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415 - help needs none
            Encoding,
            PublicFormat,
        )

        from vtpm.daemon.authority.certifier import request_platform  # noqa: PLC0415
        from vtpm.manufacture.certificates import public_key_of  # noqa: PLC0415

        key, text = key_and_platform(place, vm, named, unlocking)
        write_new(file, request_platform(public_of(key), subject or vm, platform_of(text)))
        public = file.with_suffix(".pub")
        write_new(
            public,
            public_key_of(public_of(key)).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        )
        tell_how_to_sign(file, public)
    click.echo(f"then: vtpm platform install {vm} {file.with_suffix('.pem')}", err=True)


@platform.command(short_help="Put another authority's certificate in.")
@click.argument("vm")
@click.argument("certificate", type=EXPECTED)
@look_options
@click.pass_obj
def install(place: Place, /, vm: str, certificate: Path, **unlocking: Any) -> None:
    """
    Put a platform certificate, in PEM or DER, into a VM's TPM in place of the one that is there.

    It is refused unless it is a platform's, for an endorsement key of this TPM.
    """
    with explained():
        put(place, vm, CHANGE, certificate_in(certificate), str(certificate.absolute()), unlocking)


def key_and_platform(place: Place, vm: str, named: str | None, unlocking: dict[str, Any]) -> tuple[str, str]:
    """The endorsement key that the certificate is of, and what it says of the platform."""
    found = look(place, vm, "platform", **unlocking)
    if found["tpmt_public"] is None:
        raise click.ClickException(
            f"{vm}: no endorsement key is persistent, so there is none to certify; make one in the guest"
        )
    present = next((item["platform"] for item in found["certificates"] if item["platform"]), None)
    return found["tpmt_public"], named or (",".join(present) if present else PLATFORM)
