"""Part 3, 12.2 and 12.3: the two areas of an object that is loaded belong together."""

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from tests.keys import (
    NO_KDF,
    NO_SYMMETRIC,
    RSA_MODULUS,
    RSA_P,
    RSA_Q,
    SEED,
    attributes_of,
    ecc_private,
    public_area,
)
from tests.scenarios import Client, Reply
from vtpm.spec.algorithms import (
    TPMS_ECC_POINT,
    TPMS_SCHEME_HASH,
    TPMS_SCHEME_XOR,
    TPMS_SYMCIPHER_PARMS,
    TPMT_ECC_SCHEME,
    TPMT_KEYEDHASH_SCHEME,
    TPMT_RSA_SCHEME,
    TPMT_SYM_DEF_OBJECT,
)
from vtpm.spec.constants import TPM_ALG, TPM_ECC_CURVE, TPM_RH
from vtpm.spec.objects import (
    TPMS_ECC_PARMS,
    TPMS_KEYEDHASH_PARMS,
    TPMS_RSA_PARMS,
    TPMT_PUBLIC,
    TPMT_SENSITIVE,
)
from vtpm.wire.error import TPM_RC

A = TPM_ALG
P256 = TPM_ECC_CURVE.NIST_P256
CURVE_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

Areas = tuple[TPMT_PUBLIC, TPMT_SENSITIVE]


def rsa() -> Areas:
    """An RSA key of 1024 bits."""
    parameters = TPMS_RSA_PARMS(NO_SYMMETRIC, TPMT_RSA_SCHEME(A.NULL, None), 1024, 0)
    public = public_area(A.RSA, parameters, RSA_MODULUS.to_bytes(128, "big"), attributes_of("sign"))
    return public, TPMT_SENSITIVE(A.RSA, b"", b"", RSA_P.to_bytes(64, "big"))


def ecc() -> Areas:
    """An ECC key on P-256."""
    key = ecc_private()
    parameters = TPMS_ECC_PARMS(NO_SYMMETRIC, TPMT_ECC_SCHEME(A.NULL, None), P256, NO_KDF)
    point = TPMS_ECC_POINT(key.public.x_octets, key.public.y_octets)
    public = public_area(A.ECC, parameters, point, attributes_of("sign"))
    return public, TPMT_SENSITIVE(A.ECC, b"", b"", key.octets)


def cipher(secret: bytes = bytes(range(16)), alg: TPM_ALG = A.AES, bits: int = 128) -> Areas:
    """A key of a block cipher."""
    parameters = TPMS_SYMCIPHER_PARMS(TPMT_SYM_DEF_OBJECT(alg, bits, A.CFB))
    unique = hashlib.sha256(SEED + secret).digest()
    public = public_area(A.SYMCIPHER, parameters, unique, attributes_of("sign decrypt"))
    return public, TPMT_SENSITIVE(A.SYMCIPHER, b"", SEED, secret)


def keyed_hash(size: int, scheme: TPM_ALG = A.HMAC, alg: TPM_ALG = A.SHA256) -> Areas:
    """An HMAC or XOR key, or sealed data, of this size."""
    secret = b"s" * size
    details: Any = {A.HMAC: TPMS_SCHEME_HASH(alg), A.XOR: TPMS_SCHEME_XOR(alg, A.KDF1_SP800_108)}.get(scheme)
    parameters = TPMS_KEYEDHASH_PARMS(TPMT_KEYEDHASH_SCHEME(scheme, details))
    unique = hashlib.sha256(SEED + secret).digest()
    attributes = attributes_of({A.HMAC: "sign", A.XOR: "decrypt"}.get(scheme, ""))
    public = public_area(A.KEYEDHASH, parameters, unique, attributes)
    return public, TPMT_SENSITIVE(A.KEYEDHASH, b"", SEED, secret)


def with_parameters(areas: Areas, **changes: Any) -> Areas:
    """The areas with other parameters."""
    public, sensitive = areas
    return replace(public, parameters=replace(public.parameters, **changes)), sensitive


def with_public(areas: Areas, **changes: Any) -> Areas:
    """The areas with another public area."""
    return replace(areas[0], **changes), areas[1]


def with_secret(areas: Areas, **changes: Any) -> Areas:
    """The areas with another sensitive area."""
    return areas[0], replace(areas[1], **changes)


def load(tpm: Client, areas: Areas, *, private: bool = True) -> Reply:
    """Load both areas, or the public one alone."""
    public, sensitive = areas
    given = sensitive if private else None
    reply: Reply = tpm.load_external(in_private=given, in_public=public, hierarchy=TPM_RH.NULL)
    return reply


IN_PRIVATE, IN_PUBLIC = 1, 2
OFF_CURVE = TPMS_ECC_POINT(bytes(31) + b"\1", bytes(31) + b"\1")


@pytest.mark.parametrize("areas", [rsa(), ecc(), cipher(), keyed_hash(20), keyed_hash(128, A.NULL)])
@pytest.mark.parametrize("name_alg", [A.SHA256, A.NULL])
@pytest.mark.parametrize("private", [False, True])
def test_whole(tpm: Client, areas: Areas, name_alg: TPM_ALG, *, private: bool) -> None:
    """Areas that belong together; an object without a Name need not be bound to anything."""
    if name_alg is A.NULL and areas[0].type in (A.KEYEDHASH, A.SYMCIPHER):
        areas = with_public(areas, unique=b"")
    reply = load(tpm, with_public(areas, name_alg=name_alg), private=private)

    assert reply.rc == TPM_RC.SUCCESS
    shown = tpm.read_public(reply.object_handle)
    assert reply.name == shown.name == shown.qualified_name
    assert bool(reply.name) is (name_alg is not A.NULL)


@pytest.mark.parametrize(
    ("areas", "expected"),
    [
        # the modulus has the size of keyBits, and its highest bit set
        (with_public(rsa(), unique=bytes([255]) * 127), TPM_RC.KEY.parameter(IN_PUBLIC)),
        (with_public(rsa(), unique=b"\x7f" + bytes(126) + b"\1"), TPM_RC.KEY.parameter(IN_PUBLIC)),
        (with_parameters(rsa(), exponent=3), TPM_RC.VALUE.parameter(IN_PUBLIC)),
        # a point has coordinates of full length, and is on its curve
        (with_public(ecc(), unique=TPMS_ECC_POINT(b"", b"")), TPM_RC.KEY.parameter(IN_PUBLIC)),
        (with_public(ecc(), unique=OFF_CURVE), TPM_RC.ECC_POINT.parameter(IN_PUBLIC)),
        # a digest has the size of nameAlg's
        (with_public(cipher(), unique=bytes(20)), TPM_RC.KEY.parameter(IN_PUBLIC)),
        (with_public(keyed_hash(20), unique=b""), TPM_RC.KEY.parameter(IN_PUBLIC)),
        (with_public(keyed_hash(20), name_alg=A.NULL), TPM_RC.KEY.parameter(IN_PUBLIC)),
    ],
)
def test_public(tpm: Client, areas: Areas, expected: int) -> None:
    """A public area alone."""
    assert expected == load(tpm, areas, private=False).rc


@pytest.mark.parametrize(
    ("areas", "expected"),
    [
        (with_secret(ecc(), sensitive_type=A.KEYEDHASH), TPM_RC.TYPE.parameter(IN_PRIVATE)),
        (with_secret(ecc(), auth_value=b"a" * 33), TPM_RC.SIZE.parameter(IN_PRIVATE)),
        (with_secret(ecc(), seed_value=bytes(33)), TPM_RC.KEY_SIZE.parameter(IN_PRIVATE)),
        # the prime has half the size of the modulus, and divides it
        (with_secret(rsa(), sensitive=RSA_P.to_bytes(65, "big")), TPM_RC.KEY_SIZE.parameter(IN_PRIVATE)),
        (with_secret(rsa(), sensitive=bytes(63) + b"\3"), TPM_RC.KEY_SIZE.parameter(IN_PRIVATE)),
        (with_secret(rsa(), sensitive=(RSA_P + 2).to_bytes(64, "big")), TPM_RC.BINDING),
        # the private key is between zero and the order, and belongs to the point
        (with_secret(ecc(), sensitive=b""), TPM_RC.KEY_SIZE),
        (with_secret(ecc(), sensitive=bytes(32)), TPM_RC.KEY_SIZE),
        (with_secret(ecc(), sensitive=CURVE_ORDER.to_bytes(32, "big")), TPM_RC.KEY_SIZE),
        (with_secret(ecc(), sensitive=bytes(31) + b"\1"), TPM_RC.BINDING),
        # a key has the size of keyBits, and is not weak
        (cipher(bytes(15)), TPM_RC.KEY_SIZE.parameter(IN_PRIVATE)),
        (cipher(b""), TPM_RC.KEY_SIZE.parameter(IN_PRIVATE)),
        (cipher(bytes(16), A.TDES), TPM_RC.KEY.parameter(IN_PRIVATE)),
        (cipher(b"\1\x23\x45\x67\x89\xab\xcd\xef" * 2, A.TDES), TPM_RC.KEY.parameter(IN_PRIVATE)),
        (cipher(b"\1\x23\x45\x67\x89\xab\xcd\xefabcdefgh", A.TDES), TPM_RC.SUCCESS),
        # a secret is not longer than a block of its hash
        (keyed_hash(64), TPM_RC.SUCCESS),
        (keyed_hash(65), TPM_RC.KEY_SIZE.parameter(IN_PRIVATE)),
        (keyed_hash(128, A.HMAC, A.SHA384), TPM_RC.SUCCESS),
        (keyed_hash(128, A.XOR, A.SHA3_256), TPM_RC.SUCCESS),
        (keyed_hash(105, A.XOR, A.SHA3_384), TPM_RC.KEY_SIZE.parameter(IN_PRIVATE)),
        # the seedValue of symmetric objects is as long as a digest, and part of unique
        (with_secret(keyed_hash(20), seed_value=bytes(31)), TPM_RC.KEY_SIZE.parameter(IN_PRIVATE)),
        (with_secret(keyed_hash(20), seed_value=bytes(32)), TPM_RC.BINDING),
        (with_secret(cipher(), sensitive=bytes(16)), TPM_RC.BINDING),
    ],
)
def test_private(tpm: Client, areas: Areas, expected: int) -> None:
    """Both areas."""
    assert expected == load(tpm, areas).rc


def test_either_prime(tpm: Client) -> None:
    """Either prime will do, with the exponent's default written out or not."""
    for prime in (RSA_P, RSA_Q):
        for exponent in (0, 65537):
            areas = with_secret(rsa(), sensitive=prime.to_bytes(64, "big"))
            assert load(tpm, with_parameters(areas, exponent=exponent)).rc == TPM_RC.SUCCESS


def test_even_exponent(tpm: Client) -> None:
    """An exponent without an inverse makes no key."""
    assert load(tpm, with_parameters(rsa(), exponent=65538)).rc == TPM_RC.BINDING


@pytest.mark.parametrize("names", ["fixedTPM", "fixedParent", "restricted"])
def test_promises(tpm: Client, names: str) -> None:
    """A sensitive area from outside keeps no promise of this TPM."""
    public = replace(ecc()[0], object_attributes=attributes_of("sign").but(**{names: True}))

    assert load(tpm, (public, ecc()[1])).rc == TPM_RC.ATTRIBUTES.parameter(IN_PUBLIC)


@pytest.mark.parametrize("hierarchy", [TPM_RH.OWNER, TPM_RH.ENDORSEMENT, TPM_RH.PLATFORM])
def test_hierarchy(tpm: Client, hierarchy: int) -> None:
    """A public area can be of any hierarchy that is enabled, a sensitive one only of the null hierarchy."""
    public, sensitive = ecc()
    given = {"in_public": public, "hierarchy": hierarchy}

    assert tpm.load_external(in_private=None, **given).rc == TPM_RC.SUCCESS
    assert tpm.load_external(in_private=sensitive, **given).rc == TPM_RC.HIERARCHY.parameter(3)
    tpm.hierarchy_control(TPM_RH.PLATFORM, enable=hierarchy, state=False)
    assert tpm.load_external(in_private=None, **given).rc == TPM_RC.HIERARCHY.parameter(3)
