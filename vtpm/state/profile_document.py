"""Profiles as documents of names and numbers, as people write them: a TOML or JSON file holds one."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import fields, replace
from enum import IntEnum
from typing import Any, Final

from vtpm.spec.constants import TPM_ALG, TPM_CC, TPM_ECC_CURVE, TPM_PT
from vtpm.spec.interface import CURVES, HASHES
from vtpm.state.profile import ALL_ALGORITHMS, ALL_COMMANDS, PROFILES, Profile
from vtpm.state.profile_check import KEY_BITS, LIMITS, ProfileError, check_profile, words

SETS: Final[dict[str, tuple[type[IntEnum], Collection[int]]]] = {
    "algorithms": (TPM_ALG, ALL_ALGORITHMS),
    "curves": (TPM_ECC_CURVE, CURVES),
    "commands": (TPM_CC, ALL_COMMANDS),
}
"""The fields without an order, which `add` and `remove` change."""

BANKS: Final = ("pcr_banks", "active_banks")
PAIRS: Final[dict[str, type[IntEnum]]] = {"reported": TPM_PT, "algorithm_attributes": TPM_ALG}
CHANGES: Final = ("add", "remove")
NAME_MOST: Final = 64
UINT32_MAX: Final = 0xFFFFFFFF


def document_of(profile: Profile) -> dict[str, Any]:
    """A profile as a document; `profile_of` makes the same profile of it."""
    document: dict[str, Any] = {"name": profile.name}
    for name in SETS:
        document[name] = [item.name for item in sorted(getattr(profile, name))]
    for name in KEY_BITS:
        document[name] = list(getattr(profile, name))
    for name in BANKS:
        document[name] = [bank.name for bank in getattr(profile, name)]
    for name in LIMITS:
        document[name] = getattr(profile, name)
    for name in PAIRS:
        document[name] = {tag.name: value for tag, value in getattr(profile, name)}
    document["pcr_layout"] = profile.pcr_layout
    return document


def profile_from(document: Mapping[str, Any]) -> Profile:
    """
    The profile of a document: fields that are absent are those of the profile that `base` names.

    `add` and `remove` change the sets of the base.
    ProfileError names the field at fault, its value and what is allowed.
    """
    known = {field.name for field in fields(Profile)}
    for field in document:
        if field not in known and field not in ("base", *CHANGES):
            raise ProfileError(
                field, "the field", f"allowed are {', '.join(sorted(known | {'base', *CHANGES}))}"
            )
    base = document.get("base", "default")
    if not isinstance(base, str) or base not in PROFILES:
        raise ProfileError("base", repr(base), f"allowed are {', '.join(sorted(PROFILES))}")
    changes = {field: READERS[field](field, value) for field, value in document.items() if field in READERS}
    changes["name"] = _name("name", document.get("name"))
    profile = _changed(replace(PROFILES[base], **changes), document)
    check_profile(profile)
    return profile


def _changed(profile: Profile, document: Mapping[str, Any]) -> Profile:
    for change in CHANGES:
        sets = document.get(change, {})
        if not isinstance(sets, Mapping):
            raise ProfileError(change, repr(sets), f"it is a table of {', '.join(SETS)}")
        for field, value in sets.items():
            if field not in SETS:
                raise ProfileError(f"{change}.{field}", "the field", f"allowed are {', '.join(SETS)}")
            members = frozenset(_members(f"{change}.{field}", value, *SETS[field]))
            before = getattr(profile, field)
            profile = replace(profile, **{field: before | members if change == "add" else before - members})
    return profile


def _name(field: str, value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= NAME_MOST:
        raise ProfileError(field, repr(value), f"it is a text of 1 to {NAME_MOST} characters")
    return value


def _list(field: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ProfileError(field, repr(value), "it is a list")
    return value


def _members(field: str, value: Any, kind: type[IntEnum], allowed: Collection[int]) -> list[Any]:
    found = []
    for name in _list(field, value):
        member = kind.__members__.get(name) if isinstance(name, str) else None
        if member is None or member not in allowed:
            raise ProfileError(field, repr(name), f"allowed are {words(allowed)}")
        found.append(member)
    return found


def _number(field: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= UINT32_MAX:
        raise ProfileError(field, repr(value), f"it is a number from 0 to {UINT32_MAX}")
    return value


def _pairs(field: str, value: Any) -> tuple[tuple[Any, int], ...]:
    if not isinstance(value, Mapping):
        raise ProfileError(field, repr(value), "it is a table of names and numbers")
    kind = PAIRS[field]
    for name in value:
        if name not in kind.__members__:
            raise ProfileError(field, repr(name), f"allowed are the names of {kind.__name__}")
    return tuple((kind[name], _number(f"{field}.{name}", number)) for name, number in value.items())


def _set(field: str, value: Any) -> frozenset[Any]:
    return frozenset(_members(field, value, *SETS[field]))


def _banks(field: str, value: Any) -> tuple[Any, ...]:
    return tuple(_members(field, value, TPM_ALG, HASHES))


def _numbers(field: str, value: Any) -> tuple[int, ...]:
    return tuple(_number(field, item) for item in _list(field, value))


READERS: Final[dict[str, Callable[[str, Any], Any]]] = {
    **dict.fromkeys(SETS, _set),
    **dict.fromkeys(BANKS, _banks),
    **dict.fromkeys(KEY_BITS, _numbers),
    **dict.fromkeys(LIMITS, _number),
    **dict.fromkeys(PAIRS, _pairs),
    "pcr_layout": _name,
}
"""How the value of each field is read, but for the name."""
