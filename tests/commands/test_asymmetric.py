"""Part 3, clause 14: asymmetric primitives."""

import hashlib
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from tests.keys import NO_KDF, RSA_MODULUS, RSA_P, RSA_Q, ecc_private, put_cipher, put_ecc, put_hmac, put_rsa
from tests.libtpms import by_name, put_areas, recorded_tpm, vectors
from tests.scenarios import Client, Reply
from vtpm.crypto.curves import CURVES
from vtpm.crypto.ecc import Point, combination, generator_of, point_of
from vtpm.spec.algorithms import (
    TPMS_ECC_POINT,
    TPMS_SCHEME_HASH,
    TPMT_KDF_SCHEME,
    TPMT_RSA_DECRYPT,
)
from vtpm.spec.constants import TPM_ALG, TPM_ECC_CURVE
from vtpm.wire.error import TPM_RC

DECRYPTIONS = by_name("crypto-commands.json", "RSA_Decrypt")
RAW_ENCRYPTION = by_name("crypto-commands.json", "RSA_Encrypt with padding NULL")
Z_GENERATIONS = by_name("crypto-commands.json", "ECDH_ZGen")
PARAMETERS = by_name("crypto-commands.json", "ECC_Parameters")

RAW = TPMT_RSA_DECRYPT(TPM_ALG.NULL, None)
RSAES = TPMT_RSA_DECRYPT(TPM_ALG.RSAES, None)
RSA_D = pow(65537, -1, (RSA_P - 1) * (RSA_Q - 1))
RSA_KEY = rsa.RSAPrivateNumbers(
    p=RSA_P,
    q=RSA_Q,
    d=RSA_D,
    dmp1=RSA_D % (RSA_P - 1),
    dmq1=RSA_D % (RSA_Q - 1),
    iqmp=pow(RSA_Q, -1, RSA_P),
    public_numbers=rsa.RSAPublicNumbers(65537, RSA_MODULUS),
).private_key()

P256 = TPM_ECC_CURVE.NIST_P256
SM2 = TPM_ECC_CURVE.SM2_P256
EMPTY = TPMS_ECC_POINT(b"", b"")
OFF_CURVE = TPMS_ECC_POINT(b"\x01", b"\x01")


def oaep(alg: TPM_ALG = TPM_ALG.SHA256) -> TPMT_RSA_DECRYPT:
    """The OAEP scheme."""
    return TPMT_RSA_DECRYPT(TPM_ALG.OAEP, TPMS_SCHEME_HASH(alg))


def structure_of(point: Point) -> TPMS_ECC_POINT:
    """A point as parameters have it."""
    return TPMS_ECC_POINT(point.x_octets, point.y_octets)


def load_recorded_rsa(tpm: Client) -> None:
    """The RSA key of the recordings."""
    load = next(v for v in vectors("crypto-commands.json") if "load_private" in v and "RSA" in v["name"])
    put_areas(tpm, bytes.fromhex(load["load_public"]), bytes.fromhex(load["load_private"]))


class TestRsaEncrypt:
    """Part 3, 14.2"""

    def test_recorded(self) -> None:
        """The raw operation, whose result is that of another TPM."""
        tpm, vector = recorded_tpm(), next(iter(RAW_ENCRYPTION.values()))
        load_recorded_rsa(tpm)

        response = tpm.send(bytes.fromhex(vector["command"]))

        assert vector["out"] == response[12:].hex()

    @pytest.mark.parametrize("alg", [TPM_ALG.SHA1, TPM_ALG.SHA256, TPM_ALG.SHA384])
    @pytest.mark.parametrize("label", [b"", b"\0", b"label\0"])
    def test_oaep(self, tpm: Client, alg: TPM_ALG, label: bytes) -> None:
        """OAEP with the label, its terminating zero included."""
        reply = tpm.rsa_encrypt(put_rsa(tpm, "decrypt"), message=b"text", in_scheme=oaep(alg), label=label)

        kind = getattr(hashes, alg.name)()
        scheme = padding.OAEP(padding.MGF1(kind), kind, label)
        assert RSA_KEY.decrypt(reply.out_data, scheme) == b"text"

    def test_rsaes(self, tpm: Client) -> None:
        """PKCS #1 v1.5."""
        reply = tpm.rsa_encrypt(put_rsa(tpm, "decrypt"), message=b"text", in_scheme=RSAES, label=b"")

        assert RSA_KEY.decrypt(reply.out_data, padding.PKCS1v15()) == b"text"

    @pytest.mark.parametrize("message", [b"", b"\x02", b"\0" * 200 + b"\x02"])
    def test_raw(self, tpm: Client, message: bytes) -> None:
        """Without padding, the message is a number: leading zeros do not count."""
        reply = tpm.rsa_encrypt(put_rsa(tpm, "decrypt"), message=message, in_scheme=RAW, label=b"")

        expected = pow(int.from_bytes(message, "big"), 65537, RSA_MODULUS)
        assert expected.to_bytes(128, "big") == reply.out_data

    @pytest.mark.parametrize(
        ("message", "scheme", "expected"),
        [
            (RSA_MODULUS.to_bytes(128, "big"), RAW, TPM_RC.VALUE),
            (b"\x01" + bytes(128), RAW, TPM_RC.VALUE),
            ((RSA_MODULUS - 1).to_bytes(128, "big"), RAW, TPM_RC.SUCCESS),
            (bytes(117), RSAES, TPM_RC.SUCCESS),
            (bytes(118), RSAES, TPM_RC.VALUE),
            (bytes(62), oaep(), TPM_RC.SUCCESS),
            (bytes(63), oaep(), TPM_RC.VALUE),
            (b"", oaep(TPM_ALG.SHA512), TPM_RC.HASH),
        ],
    )
    def test_size(self, tpm: Client, message: bytes, scheme: TPMT_RSA_DECRYPT, expected: int) -> None:
        """A message and the hash leave room for the padding; without any, a message is below the modulus."""
        reply = tpm.rsa_encrypt(put_rsa(tpm, "decrypt"), message=message, in_scheme=scheme, label=b"")

        assert expected == reply.rc

    @pytest.mark.parametrize(
        ("own", "asked", "expected"),
        [
            (TPM_ALG.NULL, oaep(), TPM_RC.SUCCESS),
            (TPM_ALG.OAEP, RAW, TPM_RC.SUCCESS),
            (TPM_ALG.OAEP, oaep(), TPM_RC.SUCCESS),
            (TPM_ALG.OAEP, oaep(TPM_ALG.SHA1), TPM_RC.SCHEME.parameter(2)),
            (TPM_ALG.OAEP, RSAES, TPM_RC.SCHEME.parameter(2)),
            (TPM_ALG.RSAES, RSAES, TPM_RC.SUCCESS),
            (TPM_ALG.RSAES, RAW, TPM_RC.SUCCESS),
        ],
    )
    def test_scheme(self, tpm: Client, own: TPM_ALG, asked: TPMT_RSA_DECRYPT, expected: int) -> None:
        """The padding is the key's, or else the caller's (Table 43)."""
        alg = TPM_ALG.SHA256 if own is TPM_ALG.OAEP else None
        key = put_rsa(tpm, "decrypt", own, alg)

        assert expected == tpm.rsa_encrypt(key, message=b"", in_scheme=asked, label=b"").rc

    def test_public_only(self, tpm: Client) -> None:
        """The public part is enough."""
        key = put_rsa(tpm, "decrypt", private=False)

        assert tpm.rsa_encrypt(key, message=b"x", in_scheme=oaep(), label=b"").rc == TPM_RC.SUCCESS

    def test_restricted(self, tpm: Client) -> None:
        """What else the attributes say does not matter: a public key can be loaded with any."""
        key = put_rsa(tpm, "decrypt restricted", private=False)

        assert tpm.rsa_encrypt(key, message=b"x", in_scheme=oaep(), label=b"").rc == TPM_RC.SUCCESS

    def test_errors(self, tpm: Client) -> None:
        """It takes an RSA key that may decrypt, and a label that ends with a zero."""
        cases = [
            (put_ecc(tpm, "decrypt"), b"", TPM_RC.KEY.handle(1)),
            (put_cipher(tpm), b"", TPM_RC.KEY.handle(1)),
            (put_rsa(tpm, "sign"), b"", TPM_RC.ATTRIBUTES.handle(1)),
            (put_rsa(tpm, "decrypt"), b"label", TPM_RC.VALUE.parameter(3)),
        ]
        for key, label, expected in cases:
            assert expected == tpm.rsa_encrypt(key, message=b"", in_scheme=oaep(), label=label).rc


class TestRsaDecrypt:
    """Part 3, 14.3"""

    @pytest.mark.parametrize("name", DECRYPTIONS)
    def test_recorded(self, name: str) -> None:
        """Every padding, as another TPM removed it."""
        tpm, vector = recorded_tpm(), DECRYPTIONS[name]
        load_recorded_rsa(tpm)

        response = tpm.send(bytes.fromhex(vector["command"]))

        assert vector["message"] == response[16:-5].hex()

    @pytest.mark.parametrize("scheme", [oaep(), oaep(TPM_ALG.SHA1), oaep(TPM_ALG.SHA3_256), RSAES])
    @pytest.mark.parametrize("message", [b"", b"\0", b"a message"])
    def test_round_trip(self, tpm: Client, scheme: TPMT_RSA_DECRYPT, message: bytes) -> None:
        """What is encrypted can be decrypted."""
        key = put_rsa(tpm, "decrypt")
        encrypted = tpm.rsa_encrypt(key, message=message, in_scheme=scheme, label=b"L\0").out_data

        reply = tpm.rsa_decrypt(key, cipher_text=encrypted, in_scheme=scheme, label=b"L\0")

        assert message == reply.message

    @pytest.mark.parametrize("scheme", [oaep(), oaep(TPM_ALG.SHA3_256), RSAES])
    def test_wrong_padding(self, tpm: Client, scheme: TPMT_RSA_DECRYPT) -> None:
        """Whatever is wrong with the padding, the code is the same."""
        key = put_rsa(tpm, "decrypt")
        other = oaep(TPM_ALG.SHA1) if scheme is RSAES else RSAES
        encrypted = tpm.rsa_encrypt(key, message=b"text", in_scheme=other, label=b"").out_data

        for cipher_text in (encrypted, bytes(128), (1).to_bytes(128, "big")):
            reply = tpm.rsa_decrypt(key, cipher_text=cipher_text, in_scheme=scheme, label=b"")
            assert reply.rc == TPM_RC.VALUE

    def test_wrong_label(self, tpm: Client) -> None:
        """The label must be the one of the encryption."""
        key = put_rsa(tpm, "decrypt")
        encrypted = tpm.rsa_encrypt(key, message=b"text", in_scheme=oaep(), label=b"one\0").out_data

        assert (
            tpm.rsa_decrypt(key, cipher_text=encrypted, in_scheme=oaep(), label=b"two\0").rc == TPM_RC.VALUE
        )

    @pytest.mark.parametrize(
        ("cipher_text", "expected"),
        [
            (bytes(127), TPM_RC.SIZE),
            (bytes(129), TPM_RC.SIZE),
            (RSA_MODULUS.to_bytes(128, "big"), TPM_RC.VALUE),
            (bytes(128), TPM_RC.SUCCESS),
        ],
    )
    def test_raw(self, tpm: Client, cipher_text: bytes, expected: int) -> None:
        """The cipher text is as long as the modulus and less than it."""
        key = put_rsa(tpm, "decrypt")

        assert expected == tpm.rsa_decrypt(key, cipher_text=cipher_text, in_scheme=RAW, label=b"").rc

    def test_errors(self, tpm: Client) -> None:
        """It takes an unrestricted RSA key that may decrypt, and its private part."""
        cases = [
            (put_ecc(tpm, "decrypt"), b"", TPM_RC.KEY.handle(1)),
            (put_rsa(tpm, "sign"), b"", TPM_RC.ATTRIBUTES.handle(1)),
            (put_rsa(tpm, "decrypt restricted"), b"", TPM_RC.ATTRIBUTES.handle(1)),
            (put_rsa(tpm, "decrypt"), b"label", TPM_RC.VALUE.parameter(3)),
            (put_rsa(tpm, "decrypt", private=False), b"", TPM_RC.AUTH_UNAVAILABLE),
        ]
        for key, label, expected in cases:
            reply = tpm.rsa_decrypt(key, cipher_text=bytes(128), in_scheme=oaep(), label=label)
            assert expected == reply.rc


class TestEcdh:
    """Part 3, 14.4 and 14.5"""

    @pytest.mark.parametrize("name", Z_GENERATIONS)
    def test_recorded(self, name: str) -> None:
        """The product is that of another TPM."""
        tpm, vector = recorded_tpm(), Z_GENERATIONS[name]
        put_areas(tpm, bytes.fromhex(vector["load_public"]), bytes.fromhex(vector["load_private"]))

        response = tpm.send(bytes.fromhex(vector["command"]))

        assert vector["out_point"] == response[14:-5].hex()

    @pytest.mark.parametrize(
        "curve",
        [P256, TPM_ECC_CURVE.NIST_P521, TPM_ECC_CURVE.BN_P256, SM2, TPM_ECC_CURVE.BP_P384_R1],
    )
    def test_both_sides(self, tpm: Client, curve: TPM_ECC_CURVE) -> None:
        """KeyGen and ZGen come to the same point."""
        key = put_ecc(tpm, "decrypt", curve=curve)
        generated = tpm.ecdh_key_gen(key)

        reply = tpm.ecdh_z_gen(key, in_point=generated.pub_point)

        assert generated.z_point == reply.out_point

    def test_key_gen(self, tpm: Client) -> None:
        """KeyGen needs only a public key, restricted or not, and makes a new one each time."""
        keys = [put_ecc(tpm, names, private=False) for names in ("decrypt", "sign", "decrypt restricted")]
        points = [tpm.ecdh_key_gen(key).pub_point for key in keys]

        assert len({point.x for point in points}) == 3

    def test_against_openssl(self, tpm: Client) -> None:
        """The x coordinate is what ECDH gives."""
        other = ecc_private(label=b"other")
        reply = tpm.ecdh_z_gen(put_ecc(tpm, "decrypt"), in_point=structure_of(other.public))

        shared = ecc_private().openssl.exchange(ec.ECDH(), other.openssl.public_key())
        assert shared == reply.out_point.x
        assert structure_of(point_of(P256, reply.out_point.x, reply.out_point.y)) == reply.out_point

    def test_key_gen_errors(self, tpm: Client) -> None:
        """KeyGen takes ECC keys only."""
        for key in (put_rsa(tpm, "decrypt"), put_hmac(tpm)):
            assert TPM_RC.KEY.handle(1) == tpm.ecdh_key_gen(key).rc

    @pytest.mark.parametrize("point", [EMPTY, OFF_CURVE, TPMS_ECC_POINT(b"\xff" * 32, b"\xff" * 32)])
    def test_point(self, tpm: Client, point: TPMS_ECC_POINT) -> None:
        """The point must be on the key's curve."""
        reply = tpm.ecdh_z_gen(put_ecc(tpm, "decrypt"), in_point=point)

        assert TPM_RC.ECC_POINT.parameter(1) == reply.rc

    def test_z_gen_errors(self, tpm: Client) -> None:
        """ZGen takes an unrestricted ECC key that may decrypt, with ECDH or no scheme."""
        point = structure_of(ecc_private().public)
        cases = [
            (put_rsa(tpm, "decrypt"), TPM_RC.KEY.handle(1)),
            (put_ecc(tpm, "sign"), TPM_RC.ATTRIBUTES.handle(1)),
            (put_ecc(tpm, "decrypt restricted"), TPM_RC.ATTRIBUTES.handle(1)),
            (put_ecc(tpm, "decrypt", TPM_ALG.ECMQV), TPM_RC.SCHEME.handle(1)),
            (put_ecc(tpm, "decrypt", TPM_ALG.ECDH), TPM_RC.SUCCESS),
            (put_ecc(tpm, "decrypt", private=False), TPM_RC.AUTH_UNAVAILABLE),
        ]
        for key, expected in cases:
            assert expected == tpm.ecdh_z_gen(key, in_point=point).rc


class TestEccParameters:
    """Part 3, 14.6"""

    @pytest.mark.parametrize("name", PARAMETERS)
    def test_recorded(self, tpm: Client, name: str) -> None:
        """The parameters are those that another TPM gives."""
        curve = TPM_ECC_CURVE(int(name.rsplit(maxsplit=1)[-1], 16))

        reply = tpm.ecc_parameters(curve_id=curve)

        assert PARAMETERS[name]["response"] == reply.octets.hex()

    def test_unknown(self, tpm: Client) -> None:
        """A curve that is not implemented is TPM_RC_CURVE."""
        for code in (b"\0\0", b"\0\x40", b"\x12\x34"):
            request = bytes.fromhex("80010000000c00000178") + code
            assert TPM_RC.CURVE.parameter(1) == int.from_bytes(tpm.send(request)[6:10], "big")


class TestZGen2Phase:
    """Part 3, 14.7"""

    def exchange(
        self,
        tpm: Client,
        scheme: TPM_ALG,
        curve: TPM_ECC_CURVE = P256,
        *,
        their_static: TPMS_ECC_POINT | None = None,
        their_ephemeral: TPMS_ECC_POINT | None = None,
        key: int | None = None,
    ) -> tuple[Reply, Any]:
        """An exchange with two known keys: the answer, and our ephemeral public key."""
        if key is None:
            key = put_ecc(tpm, "decrypt", curve=curve)
        ephemeral = tpm.ec_ephemeral(curve_id=curve)
        static = their_static or structure_of(ecc_private(curve, b"static").public)
        reply = tpm.z_gen_2phase(
            key,
            in_qs_b=static,
            in_qe_b=their_ephemeral or structure_of(ecc_private(curve, b"ephemeral").public),
            in_scheme=scheme,
            counter=ephemeral.counter,
        )
        return reply, point_of(curve, ephemeral.q.x, ephemeral.q.y)

    @pytest.mark.parametrize("curve", [P256, SM2])
    def test_ecdh(self, tpm: Client, curve: TPM_ECC_CURVE) -> None:
        """Both products: of the static keys, and of the ephemeral ones."""
        reply, ours = self.exchange(tpm, TPM_ALG.ECDH, curve)

        static = ecc_private(curve).public.times(ecc_private(curve, b"static").d)
        ephemeral = ours.times(ecc_private(curve, b"ephemeral").d)
        assert (structure_of(static), structure_of(ephemeral)) == (reply.out_z1, reply.out_z2)

    def test_ecmqv(self, tpm: Client) -> None:
        """SP 800-56A's MQV, as the other side computes it; there is no second point."""
        reply, ours = self.exchange(tpm, TPM_ALG.ECMQV)

        static, ephemeral = ecc_private(label=b"static"), ecc_private(label=b"ephemeral")
        bits = 1 << 128
        secret = ephemeral.d + (ephemeral.public.x % bits + bits) * static.d
        shared = combination((secret, ours), (secret * (ours.x % bits + bits), ecc_private().public))
        assert (structure_of(shared), EMPTY) == (reply.out_z1, reply.out_z2)

    def test_sm2(self, tpm: Client) -> None:
        """SM2's exchange, as the other side computes it."""
        reply, ours = self.exchange(tpm, TPM_ALG.SM2, SM2)

        static, ephemeral = ecc_private(SM2, b"static"), ecc_private(SM2, b"ephemeral")
        bits = 1 << 127
        secret = static.d + (ephemeral.public.x % bits + bits) * ephemeral.d
        shared = combination((secret, ecc_private(SM2).public), (secret * (ours.x % bits + bits), ours))
        assert (structure_of(shared), EMPTY) == (reply.out_z1, reply.out_z2)

    def test_counter(self, tpm: Client) -> None:
        """19.1: the ephemeral key is used once; a counter without a key is TPM_RC_VALUE."""
        key, counter = put_ecc(tpm, "decrypt"), tpm.ec_ephemeral(curve_id=P256).counter
        point = structure_of(ecc_private().public)
        given = {"in_qs_b": point, "in_qe_b": point, "in_scheme": TPM_ALG.ECDH}

        replies = [tpm.z_gen_2phase(key, counter=number, **given) for number in (counter, counter, 500)]

        wrong = TPM_RC.VALUE.parameter(4)
        assert [TPM_RC.SUCCESS, wrong, wrong] == [reply.rc for reply in replies]

    def test_failure_keeps_the_key(self, tpm: Client) -> None:
        """A failed exchange does not use up the ephemeral key."""
        key, counter = put_ecc(tpm, "decrypt"), tpm.ec_ephemeral(curve_id=P256).counter
        point = structure_of(ecc_private().public)
        given = {"in_scheme": TPM_ALG.ECDH, "counter": counter}

        first = tpm.z_gen_2phase(key, in_qs_b=OFF_CURVE, in_qe_b=point, **given)
        second = tpm.z_gen_2phase(key, in_qs_b=point, in_qe_b=OFF_CURVE, **given)
        third = tpm.z_gen_2phase(key, in_qs_b=point, in_qe_b=point, **given)

        expected = [TPM_RC.ECC_POINT.parameter(1), TPM_RC.ECC_POINT.parameter(2), TPM_RC.SUCCESS]
        assert expected == [first.rc, second.rc, third.rc]

    def test_infinity(self, tpm: Client) -> None:
        """Where the product is at infinity, there is an Empty Point."""
        _, ours = self.exchange(tpm, TPM_ALG.ECDH)
        assert ours
        counter = tpm.ec_ephemeral(curve_id=P256).counter
        ephemeral = ecc_private(label=b"e").public
        bits, order = 1 << 128, CURVES[P256].n
        factor = pow(ephemeral.x % bits + bits, -1, order)
        # The static key that cancels the ephemeral one: Qe + avf(Qe) Qs is at infinity.
        static = combination((-factor, ephemeral))

        reply = tpm.z_gen_2phase(
            put_ecc(tpm, "decrypt"),
            in_qs_b=structure_of(static),
            in_qe_b=structure_of(ephemeral),
            in_scheme=TPM_ALG.ECMQV,
            counter=counter,
        )

        assert (reply.out_z1, reply.out_z2) == (EMPTY, EMPTY)

    def test_errors(self, tpm: Client) -> None:
        """It takes an unrestricted ECC key that may decrypt, with the scheme or none."""
        cases = [
            (put_rsa(tpm, "decrypt"), TPM_RC.KEY.handle(1)),
            (put_ecc(tpm, "sign"), TPM_RC.ATTRIBUTES.handle(1)),
            (put_ecc(tpm, "decrypt restricted"), TPM_RC.ATTRIBUTES.handle(1)),
            (put_ecc(tpm, "decrypt", TPM_ALG.ECMQV), TPM_RC.SCHEME.parameter(3)),
            (put_ecc(tpm, "decrypt", TPM_ALG.ECDH), TPM_RC.SUCCESS),
        ]
        for key, expected in cases:
            assert expected == self.exchange(tpm, TPM_ALG.ECDH, key=key)[0].rc


KDF2 = TPMT_KDF_SCHEME(TPM_ALG.KDF2, TPMS_SCHEME_HASH(TPM_ALG.SHA256))
KDF2_SHA1 = TPMT_KDF_SCHEME(TPM_ALG.KDF2, TPMS_SCHEME_HASH(TPM_ALG.SHA1))
MGF1 = TPMT_KDF_SCHEME(TPM_ALG.MGF1, TPMS_SCHEME_HASH(TPM_ALG.SHA1))


class TestEccEncryption:
    """Part 3, 14.8 and 14.9"""

    @pytest.mark.parametrize("curve", [P256, SM2])
    @pytest.mark.parametrize("size", [0, 1, 32, 33, 1000])
    def test_round_trip(self, tpm: Client, curve: TPM_ECC_CURVE, size: int) -> None:
        """What is encrypted can be decrypted."""
        key, text = put_ecc(tpm, "decrypt", curve=curve), bytes(range(256)) * 4
        made = tpm.ecc_encrypt(key, plain_text=text[:size], in_scheme=KDF2)

        reply = tpm.ecc_decrypt(key, c1=made.c1, c2=made.c2, c3=made.c3, in_scheme=KDF2)

        assert text[:size] == reply.plain_text

    def test_octets(self, tpm: Client) -> None:
        """C2 is masked with KDF2 of the shared point, C3 the digest of text and point (Part 1)."""
        text = b"some text" * 5
        reply = tpm.ecc_encrypt(put_ecc(tpm, "decrypt", private=False), plain_text=text, in_scheme=KDF2)

        shared = point_of(P256, reply.c1.x, reply.c1.y).times(ecc_private().d)
        seed = shared.x_octets + shared.y_octets
        mask = b"".join(hashlib.sha256(seed + i.to_bytes(4, "big")).digest() for i in (1, 2))
        assert bytes(a ^ b for a, b in zip(text, mask, strict=False)) == reply.c2
        assert hashlib.sha256(shared.x_octets + text + shared.y_octets).digest() == reply.c3

    @pytest.mark.parametrize(
        ("own", "asked", "expected"),
        [
            (NO_KDF, KDF2, TPM_RC.SUCCESS),
            (KDF2, NO_KDF, TPM_RC.SUCCESS),
            (KDF2, KDF2, TPM_RC.SUCCESS),
            (NO_KDF, NO_KDF, TPM_RC.SCHEME.parameter(2)),
            (KDF2, KDF2_SHA1, TPM_RC.SCHEME.parameter(2)),
            (
                NO_KDF,
                TPMT_KDF_SCHEME(TPM_ALG.MGF1, TPMS_SCHEME_HASH(TPM_ALG.SHA1)),
                TPM_RC.SCHEME.parameter(2),
            ),
        ],
    )
    def test_scheme(self, tpm: Client, own: TPMT_KDF_SCHEME, asked: TPMT_KDF_SCHEME, expected: int) -> None:
        """KDF2 is the scheme, by the key's choice or by the caller's."""
        key = put_ecc(tpm, "decrypt", kdf=own)

        assert expected == tpm.ecc_encrypt(key, plain_text=b"text", in_scheme=asked).rc

    def test_integrity(self, tpm: Client) -> None:
        """Nothing can be changed unnoticed."""
        key = put_ecc(tpm, "decrypt")
        made = tpm.ecc_encrypt(key, plain_text=b"text", in_scheme=KDF2)
        other = structure_of(generator_of(CURVES[P256]))

        for parts in (
            (other, made.c2, made.c3),
            (made.c1, b"text", made.c3),
            (made.c1, made.c2, made.c3[1:]),
        ):
            c1, c2, c3 = parts
            reply = tpm.ecc_decrypt(key, c1=c1, c2=c2, c3=c3, in_scheme=KDF2)
            assert reply.rc == TPM_RC.VALUE

    def test_errors(self, tpm: Client) -> None:
        """Decryption takes an unrestricted ECC key that may decrypt, and a point on its curve."""
        good = structure_of(ecc_private().public)
        cases = [
            (put_rsa(tpm, "decrypt"), good, TPM_RC.KEY.handle(1)),
            (put_ecc(tpm, "sign"), good, TPM_RC.ATTRIBUTES.handle(1)),
            (put_ecc(tpm, "decrypt restricted"), good, TPM_RC.ATTRIBUTES.handle(1)),
            (put_ecc(tpm, "decrypt"), OFF_CURVE, TPM_RC.ECC_POINT.parameter(1)),
            (put_ecc(tpm, "decrypt", private=False), good, TPM_RC.AUTH_UNAVAILABLE),
        ]
        for key, point, expected in cases:
            assert expected == tpm.ecc_decrypt(key, c1=point, c2=b"", c3=b"", in_scheme=KDF2).rc
        reply = tpm.ecc_encrypt(put_rsa(tpm, "decrypt"), plain_text=b"", in_scheme=KDF2)
        assert TPM_RC.KEY.handle(1) == reply.rc
