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
IMAGE: Final = struct.Struct("<QQQQ")
"""UEFI_IMAGE_LOAD_EVENT: place, size, place when linked, octets of the device path; then the path."""

PATH_NODE: Final = struct.Struct("<BBH")
"""EFI_DEVICE_PATH_PROTOCOL: type, sub-type, octets of the node with this header."""

FILE_PATH: Final = (4, 4)
"""Media Device Path, File Path."""

SECURE_BOOT: Final = "SecureBoot"
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
    """The name of a variable, the file of a program, or text; empty for data that are none of them."""
    if event.type in VARIABLES:
        return variable_name(event.data)
    if event.type == EventType.EV_EFI_BOOT_SERVICES_APPLICATION:
        return file_of_image(event.data)
    return text_of(event.data, "ascii") or text_of(event.data, "utf-16-le")


def variable_name(data: bytes) -> str:
    """The name in UEFI_VARIABLE_DATA; empty if the data are not of this form."""
    if len(data) < VARIABLE.size:
        return ""
    _, characters, _ = VARIABLE.unpack_from(data)
    return text_of(data[VARIABLE.size : VARIABLE.size + 2 * characters], "utf-16-le")


def variable_data(data: bytes) -> bytes:
    """The data in UEFI_VARIABLE_DATA; empty if the data are not of this form."""
    if len(data) < VARIABLE.size:
        return b""
    _, characters, size = VARIABLE.unpack_from(data)
    begin = VARIABLE.size + 2 * characters
    return data[begin : begin + size]


def file_of_image(data: bytes) -> str:
    """The file that UEFI_IMAGE_LOAD_EVENT names; empty for an image that came from memory."""
    at, nodes = IMAGE.size, []
    while at + PATH_NODE.size <= len(data):
        kind, sub_type, size = PATH_NODE.unpack_from(data, at)
        if size < PATH_NODE.size or at + size > len(data):
            break
        if (kind, sub_type) == FILE_PATH:
            nodes.append(text_of(data[at + PATH_NODE.size : at + size], "utf-16-le"))
        at += size
    return "".join(nodes)[:MOST]


def secure_boot_of(events: Iterable[Event]) -> bool | None:
    """Was Secure Boot on, as firmware has measured it into PCR 7? None if the log does not tell."""
    for event in events:
        if event.type == EventType.EV_EFI_VARIABLE_DRIVER_CONFIG and variable_name(event.data) == SECURE_BOOT:
            return variable_data(event.data) == b"\1"
    return None


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
