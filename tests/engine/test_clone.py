"""Clones: vtpm/engine/clone.py."""

from tests.commands.nv_indices import INDEX, OWNED, define
from tests.keys import put_ecc
from tests.scenarios import Client, seeded
from tests.state.rich import ORDERLY, rich
from vtpm import Instant, Tpm
from vtpm.engine.clone import WAYS
from vtpm.spec.attributes import TPMA_NV
from vtpm.spec.constants import TPM_ALG, TPM_RH, TPM_SU
from vtpm.state.object import Object
from vtpm.wire.error import TPM_RC

CERTIFICATE = 0x01C00002
STORAGE, ENDORSED = 0x81000010, 0x81010001


def origin() -> Client:
    """A TPM with a certificate and a key of its owner and of its endorsement hierarchy."""
    tpm = Client()
    attributes = TPMA_NV(PPWRITE=True, PPREAD=True, OWNERREAD=True, PLATFORMCREATE=True, NO_DA=True)
    tpm.tpm.physical_presence = True
    assert define(tpm, attributes, 8, handle=CERTIFICATE) == 0
    assert define(tpm, OWNED) == 0
    for hierarchy, handle in ((TPM_RH.OWNER, STORAGE), (TPM_RH.ENDORSEMENT, ENDORSED)):
        key = put_ecc(tpm, "sign fixedTPM fixedParent sensitiveDataOrigin", TPM_ALG.ECDSA)
        item = tpm.tpm.volatile.objects[key]
        assert isinstance(item, Object)
        item.hierarchy = hierarchy
        assert tpm.evict_control(TPM_RH.OWNER, key, persistent_handle=handle).rc == 0
    return tpm


def clone(tpm: Client, how: str) -> Client:
    """A running clone."""
    other = Client(start=False)
    other.durable = WAYS[how](tpm.tpm.snapshot(), seeded(b"clone"))
    other.tpm = Tpm.restore(other.durable, seeded(b"other"))
    other.tpm.power_on(Instant(other.now))
    assert other.startup(startup_type=TPM_SU.CLEAR).rc == TPM_RC.SUCCESS
    return other


def test_copy() -> None:
    """A copy is the same TPM."""
    tpm = rich()

    assert WAYS["copy"](tpm.tpm.snapshot(), seeded()) == tpm.tpm.snapshot()


def test_replace() -> None:
    """A replaced TPM has nothing of its origin but the profile."""
    tpm = origin()
    other = clone(tpm, "replace")

    assert other.tpm.profile == tpm.tpm.profile
    assert not other.tpm.nv
    assert not other.tpm.persistent
    for handle in (TPM_RH.OWNER, TPM_RH.ENDORSEMENT, TPM_RH.PLATFORM):
        assert other.tpm.hierarchies[handle].seed != tpm.tpm.hierarchies[handle].seed
        assert other.tpm.hierarchies[handle].proof != tpm.tpm.hierarchies[handle].proof


def test_fork() -> None:
    """A fork opens what its origin sealed in the storage hierarchy, and has another identity."""
    tpm = origin()
    other = clone(tpm, "fork")

    assert (other.tpm.owner.seed, other.tpm.owner.proof) == (tpm.tpm.owner.seed, tpm.tpm.owner.proof)
    for mine, its in ((other.tpm.endorsement, tpm.tpm.endorsement), (other.tpm.platform, tpm.tpm.platform)):
        assert mine.seed != its.seed
        assert mine.proof != its.proof
    assert set(other.tpm.persistent) == {STORAGE}
    assert set(other.tpm.nv) == {INDEX}


def test_two_forks_differ() -> None:
    """Each fork is a TPM of its own."""
    blobs = origin().tpm.snapshot()
    one, other = (WAYS["fork"](blobs, seeded(seed)) for seed in (b"1", b"2"))

    assert one["permanent"] != other["permanent"]


def test_fork_of_a_suspended_run() -> None:
    """A run that was saved by Shutdown(STATE) does not go on in a fork, which begins with a TPM Reset."""
    tpm = rich()
    assert tpm.shutdown(shutdown_type=TPM_SU.STATE).rc == TPM_RC.SUCCESS
    other = clone(tpm, "fork")

    assert other.tpm.permanent.reset_count == tpm.tpm.permanent.reset_count + 1
    assert ORDERLY in other.tpm.nv
