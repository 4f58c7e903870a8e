"""Part 1, "Secret Sharing": secrets that are encrypted for a key of this TPM, or by it for another's."""

from vtpm.commands.private_key import ecc_key_of, ecc_public_of, rsa_key_of, rsa_public_of
from vtpm.crypto.labeled_kem import ecc_decapsulate, ecc_encapsulate, rsa_decapsulate, rsa_encapsulate
from vtpm.crypto.primes import Generator
from vtpm.spec.algorithms import TPMS_ECC_POINT, TPMS_SCHEME_HASH
from vtpm.spec.constants import TPM_ALG
from vtpm.spec.objects import TPMS_RSA_PARMS, TPMT_PUBLIC
from vtpm.state.object import Object
from vtpm.wire.error import TPM_RC, TpmError


def received_secret(key: Object, label: bytes, secret: bytes) -> bytes:
    """The seed or salt that was encrypted for a loaded key; what is wrong with it has no position yet."""
    if key.public.type is TPM_ALG.RSA:
        return rsa_decapsulate(rsa_key_of(key), oaep_hash_of(key.public), label, secret)
    if key.public.name_alg is TPM_ALG.NULL:
        raise TpmError(TPM_RC.SCHEME)
    party = x_of(key.public)
    return ecc_decapsulate(ecc_key_of(key), key.public.name_alg, label, secret, party=party)


def shared_secret(public: TPMT_PUBLIC, label: bytes, generate: Generator) -> tuple[bytes, bytes]:
    """A fresh seed and its form encrypted for an asymmetric key with a Name."""
    if public.type is TPM_ALG.RSA:
        return rsa_encapsulate(rsa_public_of(public), oaep_hash_of(public), label, generate)
    return ecc_encapsulate(ecc_public_of(public), public.name_alg, label, generate, party=x_of(public))


def x_of(public: TPMT_PUBLIC) -> bytes:
    """The x coordinate of an ECC key, as its public area has it."""
    assert isinstance(public.unique, TPMS_ECC_POINT)
    return public.unique.x


def oaep_hash_of(public: TPMT_PUBLIC) -> TPM_ALG:
    """Part 1, "RSA Labeled KEM": the hash of the scheme, or nameAlg; TPM_RC_SCHEME if neither is one."""
    assert isinstance(public.parameters, TPMS_RSA_PARMS)
    scheme = public.parameters.scheme
    if scheme.scheme is TPM_ALG.NULL and public.name_alg is not TPM_ALG.NULL:
        return public.name_alg
    if scheme.scheme is not TPM_ALG.OAEP:
        raise TpmError(TPM_RC.SCHEME)
    assert isinstance(scheme.details, TPMS_SCHEME_HASH)
    return scheme.details.hash_alg
