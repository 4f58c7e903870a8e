"""Part 1, "NV Memory": swtpm has as much memory for orderly Indices, and counts it in the same way."""

from collections.abc import Iterator, Sequence

import pytest

from tests.commands.nv_indices import OWNED, public_of
from tests.differential.judge import HAS_SWTPM, Swtpm
from tests.scenarios import Client
from vtpm.spec.constants import TPM_RH, TPM_SU
from vtpm.state.profile import SWTPM_COMPATIBLE
from vtpm.wire.error import TPM_RC

pytestmark = pytest.mark.skipif(not HAS_SWTPM, reason="swtpm is not installed")

FIRST = 0x01000000


@pytest.fixture(scope="module")
def judge() -> Iterator[Swtpm]:
    """One swtpm for all cases."""
    judge = Swtpm()
    yield judge
    judge.close()


def defined(tpm: Swtpm | Client, sizes: Sequence[int]) -> list[int]:
    """The codes of defining orderly Indices of these sizes, one after another."""
    return [
        tpm.nv_define_space(
            TPM_RH.OWNER,
            auth=b"",
            public_info=public_of(OWNED.but(ORDERLY=True), size, handle=FIRST + number),
        ).rc
        for number, size in enumerate(sizes)
    ]


@pytest.mark.parametrize("sizes", [[8] * 27, [500], [501], [100] * 5, [488, 1], [488, 0, 0], [476, 12, 0]])
def test_codes(judge: Swtpm, sizes: list[int]) -> None:
    """What fits in one of them fits in the other."""
    judge.renew()
    judge.startup(startup_type=TPM_SU.CLEAR).check()
    theirs, ours = (defined(tpm, sizes) for tpm in (judge, Client(profile=SWTPM_COMPATIBLE)))

    assert ours == theirs
    assert set(ours) <= {TPM_RC.SUCCESS, TPM_RC.NV_SPACE}
