"""The endorsement keys of a TPM and their certificates (TCG EK Credential Profile for TPM 2.0, 2.5)."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from vtpm.manufacture.certificates import EK_CERTIFICATE, PublicKey, public_key_of
from vtpm.manufacture.provision import CERTIFICATE_INDEX
from vtpm.manufacture.templates import EK
from vtpm.spec.algorithms import TPMS_SYMCIPHER_PARMS
from vtpm.spec.constants import TPM_ALG, TPM_RH
from vtpm.spec.nv import TPMS_NV_PUBLIC
from vtpm.spec.objects import TPMS_ECC_PARMS, TPMS_RSA_PARMS, TPMT_PUBLIC
from vtpm.state.hierarchy import base_of
from vtpm.state.nv import NvIndex
from vtpm.state.tpm import TpmState
from vtpm.wire.structure import marshal

EK_HANDLES = range(0x81010000, 0x81020000)
"""TCG Registry of Reserved TPM 2.0 Handles, 2.3.1: persistent objects of the endorsement hierarchy."""

EK_INDICES = range(0x01C00000, 0x01C08000)
"""2.2: the NV Indices of endorsement keys' certificates, and of chains, nonces and templates."""


@dataclass(frozen=True)
class Endorsement:
    """An endorsement key or its certificate, mostly both."""

    handle: int | None
    public: TPMT_PUBLIC | None
    index: int | None
    certificate: x509.Certificate | None


def endorsements_of(tpm: TpmState) -> Iterator[Endorsement]:
    """The persistent endorsement keys, each with its certificate, then certificates of no such key."""
    certificates = dict(certificates_of(tpm))
    for handle in sorted(handle for handle in tpm.persistent if handle in EK_HANDLES):
        item = tpm.persistent[handle]
        if base_of(item.hierarchy) != TPM_RH.ENDORSEMENT or not item.is_parent:
            continue
        index = next((at for at, found in certificates.items() if certifies(found, item.public)), None)
        yield Endorsement(handle, item.public, index, certificates.pop(index) if index else None)
    for index, certificate in certificates.items():
        yield Endorsement(None, None, index, certificate)


def certificates_of(tpm: TpmState) -> Iterator[tuple[int, x509.Certificate]]:
    """The certificates in NV and the Indices that they are in; what is no certificate is passed over."""
    for handle in sorted(handle for handle in tpm.nv if handle in EK_INDICES):
        index = tpm.nv[handle]
        certificate = parsed(index.data) if index.attributes.WRITTEN else None
        if certificate is not None:
            yield handle, certificate


def parsed(octets: bytes) -> x509.Certificate | None:
    """A certificate that can be read to its end; None for other octets, which a guest may have written."""
    try:
        certificate = x509.load_der_x509_certificate(octets)
        certificate.public_key()
        list(certificate.extensions)
        list(certificate.subject)
        list(certificate.issuer)
        certificate.not_valid_after_utc.isoformat()
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension):
        return None
    return certificate


def certifies(certificate: x509.Certificate, public: TPMT_PUBLIC) -> bool:
    """Is it a certificate of this key?"""
    key = known_key_of(public)
    return key is not None and certificate.public_key() == key


def uses_of(certificate: x509.Certificate) -> x509.ExtendedKeyUsage | None:
    """The extended key usage of a certificate; None if it says nothing of it."""
    try:
        return certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return None


def known_key_of(public: TPMT_PUBLIC) -> PublicKey | None:
    """The public key of an object as X.509 knows it; None if X.509 knows none of its kind."""
    try:
        return public_key_of(public)
    except KeyError:
        return None


def kind_of(public: TPMT_PUBLIC) -> str:
    """What an object is, in words: `RSA 2048`."""
    if isinstance(public.parameters, TPMS_RSA_PARMS):
        return f"RSA {public.parameters.key_bits}"
    if isinstance(public.parameters, TPMS_ECC_PARMS):
        return f"ECC {public.parameters.curve_id.name}"
    if isinstance(public.parameters, TPMS_SYMCIPHER_PARMS):
        return f"{public.parameters.sym.algorithm.name} {public.parameters.sym.key_bits}"
    return "keyed hash"


def describe_endorsement(tpm: TpmState, now: datetime) -> list[dict[str, Any]]:
    """The endorsement keys and certificates, for an operator to hand on: all of it is public."""
    del now
    return [_described(item) for item in endorsements_of(tpm)]


def _described(item: Endorsement) -> dict[str, Any]:
    facts: dict[str, Any] = {"key": None, "handle": None, "tpmt_public": None, "public_key": None}
    if item.public is not None:
        key = known_key_of(item.public)
        facts = {
            "key": kind_of(item.public),
            "handle": f"0x{item.handle:08x}",
            "tpmt_public": marshal(item.public).hex(),
            "public_key": key and key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
        }
    facts |= {"index": None, "certificate": None}
    if item.certificate is not None:
        certificate = item.certificate
        facts |= {
            "index": f"0x{item.index:08x}",
            "certificate": certificate.public_bytes(Encoding.PEM).decode(),
            "subject": certificate.subject.rfc4514_string(),
            "issuer": certificate.issuer.rfc4514_string(),
            "serial": f"{certificate.serial_number:x}",
            "not_after": certificate.not_valid_after_utc.isoformat(),
            "sha256": certificate.fingerprint(SHA256()).hex(),
        }
    return facts


def index_of(key: TPMT_PUBLIC) -> int | None:
    """The Index that the certificate of a key of a known template belongs into."""
    for known in EK:
        if _without_unique(known.value.template) == _without_unique(key):
            return known.value.certificate
    return None


def _without_unique(public: TPMT_PUBLIC) -> tuple[object, ...]:
    return (public.type, public.name_alg, public.object_attributes, public.auth_policy, public.parameters)


def put_certificate(tpm: TpmState, octets: bytes) -> int:
    """
    Put the certificate of an endorsement key into NV in place of the one there; the Index.

    ValueError: it is no certificate, or of no persistent endorsement key, or it cannot be put there.
    """
    certificate = parsed(octets)
    if certificate is None:
        raise ValueError("it is no X.509 certificate")
    uses = uses_of(certificate)
    if uses is not None and EK_CERTIFICATE not in uses:
        raise ValueError(
            f"it is no endorsement key's: extended key usage {EK_CERTIFICATE.dotted_string} is absent"
        )
    for item in endorsements_of(tpm):
        if item.public is not None and certifies(certificate, item.public):
            index = item.index or index_of(item.public)
            break
    else:
        raise ValueError("it is for none of the TPM's endorsement keys")
    if index is None:
        raise ValueError("its key is of no template whose certificate has an Index")
    if item.index is None and index in tpm.nv:
        raise ValueError(f"the Index 0x{index:08x} holds something else; remove that in the guest")
    replace_index(tpm, index, octets)
    return index


def replace_index(tpm: TpmState, index: int, octets: bytes) -> None:
    """
    Define an Index of the platform anew, with a certificate in it, written and locked.

    One that the platform's maker left unlocked stays so.
    ValueError: the Index is the owner's, or there is no room.
    """
    former = tpm.nv.get(index)
    if former is not None and not former.attributes.PLATFORMCREATE:
        raise ValueError(
            f"the Index 0x{index:08x} is the owner's, not the platform's; remove it in the guest"
        )
    is_locked = former is None or former.attributes.WRITELOCKED
    written = CERTIFICATE_INDEX.but(WRITTEN=True, WRITELOCKED=is_locked)
    made = NvIndex(TPMS_NV_PUBLIC(index, TPM_ALG.SHA256, written, b"", len(octets)), b"", octets)
    if made.size > tpm.nv_space + (former.size if former is not None else 0):
        raise ValueError("the TPM's NV memory has no room for it")
    if former is not None:
        tpm.erase_nv(former)
    tpm.nv[index] = made
    tpm.touch_nv(made)
