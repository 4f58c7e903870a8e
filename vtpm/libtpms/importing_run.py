"""A suspended run of a TPM of this project from libtpms' volatile state, beside its permanent one."""

import hashlib
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hmac import compare_digest

from vtpm.crypto.running import RunningDigest, RunningHmac
from vtpm.libtpms.errors import ForeignStateError
from vtpm.libtpms.hashes import HashState
from vtpm.libtpms.importing import (
    bank_of,
    left_in_run,
    object_of,
    read_state,
    take_live,
    take_suspended,
)
from vtpm.libtpms.objects import AnyObject, HashSequence, LoadedObject, MacSequence
from vtpm.libtpms.permanent import NOT_ORDERLY_DA_USED, PersistentAll
from vtpm.libtpms.sessions import SessionForm
from vtpm.libtpms.suspended import Suspended
from vtpm.libtpms.volatile import NOBODY, VolatileState
from vtpm.spec.attributes import TPMA_NV
from vtpm.spec.constants import TPM_ALG, TPM_HT
from vtpm.state.clock import RATE_NOMINAL
from vtpm.state.entity import Entity
from vtpm.state.pcr import IMPLEMENTED_PCR
from vtpm.state.sequence import Sequence, SequenceKind
from vtpm.state.session import Hashed, Policy, Session, binding_of
from vtpm.state.snapshot import snapshot_volatile
from vtpm.state.tpm import TpmState
from vtpm.state.volatile import TRANSIENT_FIRST
from vtpm.wire.error import TpmError
from vtpm.wire.structure import unmarshal

DIGEST_SIZE = hashlib.sha1(usedforsecurity=False).digest_size
ORDERLY_HEAD = struct.Struct("<III")
"""What an orderly Index has before its data in the memory of libtpms: size with this, handle, attributes."""

RATE_RANGE = range(RATE_NOMINAL * 5 // 6, RATE_NOMINAL * 7 // 6 + 1)
"""What TPM2_ClockRateAdjust can make of the rate."""

LONGEST = 1 << 61
"""Octets of no message, and milliseconds of no time: numbers as large were altered."""

UNKNOWN_BINDING = 32
"""Octets of a random binding, for a session whose entity is no more, or has another authValue."""


@dataclass(frozen=True)
class ImportedRun:
    """The blobs of the run, when it was saved in milliseconds since 1970, and what it does not have."""

    blobs: dict[str, bytes]
    saved_at: int
    left_behind: tuple[str, ...]


def read_run(octets: bytes) -> VolatileState:
    """The volatile state from its octets; ForeignStateError if they are not one."""
    body, digest = octets[:-DIGEST_SIZE], octets[-DIGEST_SIZE:]
    if not compare_digest(hashlib.sha1(body, usedforsecurity=False).digest(), digest):
        raise ForeignStateError("the volatile state is damaged, or none; take it from its source again")
    try:
        return unmarshal(VolatileState, body)
    except TpmError as error:
        raise ForeignStateError(
            f"the volatile state is not one that libtpms 0.9 to 0.11 writes ({error}); resume the guest "
            "with the swtpm that wrote it, and shut it down"
        ) from None


def import_run(
    octets: bytes, permanent: bytes, blobs: Mapping[str, bytes], entropy: Callable[[int], bytes]
) -> ImportedRun:
    """
    The run of a volatile state, beside the permanent one and the blobs that have been made of that.

    ForeignStateError if it does not belong to that, or cannot be carried over.
    """
    state, beside = read_run(octets), read_state(permanent)
    check_belonging(state, beside)
    check_idle(state)
    tpm = TpmState.restore(blobs, entropy)
    take_pcr(tpm, state, beside)
    take_times(tpm, state)
    take_flags(tpm, state)
    for index in _orderly_in(state):
        take_live(tpm, *index)
    for slot, item in enumerate(state.objects or ()):
        take_slot(tpm, slot, item)
    take_sessions(tpm, state)
    return ImportedRun(snapshot_volatile(tpm), state.saved_at, tuple(left_in_run(state.reset)))


def check_belonging(state: VolatileState, beside: PersistentAll) -> None:
    """The volatile state must be of the TPM of the permanent one."""
    seeds = beside.data.ep_seed + beside.data.sp_seed + beside.data.pp_seed
    found = state.belonging
    if found is None or not compare_digest(found.ep_seed + found.sp_seed + found.pp_seed, seeds):
        raise ForeignStateError(
            "the volatile state is of another TPM than the permanent one; take both of the same moment"
        )


def check_idle(state: VolatileState) -> None:
    """A TPM that has failed, or is in the midst of a measurement, is not carried over."""
    if state.in_failure_mode:
        raise ForeignStateError("the TPM is in failure mode; power the guest off under swtpm first")
    if state.drtm_handle != NOBODY:
        raise ForeignStateError(
            "a measurement by hardware is under way; resume the guest with swtpm to end it"
        )


def take_pcr(tpm: TpmState, state: VolatileState, beside: PersistentAll) -> None:
    """The banks as they are, reset data, clear data, then the values of all PCR."""
    live = beside.data.allocated.pcr_allocated if beside.data.allocated else beside.data.pcr_allocated
    tpm.pcr.allocate({bank_of(tpm, bank): int.from_bytes(bank.pcr_select, "little") for bank in live})
    take_suspended(tpm, Suspended(state.reset, state.clear))
    if state.pcr is None or len(state.pcr) != IMPLEMENTED_PCR:
        raise ForeignStateError(f"the volatile state has not the values of {IMPLEMENTED_PCR} PCR")
    for number, values in enumerate(state.pcr):
        for bank in values.banks:
            if bank.alg not in tpm.pcr.banks:
                continue
            alg = TPM_ALG(bank.alg)
            if len(bank.values) != tpm.pcr.sizes[alg]:
                raise ForeignStateError("the values of the PCR are not of the size of their bank")
            tpm.pcr.banks[alg][number] = bank.values


def take_times(tpm: TpmState, state: VolatileState) -> None:
    """Time, Clock and the timers as they were when the state was saved, not at the command before."""
    if state.adjust_rate not in RATE_RANGE:
        raise ForeignStateError(
            f"the rate {state.adjust_rate} of the clock is impossible; the state was altered"
        )
    host = state.belonging.host if state.belonging else None
    behind = 0
    if host is not None and host.last_system_time:
        behind = max(0, host.monotonic + host.suspended_elapsed - host.last_system_time)
    if max(state.time, state.orderly.clock) + behind > LONGEST:
        raise ForeignStateError(
            "the Time or Clock of the volatile state is impossible; the state was altered"
        )
    clock, timers = tpm.clock, state.orderly.timers
    clock.time, clock.epoch = state.time + behind, tpm.permanent.time_epoch
    clock.clock, clock.safe = state.orderly.clock + behind, state.orderly.clock_safe
    clock.rate = state.adjust_rate
    if timers is not None:  # of a time before this run they are negative
        tpm.lockout.self_heal_timer = min(timers.self_heal, state.time)
        tpm.lockout.lockout_timer = min(timers.lockout, state.time)


def take_flags(tpm: TpmState, state: VolatileState) -> None:
    """How the TPM was started, and what happened since."""
    volatile = tpm.volatile
    volatile.started = state.initialized
    volatile.startup_locality = 3 if state.startup_locality_3 else 0
    volatile.was_orderly = state.prev_orderly_state < NOT_ORDERLY_DA_USED
    volatile.hcrtm = state.drtm_pre_startup
    volatile.pcr_reconfigured = state.pcr_reconfig
    if state.exclusive_audit_session != NOBODY:
        volatile.exclusive_session = state.exclusive_audit_session
    tpm.platform.enabled = state.ph_enable
    tpm.established = state.established


def _orderly_in(state: VolatileState) -> Iterator[tuple[int, TPMA_NV, bytes]]:
    """The orderly NV Indices in the memory of libtpms, as handle, attributes and data."""
    ram, at = state.nv.orderly_ram if state.nv is not None else b"", 0
    while at + ORDERLY_HEAD.size <= len(ram):
        size, handle, attributes = ORDERLY_HEAD.unpack_from(ram, at)
        if size == 0:
            return
        if size < ORDERLY_HEAD.size or at + size > len(ram):
            raise ForeignStateError("the orderly NV Indices of the volatile state are malformed")
        try:
            yield handle, TPMA_NV(attributes), ram[at + ORDERLY_HEAD.size : at + size]
        except TpmError as error:
            raise ForeignStateError(
                f"the attributes of the NV Index 0x{handle:08X} are not ({error})"
            ) from None
        at += size


def take_slot(tpm: TpmState, slot: int, content: AnyObject) -> None:
    """The content of a transient slot."""
    if content.item is None:
        return
    handle = TRANSIENT_FIRST | slot
    if slot >= tpm.profile.transient_slots:
        raise ForeignStateError(
            f"the profile {tpm.profile.name} has no room for the object 0x{handle:08X}; choose a larger one"
        )
    if isinstance(content.item, LoadedObject):
        tpm.volatile.objects[handle] = object_of(handle, content, content.item)
    else:
        tpm.volatile.objects[handle] = sequence_of(handle, content, content.item)


def sequence_of(handle: int, content: AnyObject, item: HashSequence | MacSequence) -> Sequence:
    """A sequence object."""
    started = content.attributes.first_block
    kind = SequenceKind.EVENT if content.attributes.event_seq else SequenceKind.HASH
    if isinstance(item, MacSequence):
        alg, inner = digest_of(item.state)
        outer = RunningHmac(alg, b"").save()
        kind, states = SequenceKind.MAC, {alg: RunningHmac.load(alg, item.key + inner)}
        if len(outer) - len(RunningDigest(alg).save()) != len(item.key):
            raise ForeignStateError(f"the key of the sequence 0x{handle:08X} has not the size of a block")
        return Sequence(kind, item.auth_value, dict(states), handle, started=started)
    used = [state for state in item.states if state.state is not None]
    if not used or (kind is SequenceKind.HASH and len(used) > 1):
        raise ForeignStateError(f"the sequence 0x{handle:08X} has {len(used)} digests; the state was altered")
    return Sequence(
        kind,
        item.auth_value,
        {alg: RunningDigest.load(alg, saved) for alg, saved in map(digest_of, used)},
        handle,
        started=started,
        is_generated=started and not content.attributes.ticket_safe,
    )


def digest_of(form: HashState) -> tuple[TPM_ALG, bytes]:
    """A digest under way: its algorithm, and what `RunningDigest` saves of one."""
    state = form.state
    if state is None:
        raise ForeignStateError("a sequence has an algorithm that libtpms 0.9 to 0.11 has not")
    alg = TPM_ALG(form.alg)
    word = 64 if alg in (TPM_ALG.SHA384, TPM_ALG.SHA512) else 32
    length = (state.bits_high << word | state.bits_low) // 8
    is_impossible = length > LONGEST or state.fill >= len(state.block)
    if is_impossible or (length - state.fill) % len(state.block):
        raise ForeignStateError("the digest of a sequence is malformed; the state was altered")
    return alg, (length - state.fill).to_bytes(8, "big") + state.chain + state.block[: state.fill]


def take_sessions(tpm: TpmState, state: VolatileState) -> None:
    """The loaded sessions: the context array says which slot is whose."""
    slots = state.sessions.slots if state.sessions is not None else ()
    bindings = dict(_bindings(tpm))
    for number, slot in enumerate(state.reset.context_array):
        if not 1 <= slot <= len(slots):
            continue
        form = slots[slot - 1]
        if form is None:
            raise ForeignStateError(f"the session {number} is in an empty slot; the state was altered")
        kind = TPM_HT.POLICY_SESSION if form.attributes.is_policy else TPM_HT.HMAC_SESSION
        tpm.volatile.sessions[number] = session_of(tpm, kind << 24 | number, form, bindings)
    if len(tpm.volatile.sessions) > tpm.profile.loaded_sessions:
        raise ForeignStateError(
            f"the profile {tpm.profile.name} has no room for {len(tpm.volatile.sessions)} loaded sessions"
        )


def session_of(tpm: TpmState, handle: int, form: SessionForm, bindings: dict[bytes, bytes]) -> Session:
    """A session."""
    attributes = form.attributes
    bound = None
    if attributes.is_bound:
        bound = bindings.get(form.bound) or tpm.random(UNKNOWN_BINDING)
    return Session(
        handle=handle,
        hash=form.hash,
        symmetric=form.symmetric,
        nonce_tpm=form.nonce_tpm,
        session_key=form.session_key,
        policy=policy_of(form) if attributes.is_policy else None,
        is_trial=attributes.is_trial_policy,
        bound=bound,
        is_da_bound=attributes.is_da_bound,
        is_lockout_bound=attributes.is_lockout_bound,
        audit_digest=form.digest if attributes.is_audit else None,
        start_time=form.start_time,
        epoch=form.epoch[1] & 0xFFFFFFFF,
    )


def policy_of(form: SessionForm) -> Policy:
    """The policy of a session; a hash without a mark is that of the Names, as in libtpms 0.9."""
    attributes = form.attributes
    marks = {
        Hashed.CP_HASH: attributes.is_cp_hash_defined,
        Hashed.TEMPLATE: attributes.is_template_hash_defined,
        Hashed.PARAMETERS: attributes.is_parameters_hash_defined,
        Hashed.NAME_HASH: bool(form.bound),
    }
    return Policy(
        digest=form.digest,
        command_code=form.command_code,
        locality=form.locality,
        timeout=form.timeout,
        bound_hash=form.bound,
        hashed=next((part for part, is_marked in marks.items() if is_marked), None),
        auth_value_needed=attributes.is_auth_value_needed,
        password_needed=attributes.is_password_needed,
        physical_presence=attributes.is_pp_required,
        nv_written=attributes.nv_written_state if attributes.check_nv_written else None,
        pcr_counter=form.pcr_counter,
    )


def _bindings(tpm: TpmState) -> Iterator[tuple[bytes, bytes]]:
    """For every entity, what libtpms remembers in a session that is bound to it, and what this TPM does."""
    for entity in entities_of(tpm):
        yield binding_in_libtpms(entity), binding_of(entity)


def entities_of(tpm: TpmState) -> Iterator[Entity]:
    """Whatever a session can be bound to."""
    yield from tpm.hierarchies.values()
    yield tpm.lockout
    yield from map(tpm.pcr_entity, range(IMPLEMENTED_PCR))
    yield from tpm.nv.values()
    yield from tpm.persistent.values()
    yield from tpm.volatile.objects.values()


NAME_SIZE = 68
"""Octets of a Name in memory, the longest with what fills it up."""


def binding_in_libtpms(entity: Entity) -> bytes:
    """SessionComputeBoundEntity: the Name, with the authValue over the end of the octets for it."""
    auth = bytes(NAME_SIZE - len(entity.auth_value)) + entity.auth_value
    return bytes(a ^ b for a, b in zip(entity.name.ljust(NAME_SIZE, b"\0"), auth, strict=True))
