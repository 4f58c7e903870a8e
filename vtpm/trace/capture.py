"""Captures of any kind: which one it is, shows in its first octets."""

from collections.abc import Iterator
from io import BufferedReader
from typing import Any

from vtpm.trace.event import HEADER_SIZE, TAGS, Event, Kind, size_of
from vtpm.trace.pcap import events_of_pcap, is_pcap, is_pcapng
from vtpm.trace.text import TextReader

START = 4


def events_of(source: "BufferedReader[Any]") -> Iterator[Event]:
    """The events of a capture, as they come; any octets give some, or none."""
    start = source.peek(START)[:START]
    if is_pcapng(start) or is_pcap(start):
        return events_of_pcap(source, start)
    if int.from_bytes(start[:2], "big") in TAGS:
        return events_of_messages(source)
    return TextReader().events(source)


def events_of_messages(source: "BufferedReader[Any]") -> Iterator[Event]:
    """Commands and responses in turn, with nothing between them."""
    while octets := source.read(HEADER_SIZE):
        size = size_of(octets)
        if size is None:
            yield Event(Kind.BROKEN, octets + source.read(), text="octets that begin no message")
            return
        octets += source.read(size - HEADER_SIZE)
        if len(octets) < size:
            yield Event(Kind.BROKEN, octets, text="a message is not whole")
            return
        yield Event(Kind.EITHER, octets)
