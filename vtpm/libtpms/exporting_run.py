"""libtpms' volatile state from a suspended run of this project's, for a guest that goes on under swtpm."""

import hashlib
import struct
from collections.abc import Callable, Iterator, Mapping

from vtpm.crypto.digest import digest_size
from vtpm.crypto.midstate import FAMILIES
from vtpm.crypto.running import RunningCmac
from vtpm.libtpms.errors import ForeignStateError
from vtpm.libtpms.exporting import (
    BANKS,
    ORDERLY_RAM,
    clear_of,
    knows,
    object_of,
    obstacles,
    orderly_indices,
    orderly_of,
    reset_of,
    restored,
)
from vtpm.libtpms.hashes import HASH, HMAC, SHA2, WORDS, HashState, Sha1State, ShaState
from vtpm.libtpms.importing_run import NAME_SIZE, ORDERLY_HEAD, binding_in_libtpms, entities_of
from vtpm.libtpms.objects import AnyObject, HashSequence, MacSequence, ObjectAttributes
from vtpm.libtpms.permanent import NOT_ORDERLY
from vtpm.libtpms.sessions import SessionAttributes, SessionForm
from vtpm.libtpms.suspended import SavedPcrBank
from vtpm.libtpms.volatile import (
    NOBODY,
    Belonging,
    HardwareClock,
    HostTime,
    NvRun,
    PcrValues,
    SessionsRun,
    VolatileState,
)
from vtpm.spec.attributes import TPMA_OBJECT
from vtpm.spec.constants import TPM_ALG, TPM_RH, TPM_SU
from vtpm.state.object import Object
from vtpm.state.pcr import IMPLEMENTED_PCR
from vtpm.state.sequence import Sequence, SequenceKind
from vtpm.state.session import Hashed, Policy, Session, binding_of
from vtpm.state.tpm import TpmState
from vtpm.state.volatile import TRANSIENT_FIRST
from vtpm.wire.structure import marshal

SLOTS = 3
"""Of transient objects, and of loaded sessions."""

SESSIONS = 64
NONE_SAVED = SESSIONS + 1
NV_SIZE = 176832
"""Octets of libtpms' NV memory, where persistent objects end."""

CIPHERS = {TPM_ALG.AES, TPM_ALG.CAMELLIA, TPM_ALG.TDES, TPM_ALG.XOR, TPM_ALG.NULL}

_NO_SESSION = struct.pack(">IBIHH", NOBODY, 0, NOBODY, 0, 0)
COMMAND_SESSIONS = struct.pack(">H", SLOTS) + SLOTS * _NO_SESSION + SLOTS * struct.pack(">I", 0xFFFF)
COMMAND_SESSIONS += struct.pack(">BHHB", 1, 2, 0, 0)
"""The sessions of the command that is executed, when there is none; behind them no cpHash."""

HIERARCHIES = (TPM_RH.OWNER, TPM_RH.ENDORSEMENT, TPM_RH.PLATFORM, TPM_RH.NULL)
NO_FAILURE = bytes(12)
UNUSED = HashState(2, 0, 0, None, b"")


def export_run(blobs: Mapping[str, bytes], saved_at: int, entropy: Callable[[int], bytes]) -> bytes:
    """
    The volatile state for libtpms 0.9 and later of a TPM that is suspended, from all its blobs.

    `saved_at` is when it was suspended, in milliseconds since 1970.
    Raises ForeignStateError if libtpms could not hold it.
    """
    tpm = restored(blobs, entropy)
    reasons = [*obstacles(tpm), *obstacles_of_run(tpm)]
    if reasons:
        raise ForeignStateError(f"swtpm cannot go on with this run: {'; '.join(reasons)}")
    sessions = sorted(tpm.volatile.sessions.items())
    slots = {number: slot for slot, (number, _session) in enumerate(sessions, 1)}
    bindings = {binding_of(entity): binding_in_libtpms(entity) for entity in entities_of(tpm)}
    forms = [form_of(tpm, session, bindings) for _number, session in sessions]
    volatile, clock = tpm.volatile, tpm.clock
    state = VolatileState(
        version=4,
        exclusive_audit_session=volatile.exclusive_session or NOBODY,
        time=clock.time,
        ph_enable=tpm.platform.enabled,
        pcr_reconfig=volatile.pcr_reconfigured,
        drtm_handle=NOBODY,
        drtm_pre_startup=volatile.hcrtm,
        startup_locality_3=volatile.startup_locality == 3,
        da_used=tpm.lockout.used,
        power_was_lost=False,
        prev_orderly_state=TPM_SU.CLEAR if volatile.was_orderly else NOT_ORDERLY,
        nv_ok=True,
        unused=b"",
        orderly=orderly_of(tpm),
        clear=clear_of(tpm),
        reset=reset_of(tpm, tuple(slots.get(number, 0) for number in range(SESSIONS))),
        manufactured=True,
        initialized=volatile.started,
        command_sessions=COMMAND_SESSIONS,
        da_timers=None,
        nv=NvRun(NV_SIZE, orderly_memory(tpm), tpm.permanent.max_counter),
        objects=tuple(content_of(tpm, slot) for slot in range(SLOTS)),
        pcr=tuple(pcr_of(tpm, number) for number in range(IMPLEMENTED_PCR)),
        sessions=SessionsRun((*forms, *[None] * (SLOTS - len(forms))), NONE_SAVED, SLOTS - len(forms)),
        in_failure_mode=False,
        established=tpm.established,
        failure=NO_FAILURE,
        hardware_clock=HardwareClock(clock.time, clock.time),
        timer_reset=False,
        timer_stopped=False,
        adjust_rate=clock.rate,
        saved_at=saved_at,
        belonging=belonging_of(tpm),
    )
    octets = marshal(state)
    return octets + hashlib.sha1(octets, usedforsecurity=False).digest()


def obstacles_of_run(tpm: TpmState) -> Iterator[str]:
    """What libtpms 0.9 has no place for in a run."""
    volatile = tpm.volatile
    if volatile.failed or volatile.launch is not None:
        yield "it is in failure mode, or a measurement by hardware is under way"
    if tpm.clear.read_only or tpm.clear.act.deadline or tpm.clear.act.auth_policy:
        yield "read-only mode or the countdown timer is in use"
    for handle, item in volatile.objects.items():
        if handle >= TRANSIENT_FIRST + SLOTS:
            yield f"the object 0x{handle:08X} is beyond the {SLOTS} slots"
        elif not _is_known(item):
            yield f"the object 0x{handle:08X} is of a hierarchy or algorithm that libtpms 0.9 does not have"
    if len(volatile.sessions) > SLOTS or any(number >= SESSIONS for number in volatile.sessions):
        yield f"more than {SLOTS} sessions are loaded"
    for session in volatile.sessions.values():
        policy = session.policy
        if session.hash not in BANKS or session.symmetric.algorithm not in CIPHERS:
            yield f"the session 0x{session.handle:08X} has an algorithm that libtpms 0.9 does not have"
        elif policy is not None and (policy.secure_channel or policy.hashed is Hashed.PARAMETERS):
            yield f"the policy of the session 0x{session.handle:08X} asks for what libtpms 0.9 does not know"


def _is_known(item: Object | Sequence) -> bool:
    if isinstance(item, Object):
        return item.hierarchy in HIERARCHIES and knows(item.public)
    if any(isinstance(state, RunningCmac) for state in item.states.values()):
        return False
    if item.kind is SequenceKind.EVENT:
        return set(item.states) == set(BANKS)
    return set(item.states) <= set(BANKS)


def belonging_of(tpm: TpmState) -> Belonging:
    """The seeds, and a timer that goes on from Time."""
    time = tpm.clock.time
    host = HostTime(time + 1, 0, time + 1, time, b"")
    return Belonging(tpm.endorsement.seed, tpm.owner.seed, tpm.platform.seed, host)


def orderly_memory(tpm: TpmState) -> bytes:
    """The orderly NV Indices as they lie in the memory of libtpms."""
    octets = b""
    for index in orderly_indices(tpm):
        data = index.data.ljust(index.public.data_size, b"\0")
        octets += ORDERLY_HEAD.pack(ORDERLY_HEAD.size + len(data), index.handle, index.attributes) + data
    return octets.ljust(ORDERLY_RAM, b"\0")


def pcr_of(tpm: TpmState, number: int) -> PcrValues:
    """The values of a PCR; zeros in a bank that is not allocated."""
    banks = tuple(
        SavedPcrBank(alg, tpm.pcr.banks[alg][number] if alg in tpm.pcr.banks else bytes(digest_size(alg)))
        for alg in BANKS
    )
    return PcrValues(2, banks, b"")


def content_of(tpm: TpmState, slot: int) -> AnyObject:
    """The content of a transient slot."""
    item = tpm.volatile.objects.get(TRANSIENT_FIRST + slot)
    if item is None:
        return AnyObject(2, ObjectAttributes(), None, b"")
    return object_of(item) if isinstance(item, Object) else sequence_of(item)


def sequence_of(item: Sequence) -> AnyObject:
    """A sequence object."""
    attributes = ObjectAttributes(
        temporary=True,
        hmac_seq=item.kind is SequenceKind.MAC,
        hash_seq=item.kind is SequenceKind.HASH,
        event_seq=item.kind is SequenceKind.EVENT,
        first_block=item.started,
        ticket_safe=item.started and not item.is_generated,
        occupied=True,
    )
    common = (3, TPM_ALG.NULL, TPM_ALG.NULL, TPMA_OBJECT(noDA=True), item.auth_value)
    if item.kind is SequenceKind.MAC:
        ((alg, running),) = item.states.items()
        block = FAMILIES[alg].block
        saved = running.save()
        state = hash_state_of(HMAC, alg, saved[block:])
        return AnyObject(2, attributes, MacSequence(*common, state, saved[:block], b""), b"")
    states = [hash_state_of(HASH, alg, item.states[alg].save()) for alg in BANKS if alg in item.states]
    states += [UNUSED] * (len(BANKS) - len(states))
    return AnyObject(2, attributes, HashSequence(*common, tuple(states), b""), b"")


def hash_state_of(kind: int, alg: TPM_ALG, saved: bytes) -> HashState:
    """A digest or an HMAC's inner one under way, from what `RunningDigest` saves of one."""
    family = FAMILIES[alg]
    size = len(family.start())
    chain, rest = saved[8 : 8 + size], saved[8 + size :]
    bits = 8 * (int.from_bytes(saved[:8], "big") + len(rest))
    word = 64 if alg in (TPM_ALG.SHA384, TPM_ALG.SHA512) else 32
    counted = (chain, bits & ((1 << word) - 1), bits >> word, rest.ljust(family.block, b"\0"), len(rest))
    state: ShaState
    if alg is TPM_ALG.SHA1:
        state = Sha1State(2, *counted, b"")
    else:
        state = SHA2[alg](2, WORDS, *counted, digest_size(alg), b"")
    return HashState(2, kind, alg, state, b"")


def form_of(tpm: TpmState, session: Session, bindings: Mapping[bytes, bytes]) -> SessionForm:
    """A loaded session."""
    policy = session.policy or Policy(b"")
    bound = policy.bound_hash
    if session.bound is not None:
        bound = bindings.get(session.bound) or tpm.random(NAME_SIZE)
    return SessionForm(
        version=2,
        attributes=attributes_of(session, policy),
        pcr_counter=policy.pcr_counter,
        start_time=session.start_time,
        timeout=policy.timeout,
        epoch=(4, session.epoch),
        command_code=policy.command_code,
        hash=session.hash,
        locality=policy.locality,
        symmetric=session.symmetric,
        session_key=session.session_key,
        nonce_tpm=session.nonce_tpm,
        bound=bound,
        digest=policy.digest if session.audit_digest is None else session.audit_digest,
        tail=b"",
    )


def attributes_of(session: Session, policy: Policy) -> SessionAttributes:
    """What a session is, and what its policy asks for."""
    return SessionAttributes(
        is_policy=session.is_policy,
        is_audit=session.audit_digest is not None,
        is_bound=session.bound is not None,
        is_cp_hash_defined=policy.hashed is Hashed.CP_HASH,
        is_auth_value_needed=policy.auth_value_needed,
        is_password_needed=policy.password_needed,
        is_pp_required=policy.physical_presence,
        is_trial_policy=session.is_trial,
        is_da_bound=session.is_da_bound,
        is_lockout_bound=session.is_lockout_bound,
        check_nv_written=policy.nv_written is not None,
        nv_written_state=bool(policy.nv_written),
        is_template_hash_defined=policy.hashed is Hashed.TEMPLATE,
    )
