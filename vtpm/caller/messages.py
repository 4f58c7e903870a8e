"""Part 3, 5.2 and 5.9, from the caller's side: the octets of a command, and the fields of a response."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, Self

from vtpm.commands import Command
from vtpm.spec.constants import TPM_ST
from vtpm.wire.error import TPM_RC, TpmError, decode

HEADER = struct.Struct(">HII")
"""Tag, size, and command code or response code."""


class Refused(Exception):  # noqa: N818 - what happened to the command
    """A command was refused; `rc` is the response code with its position."""

    def __init__(self, name: str, rc: int) -> None:
        super().__init__(name, rc)
        self.rc = rc

    def __str__(self) -> str:
        return f"TPM2_{self.args[0]} was refused: {decode(self.rc)}"


@dataclass(repr=False)
class Reply:
    """
    A response: its code, its octets, and the fields of a successful one as attributes.

    `tpm.get_random(bytes_requested=8).random_bytes` is the field randomBytes of Part 3.
    Where a session encrypts the response, there are no fields: its owner decrypts `parameters`.
    """

    rc: int
    """The response code, which may carry a position: 0x1C4 is TPM_RC_VALUE of parameter 1."""
    octets: bytes
    """The whole response."""
    fields: dict[str, Any] = field(default_factory=dict)
    parameters: bytes = b""
    """The parameter area, as rpHash needs it."""
    auths: list[tuple[bytes, int, bytes]] = field(default_factory=list)
    """For each session: the TPM's nonce, the attributes, and the HMAC."""
    command: str = ""
    """The command's name."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self.fields[name]
        except KeyError:
            raise AttributeError(f"{name}: the response is {decode(self.rc)}") from None

    def __repr__(self) -> str:
        shown = "".join(f", {name}" for name in self.fields)
        return f"<Reply to {self.command}: {decode(self.rc)}{shown}>"

    def check(self) -> Self:
        """The reply itself, if the command succeeded; else the error `Refused`."""
        if self.rc != TPM_RC.SUCCESS:
            raise Refused(self.command, self.rc)
        return self


def request_of(command: Command, handles: Iterable[int], area: bytes, parameters: bytes) -> bytes:
    """The octets of a command; without sessions if the authorization area is empty."""
    body = b"".join(handle.to_bytes(4, "big") for handle in handles)
    if area:
        body += len(area).to_bytes(4, "big") + area
    body += parameters
    tag = TPM_ST.SESSIONS if area else TPM_ST.NO_SESSIONS
    return HEADER.pack(tag, HEADER.size + len(body), command.code) + body


def parameters_of(command: Command, given: dict[str, Any]) -> bytes:
    """The parameter area; TypeError unless every parameter of the command is given, and no other."""
    if given.keys() != command.parameters.keys():
        raise TypeError(f"TPM2_{command.name} takes {_listed(command.parameters)}, not {_listed(given)}")
    stream = BytesIO()
    for name, codec in command.parameters.items():
        codec._build(given[name], stream, None, name)  # noqa: SLF001 - how a construct writes
    return stream.getvalue()


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "no parameters"


def reply_of(command: Command, response: bytes) -> Reply:
    """Take a response apart; it must be whole and well formed."""
    tag, size, rc = HEADER.unpack_from(response)
    assert size == len(response)
    reply = Reply(rc, response, command=command.name)
    if rc != TPM_RC.SUCCESS:
        refusal = TPM_ST.RSP_COMMAND if rc == TPM_RC.BAD_TAG else TPM_ST.NO_SESSIONS
        assert response == HEADER.pack(refusal, HEADER.size, rc)
        return reply
    body = response[HEADER.size :]
    handle, body = (body[:4], body[4:]) if command.response_handle else (b"", body)
    if tag == TPM_ST.SESSIONS:
        size = int.from_bytes(body[:4], "big")
        reply.parameters = body[4 : 4 + size]
        reply.auths = acknowledgments_of(body[4 + size :])
    else:
        reply.parameters = body
    if command.response is not None:
        try:
            stream = BytesIO(handle + reply.parameters)
            answer = command.response._parse(stream, None, "")  # noqa: SLF001 - how a construct reads
        except (TpmError, ValueError):
            # An encrypted first parameter need not parse: whoever owns the session decrypts it.
            return reply
        assert stream.read() == b""
        reply.fields = {name: getattr(answer, name) for name in command.response.fields}
    return reply


def acknowledgments_of(area: bytes) -> list[tuple[bytes, int, bytes]]:
    """Nonce, attributes and HMAC of each session of a response."""
    acknowledgments = []
    stream = BytesIO(area)
    while length := stream.read(2):
        nonce = stream.read(int.from_bytes(length, "big"))
        attributes = stream.read(1)[0]
        acknowledgments.append((nonce, attributes, stream.read(int.from_bytes(stream.read(2), "big"))))
    return acknowledgments
