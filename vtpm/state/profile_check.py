"""What every profile must have, and how large its limits may be: a TPM cannot do without."""

from collections.abc import Collection

from vtpm.spec.constants import TPM_ALG, TPM_CC, TPM_ECC_CURVE
from vtpm.spec.interface import CURVES, HASHES, SYMMETRIC_KEY_BITS
from vtpm.spec.limits import MAX_ACTIVE_SESSIONS, MAX_LOADED_OBJECTS, MAX_NV_INDEX_SIZE, RSA_KEY_BITS
from vtpm.state.pcr import LAYOUTS
from vtpm.state.profile import ALL_ALGORITHMS, ALL_COMMANDS, Profile

A, C = TPM_ALG, TPM_CC


class ProfileError(Exception):
    """A profile that no TPM can have: the field, its value, and what is allowed."""

    def __init__(self, field: str, value: object, allowed: str) -> None:
        super().__init__(f"{field}: {value} is refused; {allowed}")
        self.field = field


REQUIRED_ALGORITHMS = frozenset(
    {A.SHA256, A.HMAC, A.KEYEDHASH, A.SYMCIPHER, A.AES, A.CFB, A.XOR, A.KDF1_SP800_108}
)
"""Without them there are no sessions, no storage keys and no sealed data."""

REQUIRED_COMMANDS = frozenset(
    {
        C.Startup,
        C.Shutdown,
        C.SelfTest,
        C.GetTestResult,
        C.GetCapability,
        C.GetRandom,
        C.StartAuthSession,
        C.FlushContext,
        C.CreatePrimary,
        C.Create,
        C.Load,
        C.ReadPublic,
        C.EvictControl,
        C.Import,
        C.Certify,
        C.Quote,
        C.Hash,
        C.HashSequenceStart,
        C.SequenceUpdate,
        C.EventSequenceComplete,
        C.PCR_Read,
        C.PCR_Extend,
        C.PCR_Event,
        C.PCR_Allocate,
        C.HierarchyChangeAuth,
        C.NV_Read,
        C.NV_ReadPublic,
    }
)
"""Without them firmware cannot measure, and no operating system takes the TPM for one."""

NEEDS: dict[TPM_ALG, tuple[TPM_ALG, ...]] = {
    A.RSA: (A.OAEP, A.MGF1),
    A.ECC: (A.ECDH, A.KDF1_SP800_56A),
    A.RSASSA: (A.RSA,),
    A.RSAPSS: (A.RSA,),
    A.RSAES: (A.RSA,),
    A.OAEP: (A.RSA,),
    A.ECDSA: (A.ECC,),
    A.ECDAA: (A.ECC,),
    A.ECSCHNORR: (A.ECC,),
    A.SM2: (A.ECC,),
    A.ECDH: (A.ECC,),
    A.ECMQV: (A.ECC,),
}
"""What an algorithm is of no use without."""

LIMITS: dict[str, Collection[int]] = {
    "transient_slots": range(3, MAX_LOADED_OBJECTS + 1),
    "loaded_sessions": range(3, MAX_ACTIVE_SESSIONS + 1),
    "active_sessions": range(3, MAX_ACTIVE_SESSIONS + 1),
    "persistent_slots": range(2, 1025),
    "max_command_size": range(0xAF8, 4097),
    "max_response_size": range(0xAF8, 4097),
    "nv_capacity": range(8 * 1024, 1024 * 1024 + 1),
    "nv_index_max": range(1024, MAX_NV_INDEX_SIZE + 1),
    "orderly_capacity": range(512, 1024 * 1024 + 1),
    "context_gap": range(0xFF, 0x10000),
    "orderly_count": tuple((1 << bits) - 1 for bits in range(4, 17)),
    "commit_slots": (16, 32, 64, 128),
    "clock_update": tuple(1 << bits for bits in range(12, 23)),
    "revision": range(138, 186),
}
"""The limits and their values."""

KEY_BITS: dict[str, tuple[TPM_ALG, tuple[int, ...], tuple[int, ...]]] = {
    "rsa_key_bits": (A.RSA, RSA_KEY_BITS, (2048,)),
    "aes_key_bits": (A.AES, SYMMETRIC_KEY_BITS[A.AES], (128,)),
    "camellia_key_bits": (A.CAMELLIA, SYMMETRIC_KEY_BITS[A.CAMELLIA], ()),
    "tdes_key_bits": (A.TDES, SYMMETRIC_KEY_BITS[A.TDES], ()),
}
"""The key sizes: of which algorithm, which ones there are, and which of them that algorithm must have."""


def words(values: Collection[int]) -> str:
    """Values as a sentence has them."""
    if isinstance(values, range):
        return f"{values.start} to {values.stop - 1}"
    return ", ".join(getattr(value, "name", str(value)) for value in sorted(values))


def check_profile(profile: Profile) -> None:
    """ProfileError if no TPM can have the profile; every field is looked at."""
    check_algorithms(profile)
    _check_subset("commands", profile.commands, ALL_COMMANDS)
    _check_required("commands", profile.commands, REQUIRED_COMMANDS)
    _check_subset("curves", profile.curves, CURVES)
    if A.ECC in profile.algorithms:
        _check_required("curves", profile.curves, (TPM_ECC_CURVE.NIST_P256,))
    elif profile.curves:
        raise ProfileError("curves", words(profile.curves), "without ECC there are none")
    for name, (alg, sizes, required) in KEY_BITS.items():
        chosen = getattr(profile, name)
        if alg not in profile.algorithms:
            _check_subset(name, chosen, ())
            continue
        _check_subset(name, chosen, sizes)
        _check_required(name, chosen, required)
        if not chosen:
            raise ProfileError(name, "no size", f"{alg.name} needs one of {words(sizes)}")
    check_banks(profile)
    check_layout(profile)
    for name, allowed in LIMITS.items():
        value = getattr(profile, name)
        if value not in allowed:
            raise ProfileError(name, value, f"allowed are {words(allowed)}")
    if profile.loaded_sessions > profile.active_sessions:
        raise ProfileError("loaded_sessions", profile.loaded_sessions, "no more than active_sessions")


def check_algorithms(profile: Profile) -> None:
    """The required algorithms, what the others need, and a kind of asymmetric key."""
    _check_subset("algorithms", profile.algorithms, ALL_ALGORITHMS)
    _check_required("algorithms", profile.algorithms, REQUIRED_ALGORITHMS)
    if not profile.algorithms & {A.RSA, A.ECC}:
        raise ProfileError("algorithms", "neither RSA nor ECC", "a TPM needs one of them")
    for alg in sorted(profile.algorithms & NEEDS.keys()):
        for needed in NEEDS[alg]:
            if needed not in profile.algorithms:
                raise ProfileError(
                    "algorithms",
                    f"{alg.name} without {needed.name}",
                    f"add {needed.name} or leave {alg.name} out",
                )


def check_banks(profile: Profile) -> None:
    """The banks are of hashes that there are, and one of them is active."""
    _check_subset("pcr_banks", profile.pcr_banks, profile.algorithms.intersection(HASHES))
    _check_subset("active_banks", profile.active_banks, profile.pcr_banks)
    if not profile.active_banks:
        raise ProfileError("active_banks", "no bank", f"at least one of {words(profile.pcr_banks)} is needed")


def check_layout(profile: Profile) -> None:
    """The attributes of PCR are some that there are."""
    if profile.pcr_layout not in LAYOUTS:
        raise ProfileError(
            "pcr_layout", repr(profile.pcr_layout), f"allowed are {', '.join(sorted(LAYOUTS))}"
        )


def _check_subset(field: str, chosen: Collection[int], allowed: Collection[int]) -> None:
    if len(set(chosen)) != len(chosen):
        raise ProfileError(field, words(chosen), "each may be named once")
    foreign = set(chosen) - set(allowed)
    if foreign:
        raise ProfileError(
            field, words(foreign), f"allowed are {words(allowed)}" if allowed else "none is allowed"
        )


def _check_required(field: str, chosen: Collection[int], required: Collection[int]) -> None:
    missing = set(required) - set(chosen)
    if missing:
        raise ProfileError(field, f"to leave out {words(missing)}", "a TPM cannot do without")
