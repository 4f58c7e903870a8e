"""Part 3, clause 5, "Command Processing": the order in which a TPM looks at a command."""

import logging
import struct
from collections.abc import Mapping
from io import BytesIO
from typing import Any, NamedTuple

from vtpm.commands import Command
from vtpm.commands.table import Area
from vtpm.engine.audit import audit_command, audit_session, rp_hash_of
from vtpm.engine.authorization import authorize
from vtpm.engine.call import Call
from vtpm.engine.failure import execute_failed
from vtpm.engine.handles import entity_of
from vtpm.engine.session_area import (
    decrypt_first_parameter,
    encrypt_first_parameter,
    response_hmac,
    sessions_of,
)
from vtpm.spec.constants import TPM_CC, TPM_RH, TPM_ST
from vtpm.state.clock import Instant
from vtpm.state.power import note_divergence
from vtpm.state.tpm import TpmState
from vtpm.wire.error import TPM_RC, Session, TpmError, positioned

HEADER = struct.Struct(">HII")
SIZE = struct.Struct(">I")
HANDLE = struct.Struct(">I")

# To find a member in an Enum costs as much as a function call, and these are needed by every command.
NO_SESSIONS, SESSIONS = int(TPM_ST.NO_SESSIONS), int(TPM_ST.SESSIONS)
STARTUP, SHUTDOWN = TPM_CC.Startup, TPM_CC.Shutdown
SUCCESS = int(TPM_RC.SUCCESS)
FORBIDDEN = Area.FORBIDDEN

MIN_AUTHORIZATION = 9
"""Octets of the smallest session: handle, empty nonce, attributes, empty HMAC."""

logger = logging.getLogger(__name__)


class Outcome(NamedTuple):
    """What a command came to: its response, and the blobs to make durable before the response leaves."""

    response: bytes
    changes: Mapping[str, bytes | None]


def execute(tpm: TpmState, request: bytes, locality: int, now: Instant) -> Outcome:
    """
    Execute one command; whatever the octets are, the outcome has a well-formed response.

    What time alone has changed is apart from what the command changes.
    """
    if tpm.volatile.failed:
        return Outcome(execute_failed(tpm, request), {})
    command = None
    aged: Mapping[str, bytes | None] = {}
    try:
        tpm.begin(locality, now)
        aged = tpm.changes()
        tag, command = command_of(tpm, request)  # 5.2, 5.3
        call, rest = resolve(tpm, command, request)  # 5.4
        check_sessions(tpm, call, tag, rest)  # 5.5, 5.6
        if command.code in tpm.permanent.audited:
            call.cp_hash(tpm.permanent.audit_alg)  # of the parameters as they were sent
        decrypt_first_parameter(call)  # 5.7
        answer = run(tpm, call)  # 5.8
        response = respond(tpm, call, tag, answer)  # 5.9
        if tpm.permanent.shutdown is not None and command.code != SHUTDOWN:
            note_divergence(tpm)
    except TpmError as error:
        response = refuse(command, error)
    except Exception as error:  # an unexpected one is a bug, and this TPM cannot be trusted any more
        logger.exception("the TPM enters failure mode")
        tpm.fail(f"{type(error).__name__} in {command.name if command else 'the command header'}")
        return Outcome(execute_failed(tpm, request), aged)
    changes = tpm.changes()
    return Outcome(response, {**aged, **changes} if aged else changes)


def command_of(tpm: TpmState, request: bytes) -> tuple[int, Command]:
    """5.2 and 5.3: the header, and whether the TPM's mode allows the command."""
    if len(request) < HEADER.size:
        raise TpmError(TPM_RC.COMMAND_SIZE)
    tag, size, code = HEADER.unpack_from(request)
    if tag not in (NO_SESSIONS, SESSIONS):
        raise TpmError(TPM_RC.TAG)  # 6.1: this TPM has no compatibility with TPM 1.2
    if size != len(request) or size > tpm.profile.max_command_size:
        raise TpmError(TPM_RC.COMMAND_SIZE)
    command = tpm.commands.get(code)
    if command is None:
        raise TpmError(TPM_RC.COMMAND_CODE)
    if (code == STARTUP) is tpm.volatile.started:
        raise TpmError(TPM_RC.INITIALIZE)
    if tpm.clear.read_only and not command.read_only:
        raise TpmError(TPM_RC.READ_ONLY)
    return tag, command


def resolve(tpm: TpmState, command: Command, request: bytes) -> tuple[Call, bytes]:
    """5.4: read the handles, all of them first, then find what they refer to; also gives what follows."""
    handles: list[int] = []
    end = HEADER.size
    for argument in command.handles:
        try:
            (handle,) = HANDLE.unpack_from(request, end)
            handles.append(argument.codec.accept(handle))
        except struct.error:
            raise TpmError(TPM_RC.INSUFFICIENT, at=argument.name) from None
        except TpmError as error:
            raise error.positioned_at(argument.name) from None
        end += HANDLE.size
    call = Call(command, handles, [], [])
    for number, argument in enumerate(command.handles):
        handle = handles[number]
        if argument.optional and handle == TPM_RH.NULL:
            call.entities.append(None)
            call.names.append(handle.to_bytes(4, "big"))
            continue
        try:
            entity = entity_of(tpm, handle, number, command.code)
        except TpmError as error:
            raise error.positioned_at(argument.name) from None
        call.entities.append(entity)
        call.names.append(entity.name)
    return call, request[end:]


def check_sessions(tpm: TpmState, call: Call, tag: int, rest: bytes) -> None:
    """5.5 and 5.6: the authorization area, if there is one, then the authorizations."""
    if tag != SESSIONS:
        call.parameters = rest
        if call.command.authorizations:
            raise TpmError(TPM_RC.AUTH_MISSING)
        return
    if len(rest) < SIZE.size:
        raise TpmError(TPM_RC.INSUFFICIENT)
    end = SIZE.size + SIZE.unpack_from(rest)[0]
    if not SIZE.size + MIN_AUTHORIZATION <= end <= len(rest):
        raise TpmError(TPM_RC.AUTHSIZE)
    if call.command.sessions is FORBIDDEN:
        raise TpmError(TPM_RC.AUTH_CONTEXT)
    call.parameters = rest[end:]
    sessions_of(tpm, call, rest[SIZE.size : end])
    authorize(tpm, call)


def run(tpm: TpmState, call: Call) -> Any:
    """5.8: read the parameters, to the last octet, and call the handler."""
    command = call.command
    stream = BytesIO(call.parameters)
    arguments = {}
    for name, codec in command.parameters.items():
        try:
            arguments[name] = codec._parse(stream, None, name)  # noqa: SLF001 - how a construct reads
        except TpmError as error:
            raise error.positioned_at(name) from None
    if stream.read(1):
        raise TpmError(TPM_RC.SIZE)
    for number, argument in enumerate(command.handles):
        entity = call.entities[number]
        if entity is not None and not isinstance(entity, argument.entities):
            raise TpmError(argument.otherwise, at=argument.name if argument.otherwise.positional else None)
    return command.run(tpm, *call.entities, **arguments)


def respond(tpm: TpmState, call: Call, tag: int, answer: Any) -> bytes:
    """5.9: encrypt the first parameter, roll the nonces, audit, acknowledge."""
    command = call.command
    handle = parameters = b""
    if command.response is not None:
        stream = BytesIO()
        command.response._build(answer, stream, None, "")  # noqa: SLF001 - how a construct writes
        parameters = stream.getvalue()
        if command.response_handle:
            handle, parameters = parameters[:4], parameters[4:]
    for use in call.sessions:
        if use.session is not None:
            use.session.nonce_tpm = tpm.random(len(use.session.nonce_tpm))
    if call.encrypt is not None and call.encrypt.session is not None:
        parameters = encrypt_first_parameter(call.encrypt, call.encrypt.session, parameters)
    audit(tpm, call, parameters)
    if tag != SESSIONS:
        size = HEADER.size + len(handle) + len(parameters)
        return HEADER.pack(tag, size, SUCCESS) + handle + parameters
    acknowledgments = acknowledge(tpm, call, parameters)
    size = HEADER.size + len(handle) + 4 + len(parameters) + len(acknowledgments)
    header = HEADER.pack(tag, size, SUCCESS)
    return header + handle + SIZE.pack(len(parameters)) + parameters + acknowledgments


def audit(tpm: TpmState, call: Call, parameters: bytes) -> None:
    """5.9: session audit and command audit; a command without audit ends the exclusive session."""
    command = call.command
    if call.audit is not None:
        audit_session(tpm, call, call.audit, parameters)
    elif command.sessions is not FORBIDDEN:
        tpm.volatile.exclusive_session = 0
    if command.code in tpm.permanent.audited:
        audit_command(tpm, call, parameters)


def acknowledge(tpm: TpmState, call: Call, parameters: bytes) -> bytes:
    """The response's authorization area; ends the sessions that do not continue."""
    octets = bytearray()
    for use in call.sessions:
        session = use.session
        if session is None:
            octets += b"\0\0\x01\0\0"
            continue
        if session.policy is not None and session.policy.password_needed:
            hmac = b""
        else:
            rp_hash = rp_hash_of(session.hash, call.command.code, parameters)
            hmac = response_hmac(use, session, rp_hash, use.attributes)
        nonce = session.nonce_tpm
        octets += len(nonce).to_bytes(2, "big") + nonce + bytes((use.attributes,))
        octets += len(hmac).to_bytes(2, "big") + hmac
        if not use.attributes.continueSession:
            tpm.flush_session(session)
        elif session.policy is not None:
            session.restart_policy()
            session.restart_time(tpm.clock)
    return bytes(octets)


def refuse(command: Command | None, error: TpmError) -> bytes:
    """5.9: ten octets; the sessions stay as they were."""
    code: int = error.rc
    if isinstance(error.at, Session):
        code = positioned(code, session=error.at)
    elif error.at is not None and command is not None:
        code = positioned(code, **command.position(error.at))
    return HEADER.pack(NO_SESSIONS, HEADER.size, code)
