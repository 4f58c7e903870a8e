"""vtpm/trace/pcap.py: packet captures, as other programs write them and as the formats allow."""

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trace.conversation import events_in, lines_of
from vtpm.trace.event import Event, Kind

CAPTURE = Path(__file__).parent / "captures" / "tss2-tcti-pcap.pcapng"
GET_RANDOM = bytes.fromhex("80010000000c0000017b0008")
ANSWER = bytes.fromhex("8001000000140000000000081122334455667788")
HOST, TPM = (b"\x7f\0\0\1", 50123), (b"\x7f\0\0\1", 2321)
ETHERNET, RAW_IP, LOOPBACK = 1, 101, 0


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """A block of pcapng."""
    body += bytes(-len(body) % 4)
    size = struct.pack(order + "I", 12 + len(body))
    return struct.pack(order + "I", kind) + size + body + size


def pcapng(*packets: bytes, link: int = ETHERNET, order: str = "<", options: bytes = b"") -> bytes:
    """A capture whose packets are a second apart."""
    section = block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)
    interface = block(1, struct.pack(order + "HHI", link, 0, 0) + options, order)
    blocks = [
        block(
            6,
            struct.pack(order + "IIIII", 0, 0, number * 1_000_000, len(packet), len(packet)) + packet,
            order,
        )
        for number, packet in enumerate(packets)
    ]
    return section + interface + b"".join(blocks)


def pcap(*packets: bytes, link: int = ETHERNET, order: str = "<", magic: int = 0xA1B2C3D4) -> bytes:
    """The older format."""
    header = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 0xFFFF, link)
    return header + b"".join(
        struct.pack(order + "IIII", number, 500, len(packet), len(packet)) + packet
        for number, packet in enumerate(packets)
    )


def segment(
    source: tuple[bytes, int],
    target: tuple[bytes, int],
    payload: bytes,
    sequence: int = 1,
    *,
    head: bytes = bytes(12) + b"\x08\0",
    flags: int = 0x10,
) -> bytes:
    """A TCP segment in IP in a frame that begins with `head`."""
    tcp = (
        struct.pack(">HHIIBBHHH", source[1], target[1], sequence & 0xFFFFFFFF, 0, 0x50, flags, 0, 0, 0)
        + payload
    )
    if len(source[0]) == 16:
        ip = struct.pack(">IHBB", 6 << 28, len(tcp), 6, 64) + source[0] + target[0]
    else:
        ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0) + source[0] + target[0]
    return head + ip + tcp


def octets_of(events: list[Event]) -> list[tuple[Kind, bytes]]:
    """What the events are."""
    return [(event.kind, event.octets) for event in events]


EXCHANGE = [(Kind.COMMAND, GET_RANDOM), (Kind.RESPONSE, ANSWER)]
PACKETS = segment(HOST, TPM, GET_RANDOM), segment(TPM, HOST, ANSWER)


class TestFormats:
    """Either format, any byte order, several link types"""

    def test_tss(self) -> None:
        """What tpm2-tss writes: two runs, one after the other, in one file."""
        lines = lines_of(CAPTURE.read_bytes())

        assert [line.partition(",")[0] for line in lines if line[:1].isdigit()] == [
            "1 > TPM2_GetCapability (Part 3",
            "1 < TPM_RC_SUCCESS",
            "2 > TPM2_GetRandom (Part 3",
            "2 < TPM_RC_SUCCESS",
            "3 > TPM2_PCR_Extend (Part 3",
            "3 < TPM_RC_SUCCESS",
        ]
        assert not [line for line in lines if line.startswith("!") or "left" in line]

    @pytest.mark.parametrize("order", ["<", ">"])
    def test_order(self, order: str) -> None:
        """The byte order is that of the machine that captured."""
        assert octets_of(events_in(pcapng(*PACKETS, order=order))) == EXCHANGE
        assert octets_of(events_in(pcap(*PACKETS, order=order))) == EXCHANGE

    @pytest.mark.parametrize(
        ("link", "head"), [(RAW_IP, b""), (228, b""), (LOOPBACK, b"\2\0\0\0"), (113, bytes(16))]
    )
    def test_link(self, link: int, head: bytes) -> None:
        """What is before the IP header depends on the link."""
        packets = segment(HOST, TPM, GET_RANDOM, head=head), segment(TPM, HOST, ANSWER, head=head)

        assert octets_of(events_in(pcapng(*packets, link=link))) == EXCHANGE

    def test_version_6(self) -> None:
        """IPv6 carries the same."""
        host, tpm = (bytes(15) + b"\1", 50000), (bytes(15) + b"\1", 2321)

        assert (
            octets_of(events_in(pcap(segment(host, tpm, GET_RANDOM), segment(tpm, host, ANSWER)))) == EXCHANGE
        )

    @pytest.mark.parametrize(
        ("options", "unit"),
        [(b"", 1000.0), (b"\x09\0\1\0\3\0\0\0", 1_000_000.0), (b"\2\0\1\0x\0\0\0", 1000.0)],
    )
    def test_times(self, options: bytes, unit: float) -> None:
        """Times are microseconds, unless the interface says otherwise."""
        first, second = events_in(pcapng(*PACKETS, options=options))

        assert first.time is not None
        assert second.time == pytest.approx(first.time + unit)

    @pytest.mark.parametrize(("magic", "part"), [(0xA1B2C3D4, 0.5), (0xA1B23C4D, 0.0005)])
    def test_times_of_pcap(self, magic: int, part: float) -> None:
        """In the older format the magic number gives the unit of the fraction."""
        _, second = events_in(pcap(*PACKETS, magic=magic))

        assert second.time == pytest.approx(1000 + part)

    def test_other_packets(self) -> None:
        """What is no TCP is passed over, and so are blocks of other kinds."""
        other = bytearray(PACKETS[0])
        other[23] = 17
        capture = pcapng(bytes(other), b"", bytes(20), *PACKETS, segment(HOST, TPM, b"")) + block(
            5, bytes(12)
        )

        assert octets_of(events_in(capture)) == EXCHANGE


class TestStreams:
    """TCP streams and the messages in them"""

    def test_pieces(self) -> None:
        """A message may come in pieces, and some of them twice."""
        packets = (
            segment(HOST, TPM, b"", 99, flags=2),
            segment(HOST, TPM, GET_RANDOM[:7], 100),
            segment(HOST, TPM, GET_RANDOM[:7], 100),
            segment(HOST, TPM, GET_RANDOM[3:], 103),
            segment(TPM, HOST, ANSWER, 5),
        )

        assert octets_of(events_in(pcapng(*packets))) == EXCHANGE

    def test_sequence_numbers_wrap(self) -> None:
        """A sequence number begins again at 0."""
        packets = segment(HOST, TPM, GET_RANDOM[:7], -3), segment(HOST, TPM, GET_RANDOM[7:], 4)

        assert octets_of(events_in(pcapng(*packets))) == EXCHANGE[:1]

    def test_simulator(self) -> None:
        """The simulator's framing is taken off, and its other messages are passed over."""
        packets = (
            segment(HOST, TPM, bytes.fromhex("0000000f00000001"), 1),
            segment(TPM, HOST, bytes.fromhex("000000010000000d00000000"), 1),
            segment(HOST, TPM, bytes.fromhex("00000008000000000c") + GET_RANDOM, 9),
            segment(TPM, HOST, bytes.fromhex("00000014") + ANSWER, 13),
            segment(TPM, HOST, bytes(4), 37),
            segment(HOST, TPM, bytes.fromhex("00000008000000000c") + GET_RANDOM, 30),
            segment(TPM, HOST, bytes.fromhex("00000014") + ANSWER + bytes(4), 41),
            segment(HOST, TPM, bytes.fromhex("00000014"), 51),
        )

        assert octets_of(events_in(pcapng(*packets))) == EXCHANGE * 2

    def test_other_port(self) -> None:
        """At another port, who speaks first is the host."""
        host, tpm = (HOST[0], 40000), (TPM[0], 7777)
        packets = segment(host, tpm, GET_RANDOM), segment(tpm, host, ANSWER)

        assert octets_of(events_in(pcapng(*packets))) == EXCHANGE

    def test_connections(self) -> None:
        """Each connection has its own commands and responses."""
        other = (HOST[0], 50999)
        packets = segment(HOST, TPM, GET_RANDOM), segment(other, TPM, b"\x80\1\0\0\0\x0a\0\0\1\x81")
        answers = segment(TPM, HOST, ANSWER), segment(TPM, other, b"\x80\1\0\0\0\x0a\0\0\1\0")
        lines = lines_of(pcapng(*packets, *answers))

        heads = [line.partition(" (")[0].partition(",")[0] for line in lines if line[:1].isdigit()]
        assert heads == [
            "1 > TPM2_GetRandom",
            "2 > TPM2_ReadClock",
            "1 < TPM_RC_SUCCESS",
            "2 < TPM_RC_INITIALIZE",
        ]


class TestDamage:
    """A capture that is damaged shows what it has, and says where it ends"""

    @pytest.mark.parametrize(
        ("capture", "why"),
        [
            (pcapng(*PACKETS)[:-10], "the capture ends within a packet"),
            (pcapng(*PACKETS) + b"\6\0\0\0", "the capture ends within a block"),
            (pcapng(*PACKETS) + b"\6\0\0\0\5\0\0\0", "a block claims 5 octets"),
            (pcapng(*PACKETS) + b"\6\0\0\0\xff\xff\xff\xff", "a block claims 4294967295 octets"),
            (pcap(*PACKETS)[:-10], "the capture ends within a packet"),
            (pcap(*PACKETS) + bytes(8), "the capture ends within a packet"),
            (pcap(*PACKETS) + bytes(8) + b"\xff" * 8, "a packet claims 4294967295 octets"),
            (pcapng(segment(HOST, TPM, GET_RANDOM[:11])), "a message is not whole"),
            (pcapng(segment(HOST, TPM, b"GET / HTTP/1.1")), "a TCP stream has something else in it"),
            (pcap()[:10], "the capture ends within a packet"),
        ],
    )
    def test_damaged(self, capture: bytes, why: str) -> None:
        """The last event says what is wrong."""
        assert events_in(capture)[-1].text == why

    @given(data=st.data())
    def test_any_octets(self, data: st.DataObject) -> None:
        """Octets that are changed, and any that begin like a capture, still have lines."""
        capture = bytearray(data.draw(st.sampled_from([pcapng(*PACKETS), pcap(*PACKETS)])))
        for _ in range(data.draw(st.integers(1, 8))):
            capture[data.draw(st.integers(4, len(capture) - 1))] = data.draw(st.integers(0, 255))
        capture += data.draw(st.binary(max_size=64))

        for line in lines_of(bytes(capture)):
            assert "\n" not in line
