"""Loaded keys with known values, for tests of commands that use keys; no command is needed to load them."""

import hashlib
from dataclasses import replace
from typing import Any

from tests.scenarios import Client
from vtpm.crypto.curves import CURVES
from vtpm.crypto.ecc import EccKey
from vtpm.spec.algorithms import (
    TPMS_ECC_POINT,
    TPMS_SCHEME_ECDAA,
    TPMS_SCHEME_HASH,
    TPMS_SYMCIPHER_PARMS,
    TPMT_ECC_SCHEME,
    TPMT_KDF_SCHEME,
    TPMT_KEYEDHASH_SCHEME,
    TPMT_RSA_SCHEME,
    TPMT_SIG_SCHEME,
    TPMT_SYM_DEF_OBJECT,
)
from vtpm.spec.attributes import TPMA_OBJECT
from vtpm.spec.constants import TPM_ALG, TPM_ECC_CURVE, TPM_RH
from vtpm.spec.objects import (
    TPMS_ECC_PARMS,
    TPMS_KEYEDHASH_PARMS,
    TPMS_RSA_PARMS,
    TPMT_PUBLIC,
    TPMT_SENSITIVE,
)
from vtpm.state.object import Object, name_of, qualified_name_of

RSA_P = int(
    "f90aadc1a7d2aa280e2f814d9257a1764b1bd21d7f04576c306fe2abb5ffc8fd"
    "2c2e9a44d607f98bb176c9d5e3a4f25386e2e8ea375bb316d29f05824e40b5f9",
    16,
)
RSA_Q = int(
    "c2e3d0cee92ffe00a59f3ee3501c50c8a4f160d480aa8ad67bb61368ef6f561f"
    "bdcb3695131f8f6e75013798002de08d8cc96ecfc54a71d25a31bc3120a88893",
    16,
)
RSA_MODULUS = RSA_P * RSA_Q

SEED = bytes(range(32))
"""The seedValue of symmetric objects, which binds their areas together."""

NULL_SIGNATURE_SCHEME = TPMT_SIG_SCHEME(TPM_ALG.NULL, None)
NO_KDF = TPMT_KDF_SCHEME(TPM_ALG.NULL, None)
NO_SYMMETRIC = TPMT_SYM_DEF_OBJECT(TPM_ALG.NULL, 0, TPM_ALG.NULL)


def ecc_private(curve: TPM_ECC_CURVE = TPM_ECC_CURVE.NIST_P256, label: bytes = b"ecc key") -> EccKey:
    """A private key that is a digest of a label."""
    number = int.from_bytes(hashlib.sha512(label).digest(), "big")
    return EccKey(CURVES[curve], number % (CURVES[curve].n - 1) + 1)


def hash_details(alg: TPM_ALG | None) -> TPMS_SCHEME_HASH | None:
    """What a scheme says of its hash."""
    return None if alg is None else TPMS_SCHEME_HASH(alg)


def signing(scheme: TPM_ALG, alg: TPM_ALG = TPM_ALG.SHA256, count: int = 0) -> TPMT_SIG_SCHEME:
    """A signing scheme."""
    if scheme is TPM_ALG.ECDAA:
        return TPMT_SIG_SCHEME(scheme, TPMS_SCHEME_ECDAA(alg, count))
    return TPMT_SIG_SCHEME(scheme, TPMS_SCHEME_HASH(alg))


def public_area(
    kind: TPM_ALG, parameters: Any, unique: Any, attributes: TPMA_OBJECT, name_alg: TPM_ALG = TPM_ALG.SHA256
) -> TPMT_PUBLIC:
    """A public area without a policy."""
    return TPMT_PUBLIC(
        type=kind,
        name_alg=name_alg,
        object_attributes=attributes,
        auth_policy=b"",
        parameters=parameters,
        unique=unique,
    )


def put(
    tpm: Client,
    public: TPMT_PUBLIC,
    secret: bytes | None,
    *,
    auth: bytes = b"",
    hierarchy: int = TPM_RH.OWNER,
) -> int:
    """Put an object into a transient handle, as if it were a primary object of the hierarchy."""
    sensitive = None
    if secret is not None:
        seed = SEED if public.type in (TPM_ALG.KEYEDHASH, TPM_ALG.SYMCIPHER) else b""
        sensitive = TPMT_SENSITIVE(public.type, auth_value=auth, seed_value=seed, sensitive=secret)
    qualified = qualified_name_of(hierarchy.to_bytes(4, "big"), name_of(public), public.name_alg)
    return tpm.tpm.volatile.add(Object(public, sensitive, hierarchy, qualified))


def attributes_of(names: str) -> TPMA_OBJECT:
    """Attributes by their names, with userWithAuth and noDA."""
    return TPMA_OBJECT(userWithAuth=True, noDA=True, **dict.fromkeys(names.split(), True))


def put_rsa(
    tpm: Client,
    attributes: str = "sign",
    scheme: TPM_ALG = TPM_ALG.NULL,
    alg: TPM_ALG | None = None,
    *,
    private: bool = True,
    **options: Any,
) -> int:
    """An RSA key of 1024 bits."""
    details = None if scheme is TPM_ALG.NULL else hash_details(alg)
    parameters = TPMS_RSA_PARMS(NO_SYMMETRIC, TPMT_RSA_SCHEME(scheme, details), 1024, 0)
    public = public_area(TPM_ALG.RSA, parameters, RSA_MODULUS.to_bytes(128, "big"), attributes_of(attributes))
    return put(tpm, public, RSA_P.to_bytes(64, "big") if private else None, **options)


def put_ecc(
    tpm: Client,
    attributes: str = "sign",
    scheme: TPM_ALG = TPM_ALG.NULL,
    alg: TPM_ALG = TPM_ALG.SHA256,
    *,
    curve: TPM_ECC_CURVE = TPM_ECC_CURVE.NIST_P256,
    kdf: TPMT_KDF_SCHEME = NO_KDF,
    private: bool = True,
    label: bytes = b"ecc key",
    **options: Any,
) -> int:
    """An ECC key."""
    key = ecc_private(curve, label)
    details: Any = None
    if scheme is TPM_ALG.ECDAA:
        details = TPMS_SCHEME_ECDAA(alg, 0)
    elif scheme is not TPM_ALG.NULL:
        details = TPMS_SCHEME_HASH(alg)
    parameters = TPMS_ECC_PARMS(NO_SYMMETRIC, TPMT_ECC_SCHEME(scheme, details), curve, kdf)
    point = TPMS_ECC_POINT(key.public.x_octets, key.public.y_octets)
    public = public_area(TPM_ALG.ECC, parameters, point, attributes_of(attributes))
    return put(tpm, public, key.octets if private else None, **options)


def put_hmac(
    tpm: Client,
    secret: bytes = b"hmac key",
    attributes: str | None = None,
    scheme: TPM_ALG = TPM_ALG.NULL,
    alg: TPM_ALG | None = None,
    *,
    private: bool = True,
    **options: Any,
) -> int:
    """An HMAC key; one without a scheme must also be able to decrypt (Part 2, 12.2.3.3)."""
    if attributes is None:
        attributes = "sign decrypt" if scheme is TPM_ALG.NULL else "sign"
    parameters = TPMS_KEYEDHASH_PARMS(TPMT_KEYEDHASH_SCHEME(scheme, hash_details(alg)))
    unique = hashlib.sha256(SEED + secret).digest()
    public = public_area(TPM_ALG.KEYEDHASH, parameters, unique, attributes_of(attributes))
    return put(tpm, public, secret if private else None, **options)


def put_cipher(
    tpm: Client,
    secret: bytes = bytes(range(16)),
    attributes: str = "sign decrypt",
    mode: TPM_ALG = TPM_ALG.NULL,
    *,
    alg: TPM_ALG = TPM_ALG.AES,
    **options: Any,
) -> int:
    """A symmetric key."""
    parameters = TPMS_SYMCIPHER_PARMS(TPMT_SYM_DEF_OBJECT(alg, 8 * len(secret), mode))
    unique = hashlib.sha256(SEED + secret).digest()
    public = public_area(TPM_ALG.SYMCIPHER, parameters, unique, attributes_of(attributes))
    return put(tpm, public, secret, **options)


def with_attributes(tpm: Client, handle: int, **changes: bool) -> None:
    """Change the attributes of a loaded object."""
    item = tpm.tpm.volatile.objects[handle]
    assert isinstance(item, Object)
    attributes = item.public.object_attributes.but(**changes)
    item.public = replace(item.public, object_attributes=attributes)
