"""Part 3, 23.9: every comparison of PolicyNV, with operands of both signs, as the two TPMs decide it."""

from collections.abc import Callable, Iterator
from itertools import product

import pytest

from tests.differential.judge import HAS_SWTPM, Swtpm
from tests.scenarios import Caller, Client
from tests.sessions import start_session
from vtpm.spec.attributes import TPMA_NV
from vtpm.spec.constants import TPM_ALG, TPM_EO, TPM_NT, TPM_RH, TPM_SE
from vtpm.spec.nv import TPMS_NV_PUBLIC
from vtpm.state.profile import SWTPM_COMPATIBLE
from vtpm.wire.error import TPM_RC

INDEX = 0x01000001
VALUES = tuple(
    number.to_bytes(8, "big", signed=True) for number in (0, 1, 2, -1, -2, (1 << 63) - 1, -(1 << 63), 1 << 32)
)

E = TPM_EO
TRUE: dict[TPM_EO, Callable[[int, int], bool]] = {
    E.EQ: lambda a, b: a == b,
    E.NEQ: lambda a, b: a != b,
    E.SIGNED_GT: lambda a, b: a > b,
    E.SIGNED_LT: lambda a, b: a < b,
    E.SIGNED_GE: lambda a, b: a >= b,
    E.SIGNED_LE: lambda a, b: a <= b,
    E.UNSIGNED_GT: lambda a, b: a % (1 << 64) > b % (1 << 64),
    E.UNSIGNED_LT: lambda a, b: a % (1 << 64) < b % (1 << 64),
    E.UNSIGNED_GE: lambda a, b: a % (1 << 64) >= b % (1 << 64),
    E.UNSIGNED_LE: lambda a, b: a % (1 << 64) <= b % (1 << 64),
    E.BITSET: lambda a, b: a & b == b,
    E.BITCLEAR: lambda a, b: a & b == 0,
}
"""What Part 2, 6.8 says of each operation, for the data and operandB."""

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not HAS_SWTPM, reason="swtpm is not installed")]


@pytest.fixture(scope="module")
def callers() -> Iterator[tuple[Caller, Caller, Caller]]:
    """swtpm, this TPM with its limits, and this TPM as it is by default, each with an Index."""
    judge = Swtpm()
    callers = judge, Client(profile=SWTPM_COMPATIBLE), Client()
    attributes = TPMA_NV(TPM_NT=TPM_NT.ORDINARY, OWNERWRITE=True, OWNERREAD=True)
    public = TPMS_NV_PUBLIC(INDEX, TPM_ALG.SHA256, attributes, b"", 8)
    for caller in callers:
        caller.nv_define_space(TPM_RH.OWNER, auth=b"", public_info=public).check()
    yield callers
    judge.close()


def decisions(caller: Caller, operation: TPM_EO) -> dict[tuple[int, int], bool]:
    """Whether the policy goes on, for all data and operands."""
    decided = {}
    session = start_session(caller, TPM_SE.POLICY).handle
    for data, operand in product(VALUES, repeat=2):
        caller.nv_write(TPM_RH.OWNER, INDEX, data=data, offset=0).check()
        given = {"operand_b": operand, "offset": 0, "operation": operation}
        rc = caller.policy_nv(TPM_RH.OWNER, INDEX, session, **given).rc
        assert rc in (TPM_RC.SUCCESS, TPM_RC.POLICY)
        decided[number(data), number(operand)] = rc == TPM_RC.SUCCESS
    caller.flush_context(flush_handle=session).check()
    return decided


def number(octets: bytes) -> int:
    """A signed number."""
    return int.from_bytes(octets, "big", signed=True)


@pytest.mark.parametrize("operation", TRUE)
def test_operation(callers: tuple[Caller, Caller, Caller], operation: TPM_EO) -> None:
    """
    By default the numbers decide; with the limits of swtpm it is as swtpm decides.

    libtpms 0.9 orders two negative numbers by their size, and nothing else differs.
    """
    theirs, compatible, default = (decisions(caller, operation) for caller in callers)

    assert theirs == compatible
    assert default == {pair: TRUE[operation](*pair) for pair in default}
    wrong = {pair for pair in default if theirs[pair] != default[pair]}
    negative = {(a, b) for a, b in default if a < 0 and b < 0 and a != b}
    assert wrong == (negative if operation.name.startswith("SIGNED") else set())
