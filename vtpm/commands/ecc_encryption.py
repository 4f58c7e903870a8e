"""Part 3, 14.8 and 14.9: encryption with the public point of an ECC key (Part 1, "ECC Encryption")."""

from hmac import compare_digest
from typing import Annotated

from vtpm.commands.asymmetric import given_point, point_structure
from vtpm.commands.private_key import ecc_key_of, ecc_public_of
from vtpm.commands.table import command
from vtpm.crypto.digest import digest
from vtpm.crypto.ecc import Point, generated_key
from vtpm.crypto.kdf import kdf_2
from vtpm.spec.algorithms import TPM2B_ECC_POINT, TPMT_KDF_SCHEME, TPMT_KDF_SCHEME_NULL
from vtpm.spec.constants import TPM_ALG, TPM_CC
from vtpm.spec.handles import TPMI_DH_OBJECT
from vtpm.spec.objects import TPMS_ECC_PARMS
from vtpm.spec.structures import TPM2B_DIGEST, TPM2B_MAX_BUFFER
from vtpm.state.entity import Role
from vtpm.state.object import Object
from vtpm.state.tpm import TpmState
from vtpm.wire.error import TPM_RC, TpmError
from vtpm.wire.structure import structure


def encryption_hash(key: Object, wanted: TPMT_KDF_SCHEME) -> TPM_ALG:
    """The hash of KDF2, the one scheme there is: the key's own or else the one asked for."""
    assert isinstance(key.public.parameters, TPMS_ECC_PARMS)
    own = key.public.parameters.kdf
    scheme = wanted if own.scheme is TPM_ALG.NULL else own
    if wanted.scheme is not TPM_ALG.NULL and wanted != scheme:
        raise TpmError(TPM_RC.SCHEME, at="in_scheme")
    if scheme.scheme is not TPM_ALG.KDF2 or scheme.details is None:
        raise TpmError(TPM_RC.SCHEME, at="in_scheme")
    return scheme.details.hash_alg


def masked(alg: TPM_ALG, shared: Point, data: bytes) -> bytes:
    """The data under a mask from both coordinates of the shared point; the same again removes it."""
    mask = kdf_2(alg, shared.x_octets + shared.y_octets, len(data))
    return bytes(a ^ b for a, b in zip(data, mask, strict=True))


@structure
class EccEncryptResponse:
    """14.8"""

    c1: TPM2B_ECC_POINT
    c2: TPM2B_MAX_BUFFER
    c3: TPM2B_DIGEST


@command(TPM_CC.ECC_Encrypt)
def ecc_encrypt(
    tpm: TpmState,
    key: Annotated[Object, TPMI_DH_OBJECT, TPM_RC.KEY],
    /,
    plain_text: TPM2B_MAX_BUFFER,
    in_scheme: TPMT_KDF_SCHEME_NULL,
) -> EccEncryptResponse:
    """14.8: encrypt data for the owner of an ECC key."""
    if key.public.type is not TPM_ALG.ECC:
        raise TpmError(TPM_RC.KEY, at="key")
    alg = encryption_hash(key, in_scheme)
    try:
        public = ecc_public_of(key.public)
    except TpmError:
        raise TpmError(TPM_RC.KEY, at="key") from None

    ephemeral = generated_key(public.curve.id, tpm.random)
    shared = ephemeral.shared_point(public)
    return EccEncryptResponse(
        c1=point_structure(ephemeral.public),
        c2=masked(alg, shared, plain_text),
        c3=digest(alg, shared.x_octets, plain_text, shared.y_octets),
    )


@structure
class EccDecryptResponse:
    """14.9"""

    plain_text: TPM2B_MAX_BUFFER


@command(TPM_CC.ECC_Decrypt)
def ecc_decrypt(
    tpm: TpmState,
    key: Annotated[Object, TPMI_DH_OBJECT, Role.USER, TPM_RC.KEY],
    /,
    c1: TPM2B_ECC_POINT,
    c2: TPM2B_MAX_BUFFER,
    c3: TPM2B_DIGEST,
    in_scheme: TPMT_KDF_SCHEME_NULL,
) -> EccDecryptResponse:
    """14.9: recover data, if its integrity value is right (TPM_RC_VALUE)."""
    if key.public.type is not TPM_ALG.ECC:
        raise TpmError(TPM_RC.KEY, at="key")
    attributes = key.public.object_attributes
    if attributes.restricted or not attributes.decrypt:
        raise TpmError(TPM_RC.ATTRIBUTES, at="key")
    alg = encryption_hash(key, in_scheme)
    point = given_point(key, c1, "c1")

    shared = ecc_key_of(key).shared_point(point)
    plain_text = masked(alg, shared, c2)
    if not compare_digest(c3, digest(alg, shared.x_octets, plain_text, shared.y_octets)):
        raise TpmError(TPM_RC.VALUE)
    return EccDecryptResponse(plain_text=plain_text)
