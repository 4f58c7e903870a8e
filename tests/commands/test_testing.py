"""Part 3, clause 10: testing."""

import pytest

from tests.scenarios import HEADER, Client
from vtpm.crypto.known_answers import TESTS, check_first
from vtpm.spec.constants import TPM_ALG, TPM_CC, TPM_ST, TPM_SU
from vtpm.wire.error import TPM_RC


@pytest.mark.parametrize("full_test", [True, False])
def test_self_test(tpm: Client, *, full_test: bool) -> None:
    """10.2: the self test passes, whether it is asked to be a full one or not."""
    assert tpm.self_test(full_test=full_test).rc == TPM_RC.SUCCESS
    assert tpm.get_test_result().test_result == TPM_RC.SUCCESS


@pytest.mark.parametrize("alg", TESTS)
def test_failed_self_test(tpm: Client, monkeypatch: pytest.MonkeyPatch, alg: TPM_ALG) -> None:
    """10.2: a full test that fails puts the TPM in failure mode, until the next _TPM_Init that passes."""
    with monkeypatch.context() as broken:
        broken.setitem(TESTS, alg, lambda: False)
        assert tpm.self_test(full_test=False).rc == TPM_RC.SUCCESS
        assert tpm.self_test(full_test=True).rc == TPM_RC.FAILURE
        assert tpm.get_random(bytes_requested=4).rc == TPM_RC.FAILURE
        assert tpm.get_test_result().test_result == TPM_RC.FAILURE

    assert tpm.power_cycle(shutdown=None).rc == TPM_RC.SUCCESS


def test_power_on_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """10.1: nothing is executed before it is tested; GetTestResult names what has failed."""
    check_first.cache_clear()
    with monkeypatch.context() as broken:
        broken.setitem(TESTS, TPM_ALG.SHA256, lambda: False)
        tpm = Client(start=False)
        assert tpm.startup(startup_type=TPM_SU.CLEAR).rc == TPM_RC.FAILURE
        assert tpm.get_test_result().out_data == b"the self-test of SHA256 has failed"

    assert tpm.power_cycle(shutdown=None).rc == TPM_RC.SUCCESS


def test_tested_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """10.1: what has passed in this process is not tested again for the next TPM."""
    Client()
    monkeypatch.setitem(TESTS, TPM_ALG.SHA256, lambda: False)

    assert Client().get_test_result().test_result == TPM_RC.SUCCESS


@pytest.mark.parametrize("to_test", [(), (TPM_ALG.RSA, TPM_ALG.SHA256, TPM_ALG.RSA)])
def test_incremental_self_test(tpm: Client, to_test: tuple[int, ...]) -> None:
    """10.3: nothing is left to be tested."""
    assert tpm.incremental_self_test(to_test=to_test).to_do_list == ()


@pytest.mark.parametrize("alg", [TPM_ALG.NULL, 0, 0x1234])
def test_incremental_self_test_of_unknown(tpm: Client, alg: int) -> None:
    """10.3: an algorithm that is not implemented cannot be tested."""
    assert tpm.incremental_self_test(to_test=(TPM_ALG.SHA256, alg)).rc == TPM_RC.VALUE.parameter(1)


def test_get_test_result_of_a_failed_tpm(tpm: Client) -> None:
    """10.4: in failure mode it is answered, but only without sessions."""
    tpm.tpm.fail("for the test")
    audit = bytes.fromhex("00000009 40000009 0000 01 0000")
    with_sessions = HEADER.pack(TPM_ST.SESSIONS, 10 + len(audit), TPM_CC.GetTestResult) + audit

    assert HEADER.unpack(tpm.send(with_sessions))[2] == TPM_RC.FAILURE
    assert tpm.get_test_result().test_result == TPM_RC.FAILURE


def test_get_test_result(tpm: Client) -> None:
    """10.4: a TPM that has not failed says so."""
    reply = tpm.get_test_result()

    assert (reply.out_data, reply.test_result) == (b"", TPM_RC.SUCCESS)
