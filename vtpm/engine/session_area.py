"""Part 3, 5.5: the authorization area; the HMACs and the encryption of its sessions."""

import struct
from io import BytesIO

from vtpm.crypto.digest import hmac_digest
from vtpm.crypto.kdf import kdf_a, xor_obfuscate
from vtpm.crypto.symmetric import cfb_decrypt, cfb_encrypt
from vtpm.engine.call import Call, SessionUse
from vtpm.spec.algorithms import TPMT_SYM_DEF
from vtpm.spec.attributes import TPMA_SESSION
from vtpm.spec.constants import TPM_ALG, TPM_RH
from vtpm.spec.limits import MAX_DIGEST_SIZE
from vtpm.spec.structures import TPMS_AUTH_COMMAND
from vtpm.state.session import Session as LoadedSession
from vtpm.state.tpm import TpmState
from vtpm.wire.error import TPM_RC, Session, TpmError
from vtpm.wire.vocabulary import codec_of

MAX_SESSIONS = 3
"""Part 3, 5.5: how many sessions an authorization area may have."""

REFERENCE_S = [TPM_RC(TPM_RC.REFERENCE_S0 + number) for number in range(7)]
AUTH_COMMAND = codec_of(TPMS_AUTH_COMMAND)
SIZE = struct.Struct(">H")

PASSWORD = TPM_RH.TPM_RS_PW.to_bytes(4, "big") + bytes(2)
"""How the session of a password begins: its handle and an empty nonce."""

PASSWORD_ATTRIBUTES = (TPMA_SESSION(continueSession=False), TPMA_SESSION(continueSession=True))
"""The attributes that a password may have, by their octet."""


def sessions_of(tpm: TpmState, call: Call, area: bytes) -> None:
    """Read the sessions of the authorization area, and check what can be checked of each alone."""
    password = single_password(area)
    if password is not None:
        call.sessions.append(password)
        return
    stream = BytesIO(area)
    while stream.tell() < len(area):
        number = len(call.sessions) + 1
        if number > MAX_SESSIONS:
            raise TpmError(TPM_RC.AUTHSIZE)
        try:
            auth = AUTH_COMMAND._parse(stream, None, "")  # noqa: SLF001 - how a construct reads from a stream
        except TpmError as error:
            raise error.positioned_at(Session(number)) from None
        use = SessionUse(number, None, auth.nonce, auth.session_attributes, auth.hmac)
        if auth.session_handle == TPM_RH.TPM_RS_PW:
            check_password_use(use)
        else:
            use.session = loaded_session(tpm, call, auth.session_handle, number)
            check_attributes(tpm, call, use, use.session)
        call.sessions.append(use)


def single_password(area: bytes) -> SessionUse | None:
    """
    The use of a password, if the area is one well-formed password and nothing else; otherwise None.

    It is what most commands have, and reading the structure would take a fifth of their time.
    """
    auth = area[9:]
    if (
        not area.startswith(PASSWORD)
        or area[6] >= len(PASSWORD_ATTRIBUTES)
        or SIZE.unpack_from(area, 7)[0] != len(auth)
        or len(auth) > MAX_DIGEST_SIZE
    ):
        return None
    return SessionUse(1, None, b"", PASSWORD_ATTRIBUTES[area[6]], auth)


def check_password_use(use: SessionUse) -> None:
    """Part 1, "Password Authorizations": no nonce, and no attribute but continueSession."""
    if use.attributes & ~TPMA_SESSION.continueSession.mask:
        raise TpmError(TPM_RC.ATTRIBUTES, at=Session(use.number))
    if use.nonce_caller:
        raise TpmError(TPM_RC.NONCE, at=Session(use.number))


def loaded_session(tpm: TpmState, call: Call, handle: int, number: int) -> LoadedSession:
    """The session of a handle: loaded, of the type that the handle says, and used only once in a command."""
    session = tpm.volatile.sessions.get(handle & 0xFFFFFF)
    if session is None:
        raise TpmError(REFERENCE_S[number - 1])
    if session.handle != handle or any(use.session is session for use in call.sessions):
        raise TpmError(TPM_RC.HANDLE, at=Session(number))
    return session


def check_attributes(tpm: TpmState, call: Call, use: SessionUse, session: LoadedSession) -> None:
    """Part 2, 8.4: decrypt, encrypt and audit may each be set in one session of a command that allows it."""
    at = Session(use.number)
    if use.attributes.decrypt:
        if not call.command.decrypts or call.decrypt:
            raise TpmError(TPM_RC.ATTRIBUTES, at=at)
        if session.symmetric.algorithm is TPM_ALG.NULL:
            raise TpmError(TPM_RC.SYMMETRIC, at=at)
        call.decrypt = use
    if use.attributes.encrypt:
        if not call.command.encrypts or call.encrypt:
            raise TpmError(TPM_RC.ATTRIBUTES, at=at)
        if session.symmetric.algorithm is TPM_ALG.NULL:
            raise TpmError(TPM_RC.SYMMETRIC, at=at)
        call.encrypt = use
    check_audit(tpm, call, use, session)


def check_audit(tpm: TpmState, call: Call, use: SessionUse, session: LoadedSession) -> None:
    """Part 2, 8.4: one session audits, not one of a policy; what else is said of the audit is said there."""
    attributes = use.attributes
    if not attributes.audit:
        if attributes.auditExclusive or attributes.auditReset:
            raise TpmError(TPM_RC.ATTRIBUTES, at=Session(use.number))
        return
    if call.audit or session.is_policy:
        raise TpmError(TPM_RC.ATTRIBUTES, at=Session(use.number))
    first = session.audit_digest is None or attributes.auditReset
    if attributes.auditExclusive and not first and tpm.volatile.exclusive_session != session.handle:
        raise TpmError(TPM_RC.EXCLUSIVE)
    call.audit = use


def hmac_key(use: SessionUse, session: LoadedSession) -> bytes:
    """Part 1, "Session-based Authorizations": sessionKey || authValue."""
    if use.includes_auth and use.entity is not None:
        return session.session_key + use.entity.auth_value
    return session.session_key


def encryption_key(use: SessionUse, session: LoadedSession) -> bytes:
    """Part 1, "Session-based Encryption": sessionKey || authValue of what the session authorizes."""
    return session.session_key + (use.entity.auth_value if use.entity is not None else b"")


def command_hmac(call: Call, use: SessionUse, session: LoadedSession) -> bytes:
    """The HMAC that a command must show for this session; empty if the key and the HMAC given are."""
    key = hmac_key(use, session)
    if not key and not use.auth:
        return b""
    extra = b""
    if use.number == 1 and use.entity is not None:
        if call.decrypt and call.decrypt is not use and call.decrypt.session:
            extra += call.decrypt.session.nonce_tpm
        if (
            call.encrypt
            and call.encrypt is not use
            and call.encrypt is not call.decrypt
            and call.encrypt.session
        ):
            extra += call.encrypt.session.nonce_tpm
    attributes = bytes((use.attributes,))
    message = call.cp_hash(session.hash) + use.nonce_caller + session.nonce_tpm + extra + attributes
    return hmac_digest(session.hash, key, message)


def response_hmac(use: SessionUse, session: LoadedSession, rp_hash: bytes, attributes: int) -> bytes:
    """The HMAC that the response shows for this session."""
    key = hmac_key(use, session)
    if not key and not use.auth:
        return b""
    message = rp_hash + session.nonce_tpm + use.nonce_caller + bytes((attributes,))
    return hmac_digest(session.hash, key, message)


def cfb_key(use: SessionUse, session: LoadedSession, newer: bytes, older: bytes) -> tuple[bytes, bytes]:
    """Part 1, "CFB Mode Parameter Encryption": the key and the initialization vector."""
    symmetric: TPMT_SYM_DEF = session.symmetric
    key_size = symmetric.key_bits // 8
    block_size = 8 if symmetric.algorithm is TPM_ALG.TDES else 16
    material = kdf_a(
        session.hash, encryption_key(use, session), b"CFB", newer, older, 8 * (key_size + block_size)
    )
    return material[:key_size], material[key_size:]


def decrypt_first_parameter(call: Call) -> None:
    """Part 3, 5.7: decrypt the contents of the first parameter; its size is in the clear."""
    use = call.decrypt
    if use is None or use.session is None:
        return
    start, end = first_parameter(call.parameters, use)
    octets, session = call.parameters[start:end], use.session
    if session.symmetric.algorithm is TPM_ALG.XOR:
        key = encryption_key(use, session)
        plain = xor_obfuscate(session.hash, key, use.nonce_caller, session.nonce_tpm, octets)
    else:
        key, iv = cfb_key(use, session, use.nonce_caller, session.nonce_tpm)
        plain = cfb_decrypt(session.symmetric.algorithm, key, iv, octets)
    call.parameters = call.parameters[:start] + plain + call.parameters[end:]


def encrypt_first_parameter(use: SessionUse, session: LoadedSession, parameters: bytes) -> bytes:
    """Part 3, 5.9: encrypt the contents of the response's first parameter."""
    (size,) = SIZE.unpack_from(parameters)
    octets, rest = parameters[2 : 2 + size], parameters[2 + size :]
    if session.symmetric.algorithm is TPM_ALG.XOR:
        key = encryption_key(use, session)
        hidden = xor_obfuscate(session.hash, key, session.nonce_tpm, use.nonce_caller, octets)
    else:
        key, iv = cfb_key(use, session, session.nonce_tpm, use.nonce_caller)
        hidden = cfb_encrypt(session.symmetric.algorithm, key, iv, octets)
    return parameters[:2] + hidden + rest


def first_parameter(parameters: bytes, use: SessionUse) -> tuple[int, int]:
    """Where the contents of the first parameter begin and end."""
    if len(parameters) < 2:
        raise TpmError(TPM_RC.INSUFFICIENT, at=Session(use.number))
    (size,) = SIZE.unpack_from(parameters)
    if size > len(parameters) - 2:
        raise TpmError(TPM_RC.SIZE, at=Session(use.number))
    return 2, 2 + size
