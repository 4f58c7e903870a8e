"""Signatures as Part 2, 11.3.4 has them, made and checked with the keys of objects (Part 1, "Signing")."""

from typing import Any

from vtpm.commands.commitment import committed_number, end_commitment
from vtpm.commands.private_key import ecc_key_of, ecc_public_of, rsa_key_of, rsa_public_of
from vtpm.crypto import signing
from vtpm.crypto.digest import digest_size, hmac_digest
from vtpm.spec.algorithms import (
    TPMS_SCHEME_ECDAA,
    TPMS_SIGNATURE_ECC,
    TPMS_SIGNATURE_RSA,
    TPMT_SIG_SCHEME,
    TPMT_SIGNATURE,
)
from vtpm.spec.constants import TPM_ALG
from vtpm.spec.structures import TPMT_HA
from vtpm.state.object import Object
from vtpm.state.tpm import TpmState
from vtpm.wire.error import TPM_RC, TpmError

RSA_SCHEMES = (TPM_ALG.RSASSA, TPM_ALG.RSAPSS)
ECC_SCHEMES = (TPM_ALG.ECDSA, TPM_ALG.ECDAA, TPM_ALG.SM2, TPM_ALG.ECSCHNORR)

NO_SIGNATURE = TPMT_SIGNATURE(sig_alg=TPM_ALG.NULL, signature=None)


def hash_of(signature: TPMT_SIGNATURE) -> TPM_ALG:
    """The hash algorithm of a signature."""
    body = signature.signature
    if isinstance(body, TPMS_SIGNATURE_RSA | TPMS_SIGNATURE_ECC):
        return body.hash
    assert isinstance(body, TPMT_HA)
    return body.hash_alg


def check_signature(key: Object, digest: bytes, signature: TPMT_SIGNATURE) -> None:
    """TPM_RC_SIGNATURE if the signature of a digest is not the key's; TPM_RC_SCHEME if it cannot be."""
    alg, body = signature.sig_alg, signature.signature
    kind = key.public.type
    if kind is TPM_ALG.KEYEDHASH and key.sensitive is None:
        raise TpmError(TPM_RC.HANDLE)
    if kind is TPM_ALG.RSA and isinstance(body, TPMS_SIGNATURE_RSA):
        check = signing.rsassa_verify if alg is TPM_ALG.RSASSA else signing.rsapss_verify
        check(rsa_public_of(key.public), body.hash, digest, body.sig)
    elif kind is TPM_ALG.ECC and isinstance(body, TPMS_SIGNATURE_ECC):
        check_ecc(key, alg, digest, body)
    elif key.sensitive is not None and kind is TPM_ALG.KEYEDHASH and isinstance(body, TPMT_HA):
        own = key_scheme(key)
        if own.details is not None and (own.scheme, own.details.hash_alg) != (alg, body.hash_alg):
            raise TpmError(TPM_RC.SIGNATURE)
        signing.hmac_verify(hmac_digest(body.hash_alg, key.sensitive.sensitive, digest), body.digest)
    else:
        raise TpmError(TPM_RC.SCHEME)


def check_ecc(key: Object, alg: TPM_ALG, digest: bytes, body: TPMS_SIGNATURE_ECC) -> None:
    """One of the ECC schemes."""
    point = ecc_public_of(key.public)
    pair = int.from_bytes(body.signature_r, "big"), int.from_bytes(body.signature_s, "big")
    if alg is TPM_ALG.ECDSA:
        signing.ecdsa_verify(point, digest, pair)
    elif alg is TPM_ALG.SM2:
        signing.sm2_verify(point, digest, pair)
    elif alg is TPM_ALG.ECSCHNORR:
        signing.ecschnorr_verify(point, body.hash, digest, pair)
    else:
        # Part 1: an ECDAA signature is anonymous, so there is no key here that could check it.
        raise TpmError(TPM_RC.SCHEME)


def sign(tpm: TpmState, key: Object, scheme: TPMT_SIG_SCHEME, digest: bytes) -> TPMT_SIGNATURE:
    """Sign a digest with a scheme that `selected_scheme` has found to fit the key."""
    alg, details = scheme.scheme, scheme.details
    assert details is not None
    hash_alg = details.hash_alg
    if alg is TPM_ALG.RSASSA:
        octets = signing.rsassa_sign(rsa_key_of(key), hash_alg, digest)
        return TPMT_SIGNATURE(alg, TPMS_SIGNATURE_RSA(hash_alg, octets))
    if alg is TPM_ALG.RSAPSS:
        octets = signing.rsapss_sign(rsa_key_of(key), hash_alg, digest)
        return TPMT_SIGNATURE(alg, TPMS_SIGNATURE_RSA(hash_alg, octets))
    if alg is TPM_ALG.HMAC:
        assert key.sensitive is not None
        return TPMT_SIGNATURE(alg, TPMT_HA(hash_alg, hmac_digest(hash_alg, key.sensitive.sensitive, digest)))
    r, s = sign_ecc(tpm, key, scheme, digest)
    size = ecc_key_of(key).curve.size
    return TPMT_SIGNATURE(alg, TPMS_SIGNATURE_ECC(hash_alg, r.to_bytes(size, "big"), s.to_bytes(size, "big")))


def sign_ecc(tpm: TpmState, key: Object, scheme: TPMT_SIG_SCHEME, digest: bytes) -> tuple[int, int]:
    """One of the ECC schemes."""
    assert scheme.details is not None
    private, hash_alg = ecc_key_of(key), scheme.details.hash_alg
    if scheme.scheme is TPM_ALG.ECDSA:
        return signing.ecdsa_sign(private, hash_alg, digest, tpm.random)
    if scheme.scheme is TPM_ALG.SM2:
        return signing.sm2_sign(private, digest, tpm.random)
    if scheme.scheme is TPM_ALG.ECSCHNORR:
        return signing.ecschnorr_sign(private, hash_alg, digest, tpm.random)
    assert isinstance(scheme.details, TPMS_SCHEME_ECDAA)
    number = committed_number(tpm, scheme.details.count, private.curve, key)
    if number is None:
        raise TpmError(TPM_RC.VALUE)
    pair = signing.ecdaa_sign(private, hash_alg, digest, number, tpm.random)
    end_commitment(tpm, scheme.details.count)
    return pair


def fits(kind: TPM_ALG, scheme: TPM_ALG) -> bool:
    """Is the scheme one of this type of key?"""
    schemes = {TPM_ALG.RSA: RSA_SCHEMES, TPM_ALG.ECC: ECC_SCHEMES, TPM_ALG.KEYEDHASH: (TPM_ALG.HMAC,)}
    return scheme in schemes.get(kind, ())


def key_scheme(key: Object) -> TPMT_SIG_SCHEME:
    """The signing scheme of a signing key, which is no block cipher; TPM_ALG_NULL if it has none."""
    parameters: Any = key.public.parameters
    return TPMT_SIG_SCHEME(parameters.scheme.scheme, parameters.scheme.details)


def selected_scheme(key: Object | None, wanted: TPMT_SIG_SCHEME) -> TPMT_SIG_SCHEME | None:
    """
    Part 3, 20.5: the scheme to sign with, the key's own or else the one asked for; None if they clash.

    Without a key there is no signature, but the hash asked for still digests what is attested (18.4, 31.16).
    """
    if key is None:
        return TPMT_SIG_SCHEME(TPM_ALG.NULL, wanted.details)
    own = key_scheme(key)
    if own.scheme is TPM_ALG.NULL:
        return wanted if fits(key.public.type, wanted.scheme) else None
    if wanted == own or (wanted.scheme is TPM_ALG.NULL and own.scheme is not TPM_ALG.ECDAA):
        return own
    if own.scheme is TPM_ALG.ECDAA and wanted.scheme is TPM_ALG.ECDAA:
        # The count of the commitment is the caller's to choose.
        assert own.details is not None
        assert wanted.details is not None
        return wanted if own.details.hash_alg is wanted.details.hash_alg else None
    return None


def digest_fits(scheme: TPMT_SIG_SCHEME, digest: bytes) -> bool:
    """Is the digest as long as the scheme's hash?"""
    assert scheme.details is not None
    return len(digest) == digest_size(scheme.details.hash_alg)
