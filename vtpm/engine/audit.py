"""Part 1, "Audit Session Digest" and "Command Audit": what was executed, as digests."""

from vtpm.crypto.digest import digest, digest_size
from vtpm.engine.call import Call, SessionUse
from vtpm.spec.constants import TPM_ALG, TPM_CC
from vtpm.state.session import Session as LoadedSession
from vtpm.state.tpm import TpmState


def rp_hash_of(alg: TPM_ALG, code: TPM_CC, parameters: bytes) -> bytes:
    """Part 1, "rpHash": of the response code, the command code and the parameters as they are sent."""
    return digest(alg, bytes(4), code.to_bytes(4, "big"), parameters)


def audit_session(tpm: TpmState, call: Call, use: SessionUse, parameters: bytes) -> None:
    """Extend the audit digest of an audit session, and decide whether it is exclusive."""
    session = use.session
    assert session is not None
    if session.audit_digest is None or use.attributes.auditReset:
        session.audit_digest = bytes(digest_size(session.hash))
        session.bound = None
        tpm.volatile.exclusive_session = session.handle
    elif tpm.volatile.exclusive_session != session.handle:
        tpm.volatile.exclusive_session = 0
    use.attributes = use.attributes.but(auditExclusive=tpm.volatile.exclusive_session == session.handle)
    session.audit_digest = extended(call, session, session.audit_digest, parameters)


def extended(call: Call, session: LoadedSession, old: bytes, parameters: bytes) -> bytes:
    """The session audit digest after this command."""
    alg = session.hash
    return digest(alg, old, call.cp_hash(alg), rp_hash_of(alg, call.command.code, parameters))


def audit_command(tpm: TpmState, call: Call, parameters: bytes) -> None:
    """Extend the command audit digest; the first command of a new digest counts in the audit counter."""
    alg = tpm.permanent.audit_alg
    if tpm.volatile.audit_restarted:
        # Part 3, 21.2: that the hash was changed is evident from the change.
        tpm.volatile.audit_restarted = False
        return
    old = tpm.reset.command_audit_digest
    if not old:
        old = bytes(digest_size(alg))
        tpm.permanent.audit_counter += 1
        tpm.touch_permanent()
    rp_hash = rp_hash_of(alg, call.command.code, parameters)
    tpm.reset.command_audit_digest = digest(alg, old, call.cp_hash(alg), rp_hash)
