"""Which kind of TPM an operator means: a profile's name, or a file that holds one."""

import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vtpm.cli.caller import read

if TYPE_CHECKING:
    from vtpm.state.profile import Profile

profile_option = click.option(
    "--profile",
    "profile_name",
    default="default",
    show_default=True,
    metavar="NAME|FILE",
    help="The kind of TPM: a name of `vtpm profile list`, or a TOML or JSON file.",
)

MOST_OCTETS = 1024 * 1024


def profile_of(name: str) -> "Profile":
    """The profile of this program that has the name, or that of a file; ClickException if there is none."""
    from vtpm.state.profile import PROFILES  # noqa: PLC0415 - help needs none
    from vtpm.state.profile_check import ProfileError  # noqa: PLC0415
    from vtpm.state.profile_document import profile_from  # noqa: PLC0415

    if name in PROFILES:
        return PROFILES[name]
    path = Path(name)
    if not path.is_file():
        raise click.ClickException(
            f"{name!r} is neither a file nor a profile; the profiles are {', '.join(sorted(PROFILES))}"
        )
    document = read_document(path)
    try:
        profile = profile_from(document)
        if profile.name in PROFILES and profile != PROFILES[profile.name]:
            raise ProfileError("name", repr(profile.name), "a profile of one's own needs a name of its own")
    except ProfileError as error:
        raise click.ClickException(f"{path}: {error}") from None
    return profile


def read_document(path: Path) -> dict[str, Any]:
    """The document of a TOML or JSON file."""
    try:
        octets = read(path, MOST_OCTETS + 1)
        if len(octets) > MOST_OCTETS:
            raise click.ClickException(f"{path}: it is larger than {MOST_OCTETS} octets")
        text = octets.decode()
        document = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        kind = "JSON" if path.suffix == ".json" else "TOML"
        raise click.ClickException(f"{path}: it is no {kind}: {error}") from None
    if not isinstance(document, dict):
        raise click.ClickException(f"{path}: a profile is a table of fields")
    return document
