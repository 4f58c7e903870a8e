"""What a capture says, one piece at a time."""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from vtpm.spec.constants import TPM_ST

TAGS: Final = frozenset({TPM_ST.NO_SESSIONS, TPM_ST.SESSIONS, TPM_ST.RSP_COMMAND})
"""What a command or a response begins with."""

HEADER_SIZE: Final = 10
MAX_MESSAGE: Final = 1 << 16
"""No TPM has a buffer as large as this."""


def size_of(octets: bytes) -> int | None:
    """The size that a message says it has; None if these octets do not begin one."""
    if len(octets) < HEADER_SIZE or int.from_bytes(octets[:2], "big") not in TAGS:
        return None
    size = int.from_bytes(octets[2:6], "big")
    return size if HEADER_SIZE <= size <= MAX_MESSAGE else None


class Kind(Enum):
    """What an event is."""

    COMMAND = auto()
    RESPONSE = auto()
    EITHER = auto()
    """A command or a response: the capture does not say which."""
    CONTROL_REQUEST = auto()
    CONTROL_RESPONSE = auto()
    NOTE = auto()
    """A line of text that is no message."""
    BROKEN = auto()
    """Octets that could not be read as anything; the text says why."""


@dataclass(frozen=True, slots=True)
class Event:
    """
    One event of a capture; `time` in milliseconds, if the capture has times.

    Events of one `stream` are a conversation with one TPM.
    """

    kind: Kind
    octets: bytes = b""
    time: float | None = None
    text: str = ""
    stream: str = ""

    def __repr__(self) -> str:
        return f"<{self.kind.name} of {len(self.octets)} octets {self.text!r}>"
