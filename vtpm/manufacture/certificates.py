"""
Certificates of endorsement keys and platforms (TCG EK Credential Profile for TPM 2.0, 2.5, clause 3.2).

What tells a TPM's model apart stands in the subject alternative name, as the profile wants it.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID, ObjectIdentifier

from vtpm.crypto.der import OBJECT_IDENTIFIER, SEQUENCE, element, integer
from vtpm.spec.algorithms import TPMS_ECC_POINT
from vtpm.spec.constants import TPM_ALG, TPM_ECC_CURVE
from vtpm.spec.objects import TPMS_ECC_PARMS, TPMS_RSA_PARMS, TPMT_PUBLIC

TCG = "2.23.133"
TPM_MANUFACTURER, TPM_MODEL, TPM_VERSION = (ObjectIdentifier(f"{TCG}.2.{n}") for n in (1, 2, 3))
TPM_SPECIFICATION = bytes.fromhex("678105 0210")
"""2.23.133.2.16, encoded."""

PLATFORM_MANUFACTURER, PLATFORM_MODEL, PLATFORM_VERSION = (
    ObjectIdentifier(f"{TCG}.5.1.{n}") for n in (1, 4, 5)
)
EK_CERTIFICATE, PLATFORM_CERTIFICATE = (ObjectIdentifier(f"{TCG}.8.{n}") for n in (1, 2))
SUBJECT_DIRECTORY_ATTRIBUTES = ObjectIdentifier("2.5.29.9")
SET, UTF8_STRING = 0x31, 0x0C
NEVER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""RFC 5280, 4.1.2.5: there is no well-defined end."""

Extensions = list[tuple[x509.ExtensionType, bool]]
"""Extensions of a certificate, and whether each is critical."""

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey
AuthorityKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
"""The key of an authority, be it here or in a token."""

CURVE_CLASSES: dict[TPM_ECC_CURVE, type[ec.EllipticCurve]] = {
    TPM_ECC_CURVE.NIST_P256: ec.SECP256R1,
    TPM_ECC_CURVE.NIST_P384: ec.SECP384R1,
    TPM_ECC_CURVE.NIST_P521: ec.SECP521R1,
}


@dataclass(frozen=True)
class Model:
    """What a certificate says of the TPM or platform."""

    manufacturer: str
    model: str
    version: str


@dataclass(frozen=True)
class Specification:
    """The TPM library that the TPM implements."""

    family: str
    level: int
    revision: int


class Authority:
    """A certificate authority: a key and its certificate."""

    def __init__(self, key: AuthorityKey, certificate: x509.Certificate) -> None:
        self._key = key
        self.certificate = certificate

    def __repr__(self) -> str:
        return f"Authority({self.certificate.subject.rfc4514_string()})"

    @classmethod
    def make(cls, key: AuthorityKey, name: str, serial: int, now: datetime) -> "Authority":
        """A root authority with a new key; the serial number has at most 159 bits."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(serial)
            .not_valid_before(now)
            .not_valid_after(NEVER)
        )
        for extension, critical in authority_extensions(key):
            builder = builder.add_extension(extension, critical=critical)
        return cls(key, builder.sign(key, SHA384()))

    def request(self, name: str | None) -> bytes:
        """A request (PKCS #10, PEM) that another authority certifies this one, by another name if given."""
        subject = (
            self.certificate.subject
            if name is None
            else x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        )
        builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
        for extension, critical in authority_extensions(self._key):
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(self._key, SHA384()).public_bytes(Encoding.PEM)

    def certify_ek(
        self,
        key: TPMT_PUBLIC,
        subject: str,
        model: Model,
        specification: Specification,
        serial: int,
        now: datetime,
    ) -> bytes:
        """The certificate of an endorsement key, in DER."""
        extensions = ek_extensions(key, model, specification)
        return self._signed(self._begun(key, subject, extensions, serial, now))

    def certify_platform(
        self, key: TPMT_PUBLIC, subject: str, model: Model, serial: int, now: datetime
    ) -> bytes:
        """The certificate of the platform that has the endorsement key, in DER."""
        return self._signed(self._begun(key, subject, platform_extensions(key, model), serial, now))

    def _begun(
        self,
        key: TPMT_PUBLIC,
        subject: str,
        extensions: Extensions,
        serial: int,
        now: datetime,
    ) -> x509.CertificateBuilder:
        begun = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
            .issuer_name(self.certificate.subject)
            .public_key(public_key_of(key))
            .serial_number(serial)
            .not_valid_before(now)
            .not_valid_after(NEVER)
        )
        return reduce(
            lambda builder, part: builder.add_extension(part[0], critical=part[1]),
            [*extensions, (self._identifier(), False)],
            begun,
        )

    def _identifier(self) -> x509.AuthorityKeyIdentifier:
        try:
            identifier = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        except x509.ExtensionNotFound:
            return x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)

    def _signed(self, builder: x509.CertificateBuilder) -> bytes:
        return builder.sign(self._key, SHA384()).public_bytes(Encoding.DER)


def authority_extensions(key: AuthorityKey) -> Extensions:
    """What the certificate of an authority says that certifies keys, and no other authority."""
    return [
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (key_usage(key_cert_sign=True, crl_sign=True), True),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
    ]


def ek_extensions(key: TPMT_PUBLIC, model: Model, specification: Specification) -> Extensions:
    """What the certificate of an endorsement key says beyond its names (3.2), whoever signs it."""
    attributes = {
        TPM_MANUFACTURER: model.manufacturer,
        TPM_MODEL: model.model,
        TPM_VERSION: model.version,
    }
    directory = x509.UnrecognizedExtension(
        SUBJECT_DIRECTORY_ATTRIBUTES, specification_attribute(specification)
    )
    return [*extensions_of(key, attributes, EK_CERTIFICATE), (directory, False)]


def platform_extensions(key: TPMT_PUBLIC, model: Model) -> Extensions:
    """What the certificate of a platform says beyond its names, whoever signs it."""
    attributes = {
        PLATFORM_MANUFACTURER: model.manufacturer,
        PLATFORM_MODEL: model.model,
        PLATFORM_VERSION: model.version,
    }
    return extensions_of(key, attributes, PLATFORM_CERTIFICATE)


def extensions_of(
    key: TPMT_PUBLIC, attributes: dict[ObjectIdentifier, str], purpose: ObjectIdentifier
) -> Extensions:
    """
    What all certificates of an endorsement key say: what it is of, and what for.

    The name is not critical, since none of them has an empty subject (RFC 5280, 4.2.1.6).
    """
    names = [
        x509.RelativeDistinguishedName([x509.NameAttribute(oid, value)]) for oid, value in attributes.items()
    ]
    is_rsa = key.type is TPM_ALG.RSA
    return [
        (x509.SubjectAlternativeName([x509.DirectoryName(x509.Name(names))]), False),
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (key_usage(key_encipherment=is_rsa, key_agreement=not is_rsa), True),
        (x509.ExtendedKeyUsage([purpose]), False),
    ]


def request(subject: str, extensions: Extensions, signer: ec.EllipticCurvePrivateKey) -> bytes:
    """
    A request (PKCS #10, PEM) with all that a certificate of an endorsement key says, but for the key.

    An endorsement key decrypts and cannot sign, so the request is another key's, `signer`.
    Whoever answers it must put the endorsement key in that key's place.
    """
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    begun = x509.CertificateSigningRequestBuilder().subject_name(name)
    builder = reduce(
        lambda builder, part: builder.add_extension(part[0], critical=part[1]), extensions, begun
    )
    return builder.sign(signer, SHA384()).public_bytes(Encoding.PEM)


def key_usage(**given: bool) -> x509.KeyUsage:
    """RFC 5280, 4.2.1.3: the uses given, and no other."""
    uses = dict.fromkeys(
        (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "key_cert_sign",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    return x509.KeyUsage(**(uses | given))


def specification_attribute(specification: Specification) -> bytes:
    """RFC 5280, 4.2.1.8, with the attribute tPMSpecification (TCG EK Credential Profile, 3.1.3)."""
    values = element(
        SEQUENCE,
        element(UTF8_STRING, specification.family.encode()),
        integer(specification.level),
        integer(specification.revision),
    )
    attribute = element(SEQUENCE, element(OBJECT_IDENTIFIER, TPM_SPECIFICATION), element(SET, values))
    return element(SEQUENCE, attribute)


def public_key_of(public: TPMT_PUBLIC) -> PublicKey:
    """The public key of an object, as X.509 knows it."""
    if isinstance(public.parameters, TPMS_RSA_PARMS):
        assert isinstance(public.unique, bytes)
        modulus = int.from_bytes(public.unique, "big")
        return rsa.RSAPublicNumbers(public.parameters.exponent or 65537, modulus).public_key()
    assert isinstance(public.parameters, TPMS_ECC_PARMS)
    assert isinstance(public.unique, TPMS_ECC_POINT)
    x, y = (int.from_bytes(part, "big") for part in (public.unique.x, public.unique.y))
    return ec.EllipticCurvePublicNumbers(x, y, CURVE_CLASSES[public.parameters.curve_id]()).public_key()


def is_valid(octets: bytes) -> bool:
    """Are the octets a certificate?"""
    try:
        x509.load_der_x509_certificate(octets).public_bytes(Encoding.DER)
    except ValueError:
        return False
    return True


def public_octets(certificate: bytes) -> bytes:
    """The public key in a certificate (SubjectPublicKeyInfo, DER)."""
    key = x509.load_der_x509_certificate(certificate).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
