"""What a platform's maker puts into a TPM (TCG EK Credential Profile for TPM 2.0, 2.5)."""

import os
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID

from tests.objects import handle_of
from tests.scenarios import Client
from vtpm.engine.tpm import Tpm
from vtpm.manufacture.certificates import Authority, Model, Specification, public_key_of, public_octets
from vtpm.manufacture.provision import provision
from vtpm.manufacture.templates import EK, PLATFORM_CERTIFICATE, SRK_HANDLE
from vtpm.spec.algorithms import TPMS_SENSITIVE_CREATE
from vtpm.spec.constants import TPM_ALG, TPM_RH, TPM_SU
from vtpm.spec.objects import TPMT_PUBLIC
from vtpm.wire.error import TPM_RC

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TPM_MODEL = Model("id:5654504D", "vtpm", "id:00010000")
PLATFORM = Model("A maker", "A model", "1")


class Certifier:
    """An authority of its own, with fixed serial numbers."""

    def __init__(self) -> None:
        self.authority = Authority.make(ec.generate_private_key(ec.SECP384R1()), "test authority", 1, NOW)

    def certify_ek(self, key: TPMT_PUBLIC) -> bytes:
        """An endorsement key's."""
        return self.authority.certify_ek(key, "guest", TPM_MODEL, Specification("2.0", 0, 185), 2, NOW)

    def certify_platform(self, key: TPMT_PUBLIC) -> bytes:
        """The platform's."""
        return self.authority.certify_platform(key, "guest", PLATFORM, 3, NOW)


def provisioned(certifier: Certifier | None = None, **given: object) -> Client:
    """A TPM that was provisioned, after its first Startup."""
    tpm = Tpm.manufacture(os.urandom)
    provision(tpm, certifier, **given)  # type: ignore[arg-type]
    client = Client()
    client.durable = tpm.snapshot()
    client.lose_power()
    assert client.startup(startup_type=TPM_SU.CLEAR).rc == 0
    return client


def read(tpm: Client, index: int) -> bytes:
    """All of an Index, which anybody may read."""
    size = tpm.nv_read_public(index).nv_public.data_size
    parts = [
        tpm.nv_read(index, index, size=min(1024, size - at), offset=at).data for at in range(0, size, 1024)
    ]
    return b"".join(parts)


@pytest.fixture(scope="module")
def certifier() -> Certifier:
    return Certifier()


@pytest.fixture(scope="module")
def client(certifier: Certifier) -> Client:
    return provisioned(certifier)


class TestKeys:
    """2.2: endorsement keys at their handles"""

    @pytest.mark.parametrize("key", EK)
    def test_template(self, key: EK) -> None:
        """CreatePrimary with the template gives the key that is persistent, as verifiers do."""
        tpm = provisioned(keys=[key])
        persistent = tpm.read_public(key.value.handle)
        reply = tpm.create_primary(
            TPM_RH.ENDORSEMENT,
            in_sensitive=TPMS_SENSITIVE_CREATE(user_auth=b"", data=b""),
            in_public=key.value.template,
            outside_info=b"",
            creation_pcr=(),
        )
        assert handle_of(reply)
        assert reply.out_public == persistent.out_public

    def test_storage_root_key(self) -> None:
        """It is there if it is asked for."""
        assert provisioned(srk=True).read_public(SRK_HANDLE).rc == 0
        assert provisioned().read_public(SRK_HANDLE).rc == TPM_RC.HANDLE.handle(1)


class TestCertificates:
    """3.2: certificates in NV"""

    @pytest.mark.parametrize("key", [EK.RSA_2048, EK.ECC_P384])
    def test_certificate(self, client: Client, certifier: Certifier, key: EK) -> None:
        """It certifies the persistent key, says what the TPM is, and the authority has signed it."""
        octets = read(client, key.value.certificate)
        certificate = x509.load_der_x509_certificate(octets)
        certificate.verify_directly_issued_by(certifier.authority.certificate)
        public = client.read_public(key.value.handle).out_public
        assert certificate.public_key() == public_key_of(public)
        assert public_octets(octets)

        extensions = certificate.extensions
        name = extensions.get_extension_for_class(x509.SubjectAlternativeName)
        assert not name.critical  # the subject is not empty (RFC 5280, 4.2.1.6)
        (directory_name,) = name.value.get_values_for_type(x509.DirectoryName)
        said = {attribute.oid.dotted_string: attribute.value for attribute in directory_name}
        assert said == {
            "2.23.133.2.1": "id:5654504D",
            "2.23.133.2.2": "vtpm",
            "2.23.133.2.3": "id:00010000",
        }
        purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert [purpose.dotted_string for purpose in purposes] == ["2.23.133.8.1"]
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
        assert usage.key_encipherment is (key is EK.RSA_2048)
        assert usage.key_agreement is (key is EK.ECC_P384)
        directory = extensions.get_extension_for_oid(ExtensionOID.SUBJECT_DIRECTORY_ATTRIBUTES).value
        assert directory.public_bytes() == bytes.fromhex(
            "301930170605678105021031 0e300c0c03322e30020100020200b9"
        )

    def test_platform(self, client: Client, certifier: Certifier) -> None:
        """The platform certificate names the platform."""
        certificate = x509.load_der_x509_certificate(read(client, PLATFORM_CERTIFICATE))
        certificate.verify_directly_issued_by(certifier.authority.certificate)
        purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert [purpose.dotted_string for purpose in purposes] == ["2.23.133.8.2"]
        assert b"A maker" in certificate.public_bytes(Encoding.DER)

    def test_locked(self, client: Client) -> None:
        """Not even the platform can change it, after a restart too."""
        index = EK.RSA_2048.value.certificate
        assert client.nv_write(TPM_RH.PLATFORM, index, data=b"x", offset=0).rc == TPM_RC.NV_LOCKED
        client.power_cycle()
        assert client.nv_write(TPM_RH.PLATFORM, index, data=b"x", offset=0).rc == TPM_RC.NV_LOCKED

    def test_left_open(self, certifier: Certifier) -> None:
        """Unlocked, the platform can replace it."""
        tpm = provisioned(certifier, lock=False, keys=[EK.ECC_P256])
        index = EK.ECC_P256.value.certificate
        assert tpm.nv_write(TPM_RH.PLATFORM, index, data=b"x", offset=0).rc == 0


class TestBanks:
    """The active PCR banks"""

    def test_active(self) -> None:
        """Only the chosen ones hold PCR from the first start on."""
        tpm = provisioned(banks=[TPM_ALG.SHA384])
        assert list(tpm.tpm.pcr.banks) == [TPM_ALG.SHA384]

    def test_nothing_volatile_is_left(self) -> None:
        """No object is loaded, and the last shutdown was orderly."""
        tpm = provisioned(srk=True)
        assert not tpm.tpm.volatile.objects
        assert tpm.tpm.volatile.was_orderly
        assert set(tpm.tpm.persistent) == {SRK_HANDLE, EK.RSA_2048.value.handle, EK.ECC_P384.value.handle}
