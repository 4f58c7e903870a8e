"""
Part 2, 10.6: tickets, by which the TPM proves to itself later what it has done or seen.

A ticket is an HMAC with the proof value of a hierarchy, so it ends with that value.
"""

from hmac import compare_digest

from vtpm.crypto.digest import hmac_digest
from vtpm.spec.constants import TPM_ALG, TPM_RH, TPM_ST
from vtpm.spec.structures import TPMT_TK_AUTH, TPMT_TK_CREATION, TPMT_TK_HASHCHECK, TPMT_TK_VERIFIED
from vtpm.state.profile import CONTEXT_HASH
from vtpm.state.tpm import TpmState


def creation_ticket(tpm: TpmState, hierarchy: int, name: bytes, creation_hash: bytes) -> TPMT_TK_CREATION:
    """10.6.3: an object of this Name was created with creation data of this hash."""
    tag = TPM_ST.CREATION
    return TPMT_TK_CREATION(tag, hierarchy, _hmac(tpm, hierarchy, tag, name, creation_hash))


def verified_ticket(
    tpm: TpmState,
    hierarchy: int,
    digest: bytes,
    key_name: bytes,
    *,
    tag: TPM_ST = TPM_ST.VERIFIED,
    metadata: TPM_ALG | None = None,
) -> TPMT_TK_VERIFIED:
    """
    10.6.5: the key of this Name has signed the digest.

    This TPM has none of the commands that make tickets with another tag, but a caller may show one.
    """
    octets = b"" if metadata is None else metadata.to_bytes(2, "big")
    return TPMT_TK_VERIFIED(tag, hierarchy, metadata, _hmac(tpm, hierarchy, tag, digest, key_name, octets))


def auth_ticket(
    tpm: TpmState,
    tag: TPM_ST,
    hierarchy: int,
    *,
    timeout: int,
    expires_on_reset: bool,
    cp_hash: bytes,
    policy_ref: bytes,
    entity_name: bytes,
) -> TPMT_TK_AUTH:
    """10.6.6: an authorization, signed or by secret as `tag` says, until `timeout` (in ms, 0 for ever)."""
    parts = [cp_hash, policy_ref, entity_name, timeout.to_bytes(8, "big")]
    if timeout:
        parts.append(tpm.clock.epoch.to_bytes(4, "big"))
        if expires_on_reset:
            parts.append(tpm.permanent.total_reset_count.to_bytes(8, "big"))
    return TPMT_TK_AUTH(tag, hierarchy, _hmac(tpm, hierarchy, tag, *parts))


def hash_check_ticket(tpm: TpmState, hierarchy: int, alg: TPM_ALG, digest: bytes) -> TPMT_TK_HASHCHECK:
    """
    10.6.7: the digest is of octets that do not begin with TPM_GENERATED_VALUE.

    The HMAC includes the algorithm, as in the reference code; Part 2 does not mention it.
    """
    tag = TPM_ST.HASHCHECK
    return TPMT_TK_HASHCHECK(tag, hierarchy, _hmac(tpm, hierarchy, tag, alg.to_bytes(2, "big"), digest))


def null_verified_ticket() -> TPMT_TK_VERIFIED:
    """10.6.5: the NULL Verified Ticket."""
    return TPMT_TK_VERIFIED(TPM_ST.VERIFIED, TPM_RH.NULL, None, b"")


def null_auth_ticket(tag: TPM_ST) -> TPMT_TK_AUTH:
    """10.6.6: the NULL Auth Ticket."""
    return TPMT_TK_AUTH(tag, TPM_RH.NULL, b"")


def null_hash_check_ticket() -> TPMT_TK_HASHCHECK:
    """10.6.7: the NULL Hash Ticket."""
    return TPMT_TK_HASHCHECK(TPM_ST.HASHCHECK, TPM_RH.NULL, b"")


def is_genuine(
    given: TPMT_TK_CREATION | TPMT_TK_VERIFIED | TPMT_TK_AUTH | TPMT_TK_HASHCHECK,
    expected: TPMT_TK_CREATION | TPMT_TK_VERIFIED | TPMT_TK_AUTH | TPMT_TK_HASHCHECK,
) -> bool:
    """Is the ticket that a caller presents the one that this TPM would have made, its tag included?"""
    return given.tag is expected.tag and compare_digest(_hmac_of(given), _hmac_of(expected))


def _hmac_of(ticket: TPMT_TK_CREATION | TPMT_TK_VERIFIED | TPMT_TK_AUTH | TPMT_TK_HASHCHECK) -> bytes:
    return ticket.hmac if isinstance(ticket, TPMT_TK_VERIFIED) else ticket.digest


def _hmac(tpm: TpmState, hierarchy: int, tag: TPM_ST, *parts: bytes) -> bytes:
    return hmac_digest(CONTEXT_HASH, tpm.proof_of(hierarchy), tag.to_bytes(2, "big") + b"".join(parts))
