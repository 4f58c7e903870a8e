"""Part 1, "Key Derivation Functions" and "XOR Obfuscation"."""

from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFHMAC, CounterLocation, Mode
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF
from hypothesis import given
from hypothesis import strategies as st

from tests.crypto.published import octets, vectors
from vtpm.crypto.kdf import kdf_2, kdf_a, kdf_e, xor_obfuscate
from vtpm.spec.constants import TPM_ALG

PUBLISHED = vectors("crypto/kdf-and-drbg")

short = st.binary(max_size=80)


class TestKdfa:
    """Part 1, "KDFa()"; SP 800-108"""

    @pytest.mark.parametrize("vector", vectors("crypto/go-tpm-kdfa"), ids=lambda v: v["Name"])
    def test_go_tpm(self, vector: dict[str, Any]) -> None:
        """Any number of bits, with SHA-1 and SHA-2."""
        key, u, v, result = octets(vector, "Key", "ContextU", "ContextV", "Result")

        assert (
            kdf_a(TPM_ALG(vector["HashAlg"]), key, vector["Label"].encode(), u, v, vector["Bits"]) == result
        )

    @pytest.mark.parametrize(
        "vector", [v for v in PUBLISHED if v["kdf"] == "KDFa"], ids=lambda v: v["source"]
    )
    def test_published(self, vector: dict[str, Any]) -> None:
        """The reference code's self-test among others."""
        key, u, v, result = octets(vector, "key", "contextU", "contextV", "result")

        assert (
            kdf_a(TPM_ALG[vector["hash"].upper()], key, vector["label"].encode(), u, v, vector["bits"])
            == result
        )

    @given(key=st.binary(min_size=1, max_size=80), u=short, v=short, count=st.integers(1, 200))
    def test_sp_800_108(self, key: bytes, u: bytes, v: bytes, count: int) -> None:
        """It is SP 800-108's counter mode, as another implementation has it."""
        judge = KBKDFHMAC(
            hashes.SHA3_256(),
            Mode.CounterMode,
            count,
            4,
            4,
            CounterLocation.BeforeFixed,
            b"LABEL",
            u + v,
            None,
        )

        assert kdf_a(TPM_ALG.SHA3_256, key, b"LABEL", u, v, 8 * count) == judge.derive(key)


class TestKdfe:
    """Part 1, "KDFe()"; SP 800-56A"""

    @pytest.mark.parametrize("vector", vectors("crypto/go-tpm-kdfe"), ids=lambda v: v["Name"])
    def test_go_tpm(self, vector: dict[str, Any]) -> None:
        """Any number of bits, with SHA-1 and SHA-2."""
        z, u, v, result = octets(vector, "Z", "ContextU", "ContextV", "Result")

        assert kdf_e(TPM_ALG(vector["HashAlg"]), z, vector["Label"].encode(), u, v, vector["Bits"]) == result

    @pytest.mark.parametrize("vector", [v for v in PUBLISHED if v["kdf"] == "KDFe"], ids=lambda v: v["name"])
    def test_published(self, vector: dict[str, Any]) -> None:
        """Results of the reference code, shorter and longer than a digest."""
        z, u, v, result = octets(vector, "z", "partyUInfo", "partyVInfo", "result")

        assert (
            kdf_e(TPM_ALG[vector["hash"].upper()], z, vector["label"].encode(), u, v, vector["bits"])
            == result
        )

    @given(z=short, u=short, v=short, count=st.integers(1, 200))
    def test_sp_800_56a(self, z: bytes, u: bytes, v: bytes, count: int) -> None:
        """It is SP 800-56A's one-step derivation, as another implementation has it."""
        judge = ConcatKDFHash(hashes.SHA384(), count, b"LABEL\0" + u + v)

        assert kdf_e(TPM_ALG.SHA384, z, b"LABEL", u, v, 8 * count) == judge.derive(z)


class TestOthers:
    """Part 1, "XOR Obfuscation"; the Algorithm Registry's KDF2"""

    @given(message=short, key=short, newer=short, older=short)
    def test_xor(self, message: bytes, key: bytes, newer: bytes, older: bytes) -> None:
        """The mask is a KDFa of the message's size; the same again removes it."""
        mask = kdf_a(TPM_ALG.SHA256, key, b"XOR", newer, older, 8 * len(message))

        masked = xor_obfuscate(TPM_ALG.SHA256, key, newer, older, message)

        assert masked == bytes(a ^ b for a, b in zip(message, mask, strict=True))
        assert xor_obfuscate(TPM_ALG.SHA256, key, newer, older, masked) == message

    @given(z=short, count=st.integers(1, 200))
    def test_kdf_2(self, z: bytes, count: int) -> None:
        """IEEE 1363a's KDF2 counts from 1 behind the secret, as X9.63's does."""
        assert kdf_2(TPM_ALG.SHA256, z, count) == X963KDF(hashes.SHA256(), count, None).derive(z)
