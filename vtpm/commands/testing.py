"""Part 3, clause 10: testing."""

from vtpm.commands.table import command
from vtpm.crypto.known_answers import check
from vtpm.spec.constants import TPM_CC
from vtpm.spec.interface import TPMI_YES_NO
from vtpm.spec.structures import TPM2B_MAX_BUFFER, TPML_ALG
from vtpm.state.tpm import TpmState
from vtpm.wire.error import TPM_RC, TpmError
from vtpm.wire.integers import UINT32
from vtpm.wire.structure import structure


@command(TPM_CC.SelfTest, nv=True, costly=True)
def self_test(tpm: TpmState, /, full_test: TPMI_YES_NO) -> None:
    """10.2: test everything again if that is asked for; nothing is left that has never been tested."""
    if full_test:
        check(tpm.profile.algorithms)


@structure
class IncrementalSelfTestResponse:
    """10.3"""

    to_do_list: TPML_ALG


@command(TPM_CC.IncrementalSelfTest, nv=True, costly=True)
def incremental_self_test(tpm: TpmState, /, to_test: TPML_ALG) -> IncrementalSelfTestResponse:
    """10.3: no algorithm is left to test, since all are tested when the TPM gets power."""
    if not tpm.profile.algorithms.issuperset(to_test):
        raise TpmError(TPM_RC.VALUE, at="to_test")

    return IncrementalSelfTestResponse(to_do_list=())


@structure
class GetTestResultResponse:
    """10.4"""

    out_data: TPM2B_MAX_BUFFER
    test_result: UINT32


@command(TPM_CC.GetTestResult)
def get_test_result(tpm: TpmState, /) -> GetTestResultResponse:
    """10.4: the result of a TPM that has not failed; `vtpm.engine.failure` answers for one that has."""
    return GetTestResultResponse(out_data=b"", test_result=TPM_RC.SUCCESS)
