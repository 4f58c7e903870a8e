"""Part 3, 18.8: X.509 certificates."""

import hashlib
from datetime import datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID, ObjectIdentifier
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.keys import (
    NULL_SIGNATURE_SCHEME,
    RSA_MODULUS,
    ecc_private,
    put_cipher,
    put_ecc,
    put_hmac,
    put_rsa,
    signing,
)
from tests.scenarios import Client, Reply
from vtpm.commands.x509 import is_usage_allowed
from vtpm.crypto.der import bit_string, element, elements_of
from vtpm.spec.algorithms import TPMS_SIGNATURE_ECC, TPMS_SIGNATURE_RSA, TPMT_SIG_SCHEME
from vtpm.spec.attributes import TPMA_OBJECT, TPMA_X509_KEY_USAGE
from vtpm.spec.constants import TPM_ALG, TPM_ECC_CURVE
from vtpm.state.object import Object
from vtpm.wire.error import TPM_RC, TpmError

TPMA_OBJECT_EXTENSION = ObjectIdentifier("2.23.133.10.1.1.1")
USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
DUMMY = ecc_private(label=b"dummy").openssl


def tbs_of(*usages: str, attributes: int | None = None, extra: bool = True) -> list[bytes]:
    """The elements of a TBSCertificate that another library made, with these key usages."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "name")])
    builder = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=DUMMY.public_key(),
        serial_number=1,
        not_valid_before=datetime(2024, 1, 1),  # noqa: DTZ001 - the builder takes UTC without a zone
        not_valid_after=datetime(2034, 1, 1),  # noqa: DTZ001
    )
    if extra:
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    if usages:
        usage = x509.KeyUsage(**{name: name in usages for name in USAGES})
        builder = builder.add_extension(usage, critical=True)
    if attributes is not None:
        value = bit_string(attributes.to_bytes(4, "big"))
        unrecognized = x509.UnrecognizedExtension(TPMA_OBJECT_EXTENSION, value)
        builder = builder.add_extension(unrecognized, critical=False)
    tbs = builder.sign(DUMMY, hashes.SHA256()).tbs_certificate_bytes
    return [part.octets for part in elements_of(elements_of(tbs)[0].content)]


def partial(*usages: str, with_algorithm: bool = False, **options: Any) -> bytes:
    """A partial certificate with these key usages."""
    _version, _serial, algorithm, issuer, validity, subject, _key, extensions = tbs_of(*usages, **options)
    given = [algorithm] if with_algorithm else []
    return element(0x30, *given, issuer, validity, subject, extensions)


def certify(
    tpm: Client,
    certified: int,
    key: int,
    certificate: bytes,
    scheme: TPMT_SIG_SCHEME = NULL_SIGNATURE_SCHEME,
    reserved: bytes = b"",
) -> Reply:
    """Have a partial certificate completed and signed."""
    return tpm.certify_x509(
        certified, key, reserved=reserved, in_scheme=scheme, partial_certificate=certificate
    )


def whole(reply: Reply, certificate: bytes) -> x509.Certificate:
    """The certificate that the caller puts together (18.8.1), as another library reads it."""
    added = [part.octets for part in elements_of(elements_of(reply.added_to_certificate)[0].content)]
    given = [part.octets for part in elements_of(elements_of(certificate)[0].content)]
    algorithm = added[2] if len(added) == 4 else given.pop(0)
    issuer, validity, subject, extensions = given
    tbs = element(0x30, added[0], added[1], algorithm, issuer, validity, subject, added[-1], extensions)
    assert elements_of(tbs)[0].octets == tbs
    body = reply.signature.signature
    if isinstance(body, TPMS_SIGNATURE_RSA):
        signature = body.sig
    else:
        assert isinstance(body, TPMS_SIGNATURE_ECC)
        numbers = (int.from_bytes(part, "big") for part in (body.signature_r, body.signature_s))
        signature = encode_dss_signature(*numbers)
    return x509.load_der_x509_certificate(element(0x30, tbs, algorithm, bit_string(signature)))


class TestCertifyX509:
    """Part 3, 18.8"""

    @pytest.mark.parametrize("alg", [TPM_ALG.SHA1, TPM_ALG.SHA256, TPM_ALG.SHA384, TPM_ALG.SHA512])
    @pytest.mark.parametrize("scheme", [TPM_ALG.RSASSA, TPM_ALG.RSAPSS])
    def test_rsa(self, tpm: Client, scheme: TPM_ALG, alg: TPM_ALG) -> None:
        """An RSA key signs a certificate for an ECC key."""
        key, certified = put_rsa(tpm, "sign x509sign"), put_ecc(tpm, "sign")
        given = partial("digital_signature")

        reply = certify(tpm, certified, key, given, signing(scheme, alg))

        certificate = whole(reply, given)
        kind = getattr(hashes, alg.name)()
        method: Any = padding.PKCS1v15()
        if scheme is TPM_ALG.RSAPSS:
            salt = min(kind.digest_size, 126 - kind.digest_size)
            method = padding.PSS(padding.MGF1(kind), salt)
        public = rsa.RSAPublicNumbers(65537, RSA_MODULUS).public_key()
        public.verify(certificate.signature, certificate.tbs_certificate_bytes, method, kind)
        assert certificate.public_key() == ecc_private().openssl.public_key()
        assert hashlib.new(alg.name, certificate.tbs_certificate_bytes).digest() == reply.tbs_digest
        found = certificate.signature_hash_algorithm
        assert found is not None
        assert found.name == alg.name.lower()
        if scheme is TPM_ALG.RSAPSS:
            shown = certificate.signature_algorithm_parameters
            assert isinstance(shown, padding.PSS)
            assert shown._salt_length == salt

    @pytest.mark.parametrize("alg", [TPM_ALG.SHA256, TPM_ALG.SHA3_384])
    def test_ecc(self, tpm: Client, alg: TPM_ALG) -> None:
        """An ECC key signs a certificate for an RSA key."""
        key, certified = put_ecc(tpm), put_rsa(tpm, "decrypt")
        given = partial("data_encipherment")

        certificate = whole(certify(tpm, certified, key, given, signing(TPM_ALG.ECDSA, alg)), given)

        kind = getattr(hashes, alg.name)()
        public = ecc_private().openssl.public_key()
        public.verify(certificate.signature, certificate.tbs_certificate_bytes, ec.ECDSA(kind))
        octets = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        expected = rsa.RSAPublicNumbers(65537, RSA_MODULUS).public_key()
        assert octets == expected.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        assert certificate.version is x509.Version.v3

    @pytest.mark.parametrize(
        "curve",
        [
            TPM_ECC_CURVE.NIST_P192,
            TPM_ECC_CURVE.NIST_P224,
            TPM_ECC_CURVE.NIST_P384,
            TPM_ECC_CURVE.NIST_P521,
            TPM_ECC_CURVE.BP_P256_R1,
            TPM_ECC_CURVE.BP_P384_R1,
            TPM_ECC_CURVE.BP_P512_R1,
        ],
    )
    def test_curves(self, tpm: Client, curve: TPM_ECC_CURVE) -> None:
        """Each curve has its name."""
        given = partial("digital_signature")

        reply = certify(tpm, put_ecc(tpm, curve=curve), put_rsa(tpm), given, signing(TPM_ALG.RSASSA))

        assert whole(reply, given).public_key() == ecc_private(curve).openssl.public_key()

    def test_serial(self, tpm: Client) -> None:
        """Serial numbers are positive, of at most 20 octets, and depend on the content."""
        key, certified = put_ecc(tpm), put_rsa(tpm)
        given = [partial("digital_signature"), partial("key_cert_sign"), partial("crl_sign")]

        numbers = {
            whole(certify(tpm, certified, key, one, signing(TPM_ALG.ECDSA)), one).serial_number
            for one in given
        }

        assert len(numbers) == 3
        assert all(0 < number < 1 << 159 for number in numbers)

    def test_algorithm_of_caller(self, tpm: Client) -> None:
        """A signature algorithm that the caller gives is taken as it is."""
        given = partial("digital_signature", with_algorithm=True)

        reply = certify(tpm, put_rsa(tpm), put_ecc(tpm), given, signing(TPM_ALG.ECDSA))

        certificate = whole(reply, given)
        public = ecc_private().openssl.public_key()
        public.verify(certificate.signature, certificate.tbs_certificate_bytes, ec.ECDSA(hashes.SHA256()))
        assert len(elements_of(elements_of(reply.added_to_certificate)[0].content)) == 3

    def test_no_algorithm(self, tpm: Client) -> None:
        """A scheme without an OBJECT IDENTIFIER needs the caller's algorithm."""
        hmac, certified = put_hmac(tpm), put_rsa(tpm)
        scheme = signing(TPM_ALG.HMAC)

        refused = certify(tpm, certified, hmac, partial("digital_signature"), scheme)
        accepted = certify(tpm, certified, hmac, partial("digital_signature", with_algorithm=True), scheme)

        assert [TPM_RC.SCHEME.handle(2), TPM_RC.SUCCESS] == [refused.rc, accepted.rc]

    def test_no_public_key(self, tpm: Client) -> None:
        """Only asymmetric keys, of curves that have an OBJECT IDENTIFIER, can be in a certificate."""
        for certified in (put_hmac(tpm), put_cipher(tpm), put_ecc(tpm, curve=TPM_ECC_CURVE.BN_P256)):
            reply = certify(
                tpm, certified, put_ecc(tpm), partial("digital_signature"), signing(TPM_ALG.ECDSA)
            )
            assert TPM_RC.ASYMMETRIC.handle(1) == reply.rc

    @pytest.mark.parametrize(
        ("attributes", "usage", "allowed"),
        [
            ("sign", "digital_signature", True),
            ("decrypt", "digital_signature", False),
            ("decrypt", "key_cert_sign", False),
            ("decrypt", "crl_sign", False),
            ("decrypt", "data_encipherment", True),
            ("sign", "data_encipherment", False),
            ("sign", "key_agreement", False),
            ("decrypt", "key_agreement", True),
            ("decrypt", "key_encipherment", False),
            ("decrypt restricted", "key_encipherment", True),
            ("sign restricted", "key_encipherment", False),
            ("sign", "content_commitment", False),
            ("sign fixedTPM", "content_commitment", True),
        ],
    )
    def test_usage(self, tpm: Client, attributes: str, usage: str, *, allowed: bool) -> None:
        """The key must have the attributes for the usages of the certificate (Part 2, 8.11)."""
        reply = certify(tpm, put_rsa(tpm, attributes), put_ecc(tpm), partial(usage), signing(TPM_ALG.ECDSA))

        assert (TPM_RC.SUCCESS if allowed else TPM_RC.ATTRIBUTES.handle(1)) == reply.rc

    @pytest.mark.parametrize("name", ["encipherOnly", "decipherOnly"])
    def test_usage_of_agreement(self, name: str) -> None:
        """The two usages that go with key agreement need decrypt, too."""
        usage = TPMA_X509_KEY_USAGE(**{name: True})

        assert not is_usage_allowed(usage, TPMA_OBJECT(sign=True))
        assert is_usage_allowed(usage, TPMA_OBJECT(decrypt=True))

    def test_attributes(self, tpm: Client) -> None:
        """The extension with the attributes must have the key's."""
        certified, key = put_rsa(tpm), put_ecc(tpm)
        item = tpm.tpm.volatile.objects[certified]
        assert isinstance(item, Object)
        right = item.public.object_attributes

        replies = [
            certify(
                tpm, certified, key, partial("digital_signature", attributes=value), signing(TPM_ALG.ECDSA)
            )
            for value in (right, right.but(fixedTPM=True))
        ]

        assert [TPM_RC.SUCCESS, TPM_RC.ATTRIBUTES.handle(1)] == [reply.rc for reply in replies]

    def test_errors(self, tpm: Client) -> None:
        """What is reserved is empty; the key signs; the scheme fits; there is a Key Usage."""
        good, scheme = partial("digital_signature"), signing(TPM_ALG.ECDSA)
        certified, key = put_rsa(tpm), put_ecc(tpm)
        cases = [
            (certify(tpm, certified, key, good, scheme, b"x"), TPM_RC.SIZE.parameter(1)),
            (certify(tpm, certified, put_ecc(tpm, "decrypt"), good, scheme), TPM_RC.KEY.handle(2)),
            (certify(tpm, certified, key, good), TPM_RC.SCHEME.parameter(2)),
            (certify(tpm, certified, key, partial(), scheme), TPM_RC.VALUE.parameter(3)),
            (certify(tpm, put_rsa(tpm, private=False), key, good, scheme), TPM_RC.AUTH_UNAVAILABLE),
        ]
        for reply, expected in cases:
            assert expected == reply.rc

    def test_malformed(self, tpm: Client) -> None:
        """A partial certificate has the elements that it must have, and is DER to its last octet."""
        _version, _serial, algorithm, issuer, validity, subject, _key, extensions = tbs_of(
            "digital_signature"
        )
        sized, valued = TPM_RC.SIZE.parameter(3), TPM_RC.VALUE.parameter(3)
        reserved_bits = element(0x30, b"\x06\x03\x55\x1d\x0f", element(4, b"\x03\x03\x00\x80\x40"))
        cases = [
            (b"", valued),
            (element(0x31, issuer, validity, subject, extensions), sized),
            (element(0x30, issuer, validity, subject, extensions) + b"\x05\x00", sized),
            (element(0x30), valued),
            (element(0x30, issuer, validity, extensions), valued),
            (element(0x30, issuer, validity, subject), valued),
            (element(0x30, algorithm, issuer, validity, subject, subject, extensions), valued),
            (element(0x30, issuer, validity, subject, extensions, extensions), valued),
            (element(0x30, issuer, b"\x05\x00", subject, extensions), valued),
            (element(0x30, issuer, validity, subject, extensions)[:-1], sized),
            (element(0x30, issuer, validity, subject, element(0xA3)), valued),
            (element(0x30, issuer, validity, subject, element(0xA3, element(0x30, element(0x30)))), valued),
            (
                element(0x30, issuer, validity, subject, element(0xA3, element(0x30, reserved_bits))),
                TPM_RC.RESERVED_BITS.parameter(3),
            ),
        ]
        certified, key = put_rsa(tpm), put_ecc(tpm)
        for certificate, expected in cases:
            assert expected == certify(tpm, certified, key, certificate, signing(TPM_ALG.ECDSA)).rc

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_any_octets(self, tpm: Client, data: st.DataObject) -> None:
        """Whatever the octets are, the command ends with a response code and the TPM goes on."""
        octets = bytearray(partial("digital_signature"))
        position = data.draw(st.integers(0, len(octets) - 1))
        octets[position] = data.draw(st.integers(0, 255))
        if 0x80000001 not in tpm.tpm.volatile.objects:
            put_rsa(tpm)
            put_ecc(tpm)

        certify(tpm, 0x80000000, 0x80000001, bytes(octets), signing(TPM_ALG.ECDSA))

        assert tpm.get_random(bytes_requested=1).rc == TPM_RC.SUCCESS


class TestElements:
    """X.690, clause 10: the encoding of lengths"""

    @pytest.mark.parametrize("size", [0, 1, 127, 128, 255, 256, 65535])
    def test_round_trip(self, size: int) -> None:
        """What is written is read again."""
        octets = element(0x04, bytes(size))

        assert [part.content for part in elements_of(octets + octets)] == [bytes(size)] * 2

    @pytest.mark.parametrize(
        "octets",
        ["04", "0401", "0480", "048101ff", "04820080" + "00" * 128, "1f0100", "0489" + "01" * 9, "04ff"],
    )
    def test_wrong(self, octets: str) -> None:
        """Lengths are definite and as short as they can be; tags are single octets."""
        with pytest.raises(TpmError):
            elements_of(bytes.fromhex(octets))
