"""Part 3, clauses 5.2 to 5.9: a command or a response as lines."""

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from vtpm.commands import Command
from vtpm.spec.attributes import TPMA_SESSION
from vtpm.spec.constants import TPM_RH, TPM_ST
from vtpm.trace.codes import MEANINGS
from vtpm.trace.fields import Fields, Missing, take, word_name
from vtpm.trace.names import CAPABILITIES, NUMBERS, constant_name, handle_name
from vtpm.trace.secrecy import is_secret
from vtpm.wire.codec import Codec
from vtpm.wire.error import TPM_RC, decode
from vtpm.wire.vocabulary import SIZE

HEADER = struct.Struct(">HII")
UINT32 = struct.Struct(">I")
SECTION = re.compile(r"\d+\.\d+")


@dataclass(slots=True)
class Auth:
    """One session of a command (`handle`) or of a response."""

    nonce: bytes
    attributes: TPMA_SESSION
    hmac: bytes
    handle: int | None = None

    @property
    def is_password(self) -> bool:
        """Is its HMAC a password?"""
        return self.handle == TPM_RH.TPM_RS_PW

    def text(self, fields: Fields, use: str = "") -> str:
        """How it is shown: neither an HMAC nor a password is ever of use to a reader."""
        kind = "password" if self.is_password else "HMAC"
        parts = [
            f"{handle_name(self.handle)}{use}" if self.handle is not None else "",
            word_name(TPMA_SESSION.wire, self.attributes),
            f"nonce {fields.octets(self.nonce)}" if self.nonce else "",
            f"{kind} {fields.octets(self.hmac, secret=True)}",
        ]
        return ", ".join(part for part in parts if part)


def clause_of(command: Command) -> str:
    """The clauses of Part 3 that describe a command, as its handler cites them."""
    cited, _, _ = (command.run.__doc__ or "").partition(":")
    return f"Part 3, {' and '.join(SECTION.findall(cited))}"


def check_header(fields: Fields, tag: int, size: int, octets: bytes, *more_tags: int) -> None:
    """Say what is wrong with a header, if something is."""
    if tag not in (TPM_ST.NO_SESSIONS, TPM_ST.SESSIONS, *more_tags):
        fields.add("tag", f"{constant_name(TPM_ST, tag)} (refused here: TPM_RC_TAG)")
    if size != len(octets):
        fields.add("size", f"the header says {size} octets, there are {len(octets)}")


def read_command(fields: Fields, stream: BytesIO, tag: int, command: Command) -> bool:
    """The handles, sessions and parameters; does a session encrypt the response's first parameter?"""
    for argument in command.handles:
        fields.read(argument.codec, stream, argument.name)
    auths: list[Auth] = []
    if tag == TPM_ST.SESSIONS:
        auths = read_sessions(fields, stream, command)
    hidden = any(auth.attributes.decrypt for auth in auths)
    read_arguments(fields, stream, command, command.parameters, hidden=hidden)
    return any(auth.attributes.encrypt for auth in auths)


def read_response(fields: Fields, stream: BytesIO, tag: int, command: Command, *, hidden: bool) -> None:
    """The handle, the parameters and the acknowledgments; `hidden` is whether the first is encrypted."""
    answer = dict(command.response.fields) if command.response else {}
    if command.response_handle:
        name = next(iter(answer))
        fields.read(answer.pop(name), stream, name)
    if tag != TPM_ST.SESSIONS:
        read_arguments(fields, stream, command, answer, hidden=hidden)
        return
    inside = BytesIO(take_area(stream))
    try:
        read_arguments(fields, inside, command, answer, hidden=hidden)
    except Missing as end:
        fields.rest(end.path, inside, str(end))
    number = 0
    while stream.tell() < len(stream.getbuffer()):
        number += 1
        fields.add(f"session {number}", read_auth(stream).text(fields))


def read_sessions(fields: Fields, stream: BytesIO, command: Command) -> list[Auth]:
    """The authorization area of a command."""
    area = BytesIO(take_area(stream))
    authorized = [handle.name for handle in command.handles if handle.role is not None]
    auths: list[Auth] = []
    try:
        while area.tell() < len(area.getbuffer()):
            (handle,) = UINT32.unpack(take(area, UINT32.size))
            auth = read_auth(area, handle)
            use = f" for {authorized[len(auths)]}" if len(auths) < len(authorized) else ""
            auths.append(auth)
            fields.add(f"session {len(auths)}", auth.text(fields, use))
    except Missing as end:
        fields.rest(f"session {len(auths) + 1}", area, str(end))
    return auths


def read_auth(stream: BytesIO, handle: int | None = None) -> Auth:
    """Nonce, attributes, and HMAC or password (Part 2, 10.12)."""
    nonce = take_sized(stream)
    attributes = TPMA_SESSION(take(stream, 1)[0])
    return Auth(nonce, attributes, take_sized(stream), handle)


def take_sized(stream: BytesIO) -> bytes:
    """The contents of a TPM2B; Missing, with the stream before it, if they are not all there."""
    start = stream.tell()
    (size,) = SIZE.unpack(take(stream, SIZE.size))
    try:
        return take(stream, size)
    except Missing:
        stream.seek(start)
        raise


def take_area(stream: BytesIO) -> bytes:
    """What a UINT32 size precedes: an authorization area, or the parameters of a response."""
    start = stream.tell()
    (size,) = UINT32.unpack(take(stream, UINT32.size))
    try:
        return take(stream, size)
    except Missing:
        stream.seek(start)
        raise


def read_arguments(
    fields: Fields, stream: BytesIO, command: Command, codecs: Mapping[str, Codec], *, hidden: bool
) -> None:
    """Parameters of a command or a response, to the last octet; the first is encrypted if `hidden`."""
    values: dict[str, Any] = {}
    for name, codec in codecs.items():
        if hidden and not values:
            values[name] = take_sized(stream)
            fields.add(name, f"encrypted, {len(values[name])} octets")
            continue
        number = NUMBERS.get((command.name, name))
        if name == "property":
            number = CAPABILITIES.get(values.get("capability", -1))
        secret = is_secret(command.code, name)
        values[name] = fields.read(codec, stream, name, number=number, secret=secret)
    if stream.tell() < len(stream.getbuffer()):
        fields.rest("parameters", stream, "octets are left over")


def fault_of(code: int, command: Command | None) -> str:
    """The name of the handle, parameter or session's subject that a response code points to."""
    _, kind, number = decode(code)
    if command is None:
        return ""
    handles = [handle.name for handle in command.handles]
    authorized = [f"for {handle.name}" for handle in command.handles if handle.role is not None]
    named = {"handle": handles, "parameter": list(command.parameters), "session": authorized}.get(kind, [])
    return f" ({named[number - 1]})" if 0 < number <= len(named) else ""


def reason_of(code: int, command: Command | None) -> str:
    """What a response code means, and the clauses to read."""
    rc = decode(code)[0]
    meaning = MEANINGS[rc] if isinstance(rc, TPM_RC) else "no code of the specification"
    clauses = "Part 2, 6.6.3" + (f"; {clause_of(command)}" if command else "")
    return f"{meaning} ({clauses})"
