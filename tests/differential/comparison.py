"""What of a response must be equal: all of it, but for values that are random or tell the time."""

from collections.abc import Callable
from typing import Any

from tests.scenarios import Reply
from vtpm.crypto.der import elements_of
from vtpm.spec.algorithms import TPMT_SIGNATURE
from vtpm.spec.constants import TPM_ALG, TPM_CAP, TPM_PT
from vtpm.spec.objects import TPMT_PUBLIC
from vtpm.spec.structures import TPMS_ATTEST
from vtpm.wire.structure import marshal, unmarshal

COUNTERS = 3
"""Where `attest` has the counters of resets and restarts."""

SERIAL_NUMBER = 1
"""Where the octets that CertifyX509 adds have the serialNumber."""

OWN_PROPERTIES = {
    TPM_PT.NV_COUNTERS_AVAIL,
    TPM_PT.HR_PERSISTENT_AVAIL,
    TPM_PT.MANUFACTURER,
    TPM_PT.FIRMWARE_VERSION_1,
    TPM_PT.FIRMWARE_VERSION_2,
}
OWN_PROPERTIES |= {
    TPM_PT.VENDOR_STRING_1,
    TPM_PT.VENDOR_STRING_2,
    TPM_PT.VENDOR_STRING_3,
    TPM_PT.VENDOR_STRING_4,
}
"""Properties of the program and of its memory."""

Mask = Callable[[Any], Any]


def size(value: Any) -> int:
    """Only the size of random octets."""
    return len(value)


def point_size(value: Any) -> tuple[int, int]:
    """Only the sizes of the coordinates of a random point."""
    return len(value.x), len(value.y)


def added(octets: bytes) -> tuple[bytes, ...]:
    """What is added to a certificate, but for the random serialNumber, which comes after the version."""
    parts = elements_of(elements_of(octets)[0].content)
    return tuple(part.octets for place, part in enumerate(parts) if place != SERIAL_NUMBER)


def attest(octets: bytes) -> tuple[Any, ...]:
    """
    All of an attestation but the clock and the version of the firmware, and what they obfuscate.

    The digests of audits are in `audits.py`: they are each TPM's own.
    """
    value = unmarshal(TPMS_ATTEST, octets)
    attested: Any = value.attested
    if hasattr(attested, "audit_digest"):
        attested = (attested.audit_counter, attested.digest_alg, attested.command_digest)
    if hasattr(attested, "session_digest"):
        attested = attested.exclusive_session
    if hasattr(attested, "firmware_version"):
        attested = clock(attested.time)
    counts = (value.clock_info.reset_count, value.clock_info.restart_count, value.clock_info.safe)
    return (value.type, value.qualified_signer, value.extra_data, counts, attested)


def signature(value: TPMT_SIGNATURE) -> Any:
    """The algorithm: what is signed tells the time, or the signature is random."""
    return value.sig_alg, getattr(value.signature, "hash", None)


def plain_signature(value: TPMT_SIGNATURE) -> Any:
    """RSASSA and HMAC have nothing random."""
    if value.sig_alg in (TPM_ALG.RSASSA, TPM_ALG.HMAC):
        return marshal(value)
    return signature(value)


def public(value: TPMT_PUBLIC) -> bytes:
    """A public area without the key itself, which is random."""
    whole, unique = marshal(value), value.unique
    return whole[: len(whole) - _unique_size(unique)]


def _unique_size(unique: Any) -> int:
    return 2 + len(unique) if isinstance(unique, bytes) else 4 + len(unique.x) + len(unique.y)


def clock(value: Any) -> tuple[Any, ...]:
    """The counters of TPMS_TIME_INFO."""
    info = value.clock_info
    return info.reset_count, info.restart_count, info.safe


def ticket(value: Any) -> tuple[Any, ...]:
    """A ticket about something random."""
    return value.tag, value.hierarchy, len(getattr(value, "digest", getattr(value, "hmac", b"")))


def context(value: Any) -> tuple[Any, ...]:
    """A saved context without its blob."""
    return value.sequence, value.saved_handle, value.hierarchy


def properties(value: Any) -> Any:
    """Capabilities without the names and versions of the program, and the size of its memory."""
    data = marshal(value)
    if value.capability != TPM_CAP.TPM_PROPERTIES:
        return data
    return [entry for entry in value.data if entry.property not in OWN_PROPERTIES]


def hidden(_: Any) -> None:
    """Nothing of it."""


MASKS: dict[str, dict[str, Mask]] = {
    "GetRandom": {"random_bytes": size},
    "StartAuthSession": {"nonce_tpm": size},
    "GetCapability": {"capability_data": properties},
    "ReadClock": {"current_time": clock},
    "Create": {"out_private": size, "out_public": public, "creation_ticket": ticket},
    "CreateLoaded": {"out_private": size, "out_public": public, "name": size},
    "Import": {"out_private": size},
    "ObjectChangeAuth": {"out_private": size},
    "Duplicate": {"encryption_key_out": size, "duplicate": size, "out_sym_seed": size},
    "Rewrap": {"out_duplicate": size, "out_sym_seed": size},
    "MakeCredential": {"credential_blob": size, "secret": size},
    "RSA_Encrypt": {"out_data": size},
    "ECDH_KeyGen": {"z_point": point_size, "pub_point": point_size},
    "EC_Ephemeral": {"q": point_size},
    "ZGen_2Phase": {"out_z1": point_size, "out_z2": point_size},
    "Commit": {"k": point_size, "l": point_size, "e": point_size},
    "Sign": {"signature": plain_signature},
    "ContextSave": {"context": context},
    "PolicySigned": {"timeout": size, "policy_ticket": ticket},
    "PolicySecret": {"timeout": size, "policy_ticket": ticket},
    "GetTestResult": {"out_data": hidden},
    "Certify": {"attested": attest, "signature": signature},
    "CertifyCreation": {"attested": attest, "signature": signature},
    "CertifyX509": {"added_to_certificate": added, "tbs_digest": size, "signature": signature},
    "Quote": {"attested": attest, "signature": signature},
    "GetTime": {"attested": attest, "signature": signature},
    "GetSessionAuditDigest": {"attested": attest, "signature": signature},
    "GetCommandAuditDigest": {"attested": attest, "signature": signature},
    "NV_Certify": {"attested": attest, "signature": signature},
}
"""For each command, what is compared of a field that is not compared whole, octet by octet."""


def comparable(reply: Reply, *, by_fields: bool = False) -> dict[str, Any]:
    """What must be equal, by the names of the fields; of all commands, or of those that need it."""
    masks = MASKS.get(reply.command, {} if by_fields else None)
    if masks is None or not reply.fields:
        handle = next((value for name, value in reply.fields.items() if name.endswith("_handle")), None)
        return {"handle": handle, "parameters": reply.parameters}
    return {name: masks[name](value) if name in masks else value for name, value in reply.fields.items()}
