"""vtpm/trace/text.py and capture.py: logs, recorded lines, hex, and bare messages."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trace.conversation import events_in, lines_of
from vtpm.trace.event import Event, Kind

LOG = Path(__file__).parent / "captures" / "swtpm.log"
COMMAND = "80010000000c0000017b0008"
ANSWER = "8001000000140000000000081122334455667788"


def shown(octets: bytes) -> list[tuple[Kind, str]]:
    """The events of a capture, and what is in them."""
    return [(event.kind, event.octets.hex() or event.text) for event in events_in(octets)]


class TestLog:
    """What swtpm logs at level 20"""

    def test_log(self) -> None:
        """Both channels are read, and nothing is left over."""
        lines = lines_of(LOG.read_bytes())

        assert [line for line in lines if line[:1].isdigit()] == [
            "1 > TPM2_GetCapability (Part 3, 30.2)",
            "1 < TPM_RC_SUCCESS",
            "2 > TPM2_GetRandom (Part 3, 16.1)",
            "2 < TPM_RC_SUCCESS",
            "3 > TPM2_PCR_Extend (Part 3, 22.2)",
            "3 < TPM_RC_SUCCESS",
        ]
        assert "control > CMD_SET_LOCALITY, 5 octets" in lines
        assert not [line for line in lines if line.startswith("!") or "left" in line]

    def test_other_lines(self) -> None:
        """Other lines of the log are passed over; octets that do not come are missed."""
        log = b" SWTPM_IO_Read: length 12\n 80 01 00 00 00 0C\nsome error\n SWTPM_IO_Write: length 0\nDone\n"

        assert shown(log) == [
            (Kind.BROKEN, "80010000000c"),
            (Kind.RESPONSE, ""),
        ]


class TestHex:
    """Commands and responses in hex"""

    @pytest.mark.parametrize(
        "text",
        [
            f"{COMMAND}\n{ANSWER}\n",
            f"{COMMAND}{ANSWER}",
            f"80 01 00 00 00 0c 00 00\r\n01:7b:00:08\r\n\r\n{ANSWER.upper()}\r\n",
        ],
    )
    def test_in_turn(self, text: str) -> None:
        """Without signs, they come in turn; a message may take several lines, a line several messages."""
        assert shown(text.encode()) == [(Kind.EITHER, COMMAND), (Kind.EITHER, ANSWER)]
        heads = [line for line in lines_of(text.encode()) if line[:1].isdigit()]
        assert heads == ["1 > TPM2_GetRandom (Part 3, 16.1)", "1 < TPM_RC_SUCCESS"]

    def test_signs(self) -> None:
        """A sign says which way a message went."""
        assert shown(f"> {COMMAND}\n< {ANSWER}\n".encode()) == [
            (Kind.COMMAND, COMMAND),
            (Kind.RESPONSE, ANSWER),
        ]

    def test_no_response(self) -> None:
        """A command whose response is missing does not turn the next one into it."""
        lines = lines_of(f"{COMMAND}\n{COMMAND}\n{ANSWER}\n".encode())

        assert [line.partition(" (")[0] for line in lines if line[:1].isdigit()] == [
            "1 > TPM2_GetRandom",
            "2 > TPM2_GetRandom",
            "2 < TPM_RC_SUCCESS",
        ]

    @pytest.mark.parametrize(
        ("text", "last"),
        [
            (f"{COMMAND[:-4]}\n", (Kind.BROKEN, COMMAND[:-4])),
            (f"{COMMAND[:-4]}\n{COMMAND}\n", (Kind.EITHER, COMMAND)),
            ("ff" * 12, (Kind.BROKEN, "ff" * 12)),
            ("hello\n", (Kind.BROKEN, "line 1 is no message: hello")),
            ("a\x1b[2Jb\n", (Kind.BROKEN, "line 1 is no message: a�[2Jb")),
            ("D> 800 1.0\n", (Kind.BROKEN, "line 1 has half an octet")),
            ("# a note\n", (Kind.NOTE, "a note")),
        ],
    )
    def test_other_text(self, text: str, last: tuple[Kind, str]) -> None:
        """What is no message is said to be none."""
        assert shown(text.encode())[-1] == last


class TestMessages:
    """Commands and responses with nothing between them"""

    def test_in_turn(self) -> None:
        """Their sizes tell them apart."""
        octets = bytes.fromhex(COMMAND + ANSWER)

        assert shown(octets) == [(Kind.EITHER, COMMAND), (Kind.EITHER, ANSWER)]

    @pytest.mark.parametrize(
        ("octets", "why"),
        [(COMMAND + ANSWER[:-2], "a message is not whole"), (COMMAND + "00", "octets that begin no message")],
    )
    def test_damaged(self, octets: str, why: str) -> None:
        """What follows the last whole one is broken."""
        *_, last = events_in(bytes.fromhex(octets))

        assert (last.kind, last.text) == (Kind.BROKEN, why)


class TestAnyOctets:
    """No file is too strange"""

    @given(octets=st.binary(max_size=300))
    def test_octets(self, octets: bytes) -> None:
        """Any octets are read to their end, in lines that a terminal can show."""
        assert all(line.isprintable() for line in lines_of(octets))

    @given(
        text=st.text(
            st.sampled_from("0123456789abcdefABCDEF <>:#\nDC> SWTPM_IO_Read: length 12\n"), max_size=300
        )
    )
    def test_text(self, text: str) -> None:
        """Text that is nearly a capture is read to its end."""
        assert all(line.isprintable() for line in lines_of(text.encode()))

    def test_repr(self) -> None:
        """An event does not show its octets where it may be logged."""
        assert repr(Event(Kind.COMMAND, b"\xaa\xbb")) == "<COMMAND of 2 octets ''>"
