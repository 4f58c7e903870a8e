"""A conversation with a TPM, recorded as it goes on, and its lines."""

from io import BufferedReader, BytesIO
from typing import Any

from vtpm.testing import Client
from vtpm.trace.capture import events_of
from vtpm.trace.event import Event, Kind
from vtpm.trace.tracer import Tracer


class Recorded(Client):
    """A client that keeps what was said, but for the start."""

    def __init__(self, **options: Any) -> None:
        self.events: list[Event] = []
        super().__init__(**options)
        self.events.clear()

    def send(self, request: bytes, locality: int = 0) -> bytes:
        """Send octets as they are."""
        response = super().send(request, locality)
        self.events += [Event(Kind.COMMAND, request), Event(Kind.RESPONSE, response)]
        return response

    def lines(self, **options: bool) -> list[str]:
        """What a trace says of it."""
        return list(Tracer(**options).lines(self.events))


def source_of(octets: bytes) -> "BufferedReader[Any]":
    """Octets as a file that is open."""
    return BufferedReader(BytesIO(octets))


def events_in(octets: bytes) -> list[Event]:
    """The events of a capture."""
    return list(events_of(source_of(octets)))


def lines_of(octets: bytes, **options: bool) -> list[str]:
    """The lines of a capture."""
    return list(Tracer(**options).lines(events_in(octets)))


def explained(request: str, response: str = "") -> list[str]:
    """The lines of a command and its response, given in hex."""
    events = [Event(Kind.COMMAND, bytes.fromhex(request))]
    if response:
        events.append(Event(Kind.RESPONSE, bytes.fromhex(response)))
    return list(Tracer().lines(events))
