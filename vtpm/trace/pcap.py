"""
Packet captures (pcap, pcapng) as the TCP payloads in them, each with its direction.

tpm2-tss and swtpm write commands and responses as if they had been sent to port 2321.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from vtpm.trace.event import HEADER_SIZE, MAX_MESSAGE, TAGS, Event, Kind

TPM_PORT: Final = 2321
SECTION: Final = 0x0A0D0D0A
INTERFACE: Final = 1
SIMPLE_PACKET: Final = 3
PACKET: Final = 6
BYTE_ORDER: Final = 0x1A2B3C4D
MAX_BLOCK: Final = 1 << 24
"""No block or packet with a TPM's messages comes near."""

PCAP_MAGIC: Final = {0xA1B2C3D4: 1e-3, 0xA1B23C4D: 1e-6}
"""What begins the older format, and its fractions of a second in milliseconds."""

MICROSECOND: Final = 1e-3
TIME_RESOLUTION: Final = 9
"""The option of an interface that says in which units its times are."""

MAX_FRAMING: Final = 64
"""The simulator's protocol puts fewer octets than these before a command or a response."""

TCP: Final = 6
SYN: Final = 2

LINK_HEADERS: Final = {0: 4, 1: 14, 12: 0, 101: 0, 108: 4, 113: 16, 228: 0, 229: 0, 276: 20}
"""Octets before the IP header: loopback, Ethernet, raw IP, Linux' cooked captures."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet of a capture: its link type, time in milliseconds, octets, and section of the file."""

    link: int
    time: float
    octets: bytes
    section: int = 0


class CaptureError(ValueError):
    """The capture is damaged: reading ends; the text says why."""


def read(source: BinaryIO, count: int) -> bytes:
    """Exactly so many octets; CaptureError if the capture ends before."""
    octets = source.read(count)
    if len(octets) < count:
        raise CaptureError("the capture ends within a packet")
    return octets


def packets_of_pcap(source: BinaryIO) -> Iterator[Packet]:
    """The packets of a pcap file."""
    header = read(source, 24)
    order = "<" if int.from_bytes(header[:4], "little") in PCAP_MAGIC else ">"
    magic, *_, link = struct.unpack(order + "IHHiIII", header)
    fraction = PCAP_MAGIC[magic]
    while head := source.read(16):
        if len(head) < 16:
            raise CaptureError("the capture ends within a packet")
        seconds, part, size, _ = struct.unpack(order + "IIII", head)
        if size > MAX_BLOCK:
            raise CaptureError(f"a packet claims {size} octets")
        yield Packet(link & 0xFFFF, seconds * 1000 + part * fraction, read(source, size))


def packets_of_pcapng(source: BinaryIO) -> Iterator[Packet]:
    """The packets of a pcapng file, whose blocks may change their byte order with each section."""
    order = "<"
    interfaces: list[tuple[int, float]] = []
    section = 0
    while head := source.read(8):
        if len(head) < 8:
            raise CaptureError("the capture ends within a block")
        if int.from_bytes(head[:4], "big") == SECTION:
            magic = read(source, 4)
            order = "<" if int.from_bytes(magic, "little") == BYTE_ORDER else ">"
            interfaces = []
            section += 1
            head += magic
        kind, size = struct.unpack_from(order + "II", head)
        if not 12 <= size <= MAX_BLOCK or size < len(head) + 4:
            raise CaptureError(f"a block claims {size} octets")
        body = read(source, size - len(head))[:-4]
        if kind == INTERFACE and len(body) >= 8:
            interfaces.append((struct.unpack_from(order + "H", body)[0], resolution(order, body[8:])))
        elif kind == PACKET and len(body) >= 20:
            number, high, low, captured, _ = struct.unpack_from(order + "IIIII", body)
            if number < len(interfaces):
                link, unit = interfaces[number]
                yield Packet(link, (high << 32 | low) * unit, body[20 : 20 + captured], section)
        elif kind == SIMPLE_PACKET and interfaces:
            yield Packet(interfaces[0][0], 0.0, body[4:], section)


def resolution(order: str, options: bytes) -> float:
    """The unit of an interface's times, in milliseconds."""
    while len(options) >= 4:
        code, size = struct.unpack_from(order + "HH", options)
        if code == TIME_RESOLUTION and size == 1 and len(options) > 4:
            value = options[4]
            return 1000.0 * (2.0 ** -(value & 0x7F) if value & 0x80 else 10.0**-value)
        options = options[4 + (size + 3 & ~3) :]
    return MICROSECOND


@dataclass(frozen=True, slots=True)
class Segment:
    """A TCP segment: who sent it to whom, where in the stream it lies, and what it carries."""

    source: tuple[bytes, int]
    target: tuple[bytes, int]
    sequence: int
    begins: bool
    payload: bytes


def segment_of(packet: Packet) -> Segment | None:
    """The TCP segment of a packet, if it has one."""
    octets = packet.octets[LINK_HEADERS.get(packet.link, len(packet.octets)) :]
    if not octets:
        return None
    version = octets[0] >> 4
    if version == 4 and len(octets) >= 20 and octets[9] == TCP:
        start, end = 4 * (octets[0] & 0xF), int.from_bytes(octets[2:4], "big")
        addresses = octets[12:16], octets[16:20]
    elif version == 6 and len(octets) >= 40 and octets[6] == TCP:
        start, end = 40, 40 + int.from_bytes(octets[4:6], "big")
        addresses = octets[8:24], octets[24:40]
    else:
        return None
    tcp = octets[start : end or len(octets)]
    if len(tcp) < 20:
        return None
    ports = struct.unpack_from(">HH", tcp)
    return Segment(
        source=(addresses[0], ports[0]),
        target=(addresses[1], ports[1]),
        sequence=int.from_bytes(tcp[4:8], "big"),
        begins=bool(tcp[13] & SYN),
        payload=tcp[4 * (tcp[12] >> 4) :],
    )


@dataclass
class Direction:
    """What one side has sent: octets that are no whole message yet."""

    kind: Kind
    stream: str
    buffer: bytearray = field(default_factory=bytearray)
    expected: int | None = None

    def take(self, segment: Segment) -> bytes:
        """The new octets of a segment; what is sent again is dropped."""
        payload, sequence = segment.payload, segment.sequence
        if self.expected is not None:
            behind = (self.expected - sequence) & 0xFFFFFFFF
            if behind < 1 << 31:
                payload, sequence = payload[behind:], max(sequence, self.expected)
        if payload:
            self.expected = (sequence + len(payload)) & 0xFFFFFFFF
        return payload

    def messages(self, octets: bytes, time: float) -> Iterator[Event]:
        """The messages that are whole with these octets, bare or in the simulator's framing."""
        self.buffer += octets
        while len(self.buffer) >= HEADER_SIZE:
            start = self._start()
            if start is None:
                if len(self.buffer) > MAX_FRAMING or self.buffer[0]:
                    why = "a TCP stream has something else in it"
                    yield Event(Kind.BROKEN, bytes(self.buffer), time, why, self.stream)
                    self.buffer.clear()
                return
            size = int.from_bytes(self.buffer[start + 2 : start + 6], "big")
            if len(self.buffer) < start + size:
                return
            yield Event(self.kind, bytes(self.buffer[start : start + size]), time, stream=self.stream)
            del self.buffer[: start + size]

    def _start(self) -> int | None:
        """Where the next message starts; what is before it ends with its size, if it is framed."""
        for start in range(min(len(self.buffer) - HEADER_SIZE, MAX_FRAMING) + 1):
            tag, size = struct.unpack_from(">HI", self.buffer, start)
            is_framed = start == 0 or self.buffer[start - 4 : start] == size.to_bytes(4, "big")
            if tag in TAGS and HEADER_SIZE <= size <= MAX_MESSAGE and is_framed:
                return start
        return None


def events_of_packets(packets: Iterator[Packet]) -> Iterator[Event]:
    """The commands and responses in a capture; a damaged one ends with an event that says so."""
    directions: dict[tuple[int, tuple[bytes, int], tuple[bytes, int]], Direction] = {}
    count = 0
    try:
        for packet in packets:
            segment = segment_of(packet)
            if segment is None:
                continue
            way = packet.section, segment.source, segment.target
            if segment.begins:
                directions.pop(way, None)
            if not segment.payload:
                continue
            if way not in directions:
                back = directions.get((packet.section, segment.target, segment.source))
                if back is None:
                    count += 1
                directions[way] = Direction(kind_of(segment, back), back.stream if back else str(count))
            direction = directions[way]
            yield from direction.messages(direction.take(segment), packet.time)
    except CaptureError as error:
        yield Event(Kind.BROKEN, text=str(error))
    for direction in directions.values():
        if direction.buffer and direction.buffer[0]:
            yield Event(Kind.BROKEN, bytes(direction.buffer), text="a message is not whole")


def kind_of(segment: Segment, back: Direction | None) -> Kind:
    """Which side this is: the TPM's has the well-known port, else whoever speaks first is the host."""
    if TPM_PORT in (segment.source[1], segment.target[1]):
        return Kind.COMMAND if segment.target[1] == TPM_PORT else Kind.RESPONSE
    return Kind.COMMAND if back is None or back.kind is Kind.RESPONSE else Kind.RESPONSE


def is_pcap(start: bytes) -> bool:
    """Does a pcap file begin like this?"""
    return int.from_bytes(start[:4], "little") in PCAP_MAGIC or int.from_bytes(start[:4], "big") in PCAP_MAGIC


def is_pcapng(start: bytes) -> bool:
    """Does a pcapng file begin like this?"""
    return int.from_bytes(start[:4], "big") == SECTION


def events_of_pcap(source: BinaryIO, start: bytes) -> Iterator[Event]:
    """The commands and responses of either format; `start` has the first octets, which `source` still has."""
    packets = packets_of_pcapng if is_pcapng(start) else packets_of_pcap
    return events_of_packets(packets(source))
