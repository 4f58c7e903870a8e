"""Part 3, clause 9 and 22.11: swtpm starts in the same way, whatever came before and from wherever it is."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from tests.differential.judge import HAS_SWTPM, Swtpm
from tests.scenarios import Client
from vtpm.spec.constants import TPM_ALG, TPM_SU
from vtpm.spec.structures import TPMS_PCR_SELECTION
from vtpm.state.profile import SWTPM_COMPATIBLE
from vtpm.wire.error import TPM_RC

pytestmark = pytest.mark.skipif(not HAS_SWTPM, reason="swtpm is not installed")

PCR = (TPMS_PCR_SELECTION(TPM_ALG.SHA256, b"\x03\0\x82"),)
"""PCR 0 and 1, which are saved, and 17 and 23, which are not."""

SHUTDOWNS = (None, TPM_SU.CLEAR, TPM_SU.STATE)
LOCALITIES = (0, 1, 3, 4)


@pytest.fixture(scope="module")
def judge() -> Iterator[Swtpm]:
    """One swtpm for all cases."""
    judge = Swtpm()
    yield judge
    judge.close()


def measure(tpm: Swtpm | Client) -> None:
    """A measurement by hardware."""
    if isinstance(tpm, Swtpm):
        tpm.measure(b"measured")
        return
    tpm.tpm.hash_start()
    tpm.tpm.hash_data(b"measured")
    tpm.tpm.hash_end()


def look(tpm: Swtpm | Client) -> list[Any]:
    """What a start has made of PCR, counters and Clock."""
    pcr, clock = tpm.pcr_read(pcr_selection_in=PCR), tpm.read_clock()
    if pcr.rc or clock.rc:
        return [pcr.rc, clock.rc]
    info = clock.current_time.clock_info
    return [pcr.pcr_update_counter, *pcr.pcr_values, info.reset_count, info.restart_count, info.safe]


def history(
    tpm: Swtpm | Client,
    first: tuple[int, bool],
    shutdown: TPM_SU | None,
    then: tuple[int, bool],
    startup: TPM_SU,
) -> list[Any]:
    """Start, extend, shut down, lose power, start again; `first` and `then` are locality and measurement."""
    locality, measured = first
    if measured:
        measure(tpm)
    found: list[Any] = [tpm.startup(startup_type=TPM_SU.CLEAR, locality=locality).rc, look(tpm)]
    tpm.pcr_event(1, event_data=b"event")
    if shutdown is not None:
        found.append(tpm.shutdown(shutdown_type=shutdown).rc)
    tpm.lose_power()
    locality, measured = then
    if measured:
        measure(tpm)
    return [*found, tpm.startup(startup_type=startup, locality=locality).rc, look(tpm)]


@pytest.mark.parametrize("startup", TPM_SU)
@pytest.mark.parametrize("shutdown", SHUTDOWNS)
@pytest.mark.parametrize("first", list(product((0, 3), (False, True))))
def test_startups(judge: Swtpm, first: tuple[int, bool], shutdown: TPM_SU | None, startup: TPM_SU) -> None:
    """
    The same codes, PCR, counters and Clock.

    But a Resume after another H-CRTM is TPM_RC_LOCALITY (9.3), and not TPM_RC_VALUE.
    """
    for then in product(LOCALITIES, (False, True)):
        judge.renew()
        own = Client(profile=SWTPM_COMPATIBLE, start=False)
        theirs, ours = (history(tpm, first, shutdown, then, startup) for tpm in (judge, own))
        resumes = shutdown is TPM_SU.STATE is startup and then[0] in (0, 3)
        if resumes and first[1] is not then[1]:
            assert theirs[-2] == TPM_RC.VALUE.parameter(1)
            theirs[-2] = TPM_RC.LOCALITY
        assert ours == theirs, then


def test_dynamic_launch(judge: Swtpm) -> None:
    """After Startup a measurement resets PCR 17 to 22, and counts."""
    judge.renew()
    own = Client(profile=SWTPM_COMPATIBLE)
    judge.startup(startup_type=TPM_SU.CLEAR).check()

    for _ in range(3):
        found = []
        for tpm in (judge, own):
            measure(tpm)
            found.append(look(tpm))
        assert found[0] == found[1]
