"""RFC 5280: the parts of a certificate that the TPM makes or checks (Part 3, 18.8)."""

from dataclasses import dataclass

from vtpm.crypto import der
from vtpm.crypto.der import SEQUENCE, Element, element, elements_of, integer, object_identifier
from vtpm.crypto.rsa import DEFAULT_EXPONENT
from vtpm.crypto.signing import pss_salt_size
from vtpm.spec.algorithms import TPMS_ECC_POINT, TPMT_SIG_SCHEME
from vtpm.spec.attributes import TPMA_OBJECT, TPMA_X509_KEY_USAGE
from vtpm.spec.constants import TPM_ALG, TPM_ECC_CURVE
from vtpm.spec.objects import TPMS_ECC_PARMS, TPMS_RSA_PARMS, TPMT_PUBLIC
from vtpm.state.object import Object
from vtpm.wire.error import TPM_RC, TpmError

VERSION_3 = element(der.CONTEXT, integer(2))

RSA_ENCRYPTION = "1.2.840.113549.1.1.1"
RSASSA_PSS = "1.2.840.113549.1.1.10"
MGF1 = "1.2.840.113549.1.1.8"
EC_PUBLIC_KEY = "1.2.840.10045.2.1"

KEY_USAGE = object_identifier("2.5.29.15")
TCG_TPMA_OBJECT = object_identifier("2.23.133.10.1.1.1")

CURVES = {
    TPM_ECC_CURVE.NIST_P192: "1.2.840.10045.3.1.1",
    TPM_ECC_CURVE.NIST_P224: "1.3.132.0.33",
    TPM_ECC_CURVE.NIST_P256: "1.2.840.10045.3.1.7",
    TPM_ECC_CURVE.NIST_P384: "1.3.132.0.34",
    TPM_ECC_CURVE.NIST_P521: "1.3.132.0.35",
    TPM_ECC_CURVE.BP_P256_R1: "1.3.36.3.3.2.8.1.1.7",
    TPM_ECC_CURVE.BP_P384_R1: "1.3.36.3.3.2.8.1.1.11",
    TPM_ECC_CURVE.BP_P512_R1: "1.3.36.3.3.2.8.1.1.13",
    TPM_ECC_CURVE.SM2_P256: "1.2.156.10197.1.301",
}
HASHES = {
    TPM_ALG.SHA1: "1.3.14.3.2.26",
    TPM_ALG.SHA256: "2.16.840.1.101.3.4.2.1",
    TPM_ALG.SHA384: "2.16.840.1.101.3.4.2.2",
    TPM_ALG.SHA512: "2.16.840.1.101.3.4.2.3",
    TPM_ALG.SHA3_256: "2.16.840.1.101.3.4.2.8",
    TPM_ALG.SHA3_384: "2.16.840.1.101.3.4.2.9",
    TPM_ALG.SHA3_512: "2.16.840.1.101.3.4.2.10",
}
WITH_RSA = {
    TPM_ALG.SHA1: "1.2.840.113549.1.1.5",
    TPM_ALG.SHA256: "1.2.840.113549.1.1.11",
    TPM_ALG.SHA384: "1.2.840.113549.1.1.12",
    TPM_ALG.SHA512: "1.2.840.113549.1.1.13",
    TPM_ALG.SHA3_256: "2.16.840.1.101.3.4.3.14",
    TPM_ALG.SHA3_384: "2.16.840.1.101.3.4.3.15",
    TPM_ALG.SHA3_512: "2.16.840.1.101.3.4.3.16",
}
WITH_ECDSA = {
    TPM_ALG.SHA1: "1.2.840.10045.4.1",
    TPM_ALG.SHA256: "1.2.840.10045.4.3.2",
    TPM_ALG.SHA384: "1.2.840.10045.4.3.3",
    TPM_ALG.SHA512: "1.2.840.10045.4.3.4",
    TPM_ALG.SHA3_256: "2.16.840.1.101.3.4.3.10",
    TPM_ALG.SHA3_384: "2.16.840.1.101.3.4.3.11",
    TPM_ALG.SHA3_512: "2.16.840.1.101.3.4.3.12",
}

DEFAULT_SALT = 20
"""RFC 4055, 3.1: the salt of RSASSA-PSS whose size is not written down; SHA-1 is the default, too."""


@dataclass(frozen=True, slots=True)
class PartialCertificate:
    """18.8: what the caller gives of a certificate; the signature algorithm is empty if the TPM makes it."""

    signature_algorithm: bytes
    issuer: bytes
    validity: bytes
    subject: bytes
    extensions: Element


def partial_certificate_of(octets: bytes) -> PartialCertificate:
    """The parts of a partial certificate; TPM_RC_VALUE or TPM_RC_SIZE if it has others or is malformed."""
    if not octets:
        raise TpmError(TPM_RC.VALUE)
    try:
        (outer,) = _exactly(elements_of(octets), SEQUENCE)
    except TpmError:
        # As in the reference code, it is the size that is wrong if they are not one SEQUENCE.
        raise TpmError(TPM_RC.SIZE) from None
    *sequences, extensions = elements_of(outer.content) or [outer]
    wrong = any(part.tag != SEQUENCE for part in sequences) or extensions.tag != der.CONTEXT + 3
    if wrong or len(sequences) not in (3, 4):
        raise TpmError(TPM_RC.VALUE)
    algorithm, issuer, validity, subject = [b""] * (4 - len(sequences)) + [part.octets for part in sequences]
    return PartialCertificate(algorithm, issuer, validity, subject, extensions)


def extension_bits(extensions: Element) -> dict[bytes, int]:
    """The values of the Key Usage and TPMA_OBJECT extensions that are there, by their OBJECT IDENTIFIERs."""
    (outer,) = _exactly(elements_of(extensions.content), SEQUENCE)
    found = {}
    for extension in elements_of(outer.content):
        parts = elements_of(extension.content)
        if extension.tag != SEQUENCE or not parts:
            raise TpmError(TPM_RC.VALUE)
        name, *others = parts
        if name.octets not in (KEY_USAGE, TCG_TPMA_OBJECT):
            continue
        if others and others[0].tag == der.BOOLEAN:
            others = others[1:]
        (value,) = _exactly(others, der.OCTET_STRING)
        (string,) = _exactly(elements_of(value.content), der.BIT_STRING)
        found[name.octets] = der.bits_of(string, 32)
    return found


def _exactly(found: list[Element], tag: int) -> list[Element]:
    """The one element with this tag; TPM_RC_VALUE if there are others."""
    if len(found) != 1 or found[0].tag != tag:
        raise TpmError(TPM_RC.VALUE)
    return found


def is_usage_allowed(usage: TPMA_X509_KEY_USAGE, attributes: TPMA_OBJECT) -> bool:
    """Part 2, 8.11: do the attributes of a key allow what a certificate says of its usage?"""
    signs = usage.digitalSignature or usage.keyCertSign or usage.CRLSign
    decrypts = usage.dataEncipherment or usage.keyAgreement or usage.encipherOnly or usage.decipherOnly
    return (
        (attributes.sign or not signs)
        and (attributes.decrypt or not (decrypts or usage.keyEncipherment))
        and (attributes.restricted or not usage.keyEncipherment)
        and (attributes.fixedTPM or not usage.nonRepudiation)
    )


def subject_public_key_info(public: TPMT_PUBLIC) -> bytes | None:
    """RFC 3279, 2.3, and RFC 5480: the public key; None if there is no encoding of it."""
    if isinstance(public.parameters, TPMS_RSA_PARMS) and isinstance(public.unique, bytes):
        algorithm = element(SEQUENCE, object_identifier(RSA_ENCRYPTION), der.NULL)
        modulus = int.from_bytes(public.unique, "big")
        exponent = public.parameters.exponent or DEFAULT_EXPONENT
        key = element(SEQUENCE, integer(modulus), integer(exponent))
        return element(SEQUENCE, algorithm, der.bit_string(key))
    if isinstance(public.parameters, TPMS_ECC_PARMS) and public.parameters.curve_id in CURVES:
        assert isinstance(public.unique, TPMS_ECC_POINT)
        curve = object_identifier(CURVES[public.parameters.curve_id])
        algorithm = element(SEQUENCE, object_identifier(EC_PUBLIC_KEY), curve)
        return element(SEQUENCE, algorithm, der.bit_string(b"\x04" + public.unique.x + public.unique.y))
    return None


def signature_algorithm(key: Object, scheme: TPMT_SIG_SCHEME) -> bytes | None:
    """RFC 4055 and RFC 5758: the AlgorithmIdentifier of a scheme; None if there is none."""
    assert scheme.details is not None
    alg = scheme.details.hash_alg
    if scheme.scheme is TPM_ALG.RSASSA and alg in WITH_RSA:
        return element(SEQUENCE, object_identifier(WITH_RSA[alg]), der.NULL)
    if scheme.scheme is TPM_ALG.ECDSA and alg in WITH_ECDSA:
        return element(SEQUENCE, object_identifier(WITH_ECDSA[alg]))
    if scheme.scheme is TPM_ALG.RSAPSS and alg in HASHES:
        assert isinstance(key.public.unique, bytes)
        salt = pss_salt_size(alg, int.from_bytes(key.public.unique, "big").bit_length())
        return element(SEQUENCE, object_identifier(RSASSA_PSS), element(SEQUENCE, _pss_parameters(alg, salt)))
    return None


def _pss_parameters(alg: TPM_ALG, salt: int) -> bytes:
    """RFC 4055, 3.1, without what is by default."""
    parts = b""
    if alg is not TPM_ALG.SHA1:
        hashed = element(SEQUENCE, object_identifier(HASHES[alg]), der.NULL)
        masked = element(SEQUENCE, object_identifier(MGF1), hashed)
        parts += element(der.CONTEXT, hashed) + element(der.CONTEXT + 1, masked)
    if salt != DEFAULT_SALT:
        parts += element(der.CONTEXT + 2, integer(salt))
    return parts
