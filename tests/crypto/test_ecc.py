"""Part 1, Annex "ECC": curves, points, keys and key exchange."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.crypto.published import content, dealing, identified, label, octets, vectors
from vtpm.crypto import ecc
from vtpm.crypto.curves import CURVES, Curve
from vtpm.crypto.digest import digest
from vtpm.crypto.ecc import (
    OPENSSL,
    ArithmeticFault,
    EccKey,
    Point,
    combination,
    generated_key,
    generator_of,
    is_on_curve,
    key_of,
    mqv_point,
    point_of,
    sm2_exchange_point,
)
from vtpm.spec.algorithms import TPM2B_ECC_POINT, TPMS_ALGORITHM_DETAIL_ECC, TPMS_ECC_POINT
from vtpm.spec.constants import TPM_ALG, TPM_ECC_CURVE
from vtpm.spec.objects import TPMS_ECC_PARMS, TPMT_PUBLIC, TPMT_SENSITIVE
from vtpm.wire.error import TPM_RC, TpmError
from vtpm.wire.structure import unmarshal

ALL = [pytest.param(curve, id=curve.id.name) for curve in CURVES.values()]
IN_OPENSSL = [pytest.param(CURVES[curve], id=curve.name) for curve in OPENSSL]
P256, SM2 = CURVES[TPM_ECC_CURVE.NIST_P256], CURVES[TPM_ECC_CURVE.SM2_P256]
SELF_TEST = content("crypto/ecc-self-test")

few = settings(max_examples=4)
"""Multiplication in Python takes milliseconds."""


def point(curve: Curve, value: dict[str, str]) -> Point:
    """The point of a vector."""
    return point_of(curve.id, *octets(value, "x", "y"))


def key(curve: Curve, value: dict[str, str]) -> EccKey:
    """The key of a vector."""
    return key_of(curve.id, bytes.fromhex(value["d"]))


class TestCurves:
    """TCG Algorithm Registry: the parameters of the curves"""

    @pytest.mark.parametrize("curve", ALL)
    def test_generator(self, curve: Curve) -> None:
        """The generator is on its curve, and its order is n."""
        generator = generator_of(curve)

        assert is_on_curve(curve, generator.x, generator.y)
        assert combination((curve.n - 1, generator)) == Point(curve, generator.x, curve.p - generator.y)
        with pytest.raises(TpmError) as caught:
            combination((1, generator), (curve.n - 1, generator))
        assert caught.value.rc is TPM_RC.NO_RESULT

    @pytest.mark.parametrize("curve", ALL)
    def test_size(self, curve: Curve) -> None:
        """The order has as many bits as the field, and Hasse's bound holds with cofactor 1."""
        assert curve.n.bit_length() == curve.p.bit_length() == curve.bits
        assert curve.h == 1
        assert (curve.p + 1 - curve.n) ** 2 <= 4 * curve.p

    @pytest.mark.parametrize(
        "vector",
        [v for v in vectors("libtpms/crypto-commands") if v["name"].startswith("ECC_Parameters")],
        ids=label,
    )
    def test_recorded(self, vector: dict[str, Any]) -> None:
        """The parameters that libtpms returns."""
        detail = unmarshal(TPMS_ALGORITHM_DETAIL_ECC, bytes.fromhex(vector["response"])[10:])
        curve = CURVES[detail.curve_id]

        numbers = (detail.p, detail.a, detail.b, detail.g_x, detail.g_y, detail.n, detail.h)
        assert [int.from_bytes(number, "big") for number in numbers] == [
            curve.p, curve.a, curve.b, curve.g_x, curve.g_y, curve.n, curve.h,
        ]  # fmt: skip
        assert detail.key_size == curve.bits

    def test_every_curve_has_a_judge(self) -> None:
        """A curve is in OpenSSL or was recorded from libtpms."""
        recorded = {TPM_ECC_CURVE.BN_P256, TPM_ECC_CURVE.BN_P638, TPM_ECC_CURVE.SM2_P256}

        assert set(OPENSSL) | recorded == set(CURVES)


class TestPoints:
    """Part 1, "ECC Parameter Representation"; SEC 1, 3.2.2"""

    @pytest.mark.parametrize(
        ("x", "y"),
        [(0, 0), (P256.g_x, P256.g_y ^ 1), (P256.g_x + P256.p, P256.g_y), (P256.g_x, P256.g_y + P256.p)],
    )
    def test_not_on_the_curve(self, x: int, y: int) -> None:
        """TPM_RC_ECC_POINT: coordinates that do not satisfy the equation, or are no field elements."""
        with pytest.raises(TpmError) as caught:
            point_of(P256.id, x.to_bytes(33, "big"), y.to_bytes(33, "big"))
        assert caught.value.rc is TPM_RC.ECC_POINT

    def test_octets(self) -> None:
        """Coordinates and private numbers have the size of the field."""
        small = EccKey(CURVES[TPM_ECC_CURVE.NIST_P521], 1)

        assert small.octets == bytes(65) + b"\x01"
        assert len(small.public.x_octets) == len(small.public.y_octets) == 66

    @pytest.mark.parametrize("curve", ALL)
    @few
    @given(data=st.data())
    def test_arithmetic(self, curve: Curve, data: st.DataObject) -> None:
        """Multiplication distributes over addition."""
        a, b = (data.draw(st.integers(1, curve.n - 1)) for _ in range(2))
        start = generator_of(curve).times(data.draw(st.integers(1, curve.n - 1)))

        if (a + b) % curve.n:
            assert combination((a, start), (b, start)) == start.times(a + b)
        assert start.times(a).times(b) == start.times(a * b)

    @pytest.mark.parametrize("curve", ALL)
    @pytest.mark.parametrize("number", [1, 2, 3, -1, -2, -3])
    def test_small_multiples(self, curve: Curve, number: int) -> None:
        """The first and the last multiples come out right, where formulas have exceptions."""
        start = generator_of(curve).times(7)
        expected = combination(*[(1, start)] * abs(number))
        if number < 0:
            expected = Point(curve, expected.x, curve.p - expected.y)

        assert start.times(number) == expected
        assert combination((number, start)) == expected

    @pytest.mark.parametrize("curve", ALL)
    def test_infinity(self, curve: Curve) -> None:
        """TPM_RC_NO_RESULT: the point at infinity has no coordinates."""
        for number in (0, curve.n, 3 * curve.n):
            with pytest.raises(TpmError) as caught:
                generator_of(curve).times(number)
            assert caught.value.rc is TPM_RC.NO_RESULT

    @pytest.mark.parametrize("curve", IN_OPENSSL)
    @few
    @given(data=st.data())
    def test_as_openssl(self, curve: Curve, data: st.DataObject) -> None:
        """The arithmetic here gives the public keys of OpenSSL."""
        d = data.draw(st.integers(1, curve.n - 1))
        numbers = ec.derive_private_key(d, OPENSSL[curve.id]).public_key().public_numbers()

        assert combination((d, generator_of(curve))) == Point(curve, numbers.x, numbers.y)


class TestKeys:
    """Part 1, Annex "ECC"; FIPS 186-4, B.4"""

    @pytest.mark.parametrize("curve", ALL)
    def test_generated(self, curve: Curve) -> None:
        """FIPS 186-4, B.4.1: 64 bits more than the order, reduced; one request."""
        size = (curve.n.bit_length() + 7) // 8 + 8

        smallest = generated_key(curve.id, dealing(bytes(size)))
        last = generated_key(curve.id, dealing((curve.n - 2).to_bytes(size, "big")))
        again = generated_key(curve.id, dealing((curve.n - 1).to_bytes(size, "big")))

        assert (smallest.d, last.d, again.d) == (1, curve.n - 1, 1)
        assert smallest.public == generator_of(curve)

    @pytest.mark.parametrize("number", [0, P256.n, P256.n + 1, 1 << 300])
    def test_out_of_range(self, number: int) -> None:
        """TPM_RC_KEY_SIZE: a private number is not zero and less than the order."""
        with pytest.raises(TpmError) as caught:
            key_of(P256.id, number.to_bytes(48, "big"))
        assert caught.value.rc is TPM_RC.KEY_SIZE

    def test_shows_no_secret(self) -> None:
        """The private number is in no representation."""
        assert "12345" not in repr(EccKey(P256, 12345))


class TestExchange:
    """Part 1, "ECC Key Agreement": SP 800-56A, GM/T 0003.3"""

    @pytest.mark.slow
    @pytest.mark.parametrize("curve", ALL)
    @few
    @given(data=st.data())
    def test_both_sides(self, curve: Curve, data: st.DataObject) -> None:
        """One-pass ECDH, ECMQV and SM2 give both parties the same point."""
        ours, ours2, theirs, theirs2 = (
            EccKey(curve, data.draw(st.integers(1, curve.n - 1))) for _ in range(4)
        )

        assert ours.shared_point(theirs.public) == theirs.shared_point(ours.public)
        assert ours.shared_x(theirs.public) == ours.shared_point(theirs.public).x_octets
        for exchange in (mqv_point, sm2_exchange_point):
            one = exchange(ours, ours2, theirs.public, theirs2.public)
            assert one == exchange(theirs, theirs2, ours.public, ours2.public)

    @pytest.mark.parametrize("curve", IN_OPENSSL)
    @few
    @given(data=st.data())
    def test_whole_point(self, curve: Curve, data: st.DataObject) -> None:
        """The point recovered from OpenSSL's x coordinates is the one of the arithmetic here."""
        key = EccKey(curve, data.draw(st.one_of(st.integers(1, 4), st.integers(1, curve.n - 1))))
        key = EccKey(curve, curve.n - key.d) if data.draw(st.booleans()) else key
        point = generator_of(curve).times(
            data.draw(st.one_of(st.integers(1, 4), st.integers(1, curve.n - 1)))
        )

        assert key.shared_point(point) == combination((key.d, point))

    def test_self_test(self) -> None:
        """The whole shared point of the reference code's self-test."""
        static, ephemeral = key(P256, SELF_TEST["static"]), key(P256, SELF_TEST["ephemeral"])

        assert static.public == point(P256, SELF_TEST["static"])
        assert ephemeral.public == point(P256, SELF_TEST["ephemeral"])
        assert static.shared_point(ephemeral.public) == point(P256, SELF_TEST["shared"])

    @pytest.mark.parametrize(
        "vector", [v for v in vectors("libtpms/crypto-commands") if v["name"].startswith("ECDH")], ids=label
    )
    def test_recorded(self, vector: dict[str, Any]) -> None:
        """ECDH_ZGen of libtpms."""
        private, command, out = octets(vector, "load_private", "command", "out_point")
        public = unmarshal(TPMT_PUBLIC, bytes.fromhex(vector["load_public"]))
        assert isinstance(public.parameters, TPMS_ECC_PARMS)
        given_point = unmarshal(TPM2B_ECC_POINT, command[-len(out) :])
        expected = unmarshal(TPM2B_ECC_POINT, out)
        key = key_of(public.parameters.curve_id, unmarshal(TPMT_SENSITIVE, private).sensitive)

        shared = key.shared_point(point_of(key.curve.id, given_point.x, given_point.y))

        assert (shared.x_octets, shared.y_octets) == (expected.x, expected.y)
        assert public.unique == TPMS_ECC_POINT(key.public.x_octets, key.public.y_octets)

    def test_sm2_published(self) -> None:
        """GM/T 0003.5, Annex B: the example of a key exchange on the recommended curve."""
        vector = content("crypto/sm2-examples")["key_exchange"]
        keys = {
            name: key(SM2, vector[name]) for name in ("static_a", "ephemeral_a", "static_b", "ephemeral_b")
        }
        for name, value in keys.items():
            assert value.public == point(SM2, vector[name])

        shared = sm2_exchange_point(
            keys["static_a"], keys["ephemeral_a"], keys["static_b"].public, keys["ephemeral_b"].public
        )

        identity = bytes.fromhex(vector["identity"])
        secret = shared.x_octets + shared.y_octets
        for name in ("static_a", "static_b"):
            secret += identified(identity, keys[name].public)
        assert digest(TPM_ALG.SM3_256, secret, (1).to_bytes(4, "big"))[:16].hex() == vector["key"]


class TestMiscalculated:
    """A product that is not on the curve does not leave: it may be on one where logarithms are easy."""

    @pytest.mark.parametrize("curve", [CURVES[TPM_ECC_CURVE.BN_P256], SM2], ids=["BN", "SM2"])
    @pytest.mark.parametrize("at", [0, 1, 100, 200])
    def test_own_arithmetic(self, curve: Curve, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
        """A fault in one of the doublings"""
        double, count = ecc._double, 0

        def faulty(*given: Any) -> Any:
            nonlocal count
            count += 1
            x, y, z = double(*given)
            return (x + 1, y, z) if count == at + 1 else (x, y, z)

        secret, generator = EccKey(curve, 0x1234567), generator_of(curve)
        expected = secret.shared_point(generator)
        monkeypatch.setattr(ecc, "_double", faulty)

        with pytest.raises(ArithmeticFault):
            secret.shared_point(generator)
        assert secret.shared_point(generator) == expected

    def test_of_openssl(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A fault in an x coordinate that OpenSSL gives"""
        shared_x = EccKey.shared_x
        monkeypatch.setattr(EccKey, "shared_x", lambda *given: shared_x(*given)[:-1] + b"\0")

        with pytest.raises(ArithmeticFault):
            EccKey(P256, 0x1234567).shared_point(generator_of(P256))
