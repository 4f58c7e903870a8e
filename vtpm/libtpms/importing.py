"""A TPM of this project from libtpms' permanent state."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hmac import compare_digest

from vtpm.crypto.rsa import key_from_prime
from vtpm.libtpms.command_set import commands_of
from vtpm.libtpms.errors import ForeignStateError
from vtpm.libtpms.nvram import NvData
from vtpm.libtpms.objects import AnyObject, LoadedObject
from vtpm.libtpms.permanent import (
    NOT_ORDERLY,
    NOT_ORDERLY_DA_USED,
    PRE_STARTUP,
    SHUTDOWN_BITS,
    STARTUP_LOCALITY_3,
    PersistentAll,
    PersistentData,
)
from vtpm.libtpms.suspended import StateReset, Suspended
from vtpm.spec.attributes import TPMA_NV
from vtpm.spec.constants import TPM_ALG, TPM_HT, TPM_RH, TPM_SU
from vtpm.spec.objects import TPMS_RSA_PARMS, TPMT_SENSITIVE
from vtpm.spec.structures import TPMS_PCR_SELECTION
from vtpm.state.entity import without_trailing_zeros
from vtpm.state.firmware import ROOT_SIZE
from vtpm.state.hierarchy import PROOF_SIZE, SEED_SIZE, Hierarchy
from vtpm.state.nv import NvIndex
from vtpm.state.object import Object, name_of
from vtpm.state.permanent import DEFAULT_AUDIT, DEFAULT_PHYSICAL_PRESENCE
from vtpm.state.profile import Profile
from vtpm.state.tpm import TpmState
from vtpm.wire.error import TpmError
from vtpm.wire.structure import unmarshal

LOADED_SESSIONS = 3
"""In the context array, numbers up to this are of loaded sessions, which no power cycle outlives."""


@dataclass(frozen=True)
class Imported:
    """The blobs of the TPM, and what of libtpms' state they do not have, for the operator."""

    blobs: dict[str, bytes]
    left_behind: tuple[str, ...]


def read_state(octets: bytes) -> PersistentAll:
    """The permanent state from its octets; ForeignStateError if they are not one."""
    try:
        return unmarshal(PersistentAll, octets)
    except TpmError as error:
        raise ForeignStateError(
            f"the state is not one that libtpms 0.6 to 0.11 writes for a TPM 2.0 ({error}); "
            "give the permanent state, tpm2-00.permall"
        ) from None


def import_state(octets: bytes, profile: Profile, entropy: Callable[[int], bytes]) -> Imported:
    """The TPM of a permanent state of libtpms; ForeignStateError if it cannot be carried over."""
    state = read_state(octets)
    tpm = TpmState(profile, entropy)
    take_hierarchies(tpm, state.data)
    take_permanent(tpm, state.data)
    take_lockout(tpm, state.data)
    tpm.permanent.max_counter = state.nvram.max_counter
    tpm.clock.clock, tpm.clock.safe = state.orderly.clock, state.orderly.clock_safe
    for entry in state.nvram.entries:
        if isinstance(entry.item, NvData):
            take_index(tpm, entry.item)
        else:
            take_object(tpm, entry.handle, entry.item)
    for live in state.orderly_ram.entries:
        take_live(tpm, live.handle, live.attributes, live.data)
    check_capacity(tpm)
    tpm.pcr.allocate(tpm.permanent.pcr_allocation)
    if state.suspended is not None:
        take_suspended(tpm, state.suspended)
        tpm.touch_suspended()
    for index in tpm.nv.values():
        tpm.touch_nv(index)
    tpm.touch_permanent()
    tpm.touch_orderly()
    tpm.changes()
    return Imported(tpm.snapshot(), left_behind(state))


def left_behind(state: PersistentAll) -> tuple[str, ...]:
    """What is in the state and cannot be carried over."""
    said = ["the random generator: this TPM seeds its own"]
    if state.suspended is not None:
        said += left_in_run(state.suspended.reset)
    if state.profile:
        said.append(f"libtpms' profile {state.profile.rstrip(bytes(1)).decode(errors='replace')}")
    return tuple(said)


def left_in_run(reset: StateReset) -> Iterator[str]:
    """What is in reset data and cannot be carried over."""
    saved = sum(number > LOADED_SESSIONS for number in reset.context_array)
    if saved:
        yield f"{saved} saved sessions: their contexts cannot be loaded any more"
    if reset.commit is not None and any(reset.commit.used):
        yield "open split signatures (TPM2_Commit): they must be begun again"


def take_hierarchies(tpm: TpmState, data: PersistentData) -> None:
    """Seeds, proofs and authorizations."""
    levels = data.allocated.levels if data.allocated is not None else None
    for handle, seed, proof, level in (
        (TPM_RH.OWNER, data.sp_seed, data.sh_proof, levels.sp if levels else 0),
        (TPM_RH.ENDORSEMENT, data.ep_seed, data.eh_proof, levels.ep if levels else 0),
        (TPM_RH.PLATFORM, data.pp_seed, data.ph_proof, levels.pp if levels else 0),
    ):
        if len(seed) != SEED_SIZE or len(proof) != PROOF_SIZE:
            raise ForeignStateError(f"a seed or proof has not {SEED_SIZE} octets; this libtpms is not known")
        tpm.hierarchies[handle] = Hierarchy(handle, seed, proof, seed_level=level)
    tpm.hierarchies[TPM_RH.NULL] = Hierarchy(TPM_RH.NULL, tpm.random(SEED_SIZE), tpm.random(PROOF_SIZE))
    owner, endorsement = tpm.owner, tpm.endorsement
    owner.auth_value = without_trailing_zeros(data.owner_auth)
    owner.auth_policy, owner.policy_alg = data.owner_policy, data.owner_alg
    endorsement.auth_value = without_trailing_zeros(data.endorsement_auth)
    endorsement.auth_policy, endorsement.policy_alg = data.endorsement_policy, data.endorsement_alg


def take_permanent(tpm: TpmState, data: PersistentData) -> None:
    """Counters, sets of commands, PCR allocation, the last shutdown."""
    permanent = tpm.permanent
    permanent.firmware_root = tpm.random(ROOT_SIZE)
    permanent.disable_clear = data.disable_clear
    permanent.reset_count, permanent.total_reset_count = data.reset_count, data.total_reset_count
    permanent.time_epoch = data.time_epoch[1] & 0xFFFFFFFF
    permanent.algorithm_set = data.algorithm_set
    if data.audit_hash_alg is not TPM_ALG.NULL:
        permanent.audit_alg = data.audit_hash_alg
    permanent.audit_counter = data.audit_counter
    permanent.audited = commands_of(data.audit_commands, data.version) | DEFAULT_AUDIT
    permanent.physical_presence = commands_of(data.pp_list, data.version) | DEFAULT_PHYSICAL_PRESENCE
    permanent.pcr_allocation = dict.fromkeys(tpm.profile.pcr_banks, 0)
    for bank in data.pcr_allocated:
        permanent.pcr_allocation[bank_of(tpm, bank)] = int.from_bytes(bank.pcr_select, "little")
    policies = data.pcr_policies.policies if data.pcr_policies is not None else ()
    if policies:
        tpm.pcr_group.auth_policy, tpm.pcr_group.policy_alg = policies[0].policy, policies[0].alg
    if data.orderly_state not in (NOT_ORDERLY, NOT_ORDERLY_DA_USED):
        shutdown = data.orderly_state & SHUTDOWN_BITS
        if shutdown not in (TPM_SU.CLEAR, TPM_SU.STATE):
            raise ForeignStateError(
                f"the state was left by a shutdown of unknown kind {shutdown}; copy it from its source again"
            )
        permanent.shutdown = TPM_SU(shutdown)
        permanent.startup_locality = 3 if data.orderly_state & STARTUP_LOCALITY_3 else 0
        permanent.hcrtm = bool(data.orderly_state & PRE_STARTUP)


def bank_of(tpm: TpmState, bank: TPMS_PCR_SELECTION) -> TPM_ALG:
    """The algorithm of a bank, which the profile must have."""
    if bank.hash not in tpm.profile.pcr_banks:
        raise ForeignStateError(
            f"the state has a PCR bank of {bank.hash.name}, which the profile {tpm.profile.name} has not; "
            "choose another profile"
        )
    return bank.hash


def take_lockout(tpm: TpmState, data: PersistentData) -> None:
    """The lockout authorization and the dictionary attack parameters."""
    lockout = tpm.lockout
    lockout.auth_value = without_trailing_zeros(data.lockout_auth)
    lockout.auth_policy, lockout.policy_alg = data.lockout_policy, data.lockout_alg
    lockout.failed_tries, lockout.max_tries = data.failed_tries, data.max_tries
    lockout.recovery_time, lockout.lockout_recovery = data.recovery_time, data.lockout_recovery
    lockout.auth_enabled = data.lock_out_auth_enabled
    lockout.used = data.orderly_state == NOT_ORDERLY_DA_USED


def take_index(tpm: TpmState, item: NvData) -> None:
    """An NV Index; the data of an orderly one come from `take_live`."""
    public = item.info.public
    index = NvIndex(public, item.info.auth_value)
    if public.attributes.WRITTEN and not public.attributes.ORDERLY:
        if len(item.data) != public.data_size:
            raise ForeignStateError(f"the NV Index 0x{public.nv_index:08X} has too few octets of data")
        index.data = item.data
    tpm.nv[public.nv_index] = index


def take_live(tpm: TpmState, handle: int, attributes: TPMA_NV, data: bytes) -> None:
    """The live attributes and data of an orderly NV Index."""
    index = tpm.nv.get(handle)
    if index is None or not index.attributes.ORDERLY or len(data) < index.public.data_size:
        raise ForeignStateError(f"the data of an orderly NV Index 0x{handle:08X} fit no Index")
    index.set_attributes(attributes)
    if index.attributes.WRITTEN:
        index.data = data[: index.public.data_size]


def take_object(tpm: TpmState, handle: int, content: AnyObject) -> None:
    """A persistent object."""
    if handle >> 24 != TPM_HT.PERSISTENT or not isinstance(content.item, LoadedObject):
        raise ForeignStateError(f"the persistent object 0x{handle:08X} is none; the state was altered")
    tpm.persistent[handle] = object_of(handle, content, content.item)


def object_of(handle: int, content: AnyObject, form: LoadedObject) -> Object:
    """A persistent or transient object."""
    if not compare_digest(name_of(form.public), form.name):
        raise ForeignStateError(f"the object 0x{handle:08X} has another Name than its public area")
    check_binding(handle, form)
    sensitive = form.sensitive
    if sensitive is not None:
        sensitive = TPMT_SENSITIVE(
            sensitive_type=sensitive.sensitive_type,
            auth_value=without_trailing_zeros(sensitive.auth_value),
            seed_value=sensitive.seed_value,
            sensitive=sensitive.sensitive,
        )
    return Object(
        public=form.public,
        sensitive=sensitive,
        hierarchy=hierarchy_of(content),
        qualified_name=form.qualified_name,
        name=form.name,
        handle=handle,
        external=content.attributes.external,
        primary=content.attributes.primary,
        st_clear=content.attributes.st_clear,
        persistent=handle >> 24 == TPM_HT.PERSISTENT,
    )


def hierarchy_of(content: AnyObject) -> TPM_RH:
    """The hierarchy of an object."""
    attributes = content.attributes
    if attributes.pps_hierarchy:
        return TPM_RH.PLATFORM
    if attributes.eps_hierarchy:
        return TPM_RH.ENDORSEMENT
    return TPM_RH.OWNER if attributes.sps_hierarchy else TPM_RH.NULL


def check_binding(handle: int, form: LoadedObject) -> None:
    """The private key must be that of the public one, as far as that is quickly seen."""
    parameters = form.public.parameters
    if form.sensitive is None or not isinstance(parameters, TPMS_RSA_PARMS):
        return
    assert isinstance(form.public.unique, bytes)
    try:
        key_from_prime(form.public.unique, form.sensitive.sensitive, parameters.exponent)
    except TpmError:
        raise ForeignStateError(f"the private key of 0x{handle:08X} is not that of its public key") from None


def check_capacity(tpm: TpmState) -> None:
    """The profile must have room for all of it."""
    if tpm.nv_space < 0 or len(tpm.persistent) > tpm.profile.persistent_slots:
        raise ForeignStateError(
            f"the profile {tpm.profile.name} has no room for {len(tpm.persistent)} persistent objects and "
            f"{len(tpm.nv)} NV Indices; choose a larger one"
        )


def take_suspended(tpm: TpmState, suspended: Suspended) -> None:
    """What Shutdown(STATE) has kept: the null hierarchy, counters, enables, platform authorization, PCR."""
    reset, clear = suspended.reset, suspended.clear
    level = reset.null_level.level if reset.null_level is not None else 0
    tpm.hierarchies[TPM_RH.NULL] = Hierarchy(TPM_RH.NULL, reset.null_seed, reset.null_proof, seed_level=level)
    tpm.reset.clear_count, tpm.reset.restart_count = reset.clear_count, reset.restart_count
    tpm.reset.pcr_counter, tpm.reset.object_context = reset.pcr_counter, reset.object_context_id
    tpm.reset.session_context = max(tpm.reset.session_context, reset.context_counter)
    tpm.reset.command_audit_digest = reset.command_audit_digest
    tpm.reset.commit_nonce = tpm.random(PROOF_SIZE)
    tpm.owner.enabled, tpm.endorsement.enabled = clear.sh_enable, clear.eh_enable
    tpm.clear.ph_enable_nv = clear.ph_enable_nv
    tpm.platform.auth_value = without_trailing_zeros(clear.platform_auth)
    tpm.platform.auth_policy, tpm.platform.policy_alg = clear.platform_policy, clear.platform_alg
    if clear.pcr_auth_values.values:
        tpm.pcr_group.auth_value = without_trailing_zeros(clear.pcr_auth_values.values[0])
    for saved in clear.pcr_save.banks:
        if saved.alg not in tpm.pcr.banks:
            continue
        alg = TPM_ALG(saved.alg)
        bank, size = tpm.pcr.banks[alg], tpm.pcr.sizes[alg]
        if len(saved.values) != size * clear.pcr_save.count or clear.pcr_save.count > len(bank):
            raise ForeignStateError("the saved PCR are not of the size of their bank")
        for number in range(clear.pcr_save.count):
            bank[number] = saved.values[number * size : (number + 1) * size]
