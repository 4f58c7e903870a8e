"""
Captures that are text: recorded lines of both channels, logs of swtpm, and plain hex.

Each line says itself what it is, so one reader takes all of them, even mixed.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from vtpm.trace.event import HEADER_SIZE, Event, Kind, size_of

RECORDED: Final = re.compile(r"\s*([DC])([<>])(\+fd)?\s+([0-9A-Fa-f]*)(?:\s+([0-9]+(?:\.[0-9]*)?))?\s*")
"""A channel, a direction, octets and milliseconds: `D> 80010000… 48.3`."""

LOGGED: Final = re.compile(r"\b(SWTPM_IO_Read|SWTPM_IO_Write|Ctrl Cmd|Ctrl Rsp): length (\d{1,7})\s*$")
"""What swtpm writes at `--log level=20`, before lines of octets."""

HEX: Final = re.compile(r"\s*([<>]?)\s*((?:[0-9A-Fa-f]{2}[\s:]*)+)")
KINDS: Final = {
    ("D", ">"): Kind.COMMAND,
    ("D", "<"): Kind.RESPONSE,
    ("C", ">"): Kind.CONTROL_REQUEST,
    ("C", "<"): Kind.CONTROL_RESPONSE,
}
LOG_KINDS: Final = {
    "SWTPM_IO_Read": Kind.COMMAND,
    "SWTPM_IO_Write": Kind.RESPONSE,
    "Ctrl Cmd": Kind.CONTROL_REQUEST,
    "Ctrl Rsp": Kind.CONTROL_RESPONSE,
}
SIGNS: Final = {">": Kind.COMMAND, "<": Kind.RESPONSE, "": Kind.EITHER}
MAX_SHOWN: Final = 60


class TextReader:
    """Reads lines; a message may take several of them."""

    def __init__(self) -> None:
        self._octets = b""
        self._kind = Kind.EITHER
        self._wanted: int | None = None
        """How many octets a log has announced."""
        self._is_log = False

    def events(self, lines: Iterable[bytes]) -> Iterator[Event]:
        """The events of all lines."""
        for number, line in enumerate(lines, 1):
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            yield from self._line(text, number)
        yield from self._flush()

    def _line(self, text: str, number: int) -> Iterator[Event]:
        if not text.strip():
            return
        if logged := LOGGED.search(text):
            yield from self._flush()
            self._is_log = True
            self._kind, self._wanted = LOG_KINDS[logged[1]], int(logged[2])
            yield from self._complete()
        elif recorded := RECORDED.fullmatch(text):
            yield from self._flush()
            channel, sign, descriptor, digits, time = recorded.groups()
            yield self._recorded(KINDS[channel, sign], digits, time, descriptor or "", number)
        elif hexadecimal := HEX.fullmatch(text):
            yield from self._hex(hexadecimal[1], bytes.fromhex(re.sub(r"[\s:]", "", hexadecimal[2])))
        elif text.lstrip().startswith("#"):
            yield from self._flush()
            yield Event(Kind.NOTE, text=printable(text.strip().lstrip("#").strip()))
        else:
            yield from self._flush()
            if not self._is_log:
                yield Event(Kind.BROKEN, text=f"line {number} is no message: {printable(text)}")

    def _recorded(self, kind: Kind, digits: str, time: str | None, descriptor: str, number: int) -> Event:
        at = float(time) if time else None
        if len(digits) % 2:
            return Event(Kind.BROKEN, time=at, text=f"line {number} has half an octet")
        return Event(kind, bytes.fromhex(digits), at, descriptor)

    def _hex(self, sign: str, octets: bytes) -> Iterator[Event]:
        if self._wanted is None and (sign or size_of(octets) == len(octets)):
            yield from self._flush()
        if self._wanted is None and not self._octets:
            self._kind = SIGNS[sign]
        self._octets += octets
        yield from self._complete()

    def _complete(self) -> Iterator[Event]:
        """Messages that have all their octets."""
        if self._wanted is not None:
            if len(self._octets) >= self._wanted:
                yield Event(self._kind, self._octets)
                self._begin()
            return
        while (size := size_of(self._octets)) is not None and len(self._octets) >= size:
            yield Event(self._kind, self._octets[:size])
            self._octets = self._octets[size:]
        if size is None and len(self._octets) >= HEADER_SIZE:
            yield from self._flush("octets that begin no message")

    def _flush(self, why: str = "a message is not whole") -> Iterator[Event]:
        """What has begun and does not go on."""
        if self._octets or self._wanted:
            yield Event(Kind.BROKEN, self._octets, text=why)
        self._begin()

    def _begin(self) -> None:
        self._octets, self._kind, self._wanted = b"", Kind.EITHER, None


def printable(text: str) -> str:
    """Text without what would move a terminal's cursor, and not longer than a line."""
    shown = "".join(char if char.isprintable() else "�" for char in text)
    return shown if len(shown) <= MAX_SHOWN else shown[:MAX_SHOWN] + "…"
