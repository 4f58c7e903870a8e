"""Part 1, Annexes "RSA" and "ECC": signatures, made and checked."""

import os
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding, utils
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.crypto.published import content, dealing, identified, label, octets, vectors
from vtpm.crypto import signing
from vtpm.crypto.curves import CURVES
from vtpm.crypto.digest import digest, digest_size
from vtpm.crypto.ecc import OPENSSL, EccKey, combination, generated_key, generator_of, key_of
from vtpm.crypto.rsa import RsaKey, fresh_key, key_from_prime
from vtpm.crypto.signing import HASHES
from vtpm.spec.algorithms import TPMS_SIGNATURE_RSA, TPMT_SIGNATURE
from vtpm.spec.constants import TPM_ALG, TPM_ECC_CURVE
from vtpm.spec.objects import TPMT_PUBLIC, TPMT_SENSITIVE
from vtpm.wire.error import TPM_RC, TpmError
from vtpm.wire.structure import unmarshal

ALGS = [pytest.param(alg, id=alg.name) for alg in HASHES]
CURVE_IDS = [pytest.param(curve, id=curve.name) for curve in CURVES]
P256, BN256, SM2 = (
    CURVES[curve] for curve in (TPM_ECC_CURVE.NIST_P256, TPM_ECC_CURVE.BN_P256, TPM_ECC_CURVE.SM2_P256)
)
RECORDED = vectors("libtpms/crypto-commands")
MESSAGE = digest(TPM_ALG.SHA256, b"message")


@pytest.fixture(scope="module")
def rsa_key() -> RsaKey:
    """An RSA key."""
    return fresh_key(2048, 0, os.urandom)


def drawing(number: int, curve: TPM_ECC_CURVE) -> Any:
    """A generator that leads to this number as a private key."""
    size = (CURVES[curve].n.bit_length() + 7) // 8 + 8
    return dealing((number - 1).to_bytes(size, "big"))


class TestRsa:
    """RFC 8017, clause 8"""

    @pytest.mark.parametrize("alg", ALGS)
    def test_rsassa(self, rsa_key: RsaKey, alg: TPM_ALG) -> None:
        """A signature is the key's, of this digest and no other."""
        value = digest(alg, b"message")

        signature = signing.rsassa_sign(rsa_key, alg, value)

        signing.rsassa_verify(rsa_key.public, alg, value, signature)
        with pytest.raises(TpmError) as caught:
            signing.rsassa_verify(rsa_key.public, alg, digest(alg, b"other"), signature)
        assert caught.value.rc is TPM_RC.SIGNATURE

    @pytest.mark.parametrize("alg", ALGS)
    def test_rsapss(self, rsa_key: RsaKey, alg: TPM_ALG) -> None:
        """The salt has the size of the digest, as FIPS 186-4 bounds it."""
        value = digest(alg, b"message")

        signature = signing.rsapss_sign(rsa_key, alg, value)

        scheme = padding.PSS(padding.MGF1(HASHES[alg]), digest_size(alg))
        rsa_key.public.openssl.verify(signature, value, scheme, utils.Prehashed(HASHES[alg]))
        signing.rsapss_verify(rsa_key.public, alg, value, signature)
        with pytest.raises(TpmError) as caught:
            signing.rsapss_verify(rsa_key.public, alg, digest(alg, b"other"), signature)
        assert caught.value.rc is TPM_RC.SIGNATURE

    @pytest.mark.parametrize(
        ("bits", "alg", "size"),
        [
            (1024, TPM_ALG.SHA512, 62),
            (1024, TPM_ALG.SHA384, 48),
            (2048, TPM_ALG.SHA512, 64),
            (512, TPM_ALG.SHA512, 0),
        ],
    )
    def test_salt_size(self, bits: int, alg: TPM_ALG, size: int) -> None:
        """A salt is as long as a digest, or as what is left of the key."""
        assert signing.pss_salt_size(alg, bits) == size

    def test_short_key(self) -> None:
        """A key of 1024 bits signs digests of SHA-512 with the salt that fits; any verifier finds it."""
        key = fresh_key(1024, 0, os.urandom)
        value = digest(TPM_ALG.SHA512, b"message")

        signature = signing.rsapss_sign(key, TPM_ALG.SHA512, value)

        signing.rsapss_verify(key.public, TPM_ALG.SHA512, value, signature)

    @pytest.mark.parametrize("sign", [signing.rsassa_sign, signing.rsapss_sign])
    def test_digest_of_another_size(self, rsa_key: RsaKey, sign: Any) -> None:
        """TPM_RC_SIZE: what is signed is a digest of the scheme's hash."""
        with pytest.raises(TpmError) as caught:
            sign(rsa_key, TPM_ALG.SHA256, bytes(20))
        assert caught.value.rc is TPM_RC.SIZE

    @pytest.mark.parametrize("sign", [signing.rsassa_sign, signing.rsapss_sign])
    def test_key_too_small(self, sign: Any) -> None:
        """TPM_RC_SIZE: a digest that has no room in the modulus."""
        with pytest.raises(TpmError) as caught:
            sign(fresh_key(512, 0, os.urandom), TPM_ALG.SHA512, bytes(64))
        assert caught.value.rc is TPM_RC.SIZE

    @pytest.mark.parametrize("verify", [signing.rsassa_verify, signing.rsapss_verify])
    @given(signature=st.binary(max_size=300), value=st.binary(max_size=70))
    def test_any_signature(self, rsa_key: RsaKey, verify: Any, signature: bytes, value: bytes) -> None:
        """TPM_RC_SIGNATURE for any octets that the key has not signed."""
        with pytest.raises(TpmError) as caught:
            verify(rsa_key.public, TPM_ALG.SHA256, value, signature)
        assert caught.value.rc is TPM_RC.SIGNATURE

    @pytest.mark.parametrize(
        "vector",
        [v for v in vectors("libtpms/crypto-commands") if v["name"].startswith("Sign RSASSA")],
        ids=label,
    )
    def test_recorded(self, vector: dict[str, Any]) -> None:
        """Signatures of libtpms with a key of 1024 bits, octet by octet."""
        loaded = next(
            v for v in vectors("libtpms/crypto-commands") if v["name"].startswith("RSA_Encrypt with")
        )
        public = unmarshal(TPMT_PUBLIC, bytes.fromhex(loaded["load_public"]))
        private = unmarshal(TPMT_SENSITIVE, bytes.fromhex(loaded["load_private"]))
        expected = unmarshal(TPMT_SIGNATURE, bytes.fromhex(vector["signature"])).signature
        assert isinstance(public.unique, bytes)
        assert isinstance(expected, TPMS_SIGNATURE_RSA)
        key = key_from_prime(public.unique, private.sensitive, 0)

        signature = signing.rsassa_sign(key, expected.hash, digest(expected.hash, b"message"))

        assert signature == expected.sig


class TestEcdsa:
    """FIPS 186-4, clause 6"""

    @pytest.mark.parametrize("curve", CURVE_IDS)
    @pytest.mark.parametrize("alg", [pytest.param(a, id=a.name) for a in (TPM_ALG.SHA1, TPM_ALG.SHA512)])
    def test_curves(self, curve: TPM_ECC_CURVE, alg: TPM_ALG) -> None:
        """With digests shorter and longer than the order."""
        key, value = generated_key(curve, os.urandom), digest(alg, b"message")

        r, s = signing.ecdsa_sign(key, alg, value, os.urandom)

        signing.ecdsa_verify(key.public, value, (r, s))
        for pair in ((r, s ^ 1), (r ^ 1, s), (0, s), (r, 0), (r + key.curve.n, s), (r, s + key.curve.n)):
            with pytest.raises(TpmError) as caught:
                signing.ecdsa_verify(key.public, value, pair)
            assert caught.value.rc is TPM_RC.SIGNATURE

    @pytest.mark.parametrize("curve", [pytest.param(curve, id=curve.name) for curve in OPENSSL])
    @pytest.mark.parametrize("size", [0, 1, 20, 33, 64, 70])
    def test_as_openssl(self, curve: TPM_ECC_CURVE, size: int) -> None:
        """A digest of any size is cut as OpenSSL cuts it, whoever of the two verifies."""
        key, value = generated_key(curve, os.urandom), b"\xa5" * size
        e = signing.truncated(value, key.curve.n)
        nonce = generated_key(curve, os.urandom)
        r = nonce.public.x % key.curve.n
        s = pow(nonce.d, -1, key.curve.n) * (e + r * key.d) % key.curve.n

        signing.ecdsa_verify(key.public, value, (r, s))
        if value:
            with pytest.raises(TpmError):
                signing.ecdsa_verify(key.public, b"\x5a" * size, (r, s))

    @pytest.mark.parametrize("curve", [pytest.param(curve, id=curve.name) for curve in OPENSSL])
    def test_openssl_verifies(self, curve: TPM_ECC_CURVE) -> None:
        """What is signed here, OpenSSL verifies from the message."""
        key = generated_key(curve, os.urandom)

        pair = signing.ecdsa_sign(key, TPM_ALG.SHA384, digest(TPM_ALG.SHA384, b"message"), os.urandom)

        key.openssl.public_key().verify(
            utils.encode_dss_signature(*pair), b"message", ec.ECDSA(HASHES[TPM_ALG.SHA384])
        )

    def test_infinity(self) -> None:
        """TPM_RC_SIGNATURE: a key made to fit the signature, so that the sum is the point at infinity."""
        r, e = 3, signing.truncated(MESSAGE, BN256.n)
        public = generator_of(BN256).times(-e * pow(r, -1, BN256.n))

        with pytest.raises(TpmError) as caught:
            signing.ecdsa_verify(public, MESSAGE, (r, 5))
        assert caught.value.rc is TPM_RC.SIGNATURE

    def test_self_test(self) -> None:
        """The signatures of the reference code's self-test."""
        vector = content("crypto/ecc-self-test")
        key, value = key_of(P256.id, bytes.fromhex(vector["static"]["d"])), bytes.fromhex(vector["value"])

        for signature in vector["signatures"]:
            signing.ecdsa_verify(key.public, value, pair_of(signature["ecdsa"]))
            alg = TPM_ALG[signature["hash"]]
            signing.ecschnorr_verify(key.public, alg, value, pair_of(signature["ecschnorr"]))

    def test_rfc_6979(self) -> None:
        """RFC 6979, A.2.5, "sample" with SHA-256, by the arithmetic that curves without OpenSSL use."""
        d = 0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721
        k = 0xA6E3C57DD01ABE90086538398355DD4C3B17AA873382B0F24D6129493D8AAD60
        value = digest(TPM_ALG.SHA256, b"sample")

        # A digest that is not of the named hash keeps OpenSSL away.
        pair = signing.ecdsa_sign(EccKey(P256, d), TPM_ALG.SHA384, value, drawing(k, P256.id))

        assert pair == (
            0xEFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716,
            0xF7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8,
        )


def pair_of(numbers: list[str]) -> tuple[int, int]:
    """A signature of a vector."""
    r, s = (int(number, 16) for number in numbers)
    return r, s


class TestOthers:
    """Part 1, "EC Schnorr", "ECDAA", "SM2"; GM/T 0003.2"""

    @pytest.mark.parametrize("curve", CURVE_IDS)
    @pytest.mark.parametrize("alg", [pytest.param(a, id=a.name) for a in (TPM_ALG.SHA1, TPM_ALG.SHA512)])
    def test_ecschnorr(self, curve: TPM_ECC_CURVE, alg: TPM_ALG) -> None:
        """A signature is the key's, of this digest and no other."""
        key, value = generated_key(curve, os.urandom), digest(alg, b"message")

        r, s = signing.ecschnorr_sign(key, alg, value, os.urandom)

        signing.ecschnorr_verify(key.public, alg, value, (r, s))
        for pair in ((r, s ^ 1), (r ^ 1, s), (0, s), (r, 0), (r, s + key.curve.n)):
            with pytest.raises(TpmError) as caught:
                signing.ecschnorr_verify(key.public, alg, value, pair)
            assert caught.value.rc is TPM_RC.SIGNATURE
        with pytest.raises(TpmError):
            signing.ecschnorr_verify(key.public, alg, digest(alg, b"other"), (r, s))

    @pytest.mark.parametrize("curve", CURVE_IDS)
    def test_sm2(self, curve: TPM_ECC_CURVE) -> None:
        """A signature is the key's, of this digest and no other."""
        key = generated_key(curve, os.urandom)

        r, s = signing.sm2_sign(key, MESSAGE, os.urandom)

        signing.sm2_verify(key.public, MESSAGE, (r, s))
        for pair in ((r, s ^ 1), (r ^ 1, s), (0, s), (r, 0), (r, s + key.curve.n), (r, key.curve.n - r)):
            with pytest.raises(TpmError) as caught:
                signing.sm2_verify(key.public, MESSAGE, pair)
            assert caught.value.rc is TPM_RC.SIGNATURE

    def test_sm2_published(self) -> None:
        """GM/T 0003.5, Annex A: the example of a signature on the recommended curve."""
        vector = content("crypto/sm2-examples")["signature"]
        identity, message, d, value = octets(vector, "identity", "message", "d", "digest")
        key, pair = key_of(SM2.id, d), pair_of([vector["r"], vector["s"]])

        assert (key.public.x_octets.hex(), key.public.y_octets.hex()) == (vector["x"], vector["y"])
        assert digest(TPM_ALG.SM3_256, identified(identity, key.public), message) == value
        assert signing.sm2_sign(key, value, drawing(int(vector["k"], 16), SM2.id)) == pair
        signing.sm2_verify(key.public, value, pair)

    def test_sm2_key_without_signatures(self) -> None:
        """TPM_RC_NO_RESULT: with the last private number there is no signature (GM/T 0003.2, 6.1: 1 + d)."""
        with pytest.raises(TpmError) as caught:
            signing.sm2_sign(EccKey(SM2, SM2.n - 1), MESSAGE, os.urandom)
        assert caught.value.rc is TPM_RC.NO_RESULT

    @settings(max_examples=4)
    @given(number=st.integers(1, BN256.n - 1))
    def test_ecdaa(self, number: int) -> None:
        """Part 1, "ECDAA Sign Operation": s G = R + T Q, where R is the committed point."""
        key = generated_key(BN256.id, os.urandom)
        committed = generator_of(BN256).times(number)

        nonce, s = signing.ecdaa_sign(key, TPM_ALG.SHA256, MESSAGE, number, os.urandom)

        assert 0 < nonce < BN256.n
        t = int.from_bytes(digest(TPM_ALG.SHA256, nonce.to_bytes(32, "big"), MESSAGE), "big") % BN256.n
        assert generator_of(BN256).times(s) == combination((1, committed), (t, key.public))

    def test_hmac(self) -> None:
        """An HMAC is compared whole."""
        signing.hmac_verify(b"abc", b"abc")
        with pytest.raises(TpmError) as caught:
            signing.hmac_verify(b"abc", b"abcd")
        assert caught.value.rc is TPM_RC.SIGNATURE
