"""Power cycles: what _TPM_Init, Startup and Shutdown do to the state (Part 1, "Operational States")."""

from vtpm.spec.attributes import TPMA_NV
from vtpm.spec.constants import TPM_ALG, TPM_NT, TPM_RH, TPM_SU
from vtpm.state import saved, suspended
from vtpm.state.clear import ClearData
from vtpm.state.clock import Instant
from vtpm.state.hierarchy import PROOF_SIZE, SEED_SIZE
from vtpm.state.reset import ResetData
from vtpm.state.startup import StartupKind
from vtpm.state.tpm import TpmState
from vtpm.state.volatile import Volatile


def power_on(tpm: TpmState, now: Instant) -> None:
    """_TPM_Init: RAM is empty, and what ran ahead of its durable blob is as the blob has it."""
    tpm.forget_changes()
    tpm.ahead.clear()
    tpm.volatile = Volatile(tpm.profile.transient_slots, tpm.profile.loaded_sessions)
    for name, blob in tpm.saved.items():
        if name.startswith(saved.NV_PREFIX):
            index = saved.load_nv(name, blob)
            tpm.nv[index.handle] = index
    if saved.ORDERLY in tpm.saved:
        saved.load_orderly(tpm.clock, tpm.saved[saved.ORDERLY])
    tpm.clock.power_on(now, int.from_bytes(tpm.random(4), "big"))
    tpm.pcr.allocate(tpm.permanent.pcr_allocation)
    tpm.locality = 0


def start(tpm: TpmState, kind: StartupKind, locality: int) -> None:
    """Startup, of a kind that the last shutdown allows."""
    permanent, hcrtm = tpm.permanent, tpm.volatile.hcrtm
    orderly = permanent.shutdown is not None
    if not orderly and permanent.total_reset_count:
        # Before its very first start, a TPM has reported no Clock at all.
        tpm.clock.safe = False
    hcrtm_values = {alg: bank[0] for alg, bank in tpm.pcr.banks.items()} if hcrtm else {}
    start_reset_data(tpm, kind)
    start_clear_data(tpm, kind)
    tpm.platform.enabled = True
    resume = kind is StartupKind.RESUME
    tpm.count_pcr_changes(tpm.pcr.startup(resume=resume, locality=locality))
    if not resume:
        for alg, value in hcrtm_values.items():
            tpm.pcr.banks[alg][0] = value
        start_nv(tpm, kind, orderly=orderly)
    tpm.lockout.start(tpm.clock.time, orderly=orderly)
    permanent.shutdown = None
    tpm.volatile.started = True
    tpm.volatile.was_orderly = orderly
    tpm.volatile.startup_locality = locality
    tpm.touch_permanent()


def start_reset_data(tpm: TpmState, kind: StartupKind) -> None:
    """Reset data, counters and the null hierarchy."""
    if kind.keeps_reset_data:
        suspended.load_reset(tpm, tpm.saved[saved.RESET])
        tpm.reset.count_restart()
        tpm.reset.clear_count += kind is StartupKind.RESTART
        return
    tpm.reset = ResetData(tpm.profile.loaded_sessions + 1, commit_nonce=tpm.random(PROOF_SIZE))
    tpm.permanent.reset_count = (tpm.permanent.reset_count + 1) & 0xFFFFFFFF
    tpm.permanent.total_reset_count += 1
    tpm.forget_primaries(TPM_RH.NULL)
    tpm.null.seed = tpm.random(SEED_SIZE)
    tpm.null.proof = tpm.random(PROOF_SIZE)


def start_clear_data(tpm: TpmState, kind: StartupKind) -> None:
    """Clear data, the enables, the platform's authorization."""
    if kind.keeps_clear_data:
        suspended.load_clear(tpm, tpm.saved[saved.CLEAR])
        tpm.clear.act.resume(tpm.clock.time)
        return
    tpm.clear = ClearData()
    tpm.owner.enabled = tpm.endorsement.enabled = True
    tpm.platform.auth_value = tpm.platform.auth_policy = b""
    tpm.platform.policy_alg = TPM_ALG.NULL
    tpm.pcr_group.auth_value = b""


def start_nv(tpm: TpmState, kind: StartupKind, *, orderly: bool) -> None:
    """Locks end, and what does not outlive the start-up is unwritten (Part 1, "NV Index Attributes")."""
    for index in tpm.nv.values():
        attributes = started_attributes(index.attributes, kind)
        if attributes != index.attributes:
            index.set_attributes(attributes)
            if attributes.ORDERLY:
                tpm.note_ahead(index)
            else:
                tpm.touch_nv(index)
        if attributes.ORDERLY and attributes.TPM_NT == TPM_NT.COUNTER and attributes.WRITTEN and not orderly:
            # The counts since the last saving are lost, so the counter goes on above any of them.
            count = int.from_bytes(index.data, "big") | tpm.profile.orderly_count
            index.data = count.to_bytes(8, "big")
            tpm.note_ahead(index)


def started_attributes(attributes: TPMA_NV, kind: StartupKind) -> TPMA_NV:
    """The attributes of an Index after a Startup(CLEAR)."""
    attributes = attributes.but(READLOCKED=False)
    if not (attributes.WRITTEN and attributes.WRITEDEFINE):
        attributes = attributes.but(WRITELOCKED=False)
    volatile = attributes.ORDERLY and kind is StartupKind.RESET
    if attributes.TPM_NT != TPM_NT.COUNTER and (attributes.CLEAR_STCLEAR or volatile):
        attributes = attributes.but(WRITTEN=False)
    return attributes


def shut_down(tpm: TpmState, kind: TPM_SU) -> None:
    """Shutdown: save what runs ahead of its blob, and how the run ended."""
    tpm.touch_orderly()
    for index in tpm.indices_ahead():
        tpm.touch_nv(index)
    if kind is TPM_SU.STATE:
        tpm.clear.act.shut_down(tpm.clock.time)
        tpm.touch_suspended()
    permanent = tpm.permanent
    permanent.shutdown = kind
    permanent.startup_locality = tpm.volatile.startup_locality
    permanent.hcrtm = tpm.volatile.hcrtm
    tpm.lockout.used = False
    tpm.touch_permanent()


def note_divergence(tpm: TpmState) -> None:
    """After a Shutdown, whatever changes makes the saved state stale: a loss of power is then not orderly."""
    if not tpm.has_changes and not _has_diverged(tpm):
        return
    tpm.permanent.shutdown = None
    tpm.touch_permanent()


def _has_diverged(tpm: TpmState) -> bool:
    if tpm.permanent.shutdown == TPM_SU.STATE and (
        suspended.save_reset(tpm) != tpm.saved[saved.RESET]
        or suspended.save_clear(tpm) != tpm.saved[saved.CLEAR]
    ):
        return True
    return bool(tpm.indices_ahead())
