"""Part 1, "Secret Sharing": seeds and salts for the holder of a key."""

import os
from typing import Any

import pytest

from tests.crypto.published import dealing, label, octets, vectors
from vtpm.crypto.curves import CURVES
from vtpm.crypto.digest import digest_size, hmac_digest
from vtpm.crypto.ecc import generated_key, key_of, point_of
from vtpm.crypto.kdf import kdf_a, kdf_e
from vtpm.crypto.labeled_kem import (
    DUPLICATE,
    IDENTITY,
    SECRET,
    ecc_decapsulate,
    ecc_encapsulate,
    rsa_decapsulate,
    rsa_encapsulate,
)
from vtpm.crypto.rsa import RsaKey, fresh_key, key_from_prime, oaep_encode
from vtpm.crypto.symmetric import cfb_decrypt
from vtpm.spec.algorithms import TPMS_ECC_POINT
from vtpm.spec.constants import TPM_ALG, TPM_ECC_CURVE
from vtpm.spec.objects import TPMS_ECC_PARMS, TPMS_RSA_PARMS, TPMT_PUBLIC, TPMT_SENSITIVE
from vtpm.wire.error import TPM_RC, TpmError
from vtpm.wire.structure import marshal, unmarshal

ALGS = [
    pytest.param(alg, id=alg.name)
    for alg in (TPM_ALG.SHA1, TPM_ALG.SHA512, TPM_ALG.SM3_256, TPM_ALG.SHA3_384)
]


def areas(vector: dict[str, Any]) -> tuple[TPMT_PUBLIC, TPMT_SENSITIVE]:
    """The key of a vector."""
    public, private = octets(vector, "PublicKey", "PrivateKey")
    return unmarshal(TPMT_PUBLIC, public), unmarshal(TPMT_SENSITIVE, private)


@pytest.fixture(scope="module")
def key() -> RsaKey:
    """An RSA key."""
    return fresh_key(2048, 0, os.urandom)


class TestRsa:
    """Part 1, "Secret Sharing" with RSAES_OAEP"""

    @pytest.mark.parametrize("vector", vectors("crypto/go-tpm-rsa-labeled-encaps"), ids=label)
    def test_go_tpm(self, vector: dict[str, Any]) -> None:
        """The seed under its label, to the octet in both directions."""
        public, private = areas(vector)
        assert isinstance(public.parameters, TPMS_RSA_PARMS)
        alg = getattr(public.parameters.scheme.details, "hash_alg", public.name_alg)
        use = vector["Label"].encode()
        seed, salt, cipher_text = octets(vector, "Secret", "OAEPSalt", "Ciphertext")
        assert isinstance(public.unique, bytes)
        key = key_from_prime(public.unique, private.sensitive, 0)

        assert rsa_decapsulate(key, alg, use, cipher_text) == seed
        encapsulated = rsa_encapsulate(key.public, alg, use, dealing(seed, salt))
        assert encapsulated == (seed, cipher_text)

    @pytest.mark.parametrize("alg", ALGS)
    def test_hashes(self, key: RsaKey, alg: TPM_ALG) -> None:
        """OAEP with every kind of hash, those included that OpenSSL does not take for it."""
        seed, secret = rsa_encapsulate(key.public, alg, SECRET, os.urandom)

        assert len(seed) == digest_size(alg)
        assert rsa_decapsulate(key, alg, SECRET, secret) == seed

    @pytest.mark.parametrize("alg", ALGS)
    def test_other_label(self, key: RsaKey, alg: TPM_ALG) -> None:
        """TPM_RC_VALUE: a seed for one use is no good for another."""
        _, secret = rsa_encapsulate(key.public, alg, DUPLICATE, os.urandom)

        with pytest.raises(TpmError) as caught:
            rsa_decapsulate(key, alg, IDENTITY, secret)
        assert caught.value.rc is TPM_RC.VALUE

    def test_altered(self, key: RsaKey) -> None:
        """TPM_RC_VALUE: an altered octet is found."""
        _, secret = rsa_encapsulate(key.public, TPM_ALG.SHA256, SECRET, os.urandom)

        with pytest.raises(TpmError) as caught:
            rsa_decapsulate(key, TPM_ALG.SHA256, SECRET, secret[:-1] + bytes([secret[-1] ^ 1]))
        assert caught.value.rc is TPM_RC.VALUE

    def test_other_size(self, key: RsaKey) -> None:
        """TPM_RC_SIZE: what is encrypted has the size of the modulus."""
        with pytest.raises(TpmError) as caught:
            rsa_decapsulate(key, TPM_ALG.SHA256, SECRET, bytes(255))
        assert caught.value.rc is TPM_RC.SIZE

    def test_seed_too_large(self, key: RsaKey) -> None:
        """TPM_RC_VALUE: a seed is not larger than a digest."""
        message = oaep_encode(TPM_ALG.SHA256, SECRET + b"\0", bytes(33), key.public.size, os.urandom)

        with pytest.raises(TpmError) as caught:
            rsa_decapsulate(key, TPM_ALG.SHA256, SECRET, key.public.raw(message))
        assert caught.value.rc is TPM_RC.VALUE


class TestEcc:
    """Part 1, "Secret Sharing" with one-pass ECDH"""

    @pytest.mark.parametrize("vector", vectors("crypto/go-tpm-ecc-labeled-encaps"), ids=label)
    def test_go_tpm(self, vector: dict[str, Any]) -> None:
        """The seed under its label, to the octet in both directions."""
        public, private = areas(vector)
        assert isinstance(public.parameters, TPMS_ECC_PARMS)
        assert isinstance(public.unique, TPMS_ECC_POINT)
        point = point_of(public.parameters.curve_id, public.unique.x, public.unique.y)
        use = vector["Label"].encode()
        ephemeral, seed, cipher_text = octets(vector, "EphemeralPrivate", "Secret", "Ciphertext")
        key = key_of(point.curve.id, private.sensitive)
        # A key is one more than what the generator gave, modulo the order.
        drawn = (int.from_bytes(ephemeral, "big") - 1).to_bytes(
            (point.curve.n.bit_length() + 7) // 8 + 8, "big"
        )

        assert key.public == point
        assert ecc_decapsulate(key, public.name_alg, use, cipher_text, party=point.x_octets) == seed
        assert ecc_encapsulate(point, public.name_alg, use, dealing(drawn), party=point.x_octets) == (
            seed,
            cipher_text,
        )

    @pytest.mark.parametrize("curve", [pytest.param(curve, id=curve.name) for curve in CURVES])
    def test_curves(self, curve: TPM_ECC_CURVE) -> None:
        """Both sides have the same seed on every curve."""
        key = generated_key(curve, os.urandom)

        seed, secret = ecc_encapsulate(
            key.public, TPM_ALG.SHA256, SECRET, os.urandom, party=key.public.x_octets
        )

        assert ecc_decapsulate(key, TPM_ALG.SHA256, SECRET, secret, party=key.public.x_octets) == seed

    def test_point_without_padding(self) -> None:
        """A sender that pads no coordinates, as tpm2-tools does not, derives the seed from what it sends."""
        key = generated_key(TPM_ECC_CURVE.NIST_P256, os.urandom)
        ephemeral = generated_key(TPM_ECC_CURVE.NIST_P256, os.urandom)
        while ephemeral.public.x_octets[0]:
            ephemeral = generated_key(TPM_ECC_CURVE.NIST_P256, os.urandom)
        x, party = ephemeral.public.x_octets.lstrip(b"\0"), key.public.x_octets
        sent = marshal(TPMS_ECC_POINT(x, ephemeral.public.y_octets))
        seed = kdf_e(TPM_ALG.SHA256, ephemeral.shared_x(key.public), DUPLICATE, x, party, 256)

        assert ecc_decapsulate(key, TPM_ALG.SHA256, DUPLICATE, sent, party=party) == seed

    @pytest.mark.parametrize(
        ("secret", "rc"),
        [
            (b"\0\x20" + bytes(31) + b"\x01" + b"\0\x20" + bytes(31) + b"\x01", TPM_RC.ECC_POINT),
            (b"\0\0\0\0", TPM_RC.ECC_POINT),
            (b"\0\x20" + bytes(32), TPM_RC.INSUFFICIENT),
            (b"", TPM_RC.INSUFFICIENT),
            (b"\xff\xff" + bytes(80), TPM_RC.SIZE),
        ],
    )
    def test_no_point(self, secret: bytes, rc: TPM_RC) -> None:
        """What is not a point of the curve is refused before anything is computed."""
        key = generated_key(TPM_ECC_CURVE.NIST_P256, os.urandom)

        with pytest.raises(TpmError) as caught:
            ecc_decapsulate(key, TPM_ALG.SHA256, SECRET, secret, party=key.public.x_octets)
        assert caught.value.rc is rc


BLOBS = {
    "credential": ("seed", "credentialBlob"),
    "private_blob": ("parent_seedValue", "in_private"),
    "duplicate": ("seed", "duplicate"),
}
"""The names of the seed and of the blob, by the kind of a vector."""


class TestProtection:
    """Part 1, "Protected Storage" and "Credential Protection": blobs that libtpms accepted"""

    @pytest.mark.parametrize("vector", vectors("crypto/protected-blobs"), ids=label)
    def test_blob(self, vector: dict[str, Any]) -> None:
        """KDFa of the seed gives the two keys, CFB the content, and HMAC the integrity."""
        seed_name, blob_name = BLOBS[vector["kind"]]
        name, seed, blob = octets(vector, "object_name", seed_name, blob_name)
        symmetric = kdf_a(TPM_ALG.SHA256, seed, b"STORAGE", name, b"", 128)
        key = kdf_a(TPM_ALG.SHA256, seed, b"INTEGRITY", b"", b"", 256)
        integrity, rest = blob[2:34], blob[34:]
        iv, content = (rest[2:18], rest[18:]) if vector["kind"] == "private_blob" else (bytes(16), rest)

        assert (symmetric.hex(), key.hex()) == (vector["symmetric_key"], vector["hmac_key"])
        assert hmac_digest(TPM_ALG.SHA256, key, rest + name) == integrity
        plain = cfb_decrypt(TPM_ALG.AES, symmetric, iv, content)
        if "inner_key" in vector:
            plain = cfb_decrypt(TPM_ALG.AES, bytes.fromhex(vector["inner_key"]), bytes(16), plain)
            assert plain[2:34].hex() == vector["inner_integrity"]
            plain = plain[34:]
        if vector["kind"] == "credential":
            assert plain[2:].hex() == vector["credential"]
        else:
            assert plain.hex() == vector["sensitive_area"]
