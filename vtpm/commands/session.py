"""Part 3, clause 11: session commands."""

from typing import Annotated

from vtpm.commands.secret import received_secret
from vtpm.commands.table import command
from vtpm.crypto.digest import digest_size
from vtpm.crypto.kdf import kdf_a
from vtpm.spec.algorithms import TPM2B_ENCRYPTED_SECRET, TPMT_SYM_DEF, TPMT_SYM_DEF_NULL
from vtpm.spec.constants import TPM_ALG, TPM_CC, TPM_HT, TPM_SE
from vtpm.spec.handles import TPMI_DH_ENTITY_NULL, TPMI_DH_OBJECT_NULL, TPMI_SH_AUTH_SESSION, TPMI_SH_POLICY
from vtpm.spec.interface import TPM_SE_TYPE, TPMI_ALG_HASH
from vtpm.spec.structures import TPM2B_NONCE
from vtpm.state.entity import Entity
from vtpm.state.hierarchy import Hierarchy
from vtpm.state.lockout import Lockout
from vtpm.state.nv import NvIndex
from vtpm.state.object import Object
from vtpm.state.pcr import Pcr
from vtpm.state.sequence import Sequence
from vtpm.state.session import Policy, Session, binding_of
from vtpm.state.tpm import TpmState
from vtpm.wire.error import TPM_RC, TpmError
from vtpm.wire.structure import structure

MIN_NONCE = 16
"""11.1: octets of the shortest nonce that a caller may send."""


@structure
class StartAuthSessionResponse:
    """11.1"""

    session_handle: TPMI_SH_AUTH_SESSION
    nonce_tpm: TPM2B_NONCE


@command(TPM_CC.StartAuthSession)
def start_auth_session(
    tpm: TpmState,
    tpm_key: Annotated[Object | Sequence | None, TPMI_DH_OBJECT_NULL],
    bind: Annotated[Hierarchy | Lockout | Object | Sequence | NvIndex | Pcr | None, TPMI_DH_ENTITY_NULL],
    /,
    nonce_caller: TPM2B_NONCE,
    encrypted_salt: TPM2B_ENCRYPTED_SECRET,
    session_type: TPM_SE_TYPE,
    symmetric: TPMT_SYM_DEF_NULL,
    auth_hash: TPMI_ALG_HASH,
) -> StartAuthSessionResponse:
    """11.1: start a session, unbound or bound, with a salt or without."""
    if len(nonce_caller) < MIN_NONCE or len(nonce_caller) > digest_size(auth_hash):
        raise TpmError(TPM_RC.SIZE, at="nonce_caller")
    salt = salt_of(tpm_key, encrypted_salt)
    if (isinstance(bind, Object) and bind.sensitive is None) or (isinstance(bind, NvIndex) and bind.is_pin):
        raise TpmError(TPM_RC.HANDLE, at="bind")
    check_symmetric(symmetric)
    number = free_session(tpm)

    kind = TPM_HT.HMAC_SESSION if session_type is TPM_SE.HMAC else TPM_HT.POLICY_SESSION
    nonce_tpm = tpm.random(len(nonce_caller))
    session = Session(
        handle=kind << 24 | number,
        hash=auth_hash,
        symmetric=symmetric,
        nonce_tpm=nonce_tpm,
        session_key=session_key_of(auth_hash, bind, salt, nonce_tpm, nonce_caller),
        is_trial=session_type is TPM_SE.TRIAL,
        start_time=tpm.clock.time,
        epoch=tpm.clock.epoch,
    )
    if session_type is not TPM_SE.HMAC:
        session.policy = Policy(bytes(digest_size(auth_hash)))
    elif bind is not None:
        session.bound = binding_of(bind)
    if bind is not None and bind.is_da_protected:
        session.is_da_bound = True
        session.is_lockout_bound = isinstance(bind, Lockout)
    tpm.volatile.sessions[number] = session
    return StartAuthSessionResponse(session_handle=session.handle, nonce_tpm=nonce_tpm)


def salt_of(tpm_key: Object | Sequence | None, encrypted_salt: bytes) -> bytes:
    """The salt that the caller encrypted for a key; empty without one."""
    if tpm_key is None:
        if encrypted_salt:
            raise TpmError(TPM_RC.VALUE, at="encrypted_salt")
        return b""
    if not isinstance(tpm_key, Object):
        raise TpmError(TPM_RC.KEY, at="tpm_key")
    if tpm_key.public.type not in (TPM_ALG.RSA, TPM_ALG.ECC):
        raise TpmError(TPM_RC.KEY, at="tpm_key")
    if not encrypted_salt:
        raise TpmError(TPM_RC.VALUE, at="encrypted_salt")
    if tpm_key.sensitive is None:
        raise TpmError(TPM_RC.HANDLE, at="tpm_key")
    if not tpm_key.public.object_attributes.decrypt:
        raise TpmError(TPM_RC.ATTRIBUTES, at="tpm_key")
    try:
        return received_secret(tpm_key, b"SECRET", encrypted_salt)
    except TpmError:
        raise TpmError(TPM_RC.VALUE, at="encrypted_salt") from None


def check_symmetric(symmetric: TPMT_SYM_DEF) -> None:
    """A block cipher encrypts parameters in CFB mode only."""
    if symmetric.algorithm not in (TPM_ALG.NULL, TPM_ALG.XOR) and symmetric.mode is not TPM_ALG.CFB:
        raise TpmError(TPM_RC.MODE, at="symmetric")


def free_session(tpm: TpmState) -> int:
    """
    The lowest number that no session has, loaded or saved.

    The last slot stays free for the oldest saved session while no other can be saved (TPM_RC_CONTEXT_GAP).
    """
    volatile, profile = tpm.volatile, tpm.profile
    free = profile.loaded_sessions - len(volatile.sessions)
    if free <= 0:
        raise TpmError(TPM_RC.SESSION_MEMORY)
    if free == 1 and tpm.reset.is_gap_full(profile.context_gap):
        raise TpmError(TPM_RC.CONTEXT_GAP)
    for number in range(profile.active_sessions):
        if number not in volatile.sessions and number not in tpm.reset.saved_sessions:
            return number
    raise TpmError(TPM_RC.SESSION_HANDLES)


def session_key_of(
    alg: TPM_ALG, bind: Entity | None, salt: bytes, nonce_tpm: bytes, nonce_caller: bytes
) -> bytes:
    """Part 1, "Session Key Creation": of authValue and salt; empty in a session with neither."""
    if bind is None and not salt:
        return b""
    secret = (bind.auth_value if bind is not None else b"") + salt
    return kdf_a(alg, secret, b"ATH", nonce_tpm, nonce_caller, 8 * digest_size(alg))


@command(TPM_CC.PolicyRestart)
def policy_restart(tpm: TpmState, session: Annotated[Session, TPMI_SH_POLICY], /) -> None:
    """11.2: a policy session begins again."""
    session.restart_policy()
