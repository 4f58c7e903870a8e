"""
The second format of a backup: PKCS#12 (RFC 7292), so that operators' tools can hold and read it.

The file has one key pair of its own, on P-256, with a certificate that it signs itself.
The KDKs are encrypted to that key by HPKE (RFC 9180), and lie in an extension of the certificate,
together with what people may read of the backup:

    extension 2.25.333050936105894404412047571640271936385, an OCTET STRING of the canonical JSON
        { format, version, provider, current, keys, exported, host, sealed }
    sealed   HPKE, base mode, DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, AES-256-GCM:
             enc 65 ‖ ciphertext of KDK ‖ KDK ‖ …,
             info = context("nvstore v1 pkcs12 backup", canonical JSON of the other members)

A KDK is never the private key itself: it derives keys, and signs nothing.
Certificate and key are encrypted under the password by AES-256 in CBC mode, with PBES2 and
PBKDF2-HMAC-SHA-256, and authenticated by HMAC-SHA-256.
PBKDF2 makes guesses cheaper than Argon2id does, so the password must be longer than that of the other format.
"""

import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.serialization import PrivateFormat, pkcs12
from cryptography.x509.oid import NameOID

from nvstore.document import BadDocument, canonical, pretty, read_document
from nvstore.keys import PKCS12_BACKUP, context
from nvstore.provider.backup import Backup
from nvstore.provider.der_cost import MAX_ROUNDS, rounds_of
from nvstore.provider_errors import (
    BackupDamaged,
    TooExpensive,
    UnfitPassphrase,
    WeakPassphrase,
    WrongPassphrase,
)

FORMAT: Final = "nvstore provider backup in pkcs12"
EXTENSION: Final = x509.ObjectIdentifier("2.25.333050936105894404412047571640271936385")
"""The certificate's extension; the arc 2.25 is that of UUIDs (X.667)."""

MIN_PASSPHRASE: Final = 16
ROUNDS: Final = 600_000
_SUITE: Final = Suite(KEM.P256, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_NO_END: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""A certificate without an end of validity (RFC 5280, clause 4.1.2.5)."""


def write_pkcs12(backup: Backup, passphrase: bytes) -> bytes:
    """Return a backup as a PKCS#12 file; WeakPassphrase or UnfitPassphrase if that cannot have this one."""
    if len(passphrase) < MIN_PASSPHRASE:
        raise WeakPassphrase(len(passphrase), MIN_PASSPHRASE)
    if not _is_text(passphrase):
        raise UnfitPassphrase
    private = ec.generate_private_key(ec.SECP256R1())
    shown = read_document(pretty(FORMAT, backup.fields()), FORMAT)
    sealed = _SUITE.encrypt(backup.secret, private.public_key(), info=_info(shown))
    certificate = _certificate(private, backup, canonical({**shown, "sealed": sealed.hex()}))
    encryption = (
        PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(ROUNDS)
        .key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC)
        .hmac_hash(SHA256())
        .build(passphrase)
    )
    name = backup.provider.encode()
    return pkcs12.serialize_key_and_certificates(name, private, certificate, None, encryption)


def open_pkcs12(octets: bytes, path: Path, passphrase: bytes, *, allow_expensive: bool = False) -> Backup:
    """Open a backup in PKCS#12, or raise BackupDamaged, TooExpensive or WrongPassphrase."""
    try:
        rounds = rounds_of(octets)
    except ValueError as error:
        raise BackupDamaged(path, f"it is neither a backup nor PKCS#12: {error}") from None
    if rounds > MAX_ROUNDS and not allow_expensive:
        raise TooExpensive(path, f"{rounds} rounds of its key derivation")
    private, certificate = _load(octets, path, passphrase)
    try:
        extension = certificate.extensions.get_extension_for_oid(EXTENSION).value
        assert isinstance(extension, x509.UnrecognizedExtension)
        document = read_document(extension.value, FORMAT)
        sealed = bytes.fromhex(document.pop("sealed"))
        certificate.verify_directly_issued_by(certificate)
        return Backup.of(document, _SUITE.decrypt(sealed, private, info=_info(document)))
    except BadDocument as error:
        raise BackupDamaged(path, str(error)) from None
    except x509.ExtensionNotFound:
        raise BackupDamaged(path, "its certificate has no keys of a provider in it") from None
    except (InvalidTag, InvalidSignature):
        raise BackupDamaged(path, "the passphrase is right, but the file was altered") from None
    except (KeyError, TypeError, ValueError) as error:
        raise BackupDamaged(path, str(error)) from None


def _certificate(private: ec.EllipticCurvePrivateKey, backup: Backup, content: bytes) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"key provider {backup.provider}"[:64])])
    exported = datetime.fromisoformat(backup.exported)
    builder = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=private.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=exported,
        not_valid_after=_NO_END,
    )
    extension = x509.UnrecognizedExtension(EXTENSION, content)
    return builder.add_extension(extension, critical=False).sign(private, SHA256())


def _load(
    octets: bytes, path: Path, passphrase: bytes
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    if not _is_text(passphrase):
        raise WrongPassphrase(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the encodings of files that are refused anyway
            private, certificate, _ = pkcs12.load_key_and_certificates(octets, passphrase)
    except ValueError as error:
        if "password" in str(error).lower():
            raise WrongPassphrase(path) from None
        raise BackupDamaged(path, "it is neither a backup nor PKCS#12") from None
    if not isinstance(private, ec.EllipticCurvePrivateKey) or certificate is None:
        raise BackupDamaged(path, "it has no key on P-256 with its certificate")
    return private, certificate


def _is_text(passphrase: bytes) -> bool:
    """Tell whether it is UTF-8, as PKCS#12 has passwords (RFC 7292, appendix B.1)."""
    try:
        passphrase.decode()
    except UnicodeDecodeError:
        return False
    return True


def _info(shown: dict[str, Any]) -> bytes:
    return context(PKCS12_BACKUP, canonical(shown))
