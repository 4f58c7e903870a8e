"""
The saved form of a TPM's profile: whole, so that no later release of this program changes a TPM that exists.

The rules of `vtpm.state.saved` hold.
"""

from functools import lru_cache
from typing import Annotated

from vtpm.spec.constants import TPM_ALG, TPM_CC, TPM_ECC_CURVE, TPM_PT
from vtpm.state.profile import PROFILES, Profile
from vtpm.state.profile_check import KEY_BITS, LIMITS, ProfileError, check_banks, check_layout
from vtpm.state.saved import LIST_MAX, OCTETS, SavedStateError, read, versioned
from vtpm.wire.integers import UINT16, UINT32
from vtpm.wire.structure import structure
from vtpm.wire.vocabulary import ListOf

PROFILE = "profile"

LAYOUT_1 = "reference"
"""The attributes of PCR in version 1, which does not name them."""

NUMBERS = Annotated[tuple[int, ...], ListOf(UINT16, LIST_MAX)]
CODES = Annotated[tuple[int, ...], ListOf(UINT32, LIST_MAX)]


@structure
class SavedValue:
    """A property or an algorithm, and what is reported of it."""

    tag: UINT32
    value: UINT32


VALUES = Annotated[tuple[SavedValue, ...], ListOf(SavedValue, LIST_MAX)]


@structure
class SavedProfile:
    """Version 1 of `profile`."""

    name: OCTETS
    algorithms: NUMBERS
    curves: NUMBERS
    commands: CODES
    rsa_key_bits: NUMBERS
    aes_key_bits: NUMBERS
    camellia_key_bits: NUMBERS
    tdes_key_bits: NUMBERS
    pcr_banks: NUMBERS
    active_banks: NUMBERS
    transient_slots: UINT32
    loaded_sessions: UINT32
    active_sessions: UINT32
    persistent_slots: UINT32
    max_command_size: UINT32
    max_response_size: UINT32
    nv_capacity: UINT32
    nv_index_max: UINT32
    context_gap: UINT32
    orderly_count: UINT32
    commit_slots: UINT32
    clock_update: UINT32
    revision: UINT32
    reported: VALUES
    algorithm_attributes: VALUES


@structure
class SavedProfile2:
    """Version 2 of `profile`, only written where the attributes of PCR are others than version 1 knows."""

    pcr_layout: OCTETS
    others: SavedProfile


@structure
class SavedProfile3:
    """
    Version 3 of `profile`, which limits the memory for orderly NV Indices.

    A TPM of an earlier version may fill all NV memory with them, as it always could.
    It is written as before, so that earlier releases go on reading it.
    """

    orderly_capacity: UINT32
    pcr_layout: OCTETS
    others: SavedProfile


FORMS = {1: SavedProfile, 2: SavedProfile2, 3: SavedProfile3}

NEWER = ("orderly_capacity",)
"""The limits that version 1 does not have."""

NUMBERS_1 = tuple(name for name in (*LIMITS, *KEY_BITS) if name not in NEWER)


def save_profile(profile: Profile) -> bytes:
    """The blob `profile`."""
    form = SavedProfile(
        name=profile.name.encode(),
        algorithms=tuple(sorted(profile.algorithms)),
        curves=tuple(sorted(profile.curves)),
        commands=tuple(sorted(profile.commands)),
        pcr_banks=profile.pcr_banks,
        active_banks=profile.active_banks,
        reported=tuple(SavedValue(tag, value) for tag, value in profile.reported),
        algorithm_attributes=tuple(SavedValue(*pair) for pair in profile.algorithm_attributes),
        **{name: getattr(profile, name) for name in NUMBERS_1},
    )
    layout = profile.pcr_layout.encode()
    if profile.orderly_capacity != profile.nv_capacity:
        return versioned(3, SavedProfile3(profile.orderly_capacity, layout, form))
    if profile.pcr_layout == LAYOUT_1:
        return versioned(1, form)
    return versioned(2, SavedProfile2(pcr_layout=layout, others=form))


@lru_cache(maxsize=64)
def load_profile(blob: bytes) -> Profile:
    """A profile from its blob; SavedStateError if it cannot be read."""
    read_form: SavedProfile | SavedProfile2 | SavedProfile3 = read(PROFILE, blob, FORMS)
    layout = LAYOUT_1.encode() if isinstance(read_form, SavedProfile) else read_form.pcr_layout
    form = read_form if isinstance(read_form, SavedProfile) else read_form.others
    capacity = read_form.orderly_capacity if isinstance(read_form, SavedProfile3) else form.nv_capacity
    try:
        profile = Profile(
            pcr_layout=layout.decode(),
            orderly_capacity=capacity,
            name=form.name.decode(),
            algorithms=frozenset(map(TPM_ALG, form.algorithms)),
            curves=frozenset(map(TPM_ECC_CURVE, form.curves)),
            commands=frozenset(map(TPM_CC, form.commands)),
            pcr_banks=tuple(map(TPM_ALG, form.pcr_banks)),
            active_banks=tuple(map(TPM_ALG, form.active_banks)),
            reported=tuple((TPM_PT(pair.tag), pair.value) for pair in form.reported),
            algorithm_attributes=tuple((TPM_ALG(pair.tag), pair.value) for pair in form.algorithm_attributes),
            **{name: getattr(form, name) for name in NUMBERS_1},
        )
        check_banks(profile)
        check_layout(profile)
    except (ValueError, ProfileError) as error:
        raise SavedStateError(PROFILE, f"it is of no TPM of this release ({error})") from None
    return profile


def profile_of(name: str, blob: bytes | None) -> Profile:
    """
    The profile that a TPM was made with: the saved one, which must have the name that the TPM remembers.

    A TPM from before profiles were saved has the profile of this program that has the name.
    """
    if blob is None:
        if name not in PROFILES:
            raise SavedStateError(PROFILE, f"it is missing, and {name!r} is no profile of this release")
        return PROFILES[name]
    profile = load_profile(blob)
    if profile.name != name:
        raise SavedStateError(PROFILE, f"it is {profile.name!r}, but the TPM was made as {name!r}")
    return profile
