"""Part 3, clause 10: testing."""

import pytest

from tests.scenarios import Client
from vtpm.spec.constants import TPM_ALG
from vtpm.wire.error import TPM_RC


@pytest.mark.parametrize("full_test", [True, False])
def test_self_test(tpm: Client, *, full_test: bool) -> None:
    """10.2: the self test passes, whether it is asked to be a full one or not."""
    assert tpm.self_test(full_test=full_test).rc == TPM_RC.SUCCESS
    assert tpm.get_test_result().test_result == TPM_RC.SUCCESS


@pytest.mark.parametrize("to_test", [(), (TPM_ALG.RSA, TPM_ALG.SHA256, TPM_ALG.RSA)])
def test_incremental_self_test(tpm: Client, to_test: tuple[int, ...]) -> None:
    """10.3: nothing is left to be tested."""
    assert tpm.incremental_self_test(to_test=to_test).to_do_list == ()


@pytest.mark.parametrize("alg", [TPM_ALG.NULL, 0, 0x1234])
def test_incremental_self_test_of_unknown(tpm: Client, alg: int) -> None:
    """10.3: an algorithm that is not implemented cannot be tested."""
    assert tpm.incremental_self_test(to_test=(TPM_ALG.SHA256, alg)).rc == TPM_RC.VALUE.parameter(1)


def test_get_test_result(tpm: Client) -> None:
    """10.4: a TPM that has not failed says so."""
    reply = tpm.get_test_result()

    assert (reply.out_data, reply.test_result) == (b"", TPM_RC.SUCCESS)
