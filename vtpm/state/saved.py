"""
The saved forms of a TPM's state, versioned.

Rules for changing them:
a released form never changes;
a new version is a new class that is read beside every older one;
a saved structure shares no class with live state, structures of Part 2 excepted;
each released version leaves golden states under `tests/states`.
"""

from io import BytesIO
from typing import Annotated, Any

from vtpm.spec.constants import TPM_ALG, TPM_RH
from vtpm.spec.interface import TPMI_ALG_HASH, TPMI_ALG_HASH_NULL
from vtpm.spec.nv import TPMS_NV_PUBLIC
from vtpm.spec.objects import TPM2B_SENSITIVE, TPMT_PUBLIC_NULL
from vtpm.state.clock import Clock
from vtpm.state.hierarchy import Hierarchy
from vtpm.state.live import LiveState
from vtpm.state.nv import NvIndex
from vtpm.state.object import Object
from vtpm.wire.codec import Codec, take
from vtpm.wire.error import TpmError
from vtpm.wire.integers import INT64, UINT8, UINT32, UINT64
from vtpm.wire.structure import marshal, structure, unmarshal
from vtpm.wire.vocabulary import ListOf, Tpm2b, YesNo

PERMANENT = "permanent"
ORDERLY = "orderly"
RESET = "reset"
CLEAR = "clear"
NV_PREFIX = "nv/"
OBJECT_PREFIX = "object/"

LIST_MAX = 4096

LASTING = (TPM_RH.OWNER, TPM_RH.ENDORSEMENT, TPM_RH.PLATFORM)
"""The hierarchies that are permanent."""


class Long(Codec):
    """Octets behind a 32-bit size, for what may be longer than a TPM2B."""

    def _parse(self, stream: BytesIO, context: Any, path: str) -> bytes:  # noqa: ARG002 - construct's signature
        return take(stream, int.from_bytes(take(stream, 4), "big"))

    def _build(self, obj: bytes, stream: BytesIO, context: Any, path: str) -> bytes:  # noqa: ARG002
        stream.write(len(obj).to_bytes(4, "big") + obj)
        return obj


OCTETS = Annotated[bytes, Tpm2b()]
YES_NO = Annotated[bool, YesNo()]
CODES = Annotated[tuple[int, ...], ListOf(UINT32, LIST_MAX)]


class SavedStateError(Exception):
    """A saved state cannot be read: which blob, and why."""

    def __init__(self, blob: str, reason: str) -> None:
        super().__init__(f"saved state {blob!r} cannot be read: {reason}")
        self.blob = blob


def nv_blob(handle: int) -> str:
    """The name of the blob that holds an NV Index."""
    return f"{NV_PREFIX}{handle:08x}"


def object_blob(handle: int) -> str:
    """The name of the blob that holds a persistent object."""
    return f"{OBJECT_PREFIX}{handle:08x}"


@structure
class SavedAuthorization:
    """An authValue and an authPolicy."""

    auth_value: OCTETS
    auth_policy: OCTETS
    policy_alg: TPMI_ALG_HASH_NULL

    __repr__ = object.__repr__


@structure
class SavedHierarchy:
    """A hierarchy's permanent part."""

    handle: UINT32
    seed: OCTETS
    proof: OCTETS
    seed_level: UINT8
    authorization: SavedAuthorization

    __repr__ = object.__repr__


@structure
class SavedBank:
    """The PCR of one bank, as bits."""

    alg: TPMI_ALG_HASH
    selected: UINT32


ALLOCATION = Annotated[tuple[SavedBank, ...], ListOf(SavedBank, 16)]


@structure
class SavedPermanent:
    """Version 1 of `permanent`."""

    profile: OCTETS
    hierarchies: Annotated[tuple[SavedHierarchy, ...], ListOf(SavedHierarchy, 64)]
    lockout: SavedAuthorization
    failed_tries: UINT32
    max_tries: UINT32
    recovery_time: UINT32
    lockout_recovery: UINT32
    lockout_enabled: YES_NO
    da_used: YES_NO
    disable_clear: YES_NO
    reset_count: UINT32
    total_reset_count: UINT64
    time_epoch: UINT32
    algorithm_set: UINT32
    audit_alg: TPMI_ALG_HASH
    audit_counter: UINT64
    audited: CODES
    physical_presence: CODES
    pcr_allocation: ALLOCATION
    pcr_policy: SavedAuthorization
    max_counter: UINT64
    shutdown: INT64
    startup_locality: UINT8
    hcrtm: YES_NO
    tpm_generated_eps: YES_NO
    firmware_root: OCTETS

    __repr__ = object.__repr__


@structure
class SavedOrderly:
    """Version 1 of `orderly`."""

    clock: UINT64
    safe: YES_NO
    rate: UINT32


def versioned(number: int, value: Any) -> bytes:
    """A saved form behind its version number."""
    return number.to_bytes(2, "big") + marshal(value)


def read(blob: str, octets: bytes, forms: dict[int, Any]) -> Any:
    """Read a saved form of any version; SavedStateError if it is of no known version, or malformed."""
    version = int.from_bytes(octets[:2], "big")
    form = forms.get(version)
    if form is None:
        raise SavedStateError(blob, f"version {version} is not known to this release; use a newer one")
    try:
        return unmarshal(form, octets[2:])
    except TpmError as error:
        raise SavedStateError(blob, f"malformed ({error})") from error


def check_name(blob: str, prefix: str, proper: str) -> None:
    """A blob of that prefix must hold what its name says."""
    if blob.startswith(prefix) and blob != proper:
        raise SavedStateError(blob, f"it holds what belongs into {proper!r}")


def save_authorization(entity: Any) -> SavedAuthorization:
    """The authorization of a hierarchy, of lockout or of a PCR group."""
    return SavedAuthorization(
        auth_value=entity.auth_value, auth_policy=entity.auth_policy, policy_alg=entity.policy_alg
    )


def load_authorization(entity: Any, form: SavedAuthorization) -> None:
    """Give an entity its saved authorization."""
    entity.auth_value = form.auth_value
    entity.auth_policy = form.auth_policy
    entity.policy_alg = form.policy_alg


def save_allocation(allocation: dict[TPM_ALG, int]) -> tuple[SavedBank, ...]:
    """Which PCR each bank has."""
    return tuple(SavedBank(alg, bits) for alg, bits in allocation.items())


def load_allocation(banks: tuple[SavedBank, ...]) -> dict[TPM_ALG, int]:
    """Which PCR each bank has, from the saved form."""
    return {bank.alg: bank.selected for bank in banks}


NO_AUTHORIZATION = SavedAuthorization(auth_value=b"", auth_policy=b"", policy_alg=TPM_ALG.NULL)


def save_hierarchy(hierarchy: Hierarchy) -> SavedHierarchy:
    """The permanent part: the platform's authorization is clear data, not permanent."""
    lasting = hierarchy.handle != TPM_RH.PLATFORM
    return SavedHierarchy(
        handle=hierarchy.handle,
        seed=hierarchy.seed,
        proof=hierarchy.proof,
        seed_level=hierarchy.seed_level,
        authorization=save_authorization(hierarchy) if lasting else NO_AUTHORIZATION,
    )


def save_permanent(tpm: LiveState) -> bytes:
    """The blob `permanent`."""
    permanent, lockout = tpm.permanent, tpm.lockout
    return versioned(
        1,
        SavedPermanent(
            profile=tpm.profile.name.encode(),
            hierarchies=tuple(save_hierarchy(tpm.hierarchies[handle]) for handle in LASTING),
            lockout=save_authorization(lockout),
            failed_tries=lockout.failed_tries,
            max_tries=lockout.max_tries,
            recovery_time=lockout.recovery_time,
            lockout_recovery=lockout.lockout_recovery,
            lockout_enabled=lockout.auth_enabled,
            da_used=lockout.used,
            disable_clear=permanent.disable_clear,
            reset_count=permanent.reset_count,
            total_reset_count=permanent.total_reset_count,
            time_epoch=permanent.time_epoch,
            algorithm_set=permanent.algorithm_set,
            audit_alg=permanent.audit_alg,
            audit_counter=permanent.audit_counter,
            audited=tuple(sorted(permanent.audited)),
            physical_presence=tuple(sorted(permanent.physical_presence)),
            pcr_allocation=save_allocation(permanent.pcr_allocation),
            pcr_policy=SavedAuthorization(b"", tpm.pcr_group.auth_policy, tpm.pcr_group.policy_alg),
            max_counter=permanent.max_counter,
            shutdown=-1 if permanent.shutdown is None else permanent.shutdown,
            startup_locality=permanent.startup_locality,
            hcrtm=permanent.hcrtm,
            tpm_generated_eps=permanent.tpm_generated_eps,
            firmware_root=permanent.firmware_root,
        ),
    )


def load_permanent(tpm: LiveState, blob: bytes) -> None:
    """Set the permanent data from its blob."""
    form: SavedPermanent = read(PERMANENT, blob, {1: SavedPermanent})
    if {saved.handle for saved in form.hierarchies} != set(LASTING):
        raise SavedStateError(PERMANENT, "its hierarchies are not those of a TPM")
    for saved in form.hierarchies:
        hierarchy = Hierarchy(saved.handle, saved.seed, saved.proof, seed_level=saved.seed_level)
        load_authorization(hierarchy, saved.authorization)
        tpm.hierarchies[saved.handle] = hierarchy
    lockout, permanent = tpm.lockout, tpm.permanent
    load_authorization(lockout, form.lockout)
    load_authorization(tpm.pcr_group, form.pcr_policy)
    lockout.failed_tries = form.failed_tries
    lockout.max_tries = form.max_tries
    lockout.recovery_time = form.recovery_time
    lockout.lockout_recovery = form.lockout_recovery
    lockout.auth_enabled = form.lockout_enabled
    lockout.used = form.da_used
    permanent.disable_clear = form.disable_clear
    permanent.reset_count = form.reset_count
    permanent.total_reset_count = form.total_reset_count
    permanent.time_epoch = form.time_epoch
    permanent.algorithm_set = form.algorithm_set
    permanent.audit_alg = form.audit_alg
    permanent.audit_counter = form.audit_counter
    permanent.audited = set(form.audited)
    permanent.physical_presence = set(form.physical_presence)
    permanent.pcr_allocation = load_allocation(form.pcr_allocation)
    permanent.max_counter = form.max_counter
    permanent.shutdown = None if form.shutdown < 0 else form.shutdown
    permanent.startup_locality = form.startup_locality
    permanent.hcrtm = form.hcrtm
    permanent.tpm_generated_eps = form.tpm_generated_eps
    permanent.firmware_root = form.firmware_root


def profile_name_of(blob: bytes) -> str:
    """The name of the profile that the blob `permanent` was made with."""
    form: SavedPermanent = read(PERMANENT, blob, {1: SavedPermanent})
    return form.profile.decode(errors="replace")


def save_orderly(clock: Clock) -> bytes:
    """The blob `orderly`."""
    return versioned(1, SavedOrderly(clock=clock.clock, safe=clock.safe, rate=clock.rate))


def load_orderly(clock: Clock, blob: bytes) -> None:
    """Set Clock from its blob."""
    form: SavedOrderly = read(ORDERLY, blob, {1: SavedOrderly})
    clock.clock = form.clock
    clock.safe = form.safe
    clock.rate = form.rate


@structure
class SavedNvIndex:
    """Version 1 of `nv/…`."""

    public: TPMS_NV_PUBLIC
    auth_value: OCTETS
    data: OCTETS

    __repr__ = object.__repr__


def save_nv(index: NvIndex) -> bytes:
    """The blob of an NV Index."""
    return versioned(1, SavedNvIndex(public=index.public, auth_value=index.auth_value, data=index.data))


def load_nv(name: str, blob: bytes) -> NvIndex:
    """An NV Index from its blob."""
    form: SavedNvIndex = read(name, blob, {1: SavedNvIndex})
    check_name(name, NV_PREFIX, nv_blob(form.public.nv_index))
    return NvIndex(form.public, form.auth_value, form.data)


@structure
class SavedObject:
    """Version 1 of `object/…`, and of a transient object in a snapshot or a saved context."""

    handle: UINT32
    public: TPMT_PUBLIC_NULL
    sensitive: TPM2B_SENSITIVE
    hierarchy: UINT32
    qualified_name: OCTETS
    external: YES_NO
    primary: YES_NO
    st_clear: YES_NO

    __repr__ = object.__repr__


def save_object(item: Object) -> bytes:
    """The blob of an object."""
    return versioned(
        1,
        SavedObject(
            handle=item.handle,
            public=item.public,
            sensitive=item.sensitive,
            hierarchy=item.hierarchy,
            qualified_name=item.qualified_name,
            external=item.external,
            primary=item.primary,
            st_clear=item.st_clear,
        ),
    )


def load_object(name: str, blob: bytes) -> Object:
    """An object from its blob."""
    form: SavedObject = read(name, blob, {1: SavedObject})
    check_name(name, OBJECT_PREFIX, object_blob(form.handle))
    return Object(
        public=form.public,
        sensitive=form.sensitive,
        hierarchy=form.hierarchy,
        qualified_name=form.qualified_name,
        handle=form.handle,
        external=form.external,
        primary=form.primary,
        st_clear=form.st_clear,
        persistent=name.startswith(OBJECT_PREFIX),
    )
