"""What `vtpm create` puts into a new TPM beyond its seeds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from vtpm.cli.place import Place
from vtpm.cli.profile_choice import profile_of

if TYPE_CHECKING:
    from nvstore import Host
    from vtpm.daemon.authority.local import LocalAuthority
    from vtpm.manufacture.certificates import Model, Specification
    from vtpm.manufacture.provision import Certifier
    from vtpm.state.tpm import TpmState

AUTHORITY = "authority"
"""The directory of the local authority, beside the states."""

PLATFORM = "QEMU,QEMU,1"
"""What platform certificates say if nothing else is given: maker, model, version."""

KEYS: Final = {
    "rsa2048": "RSA_2048",
    "p256": "ECC_P256",
    "p384": "ECC_P384",
    "p521": "ECC_P521",
    "rsa3072": "RSA_3072",
    "rsa4096": "RSA_4096",
    "rsa2048-high": "RSA_2048_HIGH",
    "p256-high": "ECC_P256_HIGH",
}
"""The names of the endorsement keys on the command line, and in `vtpm.manufacture.templates.EK`."""

DEFAULT_KEYS: Final = ("rsa2048", "p384")

F = TypeVar("F", bound=Callable[..., Any])


tool_option = click.option(
    "--certs-tool",
    "tool",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Have the create_certs_tool of this swtpm_setup.conf sign, not the host's own authority.",
)


def provisioning_options(command: F) -> F:
    """The options that say what a new TPM has."""
    for option in (
        click.option(
            "--platform",
            metavar="MAKER,MODEL,VERSION",
            default=PLATFORM,
            show_default=True,
            help="What the platform certificate says.",
        ),
        click.option(
            "--ek",
            "keys",
            type=click.Choice(list(KEYS)),
            multiple=True,
            default=DEFAULT_KEYS,
            show_default=True,
            help="An endorsement key to make, with its certificate; give it once for each.",
        ),
        tool_option,
        click.option(
            "--banks", help="The active PCR banks, such as sha256,sha384; the profile's if not given."
        ),
        click.option(
            "--provision/--bare",
            default=True,
            show_default=True,
            help="With endorsement keys, their certificates and the storage root key, or with seeds alone.",
        ),
    ):
        command = option(command)
    return command


@dataclass(frozen=True)
class Wishes:
    """What a new TPM is to have: what `provisioning_options` have given, and where its authority's key is."""

    banks: str | None
    keys: Sequence[str]
    platform: str
    provision: bool
    provider: str | None
    allow_unverified: bool
    tool: Path | None = None

    def check(self) -> None:
        """Refuse what cannot be made before anything is."""
        if not self.provision and self.banks:
            raise click.UsageError("--banks needs --provision: a bare TPM has the banks of its profile")
        if not self.provision and tuple(self.keys) != DEFAULT_KEYS:
            raise click.UsageError("--ek needs --provision: a bare TPM has seeds alone")
        if not self.provision and self.tool is not None:
            raise click.UsageError("--certs-tool needs --provision: a bare TPM has no certificates")
        if len(set(self.keys)) != len(self.keys):
            raise click.UsageError("--ek: a key is given twice; give each once")
        platform_of(self.platform)


def manufactured(place: Place, host: "Host", vm: str, profile: str, wishes: Wishes) -> dict[str, bytes]:
    """The state of a new TPM, as blobs."""
    from vtpm.daemon.clock import entropy  # noqa: PLC0415 - help needs neither
    from vtpm.engine.tpm import Tpm  # noqa: PLC0415

    wishes.check()
    tpm = Tpm.manufacture(entropy, profile_of(profile))
    if wishes.provision:
        provision_for(tpm, place, host, vm, wishes)
    return tpm.snapshot()


def provision_for(tpm: "TpmState", place: Place, host: "Host", vm: str, wishes: Wishes) -> None:
    """Keys and certificates, those that the profile has the algorithms for."""
    from vtpm.daemon.authority.certifier import LocalCertifier  # noqa: PLC0415 - as above
    from vtpm.manufacture.identity import model_of, specification_of  # noqa: PLC0415
    from vtpm.manufacture.provision import provision  # noqa: PLC0415
    from vtpm.manufacture.templates import EK  # noqa: PLC0415
    from vtpm.wire.error import TpmError  # noqa: PLC0415

    banks, keys = banks_of(tpm, wishes.banks), [EK[KEYS[name]] for name in wishes.keys]
    model, specification = model_of(tpm), specification_of(tpm)
    certifier: Certifier
    if wishes.tool is not None:
        certifier = tool_certifier(wishes.tool, vm, model, specification)
    else:
        local = authority_of(place, host, wishes.provider, allow_unverified=wishes.allow_unverified)
        certifier = LocalCertifier(local.open(), vm, model, platform_of(wishes.platform), specification)
    try:
        provision(tpm, certifier, srk=True, keys=keys, banks=banks)
    except TpmError as error:
        raise click.UsageError(
            f"the profile {tpm.profile.name} does not make these keys ({error}): choose others by --ek, "
            "another --profile, or --bare"
        ) from None


def tool_certifier(
    configuration: Path, vm: str, model: "Model", specification: "Specification"
) -> "Certifier":
    """The program that a file like swtpm_setup.conf names; the platform is what its own settings say."""
    from vtpm.compat.certificates_tool import ToolCertifier  # noqa: PLC0415 - help needs none of these
    from vtpm.compat.setup_arguments import settings_in  # noqa: PLC0415

    try:
        settings = settings_in(configuration)
    except OSError as error:
        raise click.UsageError(
            f"--certs-tool {configuration}: {error.strerror}; name a file like swtpm_setup.conf"
        ) from None
    if not settings.get("create_certs_tool"):
        raise click.UsageError(f"--certs-tool {configuration}: it names no create_certs_tool")
    return ToolCertifier(settings, vm, model, specification, platform=True, logfile=None)


def authority_of(
    place: Place, host: "Host", provider: str | None = None, *, allow_unverified: bool = False
) -> "LocalAuthority":
    """The local authority of a host; a key that is not under a provider yet is put under this one."""
    from vtpm.daemon.authority.local import LocalAuthority  # noqa: PLC0415 - help needs none

    return LocalAuthority(place.state_dir / AUTHORITY, host, provider, allow_unverified)


def platform_of(text: str) -> "Model":
    """The maker, model and version that --platform names."""
    from vtpm.manufacture.certificates import Model  # noqa: PLC0415 - help needs none

    facts = text.split(",")
    if len(facts) != len(("maker", "model", "version")) or not all(fact.strip() for fact in facts):
        raise click.UsageError(f"--platform {text}: give MAKER,MODEL,VERSION")
    return Model(*facts)


def banks_of(tpm: "TpmState", text: str | None) -> "list[Any] | None":
    """The banks that --banks names."""
    if text is None:
        return None
    known = {bank.name.lower(): bank for bank in tpm.profile.pcr_banks}
    names = [name.strip().lower() for name in text.split(",")]
    if not set(names) <= known.keys():
        raise click.UsageError(f"--banks {text}: the profile has {', '.join(known)}")
    return [known[name] for name in names]
