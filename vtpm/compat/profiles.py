"""The profiles that --profile names (swtpm.8), in terms of this TPM's."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from vtpm.compat.arguments import ArgumentError, number
from vtpm.compat.keys import read_descriptor, read_file
from vtpm.state.profile import PROFILES, SWTPM_COMPATIBLE, Profile

NAMES: Final = {"null": "swtpm-compatible", "default-v1": "default"}
"""libtpms' built-in profiles, and what takes their place: those of before 0.10, and all there are."""

DESCRIPTIONS: Final = {
    "null": "The algorithms and commands of libtpms before 0.10; the profile swtpm-compatible",
    "default-v1": "All algorithms and commands of this program; the profile default",
}


def profile_of(values: Mapping[str, str]) -> Profile:
    """The profile of a new TPM; without --profile, or with its `null`, what libtpms 0.9 would make."""
    sources = [name for name in ("name", "profile", "file", "fd") if name in values]
    if not values:
        return SWTPM_COMPATIBLE
    if len(sources) != 1:
        raise ArgumentError("--profile: give one of name, profile, file and fd")
    if "remove-disabled" in values:
        raise ArgumentError("--profile remove-disabled: not supported")
    (source,) = sources
    text = values[source]
    if source == "name":
        return named(text)
    if source == "file":
        text = read_file("profile file", Path(text)).decode(errors="replace")
    elif source == "fd":
        text = read_descriptor("profile fd", number("profile", "fd", text)).decode(errors="replace")
    return described(text)


def described(text: str) -> Profile:
    """The profile of a document in libtpms' JSON, which may only name a built-in one."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or not isinstance(document.get("Name"), str):
        raise ArgumentError('--profile: the profile is no JSON with a "Name"')
    chosen = sorted(document.keys() & {"Algorithms", "Commands", "Attributes"})
    if chosen:
        raise ArgumentError(
            f"--profile: libtpms' lists of {', '.join(chosen)} are not supported; "
            "make the TPM with a profile of one's own by `vtpm create --profile`"
        )
    return named(document["Name"])


def named(name: str) -> Profile:
    """A built-in profile, by libtpms' name or this program's."""
    name = name.removeprefix("builtin:")
    own = NAMES.get(name, name)
    if own not in PROFILES:
        known = ", ".join((*NAMES, *PROFILES))
        raise ArgumentError(f"the profile {name} is not supported; there are {known}")
    return PROFILES[own]


def shown_name(profile: Profile) -> str:
    """Libtpms' name of a profile, or else its own."""
    return next((name for name, own in NAMES.items() if own == profile.name), profile.name)


def list_profiles() -> dict[str, Any]:
    """The names that can be given, in the form of libtpms' AvailableProfiles."""
    own = {name: f"vtpm's profile {name}" for name in PROFILES}
    listed = [{"Name": name, "Description": text} for name, text in (DESCRIPTIONS | own).items()]
    return {"AvailableProfiles": listed}
