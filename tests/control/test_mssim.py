"""The protocol of the TCG's simulator: vtpm/control/mssim.py."""

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtpm.control.mssim import (
    MAX_BUFFER,
    PLATFORM_PORT,
    SIM,
    TPM_PORT,
    UINT32,
    ProtocolError,
    Signal,
    SimulatorConnection,
    Sizes,
    sized,
)


def octets_of(signal: Signal) -> bytes:
    argument = {**PLATFORM_PORT, **TPM_PORT}[signal.code]
    return (
        UINT32.pack(signal.code)
        + signal.number.to_bytes(argument.fixed)
        + (sized(signal.data) if argument.sized else b"")
    )


SIGNALS = st.one_of(
    st.builds(Signal, st.just(SIM.SEND_COMMAND), st.integers(0, 255), st.binary(max_size=40)),
    st.builds(Signal, st.just(SIM.SIGNAL_HASH_DATA), st.just(0), st.binary(max_size=40)),
    st.builds(Signal, st.just(SIM.REMOTE_HANDSHAKE), st.integers(0, 0xFFFFFFFF), st.just(b"")),
    st.sampled_from([Signal(SIM.SIGNAL_HASH_START), Signal(SIM.SESSION_END), Signal(SIM.STOP)]),
)


@given(st.lists(SIGNALS, max_size=6), st.lists(st.integers(0, 400), max_size=10))
def test_any_split(signals: list[Signal], cuts: list[int]) -> None:
    """Signals are found wherever the stream is cut."""
    connection = SimulatorConnection(TPM_PORT)
    stream = b"".join(map(octets_of, signals))
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]

    received = [
        signal for start, end in pairwise(edges) for signal in connection.receive_data(stream[start:end])
    ]

    assert received == signals


@pytest.mark.parametrize(
    ("port", "code"), [(TPM_PORT, 1), (PLATFORM_PORT, 8), (TPM_PORT, 99), (PLATFORM_PORT, 0)]
)
def test_unknown_code(port: dict[SIM, object], code: int) -> None:
    """A code that a port does not have ends the connection."""
    with pytest.raises(ProtocolError, match=f"{code} does not exist"):
        SimulatorConnection(port).receive_data(UINT32.pack(code))  # type: ignore[arg-type]


def test_signals_before_an_error() -> None:
    """What came before a broken message is still carried out."""
    connection = SimulatorConnection(TPM_PORT)

    assert connection.receive_data(UINT32.pack(5) + UINT32.pack(99)) == [Signal(SIM.SIGNAL_HASH_START)]
    with pytest.raises(ProtocolError):
        connection.receive_data(b"")


@pytest.mark.parametrize("size", [MAX_BUFFER + 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_length_beyond_the_maximum(size: int) -> None:
    """A length that no buffer has ends the connection before an octet is kept."""
    with pytest.raises(ProtocolError, match=str(size)):
        SimulatorConnection(TPM_PORT).receive_data(UINT32.pack(8) + b"\0" + UINT32.pack(size))


def test_sizes() -> None:
    """The largest command and response are remembered until they are asked for."""
    sizes = Sizes()
    sizes.note(bytes.fromhex("80010000000c0000014400aa"), bytes.fromhex("80010000000a00000000"))
    sizes.note(bytes.fromhex("80010000000a00000181"), bytes.fromhex("80010000000c000001010000"))

    assert sizes.take() == UINT32.pack(16) + struct.pack("=I4sI4s", 12, b"\0\0\1\x44", 12, b"\0\0\1\1")
    assert sizes.take() == UINT32.pack(16) + bytes(16)
