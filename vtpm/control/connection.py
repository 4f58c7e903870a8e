"""
The control channel as a stream: octets in, requests out; responses in, octets out.

A client sends one request and waits for its response, but a stream does not keep requests apart:
one may arrive in pieces, or several at once.
The length of each request follows from its code and, for HASH_DATA and SET_STATEBLOB, from a length field.

Two things do not follow from it, and are decided so that the stream stays in step with the client:

- A locality is one octet, which clients pad to four or not.
  No command code is 0 or above 255, so the four octets after the locality tell:
  a code begins with three zero octets and ends with another, padding before a code is followed by a zero.
- A request can be longer than its command allows.
  Octets after a complete request that cannot begin another one are part of it:
  it is answered once, with TPM_BAD_PARAMETER where swtpm insists on the exact length, and they are dropped.
"""

from typing import Any, Final

from vtpm.control import messages
from vtpm.control.messages import CMD, CODE, REQUESTS, TPM_RESULT, HashData, Malformed, Request
from vtpm.wire.structure import marshal, unmarshal

EXACT: Final = frozenset(
    {
        CMD.INIT,
        CMD.SHUTDOWN,
        CMD.GET_TPMESTABLISHED,
        CMD.HASH_START,
        CMD.HASH_END,
        CMD.CANCEL_TPM_CMD,
        CMD.STORE_VOLATILE,
        CMD.SET_STATEBLOB,
        CMD.STOP,
        CMD.GET_CONFIG,
    }
)
"""Commands that swtpm refuses when octets follow them; with the others it ignores the excess."""

PADDED: Final = frozenset({CMD.SET_LOCALITY, CMD.RESET_TPMESTABLISHED})
PADDING: Final = 3

BODY: Final = {
    CMD.INIT: 4,
    CMD.SET_LOCALITY: 1,
    CMD.RESET_TPMESTABLISHED: 1,
    CMD.HASH_DATA: 4,
    CMD.GET_STATEBLOB: 12,
    CMD.SET_STATEBLOB: 12,
    CMD.SET_BUFFERSIZE: 4,
    CMD.GET_INFO: 16,
    CMD.LOCK_STORAGE: 4,
}
"""Octets after the code, up to and including a length field; a command that is not here has none."""


class Connection:
    """One client's control channel."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._padding_may_follow = False
        self._hash_remaining = 0
        self._skip = 0
        self._after_skip: Malformed | None = None

    @property
    def is_waiting(self) -> bool:
        """Have octets come whose meaning the next ones decide?  If those do not come, `give_up`."""
        return bool(self._buffer or self._hash_remaining or self._after_skip is not None)

    def position(self) -> dict[str, Any]:
        """What has come of a request that is not complete, for another process to go on from."""
        refused = self._after_skip
        return {
            "buffer": bytes(self._buffer),
            "padding_may_follow": self._padding_may_follow,
            "hash_remaining": self._hash_remaining,
            "skip": self._skip,
            "after_skip": None if refused is None else (refused.code, refused.tpm_result),
        }

    def move_to(
        self,
        buffer: bytes,
        hash_remaining: int,
        skip: int,
        after_skip: tuple[int, int] | None,
        *,
        padding_may_follow: bool,
    ) -> None:
        """Go on from a `position`."""
        self._buffer[:] = buffer
        self._padding_may_follow = padding_may_follow
        self._hash_remaining = hash_remaining
        self._skip = skip
        self._after_skip = None if after_skip is None else Malformed(*after_skip)

    @property
    def has_octets(self) -> bool:
        """Have octets come that no request has been taken from?"""
        return bool(self._buffer)

    def receive_data(self, octets: bytes) -> list[Request]:
        """
        The requests that are complete with these octets.

        Each wants a response, except HASH_DATA while octets remain.
        """
        self.feed(octets)
        requests = []
        while (request := self.take()) is not None:
            requests.append(request)
        return requests

    def feed(self, octets: bytes) -> None:
        """Keep octets that have come, for `take`."""
        self._buffer += octets

    def give_up(self) -> list[Request]:
        """The rest did not come: padding ends, a request is malformed, and what came of it is dropped."""
        if self._padding_may_follow:
            self._padding_may_follow = False
            self._buffer.clear()
        if not self.is_waiting:
            return []
        code: int = CMD.GET_CAPABILITY
        if self._hash_remaining:
            code = CMD.HASH_DATA
        elif self._after_skip is not None:
            code = self._after_skip.code
        elif len(self._buffer) >= CODE.size:
            (code,) = CODE.unpack_from(self._buffer)
        self.__init__()  # type: ignore[misc]
        return [Malformed(code, TPM_RESULT.BAD_PARAMETER)]

    def send(self, response: Any) -> bytes:
        """The octets of a response."""
        return marshal(response)

    def take(self) -> Request | None:
        """The next request that is complete, taken out of the buffer."""
        if self._after_skip is not None:
            return self._skipped()
        if self._hash_remaining:
            return self._hash_part()
        if self._padding_may_follow and not self._settle_padding():
            return None
        if len(self._buffer) < CODE.size:
            return None
        (code,) = CODE.unpack_from(self._buffer)
        if code not in REQUESTS:
            self._buffer.clear()
            return Malformed(code, TPM_RESULT.BAD_ORDINAL)
        end = CODE.size + BODY.get(CMD(code), 0)
        if len(self._buffer) < end:
            return None
        return self._complete(CMD(code), end)

    def _complete(self, command: CMD, end: int) -> Request | None:
        """The request of a command whose body, up to `end`, is in the buffer."""
        if command is CMD.HASH_DATA:
            (self._hash_remaining,) = CODE.unpack_from(self._buffer, end - CODE.size)
            del self._buffer[:end]
            return self._hash_part() if self._hash_remaining else HashData(0, b"")
        if command is CMD.SET_STATEBLOB:
            (length,) = CODE.unpack_from(self._buffer, end - CODE.size)
            if length > messages.MAX_STATE_BLOB:
                del self._buffer[:end]
                self._skip, self._after_skip = length, Malformed(command, TPM_RESULT.FAIL)
                return self._skipped()
            end += length
            if len(self._buffer) < end:
                return None
        body = bytes(self._buffer[CODE.size : end])
        del self._buffer[:end]
        if command in PADDED:
            if any(self._buffer[:PADDING]):
                del self._buffer[:PADDING]
            else:
                self._padding_may_follow = True
        if self._drop_excess() and command in EXACT:
            return Malformed(command, TPM_RESULT.BAD_PARAMETER)
        return unmarshal(REQUESTS[command], body)

    def _settle_padding(self) -> bool:
        """Take the padding of a locality out of the buffer; False while it cannot be told from a code."""
        if not any(self._buffer[:PADDING]):
            if len(self._buffer) <= PADDING:
                return False
            if self._buffer[PADDING] == 0:
                del self._buffer[:PADDING]
        self._padding_may_follow = False
        return True

    def _drop_excess(self) -> bool:
        """Drop what follows a request and cannot begin another one; True if there was such an excess."""
        if self._padding_may_follow and not self._settle_padding():
            return False
        if _begins_a_request(self._buffer):
            return False
        self._buffer.clear()
        return True

    def _hash_part(self) -> HashData | Malformed | None:
        """What has come of the octets to hash."""
        if not self._buffer:
            return None
        data = bytes(self._buffer[: self._hash_remaining])
        del self._buffer[: len(data)]
        self._hash_remaining -= len(data)
        if not self._hash_remaining and self._drop_excess():
            return Malformed(CMD.HASH_DATA, TPM_RESULT.BAD_PARAMETER)
        return HashData(self._hash_remaining, data)

    def _skipped(self) -> Malformed | None:
        """Drop the data of a request that is refused, so that the next request is found after it."""
        count = min(self._skip, len(self._buffer))
        del self._buffer[:count]
        self._skip -= count
        if self._skip:
            return None
        refused, self._after_skip = self._after_skip, None
        self._drop_excess()
        return refused


def _begins_a_request(octets: bytearray) -> bool:
    """Can these octets, which may be none, be the beginning of a request?"""
    head = octets[: CODE.size]
    if len(head) < CODE.size:
        return not any(head)
    return CODE.unpack(head)[0] in REQUESTS
