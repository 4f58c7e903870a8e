"""What is timed: each workload prepares a TPM and gives the octets of the command to repeat."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.bench.channel import Channel
from tests.scenarios import Caller
from vtpm.spec.constants import TPM_CC, TPM_RH, TPM_ST

OWNER = TPM_RH.OWNER
INDEX = 0x01800001


class Remote(Caller):
    """The TPM of a channel."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel

    def send(self, request: bytes, locality: int = 0) -> bytes:
        """Send octets as they are, at locality 0."""
        assert locality == 0
        return self.channel.send(request)

    def name_of(self, handle: int) -> bytes:
        """Passwords need no Names."""
        return handle.to_bytes(4, "big")


@dataclass(frozen=True)
class Workload:
    """A command to repeat: `prepare` makes its octets, `after` undoes what a repetition leaves."""

    name: str
    rounds: int
    prepare: Callable[[Remote], bytes]
    after: Callable[[Remote, bytes], None] | None = None


def flush_new(tpm: Remote, response: bytes) -> None:
    """Flush the object whose handle the response begins with."""
    handle = int.from_bytes(response[10:14], "big")
    request = TPM_ST.NO_SESSIONS.to_bytes(2, "big") + bytes([0, 0, 0, 14])
    tpm.send(request + TPM_CC.FlushContext.to_bytes(4, "big") + handle.to_bytes(4, "big"))
