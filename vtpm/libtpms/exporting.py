"""libtpms' permanent state from a TPM of this project: the way back to swtpm."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from vtpm.crypto.digest import digest_size
from vtpm.crypto.rsa import key_from_prime
from vtpm.libtpms.command_set import LIBTPMS_0_9, bits_of
from vtpm.libtpms.constants import CONSTANTS
from vtpm.libtpms.errors import ForeignStateError
from vtpm.libtpms.nvram import (
    ORDERLY_ENTRY_HEAD,
    IndexOrderlyRam,
    NvData,
    NvIndexInfo,
    OrderlyIndex,
    UserEntry,
    UserNvram,
)
from vtpm.libtpms.objects import (
    AnyObject,
    BnPrime,
    LoadedObject,
    ObjectAttributes,
    ObjectLevel,
    PrivateExponent,
)
from vtpm.libtpms.orderly import DrbgState, OrderlyData, Timers
from vtpm.libtpms.permanent import (
    MAGIC,
    NOT_ORDERLY,
    NOT_ORDERLY_DA_USED,
    PRE_STARTUP,
    STARTUP_LOCALITY_3,
    Allocated,
    CompileConstants,
    PcrPolicy,
    PersistentAll,
    PersistentData,
    PolicyOfPcr,
    SeedLevels,
)
from vtpm.libtpms.suspended import (
    Commit,
    NullLevel,
    PcrAuthValue,
    PcrSave,
    SavedPcrBank,
    StateClear,
    StateReset,
    Suspended,
)
from vtpm.spec.constants import TPM_ALG, TPM_ECC_CURVE, TPM_HT, TPM_RH, TPM_SU
from vtpm.spec.objects import TPMS_ECC_PARMS, TPMS_RSA_PARMS, TPMT_PUBLIC, TPMT_SENSITIVE
from vtpm.spec.structures import TPMS_PCR_SELECTION
from vtpm.state import saved, suspended
from vtpm.state.clock import Instant
from vtpm.state.nv import NvIndex
from vtpm.state.object import Object, name_of
from vtpm.state.pcr import PCR_SELECT_SIZE, REFERENCE
from vtpm.state.snapshot import resume
from vtpm.state.tpm import TpmState
from vtpm.wire.structure import marshal

FIRMWARE = (0x20191023, 0x00163636)
AREA_SIZE = 171200
"""Octets for NV Indices and persistent objects in libtpms 0.9, whose state has the size of its own area."""

ORDERLY_RAM = 512
INDEX_OVERHEAD, OBJECT_SIZE = 152, 2608
"""What an NV Index without data, and an object, take of that area."""

WORD = 8
PCR_SAVED = sum(attributes.saved for attributes in REFERENCE.attributes)
CONTEXTS = 64
SLOT_MASK = 0xFFFF
SEED_OF_GENERATOR = 48
MAGIC_OF_GENERATOR = 0x47425244
COMMITS = 16

BANKS = (TPM_ALG.SHA1, TPM_ALG.SHA256, TPM_ALG.SHA384, TPM_ALG.SHA512)
TYPES = {TPM_ALG.RSA, TPM_ALG.ECC, TPM_ALG.KEYEDHASH, TPM_ALG.SYMCIPHER}
CURVES = {
    TPM_ECC_CURVE.NIST_P192,
    TPM_ECC_CURVE.NIST_P224,
    TPM_ECC_CURVE.NIST_P256,
    TPM_ECC_CURVE.NIST_P384,
    TPM_ECC_CURVE.NIST_P521,
    TPM_ECC_CURVE.BN_P256,
    TPM_ECC_CURVE.BN_P638,
}


@dataclass(frozen=True)
class Exported:
    """libtpms' permanent state, and what of the TPM it does not have, for the operator."""

    state: bytes
    left_behind: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Exported({len(self.state)} octets)"


def export_state(blobs: Mapping[str, bytes], entropy: Callable[[int], bytes]) -> Exported:
    """
    The permanent state for libtpms 0.9 and later of a TPM that is off, or suspended, from its blobs.

    Raises ForeignStateError if libtpms could not hold it; SavedStateError if the blobs cannot be read.
    """
    tpm = restored(blobs, entropy)
    reasons = [*obstacles(tpm)]
    if reasons:
        raise ForeignStateError(
            f"swtpm cannot hold this TPM: {'; '.join(reasons)}; remove these from the guest first"
        )
    state = PersistentAll(
        version=3,
        profile=None,
        constants=CompileConstants(3, tuple(CONSTANTS.values()), b""),
        data=data_of(tpm),
        orderly=orderly_of(tpm),
        suspended=suspended_of(tpm),
        orderly_ram=orderly_ram_of(tpm),
        nvram=nvram_of(tpm),
        tail=b"",
        end=MAGIC,
    )
    return Exported(marshal(state), tuple(left_behind(tpm)))


def restored(blobs: Mapping[str, bytes], entropy: Callable[[int], bytes]) -> TpmState:
    """The TPM of the blobs, with its run if it is suspended."""
    tpm = TpmState.restore(blobs, entropy)
    if tpm.suspended is not None:
        resume(tpm, tpm.suspended, Instant(0))
    elif saved.ORDERLY in tpm.saved:
        saved.load_orderly(tpm.clock, tpm.saved[saved.ORDERLY])
    return tpm


def obstacles(tpm: TpmState) -> Iterator[str]:
    """What libtpms 0.9 has no place for."""
    for item in tpm.persistent.values():
        if item.hierarchy not in (TPM_RH.OWNER, TPM_RH.ENDORSEMENT, TPM_RH.PLATFORM):
            yield f"the object 0x{item.handle:08X} is of a limited hierarchy"
        elif not knows(item.public):
            yield f"the object 0x{item.handle:08X} has an algorithm that libtpms 0.9 does not have"
    for index in tpm.nv.values():
        if index.handle >> 24 != TPM_HT.NV_INDEX or index.public.name_alg not in BANKS:
            yield f"the NV Index 0x{index.handle:08X} is of a kind that libtpms 0.9 does not have"
    if sum(ORDERLY_ENTRY_HEAD + index.public.data_size for index in orderly_indices(tpm)) > ORDERLY_RAM:
        yield f"the orderly NV Indices take more than {ORDERLY_RAM} octets"
    taken = sum(_size_of(index) for index in tpm.nv.values()) + OBJECT_SIZE * len(tpm.persistent)
    if taken > AREA_SIZE:
        yield f"NV Indices and objects take {taken} octets, {AREA_SIZE} are there"
    for alg, bits in tpm.permanent.pcr_allocation.items():
        if bits and alg not in BANKS:
            yield f"the PCR bank of {alg.name} is allocated"


def left_behind(tpm: TpmState) -> Iterator[str]:
    """What is not carried over, and harmless."""
    foreign = sorted((tpm.permanent.audited | tpm.permanent.physical_presence) - set(LIBTPMS_0_9))
    if foreign:
        yield f"audit or physical presence of commands that libtpms 0.9 has not: {foreign}"
    if tpm.permanent.shutdown == TPM_SU.STATE:
        yield "saved sessions: their contexts cannot be loaded any more"


def knows(public: TPMT_PUBLIC) -> bool:
    """Can libtpms 0.9 hold an object with this public area?"""
    parameters = public.parameters
    if isinstance(parameters, TPMS_RSA_PARMS) and parameters.key_bits > CONSTANTS["MAX_RSA_KEY_BITS"]:
        return False
    if isinstance(parameters, TPMS_ECC_PARMS) and parameters.curve_id not in CURVES:
        return False
    return public.type in TYPES and public.name_alg in (*BANKS, TPM_ALG.NULL)


def data_of(tpm: TpmState) -> PersistentData:
    """PERSISTENT_DATA."""
    permanent, lockout, group = tpm.permanent, tpm.lockout, tpm.pcr_group
    owner, endorsement, platform = tpm.owner, tpm.endorsement, tpm.platform
    levels = SeedLevels(endorsement.seed_level, owner.seed_level, platform.seed_level, b"")
    return PersistentData(
        version=4,
        disable_clear=permanent.disable_clear,
        owner_alg=owner.policy_alg,
        endorsement_alg=endorsement.policy_alg,
        lockout_alg=lockout.policy_alg,
        owner_policy=owner.auth_policy,
        endorsement_policy=endorsement.auth_policy,
        lockout_policy=lockout.auth_policy,
        owner_auth=owner.auth_value,
        endorsement_auth=endorsement.auth_value,
        lockout_auth=lockout.auth_value,
        ep_seed=endorsement.seed,
        sp_seed=owner.seed,
        pp_seed=platform.seed,
        ph_proof=platform.proof,
        sh_proof=owner.proof,
        eh_proof=endorsement.proof,
        total_reset_count=permanent.total_reset_count,
        reset_count=permanent.reset_count,
        pcr_policies=PcrPolicy(2, (PolicyOfPcr(group.policy_alg, group.auth_policy),), b""),
        pcr_allocated=selection_of(permanent.pcr_allocation),
        pp_list=bits_of(permanent.physical_presence),
        failed_tries=lockout.failed_tries,
        max_tries=lockout.max_tries,
        recovery_time=lockout.recovery_time,
        lockout_recovery=lockout.lockout_recovery,
        lock_out_auth_enabled=lockout.auth_enabled,
        orderly_state=orderly_state_of(tpm),
        audit_commands=bits_of(permanent.audited),
        audit_hash_alg=permanent.audit_alg,
        audit_counter=permanent.audit_counter,
        algorithm_set=permanent.algorithm_set,
        firmware_v1=FIRMWARE[0],
        firmware_v2=FIRMWARE[1],
        time_epoch=(4, permanent.time_epoch),
        allocated=Allocated(selection_of(tpm.pcr.selected or permanent.pcr_allocation), levels),
    )


def selection_of(allocation: Mapping[TPM_ALG, int]) -> tuple[TPMS_PCR_SELECTION, ...]:
    """The PCR of each bank that libtpms has."""
    return tuple(
        TPMS_PCR_SELECTION(alg, allocation.get(alg, 0).to_bytes(PCR_SELECT_SIZE, "little")) for alg in BANKS
    )


def orderly_state_of(tpm: TpmState) -> int:
    """How the last run ended."""
    permanent = tpm.permanent
    if permanent.shutdown is None:
        return NOT_ORDERLY_DA_USED if tpm.lockout.used else NOT_ORDERLY
    state = int(permanent.shutdown)
    state |= STARTUP_LOCALITY_3 if permanent.startup_locality == 3 else 0
    return state | (PRE_STARTUP if permanent.hcrtm else 0)


def orderly_of(tpm: TpmState) -> OrderlyData:
    """ORDERLY_DATA, with a generator seeded anew."""
    drbg = DrbgState(2, 1, MAGIC_OF_GENERATOR, tpm.random(SEED_OF_GENERATOR), (0,) * 4, b"")
    timers = Timers(tpm.lockout.self_heal_timer, tpm.lockout.lockout_timer, 0)
    return OrderlyData(2, tpm.clock.clock, tpm.clock.safe, drbg, timers, b"")


def suspended_of(tpm: TpmState) -> Suspended | None:
    """STATE_RESET and STATE_CLEAR, after Shutdown(STATE)."""
    if tpm.permanent.shutdown != TPM_SU.STATE:
        return None
    tpm.pcr.allocate(tpm.permanent.pcr_allocation)
    suspended.load_reset(tpm, tpm.saved[saved.RESET])
    suspended.load_clear(tpm, tpm.saved[saved.CLEAR])
    return Suspended(reset_of(tpm, (0,) * CONTEXTS), clear_of(tpm))


def reset_of(tpm: TpmState, context_array: tuple[int, ...]) -> StateReset:
    """STATE_RESET; the array has a loaded session's slot, counted from 1, in the place of its number."""
    return StateReset(
        version=4,
        null_proof=tpm.null.proof,
        null_seed=tpm.null.seed,
        clear_count=tpm.reset.clear_count,
        object_context_id=tpm.reset.object_context,
        context_array=context_array,
        context_slot_mask=SLOT_MASK,
        context_counter=tpm.reset.session_context,
        command_audit_digest=tpm.reset.command_audit_digest,
        restart_count=tpm.reset.restart_count,
        pcr_counter=tpm.reset.pcr_counter,
        commit=Commit(0, tpm.random(len(tpm.null.proof)), bytes(COMMITS)),
        null_level=NullLevel(tpm.null.seed_level, b""),
    )


def clear_of(tpm: TpmState) -> StateClear:
    """STATE_CLEAR."""
    banks = tuple(SavedPcrBank(alg, b"".join(tpm.pcr.banks[alg][:PCR_SAVED])) for alg in tpm.pcr.banks)
    return StateClear(
        version=2,
        sh_enable=tpm.owner.enabled,
        eh_enable=tpm.endorsement.enabled,
        ph_enable_nv=tpm.clear.ph_enable_nv,
        platform_alg=tpm.platform.policy_alg,
        platform_policy=tpm.platform.auth_policy,
        platform_auth=tpm.platform.auth_value,
        pcr_save=PcrSave(2, PCR_SAVED, banks, b""),
        pcr_auth_values=PcrAuthValue(2, (tpm.pcr_group.auth_value,), b""),
        tail=b"",
    )


def orderly_indices(tpm: TpmState) -> list[NvIndex]:
    """The orderly NV Indices."""
    return [index for index in tpm.nv.values() if index.attributes.ORDERLY]


def _size_of(index: NvIndex) -> int:
    return INDEX_OVERHEAD + (0 if index.attributes.ORDERLY else index.public.data_size)


def orderly_ram_of(tpm: TpmState) -> IndexOrderlyRam:
    """INDEX_ORDERLY_RAM."""
    entries = tuple(
        OrderlyIndex(
            size=ORDERLY_ENTRY_HEAD + index.public.data_size,
            handle=index.handle,
            attributes=index.attributes,
            data=index.data.ljust(index.public.data_size, b"\0"),
        )
        for index in orderly_indices(tpm)
    )
    return IndexOrderlyRam(2, ORDERLY_RAM, entries, b"")


def nvram_of(tpm: TpmState) -> UserNvram:
    """USER_NVRAM."""
    entries = [
        UserEntry(
            _size_of(index),
            index.handle,
            NvData(
                NvIndexInfo(2, index.public, index.auth_value, b""),
                b"" if index.attributes.ORDERLY else index.data.ljust(index.public.data_size, b"\xff"),
            ),
        )
        for index in tpm.nv.values()
    ]
    entries += [UserEntry(OBJECT_SIZE, item.handle, object_of(item)) for item in tpm.persistent.values()]
    return UserNvram(2, AREA_SIZE, tuple(entries), tpm.permanent.max_counter, b"")


def object_of(item: Object) -> AnyObject:
    """ANY_OBJECT."""
    attributes = ObjectAttributes(
        public_only=item.sensitive is None,
        eps_hierarchy=item.hierarchy == TPM_RH.ENDORSEMENT,
        pps_hierarchy=item.hierarchy == TPM_RH.PLATFORM,
        sps_hierarchy=item.hierarchy == TPM_RH.OWNER,
        evict=item.persistent,
        temporary=item.hierarchy == TPM_RH.NULL,
        external=item.external,
        primary=item.primary,
        st_clear=item.st_clear,
        is_parent=item.is_parent,
        private_exp=item.sensitive is not None and item.public.type is TPM_ALG.RSA,
        occupied=True,
        derivation=item.is_derivation_parent,
    )
    form = LoadedObject(
        version=3,
        public=item.public,
        sensitive=None if item.sensitive is None else sensitive_of(item.public, item.sensitive),
        exponent=exponent_of(item),
        qualified_name=item.qualified_name,
        evict_handle=item.handle if item.persistent else 0,
        name=name_of(item.public),
        level=ObjectLevel(1, b""),
    )
    return AnyObject(2, attributes, form, b"")


def sensitive_of(public: TPMT_PUBLIC, sensitive: TPMT_SENSITIVE) -> TPMT_SENSITIVE:
    """The sensitive area with its authValue as long as a digest of nameAlg, as libtpms has it."""
    size = 0 if public.name_alg is TPM_ALG.NULL else digest_size(public.name_alg)
    return TPMT_SENSITIVE(
        sensitive_type=sensitive.sensitive_type,
        auth_value=sensitive.auth_value.ljust(size, b"\0"),
        seed_value=sensitive.seed_value,
        sensitive=sensitive.sensitive,
    )


def exponent_of(item: Object) -> PrivateExponent:
    """The other prime of an RSA key, and three numbers for its private operation; zeros for other objects."""
    numbers = (0, 0, 0, 0)
    parameters = item.public.parameters
    if item.sensitive is not None and isinstance(parameters, TPMS_RSA_PARMS):
        assert isinstance(item.public.unique, bytes)
        key = key_from_prime(item.public.unique, item.sensitive.sensitive, parameters.exponent)
        larger, smaller = max(key.p, key.q), min(key.p, key.q)
        numbers = (
            key.q,
            pow(key.exponent, -1, larger - 1),
            pow(key.exponent, -1, smaller - 1),
            pow(smaller, -1, larger),
        )
    q, dp, dq, qinv = (bn_prime(number) for number in numbers)
    return PrivateExponent(2, q, dp, dq, qinv, b"")


def bn_prime(number: int) -> BnPrime:
    """A number as words of 64 bits, the least significant first."""
    size = -(-number.bit_length() // (8 * WORD)) * WORD
    octets = number.to_bytes(size, "big")
    words = [octets[at : at + WORD] for at in range(size - WORD, -1, -WORD)]
    return BnPrime(2, b"".join(words), b"")
