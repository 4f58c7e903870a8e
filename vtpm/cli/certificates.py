"""What `vtpm ek`, `platform` and `authority` have in common: certificates on their way in and out."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vtpm.cli.caller import read
from vtpm.cli.change import change
from vtpm.cli.passphrase import passphrase_of
from vtpm.cli.place import Place
from vtpm.cli.provisioning import authority_of
from vtpm.cli.vm import unlock

if TYPE_CHECKING:
    from vtpm.manufacture.certificates import Authority, Model, Specification
    from vtpm.spec.objects import TPMT_PUBLIC

EXPECTED = click.Path(exists=True, dir_okay=False, path_type=Path)


def authority_for(place: Place, vm: str, unlocking: dict[str, Any]) -> "Authority":
    """The local authority; a key that is not under a provider yet is put under that of the VM."""
    host = place.host()
    provider = host.show_state(vm).provider
    passphrase = passphrase_of(unlocking["passphrase_file"], unlocking["passphrase_fd"])
    unlock(host, unlocking["provider"], passphrase)
    return authority_of(place, host, provider or None).open()


def models_of(identity: dict[str, Any]) -> "tuple[Model, Specification]":
    """What a TPM says of itself, as certificates say it."""
    from vtpm.manufacture.certificates import Model, Specification  # noqa: PLC0415 - help needs neither

    return Model(**identity["model"]), Specification(**identity["specification"])


def public_of(octets: str) -> "TPMT_PUBLIC":
    """The public area of an endorsement key that a view has shown."""
    from vtpm.spec.objects import TPMT_PUBLIC  # noqa: PLC0415 - help needs neither
    from vtpm.wire.structure import unmarshal  # noqa: PLC0415

    public: TPMT_PUBLIC = unmarshal(TPMT_PUBLIC, bytes.fromhex(octets))
    return public


def certificate_in(file: Path) -> bytes:
    """The certificate of a file in PEM or DER, in DER."""
    from cryptography import x509  # noqa: PLC0415 - help needs none
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415

    octets = read(file)
    if octets.startswith(b"-----BEGIN"):
        try:
            octets = x509.load_pem_x509_certificate(octets).public_bytes(Encoding.DER)
        except ValueError as error:
            raise click.ClickException(f"{file}: {error}; give the certificate alone") from None
    return octets


def put(place: Place, vm: str, name: str, octets: bytes, origin: str, unlocking: dict[str, Any]) -> None:
    """Put a certificate into a TPM by the change of this name, and say where."""
    index = change(
        place, vm, name, facts={"origin": origin}, gives="index", certificate=octets.hex(), **unlocking
    )
    click.echo(f"{vm}: the certificate at 0x{index:08x} is replaced")


def tell_how_to_sign(request: Path, public: Path) -> None:
    """The line by which openssl answers a request, with the endorsement key in the place of its signer's."""
    click.echo(
        f"openssl x509 -req -in {request} -force_pubkey {public} -copy_extensions copyall "
        f"-CA ca.pem -CAkey ca.key -days 7300 -out {request.with_suffix('.pem')}"
    )
