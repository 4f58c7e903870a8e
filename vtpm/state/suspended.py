"""
The saved forms of what does not outlive power: reset data, clear data, sessions and transient objects.

Reset and clear data are saved by Shutdown(STATE).
All of it together is a snapshot, for suspension or migration.
The rules of `saved` hold here, too.
"""

from dataclasses import replace
from typing import Annotated

from vtpm.crypto.digest import NAMES
from vtpm.crypto.running import Running, RunningCmac, RunningDigest, RunningHmac
from vtpm.spec.algorithms import TPMT_SYM_DEF_NULL
from vtpm.spec.constants import TPM_ALG
from vtpm.spec.interface import BLOCK_CIPHERS, HASHES, TPMI_ALG_HASH, TPMI_ALG_HASH_NULL
from vtpm.state.act import Act
from vtpm.state.clear import ClearData
from vtpm.state.live import LiveState
from vtpm.state.reset import ResetData
from vtpm.state.saved import (
    ALLOCATION,
    CLEAR,
    OCTETS,
    RESET,
    YES_NO,
    Long,
    SavedAuthorization,
    SavedHierarchy,
    load_authorization,
    read,
    save_authorization,
    save_hierarchy,
    versioned,
)
from vtpm.state.sequence import Sequence, SequenceKind
from vtpm.state.session import Hashed, Policy, Session
from vtpm.wire.integers import INT8, UINT8, UINT32, UINT64
from vtpm.wire.structure import structure
from vtpm.wire.vocabulary import Choice, Limited, ListOf, Sized

VOLATILE = "volatile"
LIST_MAX = 65536


@structure
class SavedContextNumber:
    """The number of a saved session's context."""

    session: UINT32
    number: UINT64


@structure
class SavedReset:
    """Version 1 of `reset`."""

    null: SavedHierarchy
    clear_count: UINT32
    restart_count: UINT32
    object_context: UINT64
    session_context: UINT64
    saved_sessions: Annotated[tuple[SavedContextNumber, ...], ListOf(SavedContextNumber, LIST_MAX)]
    command_audit_digest: OCTETS
    pcr_counter: UINT32
    commit_counter: UINT64
    commit_nonce: OCTETS
    commit_used: OCTETS

    __repr__ = object.__repr__


@structure
class SavedPcrBank:
    """The values of a bank, PCR 0 first."""

    alg: TPMI_ALG_HASH
    values: Annotated[tuple[bytes, ...], ListOf(OCTETS, 64)]


BANKS = Annotated[tuple[SavedPcrBank, ...], ListOf(SavedPcrBank, 16)]


@structure
class SavedAct:
    """An Authenticated Countdown Timer; what Shutdown(STATE) has kept of it, if it was executed."""

    auth_policy: OCTETS
    policy_alg: TPMI_ALG_HASH_NULL
    kept: YES_NO
    seconds: UINT32
    signaled: YES_NO


@structure
class SavedClear:
    """Version 1 of `clear`."""

    platform: SavedAuthorization
    sh_enable: YES_NO
    eh_enable: YES_NO
    ph_enable: YES_NO
    ph_enable_nv: YES_NO
    read_only: YES_NO
    pcr_auth_value: OCTETS
    pcr: BANKS
    act: SavedAct

    __repr__ = object.__repr__


@structure
class SavedPolicy:
    """The policy of a session; `nv_written` is -1 where PolicyNvWritten was not executed."""

    digest: OCTETS
    command_code: UINT32
    locality: UINT8
    timeout: UINT64
    bound_hash: OCTETS
    hashed: Annotated[int, Limited("B", 0, *(part.value for part in Hashed))]
    auth_value_needed: YES_NO
    password_needed: YES_NO
    physical_presence: YES_NO
    nv_written: INT8
    pcr_counter: UINT32
    secure_channel: YES_NO
    channel_key_hash: OCTETS


@structure
class SavedSession:
    """A session, in a snapshot or in a saved context."""

    handle: UINT32
    hash: TPMI_ALG_HASH
    symmetric: TPMT_SYM_DEF_NULL
    nonce_tpm: OCTETS
    session_key: OCTETS
    policy: Annotated[SavedPolicy | None, Sized(SavedPolicy, optional=True)]
    is_trial: YES_NO
    bound: OCTETS
    is_da_bound: YES_NO
    is_lockout_bound: YES_NO
    is_audit: YES_NO
    audit_digest: OCTETS
    start_time: UINT64
    epoch: UINT32

    __repr__ = object.__repr__


@structure
class SavedRunning:
    """The state of a running digest or MAC."""

    alg: Annotated[TPM_ALG, Choice(*HASHES, *BLOCK_CIPHERS)]
    state: Annotated[bytes, Long()]

    __repr__ = object.__repr__


@structure
class SavedSequence:
    """Version 1 of a sequence object, in a snapshot or in a saved context."""

    handle: UINT32
    kind: Annotated[int, Limited("B", *(kind.value for kind in SequenceKind))]
    auth_value: OCTETS
    started: YES_NO
    is_generated: YES_NO
    states: Annotated[tuple[SavedRunning, ...], ListOf(SavedRunning, 16)]

    __repr__ = object.__repr__


@structure
class SavedTime:
    """Time and Clock of a TPM that is suspended; both go on when it resumes."""

    time: UINT64
    epoch: UINT32
    remainder: UINT32
    clock: UINT64
    safe: YES_NO
    rate: UINT32
    self_heal_timer: UINT64
    lockout_timer: UINT64


LONG_OCTETS = Annotated[bytes, Long()]


@structure
class SavedRun:
    """Version 1 of `volatile`: what RAM holds beside reset and clear data."""

    started: YES_NO
    failed: YES_NO
    failure: OCTETS
    startup_locality: UINT8
    was_orderly: YES_NO
    hcrtm: YES_NO
    is_measuring: YES_NO
    measured: LONG_OCTETS
    pcr_reconfigured: YES_NO
    established: YES_NO
    exclusive_session: UINT32
    time: SavedTime
    allocation: ALLOCATION
    pcr: BANKS
    sessions: Annotated[tuple[SavedSession, ...], ListOf(SavedSession, LIST_MAX)]
    objects: Annotated[tuple[bytes, ...], ListOf(LONG_OCTETS, LIST_MAX)]
    sequences: Annotated[tuple[bytes, ...], ListOf(LONG_OCTETS, LIST_MAX)]
    orderly_nv: Annotated[tuple[bytes, ...], ListOf(LONG_OCTETS, LIST_MAX)]
    reset: LONG_OCTETS
    clear: LONG_OCTETS
    act_deadline: UINT64
    act_attributes: Annotated[int, Limited("B", range(4))]
    act_updated: YES_NO

    __repr__ = object.__repr__


@structure
class SavedRun2:
    """
    Version 2 of `volatile`, only written where a measurement is open: its digests as far as they have come.

    Version 1 has its octets, which are none where none is open.
    """

    measured: Annotated[tuple[SavedRunning, ...], ListOf(SavedRunning, 16)]
    run: SavedRun

    __repr__ = object.__repr__


def save_reset(tpm: LiveState) -> bytes:
    """The blob `reset`."""
    reset = tpm.reset
    return versioned(
        1,
        SavedReset(
            null=save_hierarchy(tpm.null),
            clear_count=reset.clear_count,
            restart_count=reset.restart_count,
            object_context=reset.object_context,
            session_context=reset.session_context,
            saved_sessions=tuple(SavedContextNumber(*item) for item in sorted(reset.saved_sessions.items())),
            command_audit_digest=reset.command_audit_digest,
            pcr_counter=reset.pcr_counter,
            commit_counter=reset.commit_counter,
            commit_nonce=reset.commit_nonce,
            commit_used=reset.commit_used.to_bytes((reset.commit_used.bit_length() + 7) // 8, "big"),
        ),
    )


def load_reset(tpm: LiveState, blob: bytes) -> None:
    """Set reset data and the null hierarchy from the blob."""
    form: SavedReset = read(RESET, blob, {1: SavedReset})
    tpm.null.seed = form.null.seed
    tpm.null.proof = form.null.proof
    tpm.reset = ResetData(
        clear_count=form.clear_count,
        restart_count=form.restart_count,
        object_context=form.object_context,
        session_context=form.session_context,
        saved_sessions={item.session: item.number for item in form.saved_sessions},
        command_audit_digest=form.command_audit_digest,
        pcr_counter=form.pcr_counter,
        commit_counter=form.commit_counter,
        commit_nonce=form.commit_nonce,
        commit_used=int.from_bytes(form.commit_used, "big"),
    )


def closed_reset(blob: bytes) -> bytes:
    """The blob `reset` without the commitments (TPM2_Commit) that were open in it."""
    form: SavedReset = read(RESET, blob, {1: SavedReset})
    return versioned(1, replace(form, commit_used=b"")) if form.commit_used else blob


def save_banks(tpm: LiveState) -> tuple[SavedPcrBank, ...]:
    """The values of all PCR."""
    return tuple(SavedPcrBank(alg=alg, values=tuple(bank)) for alg, bank in tpm.pcr.banks.items())


def load_banks(tpm: LiveState, banks: tuple[SavedPcrBank, ...]) -> None:
    """Set the values of all PCR."""
    for bank in banks:
        tpm.pcr.banks[bank.alg] = list(bank.values)


def save_clear(tpm: LiveState) -> bytes:
    """The blob `clear`."""
    return versioned(
        1,
        SavedClear(
            platform=save_authorization(tpm.platform),
            sh_enable=tpm.owner.enabled,
            eh_enable=tpm.endorsement.enabled,
            ph_enable=tpm.platform.enabled,
            ph_enable_nv=tpm.clear.ph_enable_nv,
            read_only=tpm.clear.read_only,
            pcr_auth_value=tpm.pcr_group.auth_value,
            pcr=save_banks(tpm),
            act=save_act(tpm.clear.act),
        ),
    )


def save_act(act: Act) -> SavedAct:
    """The saved form of a timer."""
    seconds, signaled = act.kept or (0, False)
    return SavedAct(
        auth_policy=act.auth_policy,
        policy_alg=act.policy_alg,
        kept=act.kept is not None,
        seconds=seconds,
        signaled=signaled,
    )


def load_act(form: SavedAct) -> Act:
    """A timer that stands still."""
    return Act(
        auth_policy=form.auth_policy,
        policy_alg=form.policy_alg,
        kept=(form.seconds, form.signaled) if form.kept else None,
    )


def load_clear(tpm: LiveState, blob: bytes) -> None:
    """Set clear data, enables, the platform's authorization and PCR from the blob."""
    form: SavedClear = read(CLEAR, blob, {1: SavedClear})
    load_authorization(tpm.platform, form.platform)
    tpm.owner.enabled = form.sh_enable
    tpm.endorsement.enabled = form.eh_enable
    tpm.platform.enabled = form.ph_enable
    tpm.clear = ClearData(form.ph_enable_nv, form.read_only, load_act(form.act))
    tpm.pcr_group.auth_value = form.pcr_auth_value
    load_banks(tpm, form.pcr)


def save_policy(policy: Policy) -> SavedPolicy:
    """The saved form of a session's policy."""
    return SavedPolicy(
        digest=policy.digest,
        command_code=policy.command_code,
        locality=policy.locality,
        timeout=policy.timeout,
        bound_hash=policy.bound_hash,
        hashed=policy.hashed.value if policy.hashed else 0,
        auth_value_needed=policy.auth_value_needed,
        password_needed=policy.password_needed,
        physical_presence=policy.physical_presence,
        nv_written=-1 if policy.nv_written is None else policy.nv_written,
        pcr_counter=policy.pcr_counter,
        secure_channel=policy.secure_channel,
        channel_key_hash=policy.channel_key_hash,
    )


def load_policy(form: SavedPolicy) -> Policy:
    """A session's policy from its saved form."""
    return Policy(
        digest=form.digest,
        command_code=form.command_code,
        locality=form.locality,
        timeout=form.timeout,
        bound_hash=form.bound_hash,
        hashed=Hashed(form.hashed) if form.hashed else None,
        auth_value_needed=form.auth_value_needed,
        password_needed=form.password_needed,
        physical_presence=form.physical_presence,
        nv_written=None if form.nv_written < 0 else bool(form.nv_written),
        pcr_counter=form.pcr_counter,
        secure_channel=form.secure_channel,
        channel_key_hash=form.channel_key_hash,
    )


def save_session(session: Session) -> SavedSession:
    """The saved form of a session, for a snapshot or a saved context."""
    return SavedSession(
        handle=session.handle,
        hash=session.hash,
        symmetric=session.symmetric,
        nonce_tpm=session.nonce_tpm,
        session_key=session.session_key,
        policy=save_policy(session.policy) if session.policy else None,
        is_trial=session.is_trial,
        bound=session.bound or b"",
        is_da_bound=session.is_da_bound,
        is_lockout_bound=session.is_lockout_bound,
        is_audit=session.audit_digest is not None,
        audit_digest=session.audit_digest or b"",
        start_time=session.start_time,
        epoch=session.epoch,
    )


def load_session(form: SavedSession) -> Session:
    """A session from its saved form."""
    return Session(
        handle=form.handle,
        hash=form.hash,
        symmetric=form.symmetric,
        nonce_tpm=form.nonce_tpm,
        session_key=form.session_key,
        policy=load_policy(form.policy) if form.policy else None,
        is_trial=form.is_trial,
        bound=form.bound or None,
        is_da_bound=form.is_da_bound,
        is_lockout_bound=form.is_lockout_bound,
        audit_digest=form.audit_digest if form.is_audit else None,
        start_time=form.start_time,
        epoch=form.epoch,
    )


def save_sequence(sequence: Sequence) -> bytes:
    """The octets of a sequence object, for a snapshot or a saved context."""
    return versioned(
        1,
        SavedSequence(
            handle=sequence.handle,
            kind=sequence.kind.value,
            auth_value=sequence.auth_value,
            started=sequence.started,
            is_generated=sequence.is_generated,
            states=tuple(SavedRunning(alg, state.save()) for alg, state in sequence.states.items()),
        ),
    )


def load_sequence(octets: bytes) -> Sequence:
    """A sequence object from its octets."""
    form: SavedSequence = read("sequence", octets, {1: SavedSequence})
    kind = SequenceKind(form.kind)
    return Sequence(
        kind=kind,
        auth_value=form.auth_value,
        states={item.alg: load_running(kind, item.alg, item.state) for item in form.states},
        handle=form.handle,
        started=form.started,
        is_generated=form.is_generated,
    )


def load_running(kind: SequenceKind, alg: TPM_ALG, state: bytes) -> Running:
    """A running digest, HMAC or CMAC, by the kind of sequence and the algorithm."""
    if kind is not SequenceKind.MAC:
        return RunningDigest.load(alg, state)
    return RunningHmac.load(alg, state) if alg in NAMES else RunningCmac.load(alg, state)
