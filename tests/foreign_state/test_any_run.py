"""Altered volatile states of libtpms: each becomes a run, or is refused by name."""

import contextlib
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.objects import STORAGE_ECC, creation
from tests.scenarios import Client, seeded
from tests.sessions import start_session
from vtpm import Tpm
from vtpm.libtpms.errors import ForeignStateError
from vtpm.libtpms.exporting import export_state
from vtpm.libtpms.exporting_run import export_run
from vtpm.libtpms.importing import import_state
from vtpm.libtpms.importing_run import import_run
from vtpm.spec.constants import TPM_ALG, TPM_RH, TPM_SE
from vtpm.state.clock import Instant
from vtpm.state.profile import SWTPM_COMPATIBLE


def suspended() -> tuple[bytes, bytes]:
    """A permanent state of libtpms, and a volatile one with something of everything."""
    tpm = Client(profile=SWTPM_COMPATIBLE)
    tpm.create_primary(TPM_RH.OWNER, **creation(STORAGE_ECC)).check()
    tpm.hash_sequence_start(auth=b"x", hash_alg=TPM_ALG.SHA256).check()
    tpm.hash_sequence_start(auth=b"x", hash_alg=TPM_ALG.NULL).check()
    start_session(tpm, bind=TPM_RH.OWNER)
    start_session(tpm, TPM_SE.POLICY)
    blobs = tpm.tpm.snapshot() | tpm.tpm.snapshot_volatile()
    return export_state(blobs, seeded()).state, export_run(blobs, 1, seeded())


PERMANENT, VOLATILE = suspended()
BODY = VOLATILE[:-20]
IMPORTED = import_state(PERMANENT, SWTPM_COMPATIBLE, seeded()).blobs


def resumed(body: bytes) -> Tpm:
    """The TPM of a volatile state, behind which its digest is put."""
    octets = body + hashlib.sha1(body, usedforsecurity=False).digest()
    run = import_run(octets, PERMANENT, IMPORTED, seeded())
    tpm = Tpm.restore(IMPORTED | run.blobs, seeded())
    tpm.resume(Instant(0))
    return tpm


def test_as_it_is() -> None:
    """Unaltered it is a run."""
    assert len(resumed(BODY).volatile.objects) == 3


@given(st.integers(0, len(BODY) - 1), st.binary(min_size=1, max_size=8))
def test_altered(place: int, octets: bytes) -> None:
    """Octets that were changed anywhere give a run that can be resumed, or a named error."""
    with contextlib.suppress(ForeignStateError):
        tpm = resumed(BODY[:place] + octets + BODY[place + len(octets) :])
        assert tpm.owner.seed


@given(st.integers(0, len(BODY) - 1))
def test_cut_short(end: int) -> None:
    """A state that is cut short is refused, even if its digest is right."""
    with pytest.raises(ForeignStateError):
        resumed(BODY[:end])
