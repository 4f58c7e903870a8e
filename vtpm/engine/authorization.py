"""Part 3, 5.6, and Part 1, "Authorizations and Acknowledgments": is the use of this entity allowed?"""

from hmac import compare_digest

from vtpm.crypto.digest import digest
from vtpm.engine.call import Call, SessionUse
from vtpm.engine.session_area import command_hmac
from vtpm.spec.constants import TPM_CC, TPM_NT, TPM_RH
from vtpm.state.entity import USER, Entity, Role, without_trailing_zeros
from vtpm.state.hierarchy import base_of
from vtpm.state.lockout import Lockout
from vtpm.state.nv import NvIndex
from vtpm.state.session import Hashed, Policy, binding_of
from vtpm.state.session import Session as LoadedSession
from vtpm.state.tpm import TpmState
from vtpm.wire.error import TPM_RC, Session, TpmError

FIRST_RESERVED_LOCALITY = 5
EXTENDED_LOCALITY = 32
PLATFORM = TPM_RH.PLATFORM
TEMPLATE_COMMANDS = frozenset({TPM_CC.Create, TPM_CC.CreatePrimary, TPM_CC.CreateLoaded})

READS = frozenset({TPM_CC.NV_Read, TPM_CC.NV_Certify, TPM_CC.PolicyNV, TPM_CC.PolicyAuthorizeNV})
"""What reads the data of an Index, if not for a trial policy."""


def authorize(tpm: TpmState, call: Call) -> None:
    """Give each session the entity it authorizes, then check every session in its turn."""
    for position, argument in enumerate(call.command.handles):
        if argument.role is None:
            continue
        if position >= len(call.sessions):
            raise TpmError(TPM_RC.AUTH_MISSING)
        entity = call.entities[position]
        assert not isinstance(entity, LoadedSession)
        # TPM_RH_NULL, where a command takes it, is authorized as the null hierarchy: by an empty authValue.
        call.sessions[position].entity = tpm.null if entity is None else entity
        call.sessions[position].role = argument.role

    for use in call.sessions:
        try:
            check_session(tpm, call, use)
        except TpmError as error:
            raise error.positioned_at(Session(use.number)) from None


def check_session(tpm: TpmState, call: Call, use: SessionUse) -> None:
    """One session: an authorization, or a use that only encrypts, decrypts or audits."""
    session = use.session
    if session is None:
        if use.entity is None:
            raise TpmError(TPM_RC.HANDLE)
    else:
        if session.is_trial:
            raise TpmError(TPM_RC.ATTRIBUTES)
        if session.is_da_bound:
            check_not_locked_out(tpm, lockout=session.is_lockout_bound)
        if use.attributes.audit:
            call.cp_hash(session.hash)
    if use.entity is not None:
        check_authorization(tpm, call, use, use.entity)
        return
    if not (use.attributes.audit or use.attributes.encrypt or use.attributes.decrypt):
        raise TpmError(TPM_RC.ATTRIBUTES)
    assert session is not None
    check_hmac(tpm, call, use, session)


def check_authorization(tpm: TpmState, call: Call, use: SessionUse, entity: Entity) -> None:
    """The checks of Part 3, 5.6, in the order of the reference code."""
    session, code = use.session, call.command.code
    assert use.role is not None
    check_presence(tpm, code, entity)
    use.includes_auth = needs_auth_value(session, entity)
    if use.includes_auth and entity.is_da_protected:
        check_not_locked_out(tpm, lockout=isinstance(entity, Lockout))
    if use.includes_auth and isinstance(entity, NvIndex) and entity.is_pin:
        check_countable(tpm)

    if session is None or not session.is_policy:
        if entity.is_policy_required(use.role):
            raise TpmError(TPM_RC.AUTH_TYPE)
        if not entity.is_auth_value_available(use.role, code):
            raise TpmError(TPM_RC.AUTH_UNAVAILABLE)
    else:
        if not entity.is_policy_available(use.role, code) or is_pin_spent(use, entity):
            raise TpmError(TPM_RC.AUTH_UNAVAILABLE)
        check_policy(tpm, call, session, entity, use.role)

    if reads_nothing(call, entity):
        raise TpmError(TPM_RC.NV_UNINITIALIZED)
    try:
        if session is None or (session.policy is not None and session.policy.password_needed):
            check_password(tpm, use, entity)
        else:
            check_hmac(tpm, call, use, session)
    except TpmError:
        count_pin(tpm, use, entity, succeeded=False)
        raise
    count_pin(tpm, use, entity, succeeded=True)


def check_presence(tpm: TpmState, code: TPM_CC, entity: Entity) -> None:
    """TPM_RC_PP if the platform authorizes a command that needs physical presence, and there is none."""
    if (
        code in tpm.permanent.physical_presence
        and not tpm.physical_presence
        and base_of(entity.handle) == PLATFORM
    ):
        raise TpmError(TPM_RC.PP)


def reads_nothing(call: Call, entity: Entity) -> bool:
    """
    Part 3, 31.1: does the command read an Index that has no data, with the Index's own authorization?

    That is looked at before the authValue, right or wrong, so that the answer tells nothing of it.
    """
    return (
        call.command.code in READS
        and isinstance(entity, NvIndex)
        and not entity.attributes.WRITTEN
        and all(other is entity for other in call.entities if isinstance(other, NvIndex))
        and not any(other.is_trial for other in call.entities if isinstance(other, LoadedSession))
    )


def needs_auth_value(session: LoadedSession | None, entity: Entity) -> bool:
    """Must the caller know the authValue? Not in a session bound to the entity, nor by policy alone."""
    if session is None:
        return True
    if session.policy is not None:
        return session.policy.auth_value_needed or session.policy.password_needed
    return session.bound is None or session.bound != binding_of(entity)


def check_not_locked_out(tpm: TpmState, *, lockout: bool) -> None:
    """
    Part 1, "Dictionary Attack Protection": TPM_RC_LOCKOUT; remembers that such an entity was used.

    That nullifies a Shutdown, so that a loss of power counts as a failure.
    """
    check_countable(tpm)
    if lockout:
        if not tpm.lockout.auth_enabled:
            raise TpmError(TPM_RC.LOCKOUT)
        return
    if tpm.lockout.locked_out:
        raise TpmError(TPM_RC.LOCKOUT)
    if not tpm.lockout.used:
        tpm.lockout.used = True
        tpm.permanent.shutdown = None
        tpm.touch_permanent()


def check_countable(tpm: TpmState) -> None:
    """TPM_RC_NV_UNAVAILABLE while a failure cannot be counted for good, so that no guess is free."""
    if not tpm.nv_available:
        raise TpmError(TPM_RC.NV_UNAVAILABLE)


def check_password(tpm: TpmState, use: SessionUse, entity: Entity) -> None:
    """The password must be the authValue."""
    if not compare_digest(without_trailing_zeros(use.auth), entity.auth_value):
        raise refusal(tpm, use, entity)


def check_hmac(tpm: TpmState, call: Call, use: SessionUse, session: LoadedSession) -> None:
    """The HMAC must be right."""
    if not compare_digest(use.auth, command_hmac(call, use, session)):
        raise refusal(tpm, use, use.entity)


def refusal(tpm: TpmState, use: SessionUse, entity: Entity | None) -> TpmError:
    """The response code of a failed authorization; counts it if the entity or the session is protected."""
    session = use.session
    protected = entity is not None and entity.is_da_protected and (session is None or use.includes_auth)
    lockout = isinstance(entity, Lockout)
    if session is not None and session.is_da_bound:
        protected = True
        lockout = lockout or session.is_lockout_bound
    if not protected:
        return TpmError(TPM_RC.BAD_AUTH)
    time = tpm.clock.time
    changed = tpm.lockout.disable_auth(time) if lockout else tpm.lockout.count_failure(time)
    if changed:
        tpm.touch_permanent()
    return TpmError(TPM_RC.AUTH_FAIL)


def is_pin_spent(use: SessionUse, entity: Entity) -> bool:
    """Part 1, "PIN Indices": does a policy ask for the authValue of a PIN Index that has none to give?"""
    return use.includes_auth and isinstance(entity, NvIndex) and entity.is_pin and not entity.is_pin_usable


def count_pin(tpm: TpmState, use: SessionUse, entity: Entity, *, succeeded: bool) -> None:
    """Part 1, "PIN Indices": a failure counts against PIN Fail, a success against PIN Pass."""
    if not isinstance(entity, NvIndex) or not use.includes_auth or not entity.attributes.WRITTEN:
        return
    count, limit = entity.pin if entity.is_pin else (0, 0)
    if entity.kind is TPM_NT.PIN_FAIL:
        new = 0 if succeeded else count + 1
    elif entity.kind is TPM_NT.PIN_PASS and succeeded:
        new = count + 1
    else:
        return
    if new != count:
        entity.data = new.to_bytes(4, "big") + limit.to_bytes(4, "big")
        tpm.touch_nv(entity)


def check_policy(tpm: TpmState, call: Call, session: LoadedSession, entity: Entity, role: Role) -> None:
    """Part 1, "Policy Session": the session must have accumulated the entity's policy, and fit now."""
    policy, code = session.the_policy, call.command.code
    if code == TPM_CC.PolicySecret and not (policy.password_needed or policy.auth_value_needed):
        raise TpmError(TPM_RC.MODE)
    if policy.pcr_counter not in (0, tpm.reset.pcr_counter):
        raise TpmError(TPM_RC.PCR_CHANGED)
    if not compare_digest(policy.digest, entity.auth_policy) or session.hash is not entity.policy_alg:
        raise TpmError(TPM_RC.POLICY_FAIL)
    if policy.timeout and (policy.timeout < tpm.clock.time or session.epoch != tpm.clock.epoch):
        raise TpmError(TPM_RC.EXPIRED)
    if policy.command_code:
        if policy.command_code != code:
            raise TpmError(TPM_RC.POLICY_CC)
    elif role is not USER:
        raise TpmError(TPM_RC.POLICY_FAIL)
    check_locality(policy.locality, tpm.locality)
    if policy.physical_presence and not tpm.physical_presence:
        raise TpmError(TPM_RC.PP)
    check_fit(call, session, policy, entity)


def check_fit(call: Call, session: LoadedSession, policy: Policy, entity: Entity) -> None:
    """What the policy says of the command's parameters and Names, of the Index and of the channel."""
    if policy.bound_hash and not compare_digest(policy.bound_hash, bound_hash_of(call, session, policy)):
        raise TpmError(TPM_RC.POLICY_FAIL)
    if policy.nv_written is not None and (
        not isinstance(entity, NvIndex) or policy.nv_written != entity.attributes.WRITTEN
    ):
        raise TpmError(TPM_RC.POLICY_FAIL)
    if policy.secure_channel:
        # Part 3, 23.26: no SPDM session ever reaches this TPM, so the channel is never there.
        raise TpmError(TPM_RC.CHANNEL)


def check_locality(allowed: int, locality: int) -> None:
    """Part 2, 8.5: bits for localities 0 to 4, or one extended locality as a number."""
    if allowed == 0:
        return
    if locality < FIRST_RESERVED_LOCALITY:
        fits = allowed < EXTENDED_LOCALITY and bool(allowed >> locality & 1)
    else:
        fits = locality >= EXTENDED_LOCALITY and allowed == locality
    if not fits:
        raise TpmError(TPM_RC.LOCALITY)


def bound_hash_of(call: Call, session: LoadedSession, policy: Policy) -> bytes:
    """What the command's parameters, Names or template hash to, as the policy asks."""
    alg, code = session.hash, call.command.code
    if policy.hashed is Hashed.CP_HASH:
        return call.cp_hash(alg)
    if policy.hashed is Hashed.NAME_HASH:
        return digest(alg, *call.names)
    if policy.hashed is Hashed.PARAMETERS:
        return digest(alg, code.to_bytes(4, "big"), call.parameters)
    if code not in TEMPLATE_COMMANDS:
        return b""
    size = int.from_bytes(call.parameters[:2], "big")
    rest = call.parameters[2 + size :]
    template_size = int.from_bytes(rest[:2], "big")
    template = rest[2 : 2 + template_size]
    return digest(alg, template) if len(rest) >= 2 and len(template) == template_size else b""
