"""The keys inside objects, as `vtpm.crypto` takes them; loaded once, then kept with the object."""

from vtpm.crypto.ecc import EccKey, Point, key_of, point_of
from vtpm.crypto.rsa import DEFAULT_EXPONENT, RsaKey, RsaPublicKey, key_from_prime
from vtpm.spec.algorithms import TPMS_ECC_POINT
from vtpm.spec.constants import TPM_ALG
from vtpm.spec.objects import TPMS_ECC_PARMS, TPMS_RSA_PARMS, TPMT_PUBLIC
from vtpm.state.object import Object


def rsa_public_of(public: TPMT_PUBLIC) -> RsaPublicKey:
    """The RSA key of a public area."""
    assert isinstance(public.parameters, TPMS_RSA_PARMS)
    assert isinstance(public.unique, bytes)
    return RsaPublicKey(int.from_bytes(public.unique, "big"), public.parameters.exponent or DEFAULT_EXPONENT)


def ecc_public_of(public: TPMT_PUBLIC) -> Point:
    """The point of a public area; TPM_RC_ECC_POINT if it is not on its curve."""
    assert isinstance(public.parameters, TPMS_ECC_PARMS)
    assert isinstance(public.unique, TPMS_ECC_POINT)
    return point_of(public.parameters.curve_id, public.unique.x, public.unique.y)


def rsa_key_of(item: Object) -> RsaKey:
    """The private key of a loaded RSA object."""
    if item.private_key is None:
        assert item.sensitive is not None
        assert isinstance(item.public.parameters, TPMS_RSA_PARMS)
        assert isinstance(item.public.unique, bytes)
        exponent = item.public.parameters.exponent
        item.private_key = key_from_prime(item.public.unique, item.sensitive.sensitive, exponent)
    assert isinstance(item.private_key, RsaKey)
    return item.private_key


def ecc_key_of(item: Object) -> EccKey:
    """The private key of a loaded ECC object."""
    if item.private_key is None:
        assert item.sensitive is not None
        assert isinstance(item.public.parameters, TPMS_ECC_PARMS)
        item.private_key = key_of(item.public.parameters.curve_id, item.sensitive.sensitive)
    assert isinstance(item.private_key, EccKey)
    return item.private_key


def is_asymmetric(public: TPMT_PUBLIC) -> bool:
    """Is it an RSA or ECC key?"""
    return public.type in (TPM_ALG.RSA, TPM_ALG.ECC)
