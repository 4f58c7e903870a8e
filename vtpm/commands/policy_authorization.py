"""Part 3, clause 23: enhanced authorization: what somebody else grants, by signature, secret or ticket."""

from hmac import compare_digest
from typing import Annotated

from vtpm.commands.key_signature import check_signature, hash_of
from vtpm.commands.policy import NAME_ALG_SIZE, PolicySession, assert_in, check_name
from vtpm.commands.table import command
from vtpm.commands.tickets import auth_ticket, is_genuine, null_auth_ticket, verified_ticket
from vtpm.crypto.digest import digest, digest_size
from vtpm.spec.algorithms import TPMT_SIGNATURE
from vtpm.spec.constants import TPM_ALG, TPM_CC, TPM_RH, TPM_ST
from vtpm.spec.handles import TPMI_DH_ENTITY, TPMI_DH_OBJECT, TPMI_RH_NV_AUTH, TPMI_RH_NV_INDEX
from vtpm.spec.interface import HASHES
from vtpm.spec.structures import (
    TPM2B_DIGEST,
    TPM2B_NAME,
    TPM2B_NONCE,
    TPM2B_TIMEOUT,
    TPMT_HA,
    TPMT_TK_AUTH,
    TPMT_TK_VERIFIED,
)
from vtpm.state.entity import Entity, Role
from vtpm.state.hierarchy import Hierarchy
from vtpm.state.lockout import Lockout
from vtpm.state.nv import NvIndex
from vtpm.state.object import Object
from vtpm.state.pcr import Pcr
from vtpm.state.sequence import Sequence
from vtpm.state.session import Hashed, Session
from vtpm.state.tpm import TpmState
from vtpm.wire.error import TPM_RC, TpmError, blaming
from vtpm.wire.integers import INT32
from vtpm.wire.structure import structure

EXPIRES_ON_RESET = 1 << 63
"""The bit of a timeout that says that the ticket ends with the next TPM Reset."""


def timeout_of(session: Session, expiration: int, nonce_tpm: bytes) -> int:
    """
    23.2.2: when the authorization ends, in milliseconds of Time; 0 for never.

    The seconds count from the session's beginning if its nonce is given, otherwise from that of Time.
    """
    if expiration == 0:
        return 0
    return 1000 * abs(expiration) + (session.start_time if nonce_tpm else 0)


def check_parameters(
    tpm: TpmState, session: Session, timeout: int, cp_hash_a: bytes, nonce_tpm: bytes, *, at_expiration: str
) -> None:
    """23.2.2: the nonce is the session's, the time has not passed, and the cpHash fits what there is."""
    if nonce_tpm and not compare_digest(nonce_tpm, session.nonce_tpm):
        raise TpmError(TPM_RC.NONCE, at="nonce_tpm")
    if timeout and (timeout < tpm.clock.time or session.epoch != tpm.clock.epoch):
        raise TpmError(TPM_RC.EXPIRED, at=at_expiration)
    if cp_hash_a:
        if len(cp_hash_a) != digest_size(session.hash):
            raise TpmError(TPM_RC.SIZE, at="cp_hash_a")
        bound = session.the_policy.bound_hash
        if bound and not compare_digest(bound, cp_hash_a):
            raise TpmError(TPM_RC.CPHASH)


def update(
    session: Session, code: TPM_CC, name: bytes, policy_ref: bytes, cp_hash_a: bytes, timeout: int
) -> None:
    """23.2.3: extend the digest by Name and policyRef, in two steps, and narrow cpHash and timeout."""
    policy = session.the_policy
    assert_in(session, code, name)
    policy.digest = digest(session.hash, policy.digest, policy_ref)
    if cp_hash_a:
        policy.bound_hash = cp_hash_a
        policy.hashed = Hashed.CP_HASH
    policy.expire_at(timeout)


@structure
class PolicyGrantResponse:
    """23.3 and 23.4"""

    timeout: TPM2B_TIMEOUT
    policy_ticket: TPMT_TK_AUTH


def grant(
    tpm: TpmState,
    tag: TPM_ST,
    entity: Entity,
    timeout: int,
    nonce_tpm: bytes,
    cp_hash_a: bytes,
    policy_ref: bytes,
) -> PolicyGrantResponse:
    """The ticket by which PolicyTicket repeats the authorization."""
    on_reset = not nonce_tpm
    ticket = auth_ticket(
        tpm,
        tag,
        hierarchy_of(entity),
        timeout=timeout,
        expires_on_reset=on_reset,
        cp_hash=cp_hash_a,
        policy_ref=policy_ref,
        entity_name=entity.name,
    )
    shown = timeout | EXPIRES_ON_RESET if on_reset else timeout
    return PolicyGrantResponse(timeout=shown.to_bytes(8, "big"), policy_ticket=ticket)


def hierarchy_of(entity: Entity) -> int:
    """The hierarchy whose proof keys a ticket about the entity."""
    if isinstance(entity, Object):
        return entity.hierarchy
    if isinstance(entity, NvIndex):
        return TPM_RH.PLATFORM if entity.attributes.PLATFORMCREATE else TPM_RH.OWNER
    if isinstance(entity, Sequence):
        return TPM_RH.NULL
    return entity.handle if isinstance(entity, Hierarchy) else TPM_RH.OWNER


@command(TPM_CC.PolicySigned)
def policy_signed(
    tpm: TpmState,
    auth_object: Annotated[Object, TPMI_DH_OBJECT, TPM_RC.SIGNATURE],
    session: PolicySession,
    /,
    nonce_tpm: TPM2B_NONCE,
    cp_hash_a: TPM2B_DIGEST,
    policy_ref: TPM2B_NONCE,
    expiration: INT32,
    auth: TPMT_SIGNATURE,
) -> PolicyGrantResponse:
    """23.3: the holder of a key has signed an authorization."""
    timeout = 0
    if not session.is_trial:
        timeout = timeout_of(session, expiration, nonce_tpm)
        check_parameters(tpm, session, timeout, cp_hash_a, nonce_tpm, at_expiration="expiration")
        limits = (expiration & 0xFFFFFFFF).to_bytes(4, "big")
        with blaming("auth"):
            signed = digest(hash_of(auth), nonce_tpm, limits, cp_hash_a, policy_ref)
            check_signature(auth_object, signed, auth)

    update(session, TPM_CC.PolicySigned, auth_object.name, policy_ref, cp_hash_a, timeout)
    if expiration >= 0 or session.is_trial:
        return PolicyGrantResponse(timeout=b"", policy_ticket=null_auth_ticket(TPM_ST.AUTH_SIGNED))
    return grant(tpm, TPM_ST.AUTH_SIGNED, auth_object, timeout, nonce_tpm, cp_hash_a, policy_ref)


@command(TPM_CC.PolicySecret)
def policy_secret(
    tpm: TpmState,
    auth_handle: Annotated[
        Hierarchy | Lockout | Object | Sequence | NvIndex | Pcr, TPMI_DH_ENTITY, Role.USER
    ],
    session: PolicySession,
    /,
    nonce_tpm: TPM2B_NONCE,
    cp_hash_a: TPM2B_DIGEST,
    policy_ref: TPM2B_NONCE,
    expiration: INT32,
) -> PolicyGrantResponse:
    """23.4: somebody has shown to know the secret of an entity."""
    once = isinstance(auth_handle, NvIndex) and auth_handle.is_pin_pass
    timeout = 0
    if not session.is_trial:
        timeout = timeout_of(session, expiration, nonce_tpm)
        check_parameters(tpm, session, timeout, cp_hash_a, nonce_tpm, at_expiration="expiration")

    update(session, TPM_CC.PolicySecret, auth_handle.name, policy_ref, cp_hash_a, timeout)
    if expiration >= 0 or session.is_trial or once:
        return PolicyGrantResponse(timeout=b"", policy_ticket=null_auth_ticket(TPM_ST.AUTH_SECRET))
    return grant(tpm, TPM_ST.AUTH_SECRET, auth_handle, timeout, nonce_tpm, cp_hash_a, policy_ref)


@command(TPM_CC.PolicyTicket)
def policy_ticket(
    tpm: TpmState,
    session: PolicySession,
    /,
    timeout: TPM2B_TIMEOUT,
    cp_hash_a: TPM2B_DIGEST,
    policy_ref: TPM2B_NONCE,
    auth_name: TPM2B_NAME,
    ticket: TPMT_TK_AUTH,
) -> None:
    """23.5: an authorization by signature or secret, shown again."""
    if session.is_trial:
        raise TpmError(TPM_RC.ATTRIBUTES, at="session")
    if len(timeout) != 8:
        raise TpmError(TPM_RC.SIZE, at="timeout")
    shown = int.from_bytes(timeout, "big")
    end = shown & ~EXPIRES_ON_RESET
    check_parameters(tpm, session, end, cp_hash_a, b"", at_expiration="timeout")
    try:
        expected = auth_ticket(
            tpm,
            ticket.tag,
            ticket.hierarchy,
            timeout=end,
            expires_on_reset=bool(shown & EXPIRES_ON_RESET),
            cp_hash=cp_hash_a,
            policy_ref=policy_ref,
            entity_name=auth_name,
        )
    except TpmError as error:
        raise error.positioned_at("ticket") from None
    if not is_genuine(ticket, expected):
        raise TpmError(TPM_RC.TICKET, at="ticket")

    code = TPM_CC.PolicySigned if ticket.tag is TPM_ST.AUTH_SIGNED else TPM_CC.PolicySecret
    update(session, code, auth_name, policy_ref, cp_hash_a, end)


@command(TPM_CC.PolicyAuthorize)
def policy_authorize(
    tpm: TpmState,
    session: PolicySession,
    /,
    approved_policy: TPM2B_DIGEST,
    policy_ref: TPM2B_NONCE,
    key_sign: TPM2B_NAME,
    check_ticket: TPMT_TK_VERIFIED,
) -> None:
    """23.16: the holder of a key has approved what has been accumulated; a policy that can change."""
    policy = session.the_policy
    if not key_sign:
        raise TpmError(TPM_RC.HASH, at="key_sign")
    check_name(key_sign, at="key_sign")
    alg = int.from_bytes(key_sign[:NAME_ALG_SIZE], "big")
    if not session.is_trial:
        if not compare_digest(policy.digest, approved_policy):
            raise TpmError(TPM_RC.VALUE, at="approved_policy")
        signed = digest(TPM_ALG(alg), approved_policy, policy_ref)
        try:
            expected = verified_ticket(
                tpm,
                check_ticket.hierarchy,
                signed,
                key_sign,
                tag=check_ticket.tag,
                metadata=check_ticket.metadata,
            )
        except TpmError as error:
            raise error.positioned_at("check_ticket") from None
        if not is_genuine(check_ticket, expected):
            raise TpmError(TPM_RC.VALUE, at="check_ticket")

    policy.digest = bytes(digest_size(session.hash))
    update(session, TPM_CC.PolicyAuthorize, key_sign, policy_ref, b"", 0)


@command(TPM_CC.PolicyAuthorizeNV)
def policy_authorize_nv(
    tpm: TpmState,
    auth_handle: Annotated[Hierarchy | NvIndex, TPMI_RH_NV_AUTH, Role.USER],
    nv_index: Annotated[NvIndex, TPMI_RH_NV_INDEX],
    session: PolicySession,
    /,
) -> None:
    """23.22: an NV Index holds what has been accumulated; a policy that can change."""
    policy = session.the_policy
    if not session.is_trial:
        nv_index.check_read(auth_handle)
        approved = approved_by(nv_index)
        if approved.hash_alg is not session.hash:
            raise TpmError(TPM_RC.HASH)
        if not compare_digest(approved.digest, policy.digest):
            raise TpmError(TPM_RC.VALUE)

    policy.digest = bytes(digest_size(session.hash))
    assert_in(session, TPM_CC.PolicyAuthorizeNV, nv_index.name)


def approved_by(nv_index: NvIndex) -> TPMT_HA:
    """The TPMT_HA at the beginning of an Index; what its parsing raises has no position."""
    alg = int.from_bytes(nv_index.data[:2], "big")
    if len(nv_index.data) < 2:
        raise TpmError(TPM_RC.INSUFFICIENT)
    if alg not in HASHES:
        raise TpmError(TPM_RC.HASH)
    size = digest_size(TPM_ALG(alg))
    value = nv_index.data[2 : 2 + size]
    if len(value) != size:
        raise TpmError(TPM_RC.INSUFFICIENT)
    return TPMT_HA(TPM_ALG(alg), value)
