"""Part 1, Annex "Symmetric": block ciphers, their modes and what continues them."""

from typing import Any

import pytest
from cryptography.hazmat.decrepit.ciphers.algorithms import Camellia, TripleDES
from cryptography.hazmat.primitives.ciphers.algorithms import AES, SM4
from cryptography.hazmat.primitives.cmac import CMAC
from hypothesis import given
from hypothesis import strategies as st

from tests.crypto.published import label, octets, vectors
from vtpm.crypto.symmetric import block_size, cfb_decrypt, cfb_encrypt, cmac, crypt
from vtpm.spec.constants import TPM_ALG
from vtpm.wire.error import TPM_RC, TpmError

MODES = (TPM_ALG.CTR, TPM_ALG.OFB, TPM_ALG.CBC, TPM_ALG.CFB, TPM_ALG.ECB)
KEYS = [
    pytest.param(TPM_ALG.AES, bytes(range(16)), id="AES-128"),
    pytest.param(TPM_ALG.AES, bytes(range(24)), id="AES-192"),
    pytest.param(TPM_ALG.AES, bytes(range(32)), id="AES-256"),
    pytest.param(TPM_ALG.CAMELLIA, bytes(range(16)), id="Camellia-128"),
    pytest.param(TPM_ALG.CAMELLIA, bytes(range(24)), id="Camellia-192"),
    pytest.param(TPM_ALG.CAMELLIA, bytes(range(32)), id="Camellia-256"),
    pytest.param(TPM_ALG.SM4, bytes(range(16)), id="SM4"),
    pytest.param(TPM_ALG.TDES, bytes(range(16)), id="TDES-128"),
    pytest.param(TPM_ALG.TDES, bytes(range(24)), id="TDES-192"),
]
RECORDED = [v for v in vectors("libtpms/crypto-commands") if v["name"].startswith("EncryptDecrypt2")]


def cipher_and_mode(vector: dict[str, Any]) -> tuple[TPM_ALG, TPM_ALG]:
    """The algorithms that a vector names, as in `AES128 CFB` or `… AES-128-CFB …`."""
    words = vector["name"].replace("EncryptDecrypt2 ", "").replace("-", " ").split()
    cipher = next(alg for alg in ("AES", "CAMELLIA", "SM4", "TDES") if words[0].startswith(alg))
    return TPM_ALG[cipher], next(
        TPM_ALG[word] for word in words if word in TPM_ALG.__members__ and word != cipher
    )


class TestModes:
    """Part 1, Annex "Symmetric"; SP 800-38A"""

    @pytest.mark.parametrize("vector", vectors("crypto/symmetric-self-test"), ids=label)
    def test_published(self, vector: dict[str, Any]) -> None:
        """The reference code's self-test; for AES those are SP 800-38A's examples."""
        alg, mode = cipher_and_mode(vector)
        key, plain_text, cipher_text = octets(vector, "key", "data_in", "data_out")
        block = block_size(alg)
        iv = bytes(range(256 - block, 256)) if mode is TPM_ALG.CTR else bytes(range(block))
        cipher_text = cipher_text[: len(plain_text)]

        assert crypt(alg, mode, key, iv, plain_text, encrypt=True)[0] == cipher_text
        assert crypt(alg, mode, key, iv, cipher_text, encrypt=False)[0] == plain_text

    @pytest.mark.parametrize("vector", RECORDED, ids=label)
    def test_recorded(self, vector: dict[str, Any]) -> None:
        """What libtpms returns, the IV that goes on included."""
        key, iv, data, out, iv_out = octets(vector, "key", "iv_in", "data_in", "data_out", "iv_out")

        assert crypt(*cipher_and_mode(vector), key, iv, data, encrypt=True) == (out, iv_out)

    @pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
    @pytest.mark.parametrize(("alg", "key"), KEYS)
    @given(data=st.data())
    def test_goes_on(self, alg: TPM_ALG, key: bytes, mode: TPM_ALG, data: st.DataObject) -> None:
        """The IV returned continues a message at any block; what is encrypted is decrypted."""
        block = block_size(alg)
        message = data.draw(st.binary(max_size=6 * block))
        if mode in (TPM_ALG.CBC, TPM_ALG.ECB):
            message = message[: len(message) // block * block]
        cut = data.draw(st.integers(0, len(message) // block)) * block
        iv = b"" if mode is TPM_ALG.ECB else data.draw(st.binary(min_size=block, max_size=block))

        whole, last = crypt(alg, mode, key, iv, message, encrypt=True)
        first, middle = crypt(alg, mode, key, iv, message[:cut], encrypt=True)
        second, end = crypt(alg, mode, key, middle, message[cut:], encrypt=True)

        assert (first + second, end) == (whole, last)
        assert crypt(alg, mode, key, iv, whole, encrypt=False) == (message, last)

    @pytest.mark.parametrize("encrypt", [True, False])
    @pytest.mark.parametrize("mode", [TPM_ALG.CBC, TPM_ALG.ECB], ids=lambda mode: mode.name)
    def test_part_of_a_block(self, mode: TPM_ALG, encrypt: bool) -> None:  # noqa: FBT001
        """Part 3, 15.2: TPM_RC_SIZE if a mode that needs whole blocks gets a part of one."""
        with pytest.raises(TpmError) as caught:
            crypt(TPM_ALG.AES, mode, bytes(16), bytes(16), bytes(17), encrypt=encrypt)

        assert caught.value.rc is TPM_RC.SIZE

    @pytest.mark.parametrize(("alg", "key"), KEYS)
    def test_counter_wraps(self, alg: TPM_ALG, key: bytes) -> None:
        """CTR: after the largest counter comes zero."""
        block = block_size(alg)

        out, iv = crypt(alg, TPM_ALG.CTR, key, b"\xff" * block, bytes(2 * block), encrypt=True)

        assert out[block:] == crypt(alg, TPM_ALG.CTR, key, bytes(block), bytes(block), encrypt=True)[0]
        assert iv == (1).to_bytes(block, "big")

    @given(st.binary(max_size=100), st.binary(min_size=16, max_size=16))
    def test_cfb(self, message: bytes, iv: bytes) -> None:
        """The short way to CFB is CFB."""
        key = bytes(range(16))

        cipher_text = cfb_encrypt(TPM_ALG.AES, key, iv, message)

        assert cipher_text == crypt(TPM_ALG.AES, TPM_ALG.CFB, key, iv, message, encrypt=True)[0]
        assert cfb_decrypt(TPM_ALG.AES, key, iv, cipher_text) == message

    def test_two_key_tdes(self) -> None:
        """SP 800-67: with two keys, the third is the first."""
        key = bytes(range(16))

        two, three = (
            crypt(TPM_ALG.TDES, TPM_ALG.ECB, k, b"", b"12345678", encrypt=True) for k in (key, key + key[:8])
        )
        assert two == three


class TestCmac:
    """SP 800-38B"""

    KEY = "2b7e151628aed2a6abf7158809cf4f3c"
    MESSAGE = (
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
        "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
    )

    @pytest.mark.parametrize(
        ("size", "expected"),
        [
            (0, "bb1d6929e95937287fa37d129b756746"),
            (16, "070a16b46b4d4144f79bdd9dd04a287c"),
            (40, "dfa66747de9ae63030ca32611497c827"),
            (64, "51f0bebf7e3b9d92fc49741779363cfe"),
        ],
    )
    def test_published(self, size: int, expected: str) -> None:
        """RFC 4493, 4: AES-128 with parts of a message."""
        message = bytes.fromhex(self.MESSAGE)[:size]

        assert cmac(TPM_ALG.AES, bytes.fromhex(self.KEY), message).hex() == expected

    @pytest.mark.parametrize(
        ("alg", "cipher"),
        [(TPM_ALG.AES, AES), (TPM_ALG.CAMELLIA, Camellia), (TPM_ALG.SM4, SM4), (TPM_ALG.TDES, TripleDES)],
        ids=lambda value: getattr(value, "name", ""),
    )
    def test_ciphers(self, alg: TPM_ALG, cipher: Any) -> None:
        """Every cipher is the one that its name says."""
        key = bytes(range(24)) if alg is TPM_ALG.TDES else bytes(range(16))
        judge = CMAC(cipher(key))
        judge.update(b"message")

        assert cmac(alg, key, b"message") == judge.finalize()
