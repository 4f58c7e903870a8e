"""What depends on seeds that the two do not share: which octets of the one stand for which of the other."""

import hashlib
from collections.abc import Iterator
from typing import Any

from tests.differential.comparison import COUNTERS
from tests.scenarios import Reply
from vtpm.state.object import name_of
from vtpm.wire.structure import Record

SHORTEST = 16
"""Octets of a value that is looked for within others; a shorter one would be found by chance."""

BY_SEEDS: dict[str, set[str]] = {
    "CreatePrimary": {"out_public", "creation_data", "creation_hash", "creation_ticket", "name"},
    "Create": {"out_public", "creation_data", "creation_hash", "creation_ticket"},
    "CreateLoaded": {"out_public", "name"},
    "Load": {"name"},
    "LoadExternal": {"name"},
    "ReadPublic": {"out_public", "name", "qualified_name"},
    "NV_ReadPublic": {"nv_public", "nv_name"},
    "NV_ReadPublic2": {"nv_public", "nv_name"},
    "Hash": {"validation"},
    "SequenceComplete": {"result", "validation"},
    "HMAC": {"out_hmac", "out_mac"},
    "MAC": {"out_hmac", "out_mac"},
    "VerifySignature": {"validation"},
    "PolicySigned": {"policy_ticket"},
    "PolicySecret": {"policy_ticket"},
    "PolicyGetDigest": {"policy_digest"},
    "Unseal": {"out_data"},
    "EncryptDecrypt": {"out_data", "iv_out"},
    "EncryptDecrypt2": {"out_data", "iv_out"},
    "RSA_Decrypt": {"message"},
    "ECDH_ZGen": {"out_point"},
    "Sign": {"signature"},
    "Certify": {"attested", "signature"},
    "CertifyCreation": {"attested", "signature"},
    "CertifyX509": {"added_to_certificate", "signature"},
    "Quote": {"attested", "signature"},
    "GetTime": {"attested", "signature"},
    "GetSessionAuditDigest": {"attested", "signature"},
    "GetCommandAuditDigest": {"attested", "signature"},
    "NV_Certify": {"attested", "signature"},
}
"""The fields of each command's response whose octet strings may be others, of the same size."""


def leaves(theirs: Any, ours: Any) -> Iterator[tuple[Any, Any]]:
    """Integers and octet strings in the same places of two values of one form."""
    if isinstance(theirs, list | tuple) and isinstance(ours, list | tuple):
        if len(theirs) != len(ours):
            yield theirs, ours
        for pair in zip(theirs, ours, strict=False):
            yield from leaves(*pair)
    elif type(theirs) is type(ours) and is_structure(theirs):
        for name in fields_of(theirs):
            yield from leaves(getattr(theirs, name), getattr(ours, name))
    else:
        yield theirs, ours


def is_structure(value: Any) -> bool:
    """Has a value fields?"""
    return not isinstance(value, int | bytes | None) and bool(fields_of(value))


def fields_of(value: Any) -> list[str]:
    """The names of the fields of a structure."""
    codec = getattr(type(value), "wire", None)
    return list(codec.fields) if isinstance(codec, Record) else []


class Counterparts:
    """The octet strings of this TPM, and those that the other has in their place."""

    def __init__(self) -> None:
        self.known: dict[bytes, bytes] = {}

    def note(self, theirs: bytes, ours: bytes) -> None:
        """Two octet strings with the same meaning."""
        if theirs != ours and len(ours) >= SHORTEST and len(set(ours)) > 1:
            self.known[ours] = theirs

    def learn(self, theirs: Reply, ours: Reply) -> None:
        """Both have succeeded: what differs in their responses means the same."""
        for name in theirs.fields.keys() & ours.fields.keys():
            for one, other in leaves(theirs.fields[name], ours.fields[name]):
                if isinstance(one, bytes) and isinstance(other, bytes):
                    self.note(one, other)
        if "out_public" in theirs.fields and theirs.out_public is not None and ours.out_public is not None:
            self.note(name_of(theirs.out_public), name_of(ours.out_public))

    def translated(self, octets: bytes) -> bytes:
        """Octets for this TPM as they have to be for the other, with their size where that differs."""
        if len(octets) < SHORTEST:
            return octets
        for ours, theirs in self.known.items():
            if ours in octets:
                if len(ours) != len(theirs):
                    ours, theirs = sized(ours), sized(theirs)  # noqa: PLW2901 - the same two, with their sizes
                octets = octets.replace(ours, theirs)
        return octets

    def hashed(self, name: str, octets: bytes, more: bytes) -> bytes:
        """The digest of octets for this TPM; the other's is noted."""
        ours = hashlib.new(name, octets + more).digest()
        self.note(hashlib.new(name, self.translated(octets) + more).digest(), ours)
        return ours

    def are_alike(self, command: str, name: str, theirs: Any, ours: Any) -> bool:
        """Are two values equal but for what depends on seeds, of which the sizes must be equal?"""
        if name == "attested":
            # The proofs obfuscate the counters of resets and restarts, but not `safe`.
            theirs, ours = (
                (*value[:COUNTERS], value[COUNTERS][-1], *value[COUNTERS + 1 :]) for value in (theirs, ours)
            )
        for one, other in leaves(theirs, ours):
            if one == other:
                continue
            if not isinstance(one, bytes) or not isinstance(other, bytes):
                return False
            if self.translated(other) == one:
                continue
            if name not in BY_SEEDS.get(command, ()) or len(one) != len(other):
                return False
        return True


def sized(octets: bytes) -> bytes:
    """Octets behind their size, as a TPM2B has them."""
    return len(octets).to_bytes(2, "big") + octets
