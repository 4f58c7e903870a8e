"""Part 3, clause 14: asymmetric primitives."""

from collections.abc import Callable
from typing import Annotated

from vtpm.commands.commitment import committed_number, end_commitment
from vtpm.commands.private_key import ecc_key_of, ecc_public_of, rsa_key_of, rsa_public_of
from vtpm.commands.table import command
from vtpm.crypto.curves import CURVES
from vtpm.crypto.ecc import EccKey, Point, generated_key, mqv_point, point_of, sm2_exchange_point
from vtpm.crypto.rsa import oaep_decrypt, oaep_encode, pkcs1_decode, pkcs1_encode
from vtpm.spec.algorithms import (
    TPM2B_ECC_POINT,
    TPM2B_PUBLIC_KEY_RSA,
    TPMS_ALGORITHM_DETAIL_ECC,
    TPMS_ECC_POINT,
    TPMS_SCHEME_HASH,
    TPMT_ECC_SCHEME,
    TPMT_KDF_SCHEME,
    TPMT_RSA_DECRYPT,
    TPMT_RSA_DECRYPT_NULL,
)
from vtpm.spec.constants import TPM_ALG, TPM_CC, TPM_ECC_CURVE
from vtpm.spec.handles import TPMI_DH_OBJECT
from vtpm.spec.interface import TPMI_ECC_CURVE, TPMI_ECC_KEY_EXCHANGE
from vtpm.spec.objects import TPMS_ECC_PARMS, TPMS_RSA_PARMS
from vtpm.spec.structures import TPM2B_DATA
from vtpm.state.entity import Role
from vtpm.state.object import Object
from vtpm.state.tpm import TpmState
from vtpm.wire.error import TPM_RC, TpmError, blaming
from vtpm.wire.integers import UINT16
from vtpm.wire.structure import structure

PublicKey = Annotated[Object, TPMI_DH_OBJECT, TPM_RC.KEY]
PrivateKey = Annotated[Object, TPMI_DH_OBJECT, Role.USER, TPM_RC.KEY]


def check_label(label: bytes) -> None:
    """14.2: a label ends with a zero, or is not there."""
    if label and not label.endswith(b"\0"):
        raise TpmError(TPM_RC.VALUE, at="label")


def rsa_scheme(key: Object, wanted: TPMT_RSA_DECRYPT) -> TPMT_RSA_DECRYPT:
    """Part 3, Table 43: the key's scheme if it has one, otherwise the one asked for; they must not clash."""
    assert isinstance(key.public.parameters, TPMS_RSA_PARMS)
    own = key.public.parameters.scheme
    if own.scheme is TPM_ALG.NULL:
        return wanted
    if wanted.scheme is not TPM_ALG.NULL and (wanted.scheme, wanted.details) != (own.scheme, own.details):
        raise TpmError(TPM_RC.SCHEME, at="in_scheme")
    if own.scheme not in (TPM_ALG.RSAES, TPM_ALG.OAEP):
        raise TpmError(TPM_RC.SCHEME, at="in_scheme")
    return TPMT_RSA_DECRYPT(own.scheme, own.details)


@structure
class RsaEncryptResponse:
    """14.2"""

    out_data: TPM2B_PUBLIC_KEY_RSA


@command(TPM_CC.RSA_Encrypt)
def rsa_encrypt(
    tpm: TpmState,
    key: PublicKey,
    /,
    message: TPM2B_PUBLIC_KEY_RSA,
    in_scheme: TPMT_RSA_DECRYPT_NULL,
    label: TPM2B_DATA,
) -> RsaEncryptResponse:
    """14.2: encrypt a message with a public key, padded as a scheme says."""
    if key.public.type is not TPM_ALG.RSA:
        raise TpmError(TPM_RC.KEY, at="key")
    if not key.public.object_attributes.decrypt:
        raise TpmError(TPM_RC.ATTRIBUTES, at="key")
    check_label(label)
    scheme = rsa_scheme(key, in_scheme)

    public = rsa_public_of(key.public)
    if scheme.scheme is TPM_ALG.OAEP:
        assert isinstance(scheme.details, TPMS_SCHEME_HASH)
        padded = oaep_encode(scheme.details.hash_alg, label, message, public.size, tpm.random)
    elif scheme.scheme is TPM_ALG.RSAES:
        padded = pkcs1_encode(message, public.size, tpm.random)
    else:
        padded = message.lstrip(b"\0")
        if len(padded) > public.size:
            raise TpmError(TPM_RC.VALUE)
    return RsaEncryptResponse(out_data=public.raw(padded))


@structure
class RsaDecryptResponse:
    """14.3"""

    message: TPM2B_PUBLIC_KEY_RSA


@command(TPM_CC.RSA_Decrypt)
def rsa_decrypt(
    tpm: TpmState,
    key: PrivateKey,
    /,
    cipher_text: TPM2B_PUBLIC_KEY_RSA,
    in_scheme: TPMT_RSA_DECRYPT_NULL,
    label: TPM2B_DATA,
) -> RsaDecryptResponse:
    """14.3: decrypt with a private key, and check and remove the padding."""
    if key.public.type is not TPM_ALG.RSA:
        raise TpmError(TPM_RC.KEY, at="key")
    attributes = key.public.object_attributes
    if attributes.restricted or not attributes.decrypt:
        raise TpmError(TPM_RC.ATTRIBUTES, at="key")
    check_label(label)
    scheme = rsa_scheme(key, in_scheme)
    private = rsa_key_of(key)
    if len(cipher_text) != private.public.size:
        raise TpmError(TPM_RC.SIZE)

    if scheme.scheme is TPM_ALG.OAEP:
        assert isinstance(scheme.details, TPMS_SCHEME_HASH)
        message = oaep_decrypt(private, scheme.details.hash_alg, label, cipher_text)
        return RsaDecryptResponse(message=message)
    padded = private.raw(cipher_text)
    if scheme.scheme is TPM_ALG.RSAES:
        return RsaDecryptResponse(message=pkcs1_decode(padded))
    return RsaDecryptResponse(message=padded)


EMPTY_POINT = TPMS_ECC_POINT(x=b"", y=b"")
"""What stands for no point, and for the one at infinity."""


def point_structure(point: Point) -> TPMS_ECC_POINT:
    """A point as Part 2, 11.2.5.2 has it."""
    return TPMS_ECC_POINT(x=point.x_octets, y=point.y_octets)


def given_point(key: Object, point: TPMS_ECC_POINT, at: str) -> Point:
    """A point that the caller says is on the key's curve; TPM_RC_ECC_POINT if it is not."""
    assert isinstance(key.public.parameters, TPMS_ECC_PARMS)
    with blaming(at):
        return point_of(key.public.parameters.curve_id, point.x, point.y)


def check_exchange_key(key: Object, at: str) -> None:
    """14.5: an ECC key that may decrypt, and is not restricted."""
    if key.public.type is not TPM_ALG.ECC:
        raise TpmError(TPM_RC.KEY, at=at)
    attributes = key.public.object_attributes
    if attributes.restricted or not attributes.decrypt:
        raise TpmError(TPM_RC.ATTRIBUTES, at=at)


@structure
class EcdhKeyGenResponse:
    """14.4"""

    z_point: TPM2B_ECC_POINT
    pub_point: TPM2B_ECC_POINT


@command(TPM_CC.ECDH_KeyGen)
def ecdh_key_gen(tpm: TpmState, key: PublicKey, /) -> EcdhKeyGenResponse:
    """14.4: an ephemeral key, and its product with a loaded public key."""
    if key.public.type is not TPM_ALG.ECC:
        raise TpmError(TPM_RC.KEY, at="key")
    try:
        public = ecc_public_of(key.public)
    except TpmError:
        raise TpmError(TPM_RC.KEY, at="key") from None

    ephemeral = generated_key(public.curve.id, tpm.random)
    shared = ephemeral.shared_point(public)
    return EcdhKeyGenResponse(point_structure(shared), point_structure(ephemeral.public))


@structure
class EcdhZGenResponse:
    """14.5"""

    out_point: TPM2B_ECC_POINT


@command(TPM_CC.ECDH_ZGen)
def ecdh_z_gen(tpm: TpmState, key: PrivateKey, /, in_point: TPM2B_ECC_POINT) -> EcdhZGenResponse:
    """14.5: the product of a private key and a point."""
    check_exchange_key(key, "key")
    assert isinstance(key.public.parameters, TPMS_ECC_PARMS)
    if key.public.parameters.scheme.scheme not in (TPM_ALG.ECDH, TPM_ALG.NULL):
        raise TpmError(TPM_RC.SCHEME, at="key")
    point = given_point(key, in_point, "in_point")

    return EcdhZGenResponse(point_structure(ecc_key_of(key).shared_point(point)))


def _sharing(alg: TPM_ALG) -> TPMT_KDF_SCHEME:
    return TPMT_KDF_SCHEME(TPM_ALG.KDF1_SP800_56A, TPMS_SCHEME_HASH(alg))


SHARING_KDFS = {
    TPM_ECC_CURVE.NIST_P192: _sharing(TPM_ALG.SHA256),
    TPM_ECC_CURVE.NIST_P224: _sharing(TPM_ALG.SHA256),
    TPM_ECC_CURVE.NIST_P256: _sharing(TPM_ALG.SHA256),
    TPM_ECC_CURVE.NIST_P384: _sharing(TPM_ALG.SHA384),
    TPM_ECC_CURVE.NIST_P521: _sharing(TPM_ALG.SHA512),
    TPM_ECC_CURVE.SM2_P256: _sharing(TPM_ALG.SM3_256),
}
"""TCG Algorithm Registry: the derivation function that goes with a curve in secret sharing."""


@structure
class EccParametersResponse:
    """14.6"""

    parameters: TPMS_ALGORITHM_DETAIL_ECC


@command(TPM_CC.ECC_Parameters)
def ecc_parameters(tpm: TpmState, /, curve_id: TPMI_ECC_CURVE) -> EccParametersResponse:
    """14.6: the parameters of a curve, as many octets of each as the field has; as libtpms, one of a zero."""
    curve = CURVES[curve_id]
    size = curve.size

    def octets(number: int) -> bytes:
        return number.to_bytes(size, "big")

    return EccParametersResponse(
        TPMS_ALGORITHM_DETAIL_ECC(
            curve_id=curve_id,
            key_size=curve.bits,
            kdf=SHARING_KDFS.get(curve_id, TPMT_KDF_SCHEME(TPM_ALG.NULL, None)),
            sign=TPMT_ECC_SCHEME(TPM_ALG.NULL, None),
            p=octets(curve.p),
            a=octets(curve.a) if curve.a else b"\0",
            b=octets(curve.b),
            g_x=octets(curve.g_x),
            g_y=octets(curve.g_y),
            n=octets(curve.n),
            h=bytes((curve.h,)),
        )
    )


def or_empty(point: Callable[[], Point]) -> TPMS_ECC_POINT:
    """A computed point; the Empty Point if it is at infinity."""
    try:
        return point_structure(point())
    except TpmError:
        return EMPTY_POINT


@structure
class ZGen2PhaseResponse:
    """14.7"""

    out_z1: TPM2B_ECC_POINT
    out_z2: TPM2B_ECC_POINT


@command(TPM_CC.ZGen_2Phase)
def z_gen_2phase(
    tpm: TpmState,
    key_a: PrivateKey,
    /,
    in_qs_b: TPM2B_ECC_POINT,
    in_qe_b: TPM2B_ECC_POINT,
    in_scheme: TPMI_ECC_KEY_EXCHANGE,
    counter: UINT16,
) -> ZGen2PhaseResponse:
    """14.7: a key exchange with static and ephemeral keys of both sides; ends the ephemeral one of ours."""
    check_exchange_key(key_a, "key_a")
    assert isinstance(key_a.public.parameters, TPMS_ECC_PARMS)
    own = key_a.public.parameters.scheme.scheme
    if own not in (TPM_ALG.NULL, in_scheme):
        raise TpmError(TPM_RC.SCHEME, at="in_scheme")
    static, ephemeral = given_point(key_a, in_qs_b, "in_qs_b"), given_point(key_a, in_qe_b, "in_qe_b")
    private = ecc_key_of(key_a)
    number = committed_number(tpm, counter, private.curve, None)
    if number is None:
        raise TpmError(TPM_RC.VALUE, at="counter")

    mine = EccKey(private.curve, number)
    if in_scheme is TPM_ALG.ECDH:
        points = (
            or_empty(lambda: private.shared_point(static)),
            or_empty(lambda: mine.shared_point(ephemeral)),
        )
    else:
        exchange = mqv_point if in_scheme is TPM_ALG.ECMQV else sm2_exchange_point
        points = or_empty(lambda: exchange(private, mine, static, ephemeral)), EMPTY_POINT
    end_commitment(tpm, counter)
    return ZGen2PhaseResponse(*points)
