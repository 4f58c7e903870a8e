"""The conversation with a TPM as lines: commands with their responses, in their order."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO

from vtpm.commands import COMMANDS, Command
from vtpm.control.messages import CMD, TPM_RESULT
from vtpm.spec.constants import TPM_ST
from vtpm.trace.event import Event, Kind
from vtpm.trace.fields import Fields, Missing
from vtpm.trace.message import (
    HEADER,
    UINT32,
    check_header,
    clause_of,
    fault_of,
    read_command,
    read_response,
    reason_of,
)
from vtpm.trace.names import command_name, constant_name
from vtpm.wire.error import TPM_RC, decode

INDENT = "      "
MILLISECONDS = 1000


@dataclass(slots=True)
class Pending:
    """A command whose response has not been seen yet."""

    number: int
    command: Command | None
    time: float | None
    encrypts: bool = False
    """Does a session encrypt the first parameter of the response?"""


class Tracer:
    """
    Explains the events of a capture.

    `> ` begins a command, `< ` its response, which has the same number.
    Secrets are hidden unless `show_secrets`, and long values are cut unless `whole`.
    """

    def __init__(self, *, show_secrets: bool = False, whole: bool = False) -> None:
        self.show_secrets = show_secrets
        self.whole = whole
        self._count = 0
        self._pending: dict[str, Pending] = {}
        self._start: float | None = None

    def lines(self, events: Iterable[Event]) -> Iterator[str]:
        """The lines of all events."""
        for event in events:
            yield from self.explain(event)

    def explain(self, event: Event) -> list[str]:
        """The lines of one event; any octets have some."""
        if self._start is None:
            self._start = event.time
        match event.kind:
            case Kind.COMMAND:
                return self._command(event)
            case Kind.RESPONSE:
                return self._response(event)
            case Kind.EITHER:
                is_response = event.stream in self._pending and may_respond(event.octets)
                return self._response(event) if is_response else self._command(event)
            case Kind.CONTROL_REQUEST | Kind.CONTROL_RESPONSE:
                return [control_line(event)]
            case Kind.NOTE:
                return [f"# {event.text}"]
            case Kind.BROKEN:
                octets = f": {self._fields().octets(event.octets, secret=True)}" if event.octets else ""
                return [f"! {event.text}{octets}"]

    def _fields(self) -> Fields:
        return Fields(self.show_secrets, self.whole)

    def _command(self, event: Event) -> list[str]:
        self._count += 1
        fields, stream = self._fields(), BytesIO(event.octets)
        if len(event.octets) < HEADER.size:
            fields.rest("header", stream, "a command has at least 10 octets")
            self._pending[event.stream] = Pending(self._count, None, event.time)
            return [f"{self._count} > no command{self._at(event)}", *indented(fields)]
        tag, size, code = HEADER.unpack(stream.read(HEADER.size))
        command = COMMANDS.get(code)
        pending = self._pending[event.stream] = Pending(self._count, command, event.time)
        check_header(fields, tag, size, event.octets)
        if command is None:
            fields.rest("body", stream, "this TPM does not have the command")
        else:
            try:
                pending.encrypts = read_command(fields, stream, tag, command)
            except Missing as end:
                fields.rest(end.path or "sessions", stream, str(end))
        clause = f" ({clause_of(command)})" if command else ""
        return [f"{self._count} > {command_name(code)}{clause}{self._at(event)}", *indented(fields)]

    def _at(self, event: Event) -> str:
        if event.time is None or self._start is None:
            return ""
        return f", at {(event.time - self._start) / MILLISECONDS:.3f} s"

    def _response(self, event: Event) -> list[str]:
        pending = self._pending.pop(event.stream, None)
        number = pending.number if pending else "?"
        command = pending.command if pending else None
        fields, stream = self._fields(), BytesIO(event.octets)
        if len(event.octets) < HEADER.size:
            fields.rest("header", stream, "a response has at least 10 octets")
            return [f"{number} < no response", *indented(fields)]
        tag, size, code = HEADER.unpack(stream.read(HEADER.size))
        check_header(fields, tag, size, event.octets, TPM_ST.RSP_COMMAND)
        line = f"{number} < {decode(code)}{fault_of(code, command)}{after(event, pending)}"
        if code != TPM_RC.SUCCESS:
            fields.add("refused", reason_of(code, command))
        if pending is not None and command is not None and code == TPM_RC.SUCCESS:
            try:
                read_response(fields, stream, tag, command, hidden=pending.encrypts)
            except Missing as end:
                fields.rest(end.path or "sessions", stream, str(end))
        elif len(event.octets) > HEADER.size:
            why = "a refusal has ten octets" if code else "it answers no command that can be decoded"
            fields.rest("body", stream, why)
        return [line, *indented(fields)]


def indented(fields: Fields) -> list[str]:
    """The lines of a message, under its first one."""
    return [INDENT + line for line in fields.lines]


def after(event: Event, pending: Pending | None) -> str:
    """How long a command took."""
    if pending is None or pending.time is None or event.time is None:
        return ""
    return f", after {event.time - pending.time:.1f} ms"


def may_respond(octets: bytes) -> bool:
    """Can these octets be a response? One that says what was wrong has no more than ten."""
    if len(octets) < HEADER.size:
        return True
    code = HEADER.unpack_from(octets)[2]
    return code == TPM_RC.SUCCESS or len(octets) == HEADER.size


def control_line(event: Event) -> str:
    """What is said on swtpm's control channel, beside commands: its kind and size."""
    sign, kind = (">", CMD) if event.kind is Kind.CONTROL_REQUEST else ("<", TPM_RESULT)
    name = "part of a message"
    if len(event.octets) >= UINT32.size:
        (code,) = UINT32.unpack_from(event.octets)
        if code in kind._value2member_map_:
            name = constant_name(kind, code)
    return f"control {sign} {name}, {len(event.octets)} octets"
