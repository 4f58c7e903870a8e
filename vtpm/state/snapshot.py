"""Snapshots: the state that power would take, as one blob, for the TPM to go on elsewhere."""

from collections.abc import Iterable

from vtpm.spec.attributes import TPMA_ACT
from vtpm.spec.constants import TPM_ALG, TPM_RH
from vtpm.state.clock import Instant
from vtpm.state.hierarchy import Hierarchy
from vtpm.state.launch import Launch
from vtpm.state.object import Object
from vtpm.state.saved import (
    SavedStateError,
    load_allocation,
    load_nv,
    load_object,
    nv_blob,
    read,
    save_allocation,
    save_nv,
    save_object,
    versioned,
)
from vtpm.state.suspended import (
    VOLATILE,
    SavedRun,
    SavedRun2,
    SavedRunning,
    SavedTime,
    load_banks,
    load_clear,
    load_reset,
    load_sequence,
    load_session,
    save_banks,
    save_clear,
    save_reset,
    save_sequence,
    save_session,
)
from vtpm.state.tpm import TpmState
from vtpm.state.volatile import Volatile


def snapshot_volatile(tpm: TpmState) -> dict[str, bytes]:
    """Everything that is in no durable blob: the blob `volatile`."""
    volatile, clock, lockout, act = tpm.volatile, tpm.clock, tpm.lockout, tpm.clear.act
    items = volatile.objects.values()
    run = SavedRun(
        started=volatile.started,
        failed=volatile.failed,
        failure=volatile.failure.encode(),
        startup_locality=volatile.startup_locality,
        was_orderly=volatile.was_orderly,
        hcrtm=volatile.hcrtm,
        is_measuring=volatile.launch is not None,
        measured=b"",
        pcr_reconfigured=volatile.pcr_reconfigured,
        established=tpm.established,
        exclusive_session=volatile.exclusive_session,
        time=SavedTime(
            time=clock.time,
            epoch=clock.epoch,
            remainder=clock.remainder,
            clock=clock.clock,
            safe=clock.safe,
            rate=clock.rate,
            self_heal_timer=lockout.self_heal_timer,
            lockout_timer=lockout.lockout_timer,
        ),
        allocation=save_allocation(tpm.pcr.selected),
        pcr=save_banks(tpm),
        sessions=tuple(save_session(session) for session in volatile.sessions.values()),
        objects=tuple(save_object(item) for item in items if isinstance(item, Object)),
        sequences=tuple(save_sequence(item) for item in items if not isinstance(item, Object)),
        orderly_nv=tuple(save_nv(index) for index in tpm.nv.values() if index.attributes.ORDERLY),
        reset=save_reset(tpm),
        clear=save_clear(tpm),
        act_deadline=act.deadline,
        act_attributes=act.attributes,
        act_updated=act.updated,
    )
    if volatile.launch is None:
        return {VOLATILE: versioned(1, run)}
    measured = tuple(SavedRunning(alg, state) for alg, state in volatile.launch.save())
    return {VOLATILE: versioned(2, SavedRun2(measured=measured, run=run))}


def load_launch(form: SavedRun | SavedRun2, banks: Iterable[TPM_ALG]) -> Launch | None:
    """The measurement that is open, if one is, of a TPM with these banks."""
    if isinstance(form, SavedRun2):
        if {item.alg for item in form.measured} != set(banks):
            raise SavedStateError(VOLATILE, "its measurement is of other banks than the TPM has")
        return Launch.load((item.alg, item.state) for item in form.measured)
    if not form.is_measuring:
        return None
    launch = Launch.begin(banks)
    launch.update(form.measured)
    return launch


def resume(tpm: TpmState, blob: bytes, now: Instant) -> None:
    """Go on where `snapshot_volatile` was taken; SavedStateError if the blob cannot be read."""
    form: SavedRun | SavedRun2 = read(VOLATILE, blob, {1: SavedRun, 2: SavedRun2})
    run = form.run if isinstance(form, SavedRun2) else form
    tpm.hierarchies.setdefault(TPM_RH.NULL, Hierarchy(TPM_RH.NULL, b"", b""))
    load_reset(tpm, run.reset)
    load_clear(tpm, run.clear)
    act = tpm.clear.act
    attributes = TPMA_ACT(run.act_attributes)
    act.deadline, act.updated = run.act_deadline, run.act_updated
    act.signaled, act.preserved = attributes.signaled, attributes.preserveSignaled
    tpm.pcr.allocate(load_allocation(run.allocation))
    load_banks(tpm, run.pcr)
    volatile = Volatile(tpm.profile.transient_slots, tpm.profile.loaded_sessions)
    volatile.started = run.started
    volatile.failed = run.failed
    volatile.failure = run.failure.decode(errors="replace")
    volatile.startup_locality = run.startup_locality
    volatile.was_orderly = run.was_orderly
    volatile.hcrtm = run.hcrtm
    volatile.launch = load_launch(form, tpm.pcr.banks)
    volatile.pcr_reconfigured = run.pcr_reconfigured
    volatile.exclusive_session = run.exclusive_session
    for session in map(load_session, run.sessions):
        volatile.sessions[session.handle & 0xFFFFFF] = session
    for octets in run.objects:
        item = load_object(VOLATILE, octets)
        volatile.objects[item.handle] = item
    for sequence in map(load_sequence, run.sequences):
        volatile.objects[sequence.handle] = sequence
    tpm.volatile = volatile
    for octets in run.orderly_nv:
        index = load_nv(VOLATILE, octets)
        tpm.nv[index.handle] = index
        if octets != tpm.saved.get(nv_blob(index.handle)):
            tpm.note_ahead(index)
    tpm.established = run.established
    clock, time = tpm.clock, run.time
    clock.time, clock.epoch, clock.remainder = time.time, time.epoch, time.remainder
    clock.clock, clock.safe, clock.rate = time.clock, time.safe, time.rate
    clock.last = now.milliseconds
    tpm.lockout.self_heal_timer, tpm.lockout.lockout_timer = time.self_heal_timer, time.lockout_timer
