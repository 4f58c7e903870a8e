"""The log of what firmware measured (TCG PC Client Platform Firmware Profile, "Event Logging")."""

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

SIGNATURE = b"Spec ID Event03\0"
STARTUP_LOCALITY = b"StartupLocality\0"


class EventType(IntEnum):
    """The types that the guests of the lab log, with the values of the profile's table of events."""

    EV_NO_ACTION = 0x3
    EV_SEPARATOR = 0x4
    EV_ACTION = 0x5
    EV_EVENT_TAG = 0x6
    EV_S_CRTM_CONTENTS = 0x7
    EV_S_CRTM_VERSION = 0x8
    EV_IPL = 0xD
    EV_IPL_PARTITION_DATA = 0xE
    EV_POST_CODE = 0x1
    EV_EFI_VARIABLE_DRIVER_CONFIG = 0x80000001
    EV_EFI_VARIABLE_BOOT = 0x80000002
    EV_EFI_BOOT_SERVICES_APPLICATION = 0x80000003
    EV_EFI_ACTION = 0x80000007
    EV_EFI_PLATFORM_FIRMWARE_BLOB = 0x80000008
    EV_EFI_HANDOFF_TABLES = 0x80000009
    EV_EFI_VARIABLE_AUTHORITY = 0x800000E0


HASH_NAMES = {0x0004: "sha1", 0x000B: "sha256", 0x000C: "sha384", 0x000D: "sha512"}


class EventLogError(ValueError):
    """The octets are no event log of the crypto agile form."""


@dataclass(frozen=True)
class Event:
    """TCG_PCR_EVENT2: what was extended into which PCR of each bank."""

    pcr: int
    type: int
    digests: dict[str, bytes]
    data: bytes


class _Reader:
    def __init__(self, octets: bytes) -> None:
        self.octets, self.position = octets, 0

    def take(self, size: int) -> bytes:
        end = self.position + size
        if end > len(self.octets):
            raise EventLogError(f"the log ends within an event, at octet {len(self.octets)}")
        part, self.position = self.octets[self.position : end], end
        return part

    def number(self, form: str) -> int:
        (value,) = struct.unpack(f"<{form}", self.take(struct.calcsize(f"<{form}")))
        return int(value)


def parse(log: bytes) -> Iterator[Event]:
    """
    The events of a log, in order, without the header event that describes the log itself.

    Raises EventLogError.
    """
    reader = _Reader(log)
    sizes = _parse_header(reader)
    while reader.position < len(log):
        pcr, kind = reader.number("I"), reader.number("I")
        digests = {}
        for _ in range(reader.number("I")):
            algorithm = reader.number("H")
            if algorithm not in sizes:
                raise EventLogError(
                    f"an event has a digest of the algorithm 0x{algorithm:04x}, which the header lacks"
                )
            digests[HASH_NAMES.get(algorithm, f"0x{algorithm:04x}")] = reader.take(sizes[algorithm])
        yield Event(pcr, kind, digests, reader.take(reader.number("I")))


def _parse_header(reader: _Reader) -> dict[int, int]:
    """TCG_EfiSpecIdEvent, within an event of the older form: the digest size of each bank."""
    reader.take(4 + 4 + 20 + 4)
    if reader.take(16) != SIGNATURE:
        raise EventLogError("the log does not begin with a Spec ID Event03")
    reader.take(4 + 1 + 1 + 1 + 1)
    sizes = {}
    for _ in range(reader.number("I")):
        algorithm = reader.number("H")
        sizes[algorithm] = reader.number("H")
    reader.take(reader.number("B"))
    return sizes


def replay(events: list[Event]) -> dict[str, dict[int, bytes]]:
    """The PCR values, by bank and PCR, that the events lead to when extended from the state after a reset."""
    banks: dict[str, dict[int, bytes]] = {}
    started = (e.data for e in events if e.data.startswith(STARTUP_LOCALITY))
    locality = next((data[16] for data in started if len(data) > len(STARTUP_LOCALITY)), 0)
    for event in events:
        if event.type == EventType.EV_NO_ACTION:
            continue
        for bank, digest in event.digests.items():
            pcrs = banks.setdefault(bank, {})
            initial = bytes(len(digest) - 1) + bytes([locality if event.pcr == 0 else 0])
            pcrs[event.pcr] = hashlib.new(bank, pcrs.get(event.pcr, initial) + digest).digest()
    return banks
