"""Verbs for tests: a client whose methods are the commands of the table, sent as octets."""

import hashlib
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from vtpm import Instant, Tpm
from vtpm.commands import COMMANDS, Command
from vtpm.spec.constants import TPM_RH, TPM_ST, TPM_SU
from vtpm.state.profile import DEFAULT, Profile
from vtpm.wire.error import TpmError, decode

HEADER = struct.Struct(">HII")


def seeded(seed: bytes = b"test") -> Callable[[int], bytes]:
    """A source of octets that are always the same: SHAKE-256 of the seed and a counter."""
    count = 0

    def source(octets: int) -> bytes:
        nonlocal count
        count += 1
        return hashlib.shake_256(seed + count.to_bytes(8, "big")).digest(octets)

    return source


BY_HANDLER: dict[str, Command] = {command.run.__name__: command for command in COMMANDS.values()}


@dataclass
class Reply:
    """A response: its code, the octets of its parts, and the fields of a successful one as attributes."""

    rc: int
    octets: bytes
    fields: dict[str, Any] = field(default_factory=dict)
    parameters: bytes = b""
    auths: list[tuple[bytes, int, bytes]] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.fields[name]
        except KeyError:
            raise AttributeError(f"{name}: the response is {decode(self.rc)}") from None


class Password:
    """A password authorization."""

    def __init__(self, password: bytes = b"") -> None:
        self.password = password

    def octets(self, command: Command, names: list[bytes], parameters: bytes) -> bytes:  # noqa: ARG002
        """The session's part of the authorization area."""
        size = len(self.password).to_bytes(2, "big")
        return TPM_RH.TPM_RS_PW.to_bytes(4, "big") + b"\0\0" + b"\x01" + size + self.password


class Caller:
    """
    The commands of the table as methods, for a TPM that `send` reaches.

    `caller.nv_write(owner, index, data=b"x", offset=0)` sends TPM2_NV_Write.
    Handles are given by position, parameters by name.
    `auths` are passwords, one for each authorization (empty by default).
    `sessions` are session objects that give their octets; `locality` is the locality of the command.
    """

    def send(self, request: bytes, locality: int = 0) -> bytes:
        """Send octets as they are."""
        raise NotImplementedError

    def name_of(self, handle: int) -> bytes:
        """The Name of an entity, as cpHash needs it."""
        raise NotImplementedError

    def __getattr__(self, name: str) -> Callable[..., Reply]:
        command = BY_HANDLER.get(name)
        if command is None:
            raise AttributeError(name)

        def call(
            *handles: int,
            auths: Iterable[bytes] = (),
            sessions: Iterable[Any] = (),
            locality: int = 0,
            **given: Any,
        ) -> Reply:
            return self.call(command, handles, list(auths), list(sessions), locality, given)

        return call

    def call(
        self,
        command: Command,
        handles: tuple[int, ...],
        auths: list[bytes],
        sessions: list[Any],
        locality: int,
        given: dict[str, Any],
    ) -> Reply:
        """Build the command, have it executed and take the response apart."""
        parameters = parameters_of(command, given)
        if not sessions:
            auths += [b""] * (command.authorizations - len(auths))
            sessions = [Password(auth) for auth in auths]
        names = [self.name_of(handle) for handle in handles] if sessions else []
        area = b"".join(session.octets(command, names, parameters) for session in sessions)
        return reply_of(command, self.send(request_of(command, handles, area, parameters), locality))


class Client(Caller):
    """A TPM in this process, with deterministic entropy and a clock that only `wait` moves."""

    def __init__(self, *, profile: Profile = DEFAULT, seed: bytes = b"test", start: bool = True) -> None:
        self.tpm = Tpm.manufacture(seeded(seed), profile)
        self.durable: dict[str, bytes] = {}
        self.changes: dict[str, bytes | None] = {}
        self.keep(self.tpm.changes())
        self.now = 0
        self.tpm.power_on(Instant(self.now))
        if start:
            self.startup(startup_type=TPM_SU.CLEAR)

    def keep(self, changes: Mapping[str, bytes | None]) -> None:
        """Do what a store does with the changes of a command."""
        self.changes = dict(changes)
        for name, blob in changes.items():
            if blob is None:
                self.durable.pop(name, None)
            else:
                self.durable[name] = blob

    def wait(self, milliseconds: int) -> None:
        """Let time pass."""
        self.now += milliseconds

    def send(self, request: bytes, locality: int = 0) -> bytes:
        """Send octets as they are; `changes` then has what became durable."""
        outcome = self.tpm.execute(request, locality, Instant(self.now))
        self.keep(outcome.changes)
        return outcome.response

    def power_cycle(self, *, shutdown: TPM_SU | None = TPM_SU.CLEAR, startup: TPM_SU = TPM_SU.CLEAR) -> Reply:
        """Shut down (or not), lose power together with everything that is not durable, and start again."""
        if shutdown is not None:
            assert self.shutdown(shutdown_type=shutdown).rc == 0
        self.lose_power()
        return self.startup(startup_type=startup)

    def lose_power(self) -> None:
        """A new process begins with what is durable."""
        self.tpm = Tpm.restore(self.durable, seeded(b"after power loss" + bytes([len(self.durable)])))
        self.tpm.power_on(Instant(self.now))

    def name_of(self, handle: int) -> bytes:
        """The Name of an entity, as cpHash needs it."""
        if handle in self.tpm.nv:
            return self.tpm.nv[handle].name
        item = self.tpm.volatile.objects.get(handle) or self.tpm.persistent.get(handle)
        return item.name if item is not None else handle.to_bytes(4, "big")


def request_of(command: Command, handles: Iterable[int], area: bytes, parameters: bytes) -> bytes:
    """The octets of a command; without sessions if the authorization area is empty."""
    body = b"".join(handle.to_bytes(4, "big") for handle in handles)
    if area:
        body += len(area).to_bytes(4, "big") + area
    body += parameters
    tag = TPM_ST.SESSIONS if area else TPM_ST.NO_SESSIONS
    return HEADER.pack(tag, HEADER.size + len(body), command.code) + body


def parameters_of(command: Command, given: dict[str, Any]) -> bytes:
    """The parameter area; every parameter must be given."""
    assert given.keys() == command.parameters.keys(), f"{command.name} takes {list(command.parameters)}"
    stream = BytesIO()
    for name, codec in command.parameters.items():
        codec._build(given[name], stream, None, name)
    return stream.getvalue()


def reply_of(command: Command, response: bytes) -> Reply:
    """Take a response apart; it must be whole."""
    tag, size, rc = HEADER.unpack_from(response)
    assert size == len(response)
    reply = Reply(rc, response)
    if rc != 0:
        assert response == HEADER.pack(TPM_ST.RSP_COMMAND if rc == 0x1E else TPM_ST.NO_SESSIONS, 10, rc)
        return reply
    body = response[HEADER.size :]
    handle, body = (body[:4], body[4:]) if command.response_handle else (b"", body)
    if tag == TPM_ST.SESSIONS:
        size = int.from_bytes(body[:4], "big")
        reply.parameters, rest = body[4 : 4 + size], BytesIO(body[4 + size :])
        while length := rest.read(2):
            nonce = rest.read(int.from_bytes(length, "big"))
            attributes = rest.read(1)[0]
            reply.auths.append((nonce, attributes, rest.read(int.from_bytes(rest.read(2), "big"))))
    else:
        reply.parameters = body
    if command.response is not None:
        try:
            stream = BytesIO(handle + reply.parameters)
            answer = command.response._parse(stream, None, "")
        except (TpmError, ValueError):
            # An encrypted first parameter need not parse: whoever owns the session decrypts it.
            return reply
        assert stream.read() == b""
        reply.fields = {name: getattr(answer, name) for name in command.response.fields}
    return reply
