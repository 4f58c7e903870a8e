"""What an event log means, and whether it explains the PCR of a TPM."""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from vtpm.trace.event_log import Event, EventType, replay

VARIABLE: Final = struct.Struct("<16sQQ")
"""UEFI_VARIABLE_DATA: GUID, characters of the name, octets of the data; then both."""

VARIABLES: Final = frozenset(
    {
        EventType.EV_EFI_VARIABLE_DRIVER_CONFIG,
        EventType.EV_EFI_VARIABLE_BOOT,
        EventType.EV_EFI_VARIABLE_AUTHORITY,
    }
)
MOST: Final = 80
"""Characters of an event's data that are shown."""


def events_as_facts(events: Iterable[Event]) -> list[dict[str, Any]]:
    """Each event: which PCR, of what type, and what its data say where they are text."""
    return [{"pcr": event.pcr, "type": type_of(event), "says": said_by(event)} for event in events]


def type_of(event: Event) -> str:
    """The name of an event's type."""
    try:
        return EventType(event.type).name
    except ValueError:
        return f"0x{event.type:08x}"


def said_by(event: Event) -> str:
    """The name of a variable, or text; empty for data that are neither."""
    if event.type in VARIABLES:
        return variable_name(event.data)
    return text_of(event.data, "ascii") or text_of(event.data, "utf-16-le")


def variable_name(data: bytes) -> str:
    """The name in UEFI_VARIABLE_DATA; empty if the data are not of this form."""
    if len(data) < VARIABLE.size:
        return ""
    _, characters, _ = VARIABLE.unpack_from(data)
    return text_of(data[VARIABLE.size : VARIABLE.size + 2 * characters], "utf-16-le")


def text_of(octets: bytes, coding: str) -> str:
    """Characters that can be shown; empty if the octets are others."""
    try:
        text = octets.decode(coding).rstrip("\0")
    except UnicodeDecodeError:
        return ""
    return text[:MOST] if text.isascii() and text.isprintable() else ""


def explained_pcr(events: list[Event], values: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, bool]]:
    """For each bank and PCR of the log: do its events lead to the TPM's value, given in hexadecimal?"""
    known = {bank.lower() for bank in values}
    events = [
        replace(event, digests={bank: octets for bank, octets in event.digests.items() if bank in known})
        for event in events
    ]
    return {
        bank.upper(): {
            str(number): values[bank.upper()].get(str(number)) == value.hex()
            for number, value in sorted(numbers.items())
        }
        for bank, numbers in replay(events).items()
    }
