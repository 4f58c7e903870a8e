"""A stored state may be started twice, as after a revert: no number of TPM2_Commit signs in both futures."""

import pytest

from tests.commands.test_ephemeral import BN, DIGEST, EMPTY, NO_TICKET
from tests.keys import put_ecc, signing
from tests.scenarios import Client, seeded
from vtpm import Instant, Tpm
from vtpm.control.blobs import Form
from vtpm.daemon.device.bringup import Gate, Loader
from vtpm.daemon.device.stateblobs import GivenState
from vtpm.spec.constants import TPM_ALG, TPM_SU
from vtpm.state.saved import RESET
from vtpm.wire.error import TPM_RC


def started(tpm: Client, blobs: dict[str, bytes], seed: bytes) -> tuple[Client, dict[str, bytes | None]]:
    """A TPM that is brought up from a stored state, and what of it the store lacks."""
    loader = Loader(
        Tpm, seeded(seed), lambda: Instant(tpm.now), lambda: 0, may_manufacture=False, gate=Gate()
    )
    loaded = loader.load(blobs, GivenState("vm", Form()), None, delete_volatile=False)
    future = Client(start=False)
    future.now, future.tpm = tpm.now, loaded.tpm
    return future, loaded.changes


@pytest.mark.parametrize("seed", [b"one", b"other"])
def test_a_saved_run(tpm: Client, seed: bytes) -> None:
    """A number that was open at Shutdown(STATE) signs after no start from what is stored; a new one does."""
    key = put_ecc(tpm, "sign", TPM_ALG.ECDAA, curve=BN)
    counter = tpm.commit(key, p1=EMPTY, s2=b"", y2=b"").counter
    assert tpm.shutdown(shutdown_type=TPM_SU.STATE).rc == TPM_RC.SUCCESS
    future, changes = started(tpm, tpm.tpm.snapshot(), seed)
    assert RESET in changes
    assert future.startup(startup_type=TPM_SU.STATE).rc == TPM_RC.SUCCESS
    again = put_ecc(future, "sign", TPM_ALG.ECDAA, curve=BN)
    counters = [counter, future.commit(again, p1=EMPTY, s2=b"", y2=b"").counter]
    codes = [
        future.sign(
            again, digest=DIGEST, in_scheme=signing(TPM_ALG.ECDAA, count=number), validation=NO_TICKET
        ).rc
        for number in counters
    ]
    assert codes == [TPM_RC.VALUE, TPM_RC.SUCCESS]


def test_nothing_to_close(tpm: Client) -> None:
    """A state without open numbers is stored as it was."""
    assert tpm.shutdown(shutdown_type=TPM_SU.STATE).rc == TPM_RC.SUCCESS
    _future, changes = started(tpm, tpm.tpm.snapshot(), b"one")
    assert RESET not in changes
