"""
The data channel as a stream: octets in, TPM commands out (Part 3, 5.2; swtpm, src/swtpm/tpmlib.c).

A command's length is the commandSize of its own header, so one that arrives in pieces is put together,
and commands that arrive together are taken apart.
A client may put the simulator's prefix before a command (SEND_COMMAND, locality, length);
its response is then framed in the same manner.
"""

import struct
from typing import Any, Final, NamedTuple

HEADER = struct.Struct(">HII")
PREFIX = struct.Struct(">IBI")
SEND_COMMAND: Final = 8
SUCCESS_TRAILER: Final = bytes(4)
LENGTH = struct.Struct(">I")


class Frame(NamedTuple):
    """One command; `locality` is that of its prefix, None without one."""

    command: bytes
    locality: int | None = None

    def reply(self, response: bytes) -> bytes:
        """The octets to send for the response."""
        if self.locality is None:
            return response
        return LENGTH.pack(len(response)) + response + SUCCESS_TRAILER


class Framing:
    """
    One client's stream of commands, each of at most `maximum` octets.

    A command that announces more than that, or less than a header, is given out as it came,
    for the TPM to refuse it by its size: at once when too short, when all of it has come or
    `give_up` is called when too long, so that its octets are not taken for the next command.
    """

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self._buffer = bytearray()
        self._drain = 0
        self._oversize: Frame | None = None

    @property
    def is_draining(self) -> bool:
        """Is the rest of an oversize command awaited, which may never come?"""
        return self._oversize is not None

    def position(self) -> dict[str, Any]:
        """What has come of a command that is not complete, for another process to go on from."""
        return {"buffer": bytes(self._buffer), "drain": self._drain, "oversize": self._oversize}

    def move_to(self, buffer: bytes, drain: int, oversize: tuple[bytes, int | None] | None) -> None:
        """Go on from a `position`."""
        self._buffer[:] = buffer
        self._drain = drain
        self._oversize = None if oversize is None else Frame(*oversize)

    def is_one_command(self, octets: bytes) -> bool:
        """Are these octets exactly one command without a prefix, as almost every read gives?"""
        if self._buffer or self._drain:
            return False
        length = len(octets)
        return (
            HEADER.size <= length <= self.maximum
            and octets[0] != 0
            and length == LENGTH.unpack_from(octets, 2)[0]
        )

    @property
    def has_octets(self) -> bool:
        """Have octets come that no command has been taken from?"""
        return bool(self._buffer)

    def receive_data(self, octets: bytes) -> list[Frame]:
        """The commands that are complete with these octets."""
        self.feed(octets)
        frames = []
        while (frame := self.take()) is not None:
            frames.append(frame)
        return frames

    def feed(self, octets: bytes) -> None:
        """Keep octets that have come, for `take`."""
        self._buffer += octets

    def give_up(self) -> list[Frame]:
        """The rest of an oversize command did not come: it is given out as it is."""
        frame, self._oversize, self._drain = self._oversize, None, 0
        return [] if frame is None else [frame]

    def take(self) -> Frame | None:
        """The next complete command, taken out of the buffer."""
        if self._oversize is not None:
            return self._drained()
        buffer = self._buffer
        if len(buffer) < HEADER.size:
            return None
        locality, start = None, 0
        if LENGTH.unpack_from(buffer)[0] == SEND_COMMAND:
            _, locality, size = PREFIX.unpack_from(buffer)
            start = PREFIX.size
        else:
            size = HEADER.unpack_from(buffer)[1]
            if size < HEADER.size:
                size = len(buffer)
        end = start + size
        if size > self.maximum:
            self._oversize = Frame(bytes(buffer[start : start + self.maximum]), locality)
            self._drain = end
            return self._drained()
        if len(buffer) < end:
            return None
        command = bytes(buffer[start:end])
        del buffer[:end]
        return Frame(command, locality)

    def _drained(self) -> Frame | None:
        """Drop the octets of an oversize command; the frame once they have all come."""
        count = min(self._drain, len(self._buffer))
        del self._buffer[:count]
        self._drain -= count
        if self._drain:
            return None
        frame, self._oversize = self._oversize, None
        return frame
