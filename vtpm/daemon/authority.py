"""
The local certificate authority: a key and a certificate in a directory, made when first needed.

The key is a file that only its owner reads; it protects nothing from somebody who reads the directory.
"""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from vtpm.daemon.clock import entropy
from vtpm.daemon.errors import OperatorError
from vtpm.manufacture.certificates import Authority, Model, Specification, request_ek
from vtpm.spec.objects import TPMT_PUBLIC

KEY: Final = "authority.key"
CERTIFICATE: Final = "authority.pem"
NAME: Final = "vtpm local authority"
SERIAL_SIZE: Final = 16
"""Octets of a serial number; RFC 5280, 4.1.2.2, allows 20."""


class AuthorityError(OperatorError):
    """The local authority cannot be used; the text gives cause and remedy."""


def default_directory() -> Path:
    """Where the authority is: $VTPM_AUTHORITY_DIR, /var/lib/vtpm/authority for root, or the user's own."""
    given = os.environ.get("VTPM_AUTHORITY_DIR")
    if given:
        return Path(given)
    if os.geteuid() == 0:
        return Path("/var/lib/vtpm/authority")
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state"
    return Path(home) / "vtpm/authority"


def serial_number() -> int:
    """A new serial number, which is positive."""
    return int.from_bytes(entropy(SERIAL_SIZE), "big") >> 1 | 1 << 8 * SERIAL_SIZE - 2


def open_authority(directory: Path) -> Authority:
    """The authority in a directory, made if there is none; AuthorityError if it cannot be used."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (directory / CERTIFICATE).exists():
            _make(directory)
        key = load_pem_private_key((directory / KEY).read_bytes(), None)
        certificate = x509.load_pem_x509_certificate((directory / CERTIFICATE).read_bytes())
    except OSError as error:
        raise AuthorityError(
            f"{error.filename or directory}: {error.strerror}; let the user who creates TPMs write there, "
            "or name another directory in VTPM_AUTHORITY_DIR"
        ) from None
    except ValueError as error:
        raise AuthorityError(f"{directory}: {error}; restore {KEY} and {CERTIFICATE} from a backup") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise AuthorityError(
            f"{directory}: {KEY} is not the key of {CERTIFICATE}; restore both from a backup"
        )
    return Authority(key, certificate)


def _make(directory: Path) -> None:
    """Make key and certificate; whoever is first to give the key its name is the one that counts."""
    made = ec.generate_private_key(ec.SECP384R1())
    pem = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _put(directory / KEY, pem, 0o600)
    key = load_pem_private_key((directory / KEY).read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise AuthorityError(f"{directory / KEY} is no key on an elliptic curve; move it away")
    authority = Authority.make(key, NAME, serial_number(), datetime.now(UTC))
    _put(directory / CERTIFICATE, authority.certificate.public_bytes(Encoding.PEM), 0o644)


def _put(path: Path, octets: bytes, mode: int) -> None:
    """Write a file that appears whole, unless it is there."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(octets)
            file.flush()
            os.fsync(descriptor)
        try:
            os.link(beside, path)
        except FileExistsError:
            return
    finally:
        beside.unlink()


def request_for(key: TPMT_PUBLIC, subject: str, tpm: Model, specification: Specification) -> bytes:
    """A request for a certificate of an endorsement key, signed by a key that nobody keeps (PEM)."""
    return request_ek(key, subject, tpm, specification, ec.generate_private_key(ec.SECP384R1()))


class LocalCertifier:
    """Signs the certificates of one VM's TPM with the local authority."""

    def __init__(
        self,
        authority: Authority,
        subject: str,
        tpm: Model,
        platform: Model | None,
        specification: Specification,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._authority = authority
        self._subject = subject
        self._tpm = tpm
        self._platform = platform
        self._specification = specification
        self._now = now

    def certify_ek(self, key: TPMT_PUBLIC) -> bytes:
        """The certificate of an endorsement key."""
        return self._authority.certify_ek(
            key, self._subject, self._tpm, self._specification, serial_number(), self._now()
        )

    def certify_platform(self, key: TPMT_PUBLIC) -> bytes:
        """The platform certificate; empty if no platform is named."""
        if self._platform is None:
            return b""
        return self._authority.certify_platform(
            key, self._subject, self._platform, serial_number(), self._now()
        )
