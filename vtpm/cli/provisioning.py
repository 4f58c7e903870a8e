"""What `vtpm create` puts into a new TPM beyond its seeds."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from vtpm.cli.place import Place
from vtpm.cli.profile_choice import profile_of

if TYPE_CHECKING:
    from vtpm.state.tpm import TpmState

AUTHORITY = "authority"
"""The directory of the local authority, beside the states."""

PLATFORM = "QEMU,QEMU,1"
"""What platform certificates say if nothing else is given: maker, model, version."""

F = TypeVar("F", bound=Callable[..., Any])


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


def manufactured(
    place: Place, vm: str, profile: str, *, provision: bool, banks: str | None, platform: str
) -> dict[str, bytes]:
    """The state of a new TPM, as blobs."""
    from vtpm.daemon.clock import entropy  # noqa: PLC0415 - help needs neither
    from vtpm.engine.tpm import Tpm  # noqa: PLC0415

    tpm = Tpm.manufacture(entropy, profile_of(profile))
    if provision:
        provision_for(tpm, place, vm, banks, platform)
    elif banks:
        raise click.UsageError("--banks needs --provision: a bare TPM has the banks of its profile")
    return tpm.snapshot()


def provision_for(tpm: "TpmState", place: Place, vm: str, banks: str | None, platform: str) -> None:
    """Keys and certificates, those that the profile has the algorithms for."""
    from vtpm.daemon.authority import LocalCertifier, open_authority  # noqa: PLC0415 - as above
    from vtpm.manufacture.certificates import Model  # noqa: PLC0415
    from vtpm.manufacture.identity import model_of, specification_of  # noqa: PLC0415
    from vtpm.manufacture.provision import provision  # noqa: PLC0415

    facts = platform.split(",")
    if len(facts) != len(("maker", "model", "version")) or not all(facts):
        raise click.UsageError(f"--platform {platform}: give MAKER,MODEL,VERSION")
    certifier = LocalCertifier(
        open_authority(place.state_dir / AUTHORITY), vm, model_of(tpm), Model(*facts), specification_of(tpm)
    )
    provision(tpm, certifier, srk=True, banks=banks_of(tpm, banks))


def banks_of(tpm: "TpmState", text: str | None) -> "list[Any] | None":
    """The banks that --banks names."""
    if text is None:
        return None
    known = {bank.name.lower(): bank for bank in tpm.profile.pcr_banks}
    names = [name.strip().lower() for name in text.split(",")]
    if not set(names) <= known.keys():
        raise click.UsageError(f"--banks {text}: the profile has {', '.join(known)}")
    return [known[name] for name in names]
