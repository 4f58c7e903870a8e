"""The platform certificate of a TPM: which platform its endorsement key belongs to."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from vtpm.manufacture.certificates import PLATFORM_CERTIFICATE as PURPOSE
from vtpm.manufacture.certificates import PLATFORM_MANUFACTURER, PLATFORM_MODEL, PLATFORM_VERSION
from vtpm.manufacture.endorsement import (
    certifies,
    endorsements_of,
    known_key_of,
    parsed,
    replace_index,
    uses_of,
)
from vtpm.manufacture.templates import PLATFORM_CERTIFICATE
from vtpm.spec.objects import TPMT_PUBLIC
from vtpm.state.tpm import TpmState
from vtpm.wire.structure import marshal

PLATFORM_INDICES = range(PLATFORM_CERTIFICATE, 0x01C10000)
"""TCG Registry of Reserved TPM 2.0 Handles, 2.2: the NV Indices of platform certificates."""


def platform_certificates_of(tpm: TpmState) -> Iterator[tuple[int, x509.Certificate]]:
    """The platform certificates in NV and the Indices that they are in."""
    for handle in sorted(handle for handle in tpm.nv if handle in PLATFORM_INDICES):
        index = tpm.nv[handle]
        certificate = parsed(index.data) if index.attributes.WRITTEN else None
        if certificate is not None:
            yield handle, certificate


def keys_of(tpm: TpmState) -> list[TPMT_PUBLIC]:
    """The endorsement keys that a platform certificate can be of, the first one first."""
    publics = [item.public for item in endorsements_of(tpm) if item.public is not None]
    return [public for public in publics if known_key_of(public) is not None]


def describe_platform(tpm: TpmState, now: datetime) -> dict[str, Any]:
    """The key that the platform's certificate is of, and the certificates: all of it is public."""
    del now
    found = list(platform_certificates_of(tpm))
    keys = keys_of(tpm)
    certified = (key for key in keys if any(certifies(certificate, key) for _, certificate in found))
    key = next(certified, keys[0] if keys else None)
    return {
        "tpmt_public": key and marshal(key).hex(),
        "certificates": [_described(index, certificate) for index, certificate in found],
    }


def _described(index: int, certificate: x509.Certificate) -> dict[str, Any]:
    return {
        "index": f"0x{index:08x}",
        "certificate": certificate.public_bytes(Encoding.PEM).decode(),
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "serial": f"{certificate.serial_number:x}",
        "not_after": certificate.not_valid_after_utc.isoformat(),
        "sha256": certificate.fingerprint(SHA256()).hex(),
        "platform": _platform_of(certificate),
    }


def _platform_of(certificate: x509.Certificate) -> list[str] | None:
    """Maker, model and version of the platform that a certificate names, if it does as it should."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None
    told = {
        attribute.oid: str(attribute.value)
        for name in names.get_values_for_type(x509.DirectoryName)
        for attribute in name
    }
    wanted = (PLATFORM_MANUFACTURER, PLATFORM_MODEL, PLATFORM_VERSION)
    return [told[oid] for oid in wanted] if all(oid in told for oid in wanted) else None


def put_platform_certificate(tpm: TpmState, octets: bytes) -> int:
    """
    Put a platform certificate into NV in place of the one there; the Index.

    ValueError: it is no platform certificate, or of another TPM, or it cannot be put there.
    """
    certificate = parsed(octets)
    if certificate is None:
        raise ValueError("it is no X.509 certificate")
    if PURPOSE not in (uses_of(certificate) or ()):
        raise ValueError(
            f"it is no platform certificate: extended key usage {PURPOSE.dotted_string} is absent"
        )
    if not any(certifies(certificate, key) for key in keys_of(tpm)):
        raise ValueError("it is for none of the TPM's endorsement keys")
    present = [index for index, _ in platform_certificates_of(tpm)]
    index = present[0] if present else PLATFORM_CERTIFICATE
    if not present and index in tpm.nv:
        raise ValueError(f"the Index 0x{index:08x} holds something else; remove that in the guest")
    replace_index(tpm, index, octets)
    return index
