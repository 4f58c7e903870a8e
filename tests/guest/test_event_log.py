import hashlib
import struct

import pytest

from vtpm.trace.event_log import Event, EventLogError, EventType, parse, replay

SHA1, SHA256 = 0x0004, 0x000B


def header(*banks: tuple[int, int]) -> bytes:
    """TCG_EfiSpecIdEvent in an event of the older form."""
    body = b"Spec ID Event03\0" + struct.pack("<IBBBBI", 0, 0, 2, 0, 2, len(banks))
    body += b"".join(struct.pack("<HH", *bank) for bank in banks) + b"\0"
    return struct.pack("<II", 0, EventType.EV_NO_ACTION) + bytes(20) + struct.pack("<I", len(body)) + body


def record(pcr: int, kind: int, digests: dict[int, bytes], data: bytes) -> bytes:
    """TCG_PCR_EVENT2"""
    listed = b"".join(struct.pack("<H", algorithm) + digest for algorithm, digest in digests.items())
    return struct.pack("<III", pcr, kind, len(digests)) + listed + struct.pack("<I", len(data)) + data


class TestParse:
    """PC Client Platform Firmware Profile, TCG_PCR_EVENT2"""

    def test_event(self) -> None:
        """An event has its PCR, type, a digest for each bank and its data."""
        log = header((SHA1, 20), (SHA256, 32)) + record(7, 4, {SHA1: b"a" * 20, SHA256: b"b" * 32}, b"data")

        assert list(parse(log)) == [Event(7, 4, {"sha1": b"a" * 20, "sha256": b"b" * 32}, b"data")]

    @pytest.mark.parametrize("cut", [1, 5, 30, 40])
    def test_truncated(self, cut: int) -> None:
        """A log that ends within an event is refused."""
        log = header((SHA256, 32)) + record(7, 4, {SHA256: b"b" * 32}, b"data")

        with pytest.raises(EventLogError, match="ends within an event"):
            list(parse(log[:-cut]))

    def test_older_form(self) -> None:
        """A log without the Spec ID event is refused."""
        with pytest.raises(EventLogError, match="Spec ID"):
            list(parse(bytes(100)))

    def test_unknown_bank(self) -> None:
        """A digest of a bank that the header does not list has no known size."""
        with pytest.raises(EventLogError, match="0x000b"):
            list(parse(header((SHA1, 20)) + record(7, 4, {SHA256: b"b" * 32}, b"")))


class TestReplay:
    """Part 3, 22.2: a PCR becomes the hash of its value and the digest"""

    def test_order(self) -> None:
        """Events of one PCR extend it one after the other, those of another PCR do not touch it."""
        one, two, other = (
            Event(pcr, 4, {"sha256": d * 32}, b"") for pcr, d in [(1, b"1"), (1, b"2"), (3, b"3")]
        )

        first = hashlib.sha256(bytes(32) + b"1" * 32).digest()
        assert replay([one, other, two])["sha256"][1] == hashlib.sha256(first + b"2" * 32).digest()

    def test_no_action(self) -> None:
        """EV_NO_ACTION extends nothing."""
        assert replay([Event(0, EventType.EV_NO_ACTION, {"sha256": bytes(32)}, b"")]) == {}

    def test_startup_locality(self) -> None:
        """PCR 0 begins with the locality of TPM2_Startup in its last octet."""
        startup = Event(0, EventType.EV_NO_ACTION, {"sha256": bytes(32)}, b"StartupLocality\0\3")
        event = Event(0, EventType.EV_S_CRTM_VERSION, {"sha256": b"d" * 32}, b"")

        expected = hashlib.sha256(bytes(31) + b"\3" + b"d" * 32).digest()
        assert replay([startup, event])["sha256"][0] == expected
