"""Certificates of one VM's TPM, signed by the local authority, and requests for those of another one."""

from collections.abc import Callable
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric import ec

from vtpm.daemon.authority.local import serial_number
from vtpm.manufacture.certificates import (
    Authority,
    Model,
    Specification,
    ek_extensions,
    platform_extensions,
    request,
)
from vtpm.spec.objects import TPMT_PUBLIC


def now() -> datetime:
    """From when a certificate is valid that is made now."""
    return datetime.now(UTC)


def request_ek(key: TPMT_PUBLIC, subject: str, tpm: Model, specification: Specification) -> bytes:
    """A request for a certificate of an endorsement key, signed by a key that nobody keeps (PEM)."""
    return request(subject, ek_extensions(key, tpm, specification), ec.generate_private_key(ec.SECP384R1()))


def request_platform(key: TPMT_PUBLIC, subject: str, platform: Model) -> bytes:
    """A request for the certificate of a platform with this endorsement key, signed likewise (PEM)."""
    return request(subject, platform_extensions(key, platform), ec.generate_private_key(ec.SECP384R1()))


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
        now: Callable[[], datetime] = now,
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
