"""
The protocol of the TCG's simulator: octets in, signals out (its Simulator/include/TpmTcpProtocol.h).

A TPM port takes commands, a platform port takes what a machine does to its TPM.
Every message is a UINT32 code with an argument; every response ends with a UINT32 zero.
"""

import struct
from collections.abc import Mapping
from typing import Final, NamedTuple

from vtpm.control.frames import HEADER
from vtpm.wire.integers import Constant

MAX_BUFFER: Final = 1 << 20
"""The most octets in one message; a longer one ends the connection."""

SERVER_VERSION: Final = 1
ENDPOINT_FLAGS: Final = 0x0D
"""REMOTE_HANDSHAKE: a platform is available, raw mode, physical presence."""

UINT32 = struct.Struct(">I")
ACKNOWLEDGE: Final = bytes(4)
REFUSE: Final = b"\x00\x00\x00\x01"


class SIM(Constant):
    """The codes of both ports"""

    SIGNAL_POWER_ON = 1
    SIGNAL_POWER_OFF = 2
    SIGNAL_PHYS_PRES_ON = 3
    SIGNAL_PHYS_PRES_OFF = 4
    SIGNAL_HASH_START = 5
    SIGNAL_HASH_DATA = 6
    SIGNAL_HASH_END = 7
    SEND_COMMAND = 8
    SIGNAL_CANCEL_ON = 9
    SIGNAL_CANCEL_OFF = 10
    SIGNAL_NV_ON = 11
    SIGNAL_NV_OFF = 12
    SIGNAL_KEY_CACHE_ON = 13
    SIGNAL_KEY_CACHE_OFF = 14
    REMOTE_HANDSHAKE = 15
    SET_ALTERNATIVE_RESULT = 16
    SIGNAL_RESET = 17
    SIGNAL_RESTART = 18
    SESSION_END = 20
    STOP = 21
    GET_COMMAND_RESPONSE_SIZES = 25
    ACT_GET_SIGNALED = 26
    TEST_FAILURE_MODE = 30


class Argument(NamedTuple):
    """What follows a code: `fixed` octets, then perhaps a UINT32 length and that many octets."""

    fixed: int = 0
    sized: bool = False


NOTHING = Argument()

TPM_PORT: Final[Mapping[SIM, Argument]] = {
    SIM.SIGNAL_HASH_START: NOTHING,
    SIM.SIGNAL_HASH_DATA: Argument(0, sized=True),
    SIM.SIGNAL_HASH_END: NOTHING,
    SIM.SEND_COMMAND: Argument(1, sized=True),
    SIM.REMOTE_HANDSHAKE: Argument(4),
    SIM.SET_ALTERNATIVE_RESULT: Argument(4),
    SIM.SESSION_END: NOTHING,
    SIM.STOP: NOTHING,
}

PLATFORM_PORT: Final[Mapping[SIM, Argument]] = {
    SIM.SIGNAL_POWER_ON: NOTHING,
    SIM.SIGNAL_POWER_OFF: NOTHING,
    SIM.SIGNAL_PHYS_PRES_ON: NOTHING,
    SIM.SIGNAL_PHYS_PRES_OFF: NOTHING,
    SIM.SIGNAL_CANCEL_ON: NOTHING,
    SIM.SIGNAL_CANCEL_OFF: NOTHING,
    SIM.SIGNAL_NV_ON: NOTHING,
    SIM.SIGNAL_NV_OFF: NOTHING,
    SIM.SIGNAL_KEY_CACHE_ON: NOTHING,
    SIM.SIGNAL_KEY_CACHE_OFF: NOTHING,
    SIM.SIGNAL_RESET: NOTHING,
    SIM.SIGNAL_RESTART: NOTHING,
    SIM.SESSION_END: NOTHING,
    SIM.STOP: NOTHING,
    SIM.GET_COMMAND_RESPONSE_SIZES: NOTHING,
    SIM.ACT_GET_SIGNALED: Argument(4),
    SIM.TEST_FAILURE_MODE: NOTHING,
}


class Signal(NamedTuple):
    """One message: its code, the fixed part of its argument as a number, the sized part."""

    code: SIM
    number: int = 0
    data: bytes = b""


class ProtocolError(ValueError):
    """The client broke the protocol: the connection cannot go on."""


class SimulatorConnection:
    """The stream of one client of one port."""

    def __init__(self, port: Mapping[SIM, Argument]) -> None:
        self.port = port
        self._buffer = bytearray()

    def receive_data(self, octets: bytes) -> list[Signal]:
        """
        The signals that are complete with these octets.

        ProtocolError at an unknown code and at a length beyond MAX_BUFFER;
        the signals before it are given out first, so the error comes with the next call.
        """
        self.feed(octets)
        signals: list[Signal] = []
        while True:
            try:
                signal = self.take()
            except ProtocolError:
                if signals:
                    return signals
                raise
            if signal is None:
                return signals
            signals.append(signal)

    @property
    def has_octets(self) -> bool:
        """Have octets come that no signal has been taken from?"""
        return bool(self._buffer)

    def feed(self, octets: bytes) -> None:
        """Keep octets that have come, for `take`."""
        self._buffer += octets

    def take(self) -> Signal | None:
        """The next complete signal, taken out of the buffer; ProtocolError as with `receive_data`."""
        buffer = self._buffer
        if len(buffer) < UINT32.size:
            return None
        (value,) = UINT32.unpack_from(buffer)
        code = SIM(value) if value in CODES else None
        if code is None or code not in self.port:
            raise ProtocolError(f"the code {value} does not exist on this port")
        argument = self.port[code]
        end = UINT32.size + argument.fixed
        start = end
        if argument.sized:
            start = end + UINT32.size
            if len(buffer) < start:
                return None
            (size,) = UINT32.unpack_from(buffer, end)
            if size > MAX_BUFFER:
                raise ProtocolError(f"{size} octets were announced, and {MAX_BUFFER} is the most")
            end = start + size
        if len(buffer) < end:
            return None
        number = int.from_bytes(buffer[UINT32.size : UINT32.size + argument.fixed])
        data = bytes(buffer[start:end])
        del buffer[:end]
        return Signal(code, number, data)


class Sizes:
    """GET_COMMAND_RESPONSE_SIZES: the largest command and response since the last time it was asked for."""

    def __init__(self) -> None:
        self.command = self.response = NONE_YET

    def note(self, command: bytes, response: bytes) -> None:
        """Remember a command and its response, with the codes in their headers, if they are the largest."""
        if len(command) > self.command[0] and len(command) >= HEADER.size:
            self.command = (len(command), command[6:10])
        if len(response) > self.response[0] and len(response) >= HEADER.size:
            self.response = (len(response), response[6:10])

    def take(self) -> bytes:
        """The answer, after which counting begins anew: sizes in host order, codes as on the wire."""
        answer = struct.pack("=I4sI4s", *self.command, *self.response)
        self.command = self.response = NONE_YET
        return sized(answer)


def sized(octets: bytes) -> bytes:
    """Octets behind their length."""
    return UINT32.pack(len(octets)) + octets


CODES = frozenset(SIM)
NONE_YET: Final = (0, bytes(4))
HANDSHAKE: Final = UINT32.pack(SERVER_VERSION) + UINT32.pack(ENDPOINT_FLAGS)
