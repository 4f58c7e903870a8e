"""The framing of TPM commands on the data channel: vtpm/control/frames.py."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtpm.control.frames import HEADER, PREFIX, Frame, Framing

MAXIMUM = 64


def command(body: bytes = b"", tag: int = 0x8001) -> bytes:
    return HEADER.pack(tag, HEADER.size + len(body), 0x17B) + body


def prefixed(octets: bytes, locality: int) -> bytes:
    return PREFIX.pack(8, locality, len(octets)) + octets


COMMANDS = st.builds(command, st.binary(max_size=20), st.sampled_from([0x8001, 0x8002, 0x00C1]))
FRAMES = st.one_of(
    COMMANDS.map(lambda octets: (octets, Frame(octets))),
    st.tuples(COMMANDS, st.integers(0, 4)).map(lambda pair: (prefixed(*pair), Frame(*pair))),
)


@given(st.lists(FRAMES, max_size=6), st.lists(st.integers(0, 400), max_size=10))
def test_any_split(frames: list[tuple[bytes, Frame]], cuts: list[int]) -> None:
    """Commands are found wherever the stream is cut, with the simulator's prefix and without."""
    framing = Framing(MAXIMUM)
    stream = b"".join(octets for octets, _ in frames)
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]

    received = [frame for start, end in pairwise(edges) for frame in framing.receive_data(stream[start:end])]

    assert received == [frame for _, frame in frames]


@given(st.lists(st.binary(max_size=80), max_size=8))
def test_any_garbage(parts: list[bytes]) -> None:
    """Garbage is given out for the TPM to refuse, never more than one command's octets at a time."""
    framing = Framing(MAXIMUM)
    for part in parts:
        for frame in framing.receive_data(part):
            assert len(frame.command) <= max(MAXIMUM, sum(map(len, parts)))


def test_reply() -> None:
    """A response goes back in the framing of its command."""
    assert Frame(b"").reply(b"abc") == b"abc"
    assert Frame(b"", 0).reply(b"abc") == b"\0\0\0\3abc\0\0\0\0"


@pytest.mark.parametrize("size", [0, 9])
def test_size_less_than_a_header(size: int) -> None:
    """A command that announces less than its header is given out at once, and the next one is understood."""
    framing = Framing(MAXIMUM)
    lie = HEADER.pack(0x8001, size, 0x17B) + b"xx"

    assert framing.receive_data(lie) == [Frame(lie)]
    assert framing.receive_data(command()) == [Frame(command())]


def test_oversize_command() -> None:
    """All octets of a command beyond the maximum pass before it is given out to be refused."""
    framing = Framing(MAXIMUM)
    octets = HEADER.pack(0x8001, MAXIMUM + 40, 0x17B) + bytes(MAXIMUM + 30)

    assert framing.receive_data(octets[:-20]) == []
    assert framing.is_draining
    (frame,) = framing.receive_data(octets[-20:])
    assert HEADER.unpack_from(frame.command) == (0x8001, MAXIMUM + 40, 0x17B)
    assert framing.receive_data(command()) == [Frame(command())]


def test_oversize_command_that_was_a_lie() -> None:
    """An oversize command whose octets do not come can be given up, and the next one is understood."""
    framing = Framing(MAXIMUM)
    assert framing.receive_data(HEADER.pack(0x8001, 0xFFFFFFFF, 0x17B)) == []

    assert framing.give_up() == [Frame(HEADER.pack(0x8001, 0xFFFFFFFF, 0x17B))]
    assert not framing.is_draining
    assert framing.receive_data(command()) == [Frame(command())]
