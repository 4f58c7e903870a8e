"""`vtpm authority`: the authority of this host, which certifies endorsement keys and platforms."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from vtpm.cli.caller import read, write_new
from vtpm.cli.certificates import EXPECTED
from vtpm.cli.errors import explained
from vtpm.cli.passphrase import passphrase_of, passphrase_options
from vtpm.cli.place import Place
from vtpm.cli.provisioning import authority_of
from vtpm.cli.vm import unlock

if TYPE_CHECKING:
    from vtpm.daemon.authority.local import LocalAuthority
    from vtpm.daemon.authority.token import TokenPlace

PATH = click.Path(dir_okay=False, path_type=Path)
NAME = "vtpm local authority"
F = TypeVar("F", bound=Callable[..., Any])
as_json_option = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")


def key_options(command: F) -> F:
    """The options that say under which provider the authority's key is, or is put."""
    for option in (
        passphrase_options,
        click.option("--allow-unverified", is_flag=True, help="Accept a provider without a verified backup."),
        click.option("--provider", help="The key provider; the default one if it is not given."),
    ):
        command = option(command)
    return command


def token_options(command: F) -> F:
    """The options that say where a key in a token is."""
    for option in (
        click.option("--pin-fd", type=click.IntRange(0), help="Read its PIN from a descriptor."),
        click.option("--pin-file", type=PATH, help="Read its PIN from a file."),
        click.option("--pkcs11-key", "label", metavar="LABEL", help="The key, made there if it is absent."),
        click.option("--pkcs11-token", "token", metavar="LABEL", help="The token that has the key."),
        click.option("--pkcs11-module", "module", type=PATH, help="The library of the token's maker."),
    ):
        command = option(command)
    return command


@click.group(short_help="The authority that certifies keys and platforms.")
def authority() -> None:
    """
    Manage the certificate authority of this host, which is made with the first TPM.

    Its key is kept under a key provider, or in a PKCS #11 token whose PIN is.
    """


@authority.command()
@as_json_option
@click.pass_obj
def show(place: Place, *, as_json: bool) -> None:
    """Print the authority's certificate, and where its key is."""
    with explained():
        facts = authority_of(place, place.host()).describe()
    if as_json:
        click.echo(json.dumps(facts))
        return
    under = f"secret of this host, under provider {facts['provider']}" if facts["provider"] else facts["key"]
    click.echo(
        f"# {facts['subject']}, issued by {facts['issuer']}\n# key: {under}\n{facts['certificate']}".rstrip()
    )


@authority.command()
@click.option("--name", default=NAME, show_default=True, help="What its certificate names.")
@click.option("--replace", is_flag=True, help="Give up the authority that is there.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@token_options
@key_options
@as_json_option
@click.pass_obj
def init(
    place: Place,
    /,
    name: str,
    *,
    replace: bool,
    yes: bool,
    as_json: bool,
    module: Path | None,
    token: str | None,
    label: str | None,
    pin_file: Path | None,
    pin_fd: int | None,
    **keys: Any,
) -> None:
    """
    Make the authority, with a new key under a provider or the one in a PKCS #11 token.

    With --replace, keys that the former one has certified keep their certificates until `vtpm ek renew`.
    """
    where = token_of(module, token, label, pin_file, pin_fd)
    with explained():
        local = local_authority(place, **keys)
        if replace and local.exists and not yes:
            click.confirm("Give up this host's authority, and its key, for a new one?", abort=True)
        local.make(name, where, replace=replace)
        facts = local.describe()
    click.echo(
        json.dumps(facts) if as_json else f"{facts['subject']}: made; its key: {where or facts['key']}"
    )


@authority.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def remove(place: Place, *, yes: bool) -> None:
    """Give the authority up, and its key; the next TPM that needs one makes another."""
    with explained():
        local = authority_of(place, place.host())
        if local.exists and not yes:
            click.confirm("Give up this host's authority, and its key?", abort=True)
        local.remove()
    click.echo("the authority's key is gone; what it has certified keeps its certificates")


@authority.command()
@key_options
@click.pass_obj
def seal(place: Place, /, **keys: Any) -> None:
    """Put a key that is in a file, as older versions had it, under a provider, and remove the file."""
    with explained():
        local = local_authority(place, **keys)
        local.seal()
        provider = local.describe()["provider"]
    click.echo(f"the authority's key is under provider {provider}")


@authority.command()
@click.argument("provider")
@click.option("--unlock-provider", help="The provider that the passphrase unlocks; PROVIDER if not given.")
@passphrase_options
@click.pass_obj
def move(
    place: Place,
    provider: str,
    unlock_provider: str | None,
    passphrase_file: Path | None,
    passphrase_fd: int | None,
) -> None:
    """Put the authority's key, or the PIN of its token, under another provider."""
    with explained():
        host = place.host()
        unlock(host, unlock_provider or provider, passphrase_of(passphrase_file, passphrase_fd))
        authority_of(place, host).move(provider)
    click.echo(f"the authority's key is under provider {provider}")


@authority.command()
@click.argument("file", type=PATH)
@click.option("--name", help="What the certificate is to name; the present one's subject if not given.")
@key_options
@click.pass_obj
def csr(place: Place, /, file: Path, name: str | None, **keys: Any) -> None:
    """Write a certificate request (PKCS #10), so that another authority certifies this one."""
    with explained():
        write_new(file, local_authority(place, **keys).request(name))
    click.echo(
        f"openssl x509 -req -in {file} -copy_extensions copyall -CA ca.pem -CAkey ca.key -days 3650 "
        f"-out {file.with_suffix('.pem')}"
    )
    click.echo(f"then: vtpm authority install {file.with_suffix('.pem')}", err=True)


@authority.command()
@click.argument("certificates", type=EXPECTED)
@key_options
@click.pass_obj
def install(place: Place, /, certificates: Path, **keys: Any) -> None:
    """
    Take another authority's certificate of this one, in PEM, followed by those above it if there are some.

    Keys that are certified from now on are certified by it.
    """
    with explained():
        made = local_authority(place, **keys).install(read(certificates))
    click.echo(f"{made.subject.rfc4514_string()}: certified by {made.issuer.rfc4514_string()}")


def local_authority(
    place: Place,
    *,
    provider: str | None,
    allow_unverified: bool,
    passphrase_file: Path | None,
    passphrase_fd: int | None,
) -> "LocalAuthority":
    """The authority, with the provider unlocked that the options name."""
    host = place.host()
    unlock(host, provider, passphrase_of(passphrase_file, passphrase_fd))
    return authority_of(place, host, provider, allow_unverified=allow_unverified)


def token_of(
    module: Path | None, token: str | None, label: str | None, pin_file: Path | None, pin_fd: int | None
) -> "TokenPlace | None":
    """Where a key in a token is, if the options say so."""
    given = [value is not None for value in (module, token, label)]
    if not any(given):
        if pin_file is not None or pin_fd is not None:
            raise click.UsageError("a PIN needs --pkcs11-module, --pkcs11-token and --pkcs11-key")
        return None
    if module is None or token is None or label is None:
        raise click.UsageError("give all of --pkcs11-module, --pkcs11-token and --pkcs11-key")
    from vtpm.daemon.authority.token import TokenPlace  # noqa: PLC0415 - help needs none

    with explained():
        pin = passphrase_of(pin_file, pin_fd)
    try:
        return TokenPlace(str(module.absolute()), token, label, None if pin is None else pin.decode())
    except UnicodeDecodeError:
        raise click.UsageError("the PIN is no text in UTF-8") from None
