"""Part 3, 10.2: the self-tests; `tests/crypto` has the vectors of others for the same functions."""

import pytest

from vtpm.crypto import known_answers
from vtpm.crypto.known_answers import TESTS, SelfTestError, check
from vtpm.spec.constants import TPM_ALG
from vtpm.state.profile import ALL_ALGORITHMS
from vtpm.wire.error import TPM_RC, TpmError

KINDS = {TPM_ALG.KEYEDHASH, TPM_ALG.SYMCIPHER}
"""Kinds of object, which compute nothing."""


def test_every_algorithm() -> None:
    """Each algorithm that a profile can have is tested."""
    assert TESTS.keys() == ALL_ALGORITHMS - KINDS


@pytest.mark.parametrize("alg", TESTS)
def test_passes(alg: TPM_ALG) -> None:
    """It gives the known answer."""
    assert TESTS[alg]()


def test_all() -> None:
    """All together pass."""
    check(ALL_ALGORITHMS)


@pytest.mark.parametrize(
    ("function", "alg"),
    [
        ("digest", TPM_ALG.SHA384),
        ("hmac_digest", TPM_ALG.HMAC),
        ("cmac", TPM_ALG.CMAC),
        ("kdf_a", TPM_ALG.KDF1_SP800_108),
        ("kdf_e", TPM_ALG.KDF1_SP800_56A),
        ("kdf_2", TPM_ALG.KDF2),
        ("mgf1", TPM_ALG.MGF1),
        ("xor_obfuscate", TPM_ALG.XOR),
        ("rsassa_sign", TPM_ALG.RSASSA),
        ("pkcs1_decode", TPM_ALG.RSAES),
        ("oaep_decrypt", TPM_ALG.OAEP),
        ("sm2_sign", TPM_ALG.SM2),
    ],
)
def test_wrong_answer(monkeypatch: pytest.MonkeyPatch, function: str, alg: TPM_ALG) -> None:
    """Another answer is a failure with the algorithm's name."""
    monkeypatch.setattr(known_answers, function, lambda *_: b"")

    with pytest.raises(SelfTestError, match=alg.name):
        check({alg})


@pytest.mark.parametrize(
    ("function", "alg"),
    [
        ("rsassa_verify", TPM_ALG.RSASSA),
        ("rsapss_verify", TPM_ALG.RSAPSS),
        ("ecdsa_verify", TPM_ALG.ECDSA),
    ],
)
def test_accepts_everything(monkeypatch: pytest.MonkeyPatch, function: str, alg: TPM_ALG) -> None:
    """A verification that accepts everything is a failure."""
    monkeypatch.setattr(known_answers, function, lambda *_: None)

    with pytest.raises(SelfTestError, match=alg.name):
        check({alg})


@pytest.mark.parametrize("alg", [TPM_ALG.ECDSA, TPM_ALG.SM2, TPM_ALG.ECSCHNORR])
def test_refuses_everything(monkeypatch: pytest.MonkeyPatch, alg: TPM_ALG) -> None:
    """So is one that refuses everything."""

    def refuse(*_: object) -> None:
        raise TpmError(TPM_RC.SIGNATURE)

    monkeypatch.setattr(known_answers, f"{alg.name.lower()}_verify", refuse)

    with pytest.raises(SelfTestError, match=f"the self-test of {alg.name} has failed"):
        check({alg})


def test_derivation(monkeypatch: pytest.MonkeyPatch) -> None:
    """The generator of primary objects is tested, whatever the algorithms are."""
    monkeypatch.setattr(known_answers, "_generator", lambda: bytes)

    with pytest.raises(SelfTestError, match="key derivation generator"):
        check(())
