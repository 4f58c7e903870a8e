"""
The hand-over of a running daemon's TPMs to another process: its messages, as octets and descriptors.

It begins as any request to the daemon's own socket, with a line of JSON.
After the answer both sides send frames: a length, then JSON in which `step` says what it is.
Descriptors come with the first octets of the frame that names them.

| from | step | what it says |
|---|---|---|
| new | `replace` | the request: which versions of this protocol it knows |
| old | | the answer: the version, the VMs whose state is open, descriptors of the process and its word |
| new | `begin` | it is loaded, and has opened a copy of every such state; the number of its `process` |
| old | `vm` | one for each VM, between two commands: sockets, half-read requests, the TPM, its lock |
| old | `end` | that was the last one; with the daemon's own socket |
| new | `ready` | every TPM is loaded here, and could go on |
| old | `go` | from now on the old process does nothing unless the connection ends without `taken` |
| new | `taken` | the first thing that it does; after that, it serves |
| old | `stay` | in place of any of the above: the old process goes on, and why |

So the old process goes on as if nothing had happened until it has read `taken`,
and the new one executes no command before it has sent that:
however either of them ends, no command is lost and none is executed twice.
The new one also takes over where the old one has died after `end`, which the descriptor of it shows,
unless the old one had gone on before: it says so in its word, an octet in shared memory, which outlives it,
before it executes anything, since a `stay` may not have come through.
A new one that does not say `taken` in time is killed: once it has died, it is known whether it took over.

A version, once released, does not change.
"""

import base64
import json
import struct
from collections.abc import Mapping
from typing import Any, Final

from vtpm.daemon.carried import Carried
from vtpm.daemon.errors import OperatorError

VERSIONS: Final = frozenset({1, 2})
"""The versions of this protocol that this program knows; the first one had no word in shared memory."""

WITH_WORD: Final = 2
WENT_ON: Final = b"\1"
"""What the word holds once the old process has gone on; zero before."""

REQUEST: Final = "replace"

LENGTH: Final = struct.Struct(">I")
MAX_FRAME: Final = 1 << 28
MAX_DESCRIPTORS: Final = 16
OCTETS: Final = "octets"
"""The key of octets in base64, where JSON has none."""


class ReplacementError(OperatorError):
    """A hand-over does not take place; the text gives cause and remedy."""


def common_version(versions: Any) -> int:
    """The newest version that both sides know; ReplacementError if there is none."""
    known = VERSIONS.intersection(versions if isinstance(versions, list) else [])
    if not known:
        raise ReplacementError(
            f"the daemon that runs hands over by version {max(VERSIONS)} of its protocol, which the new one "
            "does not know; shut the guests down, end that one by `vtpm stop`, then start the other"
        )
    return max(known)


def encode(step: str, facts: Mapping[str, Any], descriptors: list[str]) -> bytes:
    """The octets of a frame, without its length."""
    message = {"step": step, "descriptors": descriptors, **facts}
    return json.dumps(message, default=_octets, separators=(",", ":")).encode()


def decode(frame: bytes, descriptors: list[int]) -> tuple[str, Carried]:
    """What a frame says; ReplacementError if it is malformed, or its descriptors did not come."""
    try:
        facts = json.loads(frame, object_hook=_restored)
        step, names = facts.pop("step"), facts.pop("descriptors")
        carried = Carried(facts, dict(zip(names, descriptors, strict=True)))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ReplacementError(
            "a message of the hand-over is malformed; use the same version on both sides"
        ) from None
    return step, carried


def _octets(value: Any) -> dict[str, str]:
    if not isinstance(value, bytes):
        raise TypeError(f"{type(value).__name__} cannot be handed over")
    return {OCTETS: base64.b64encode(value).decode()}


def _restored(value: dict[str, Any]) -> Any:
    return base64.b64decode(value[OCTETS], validate=True) if value.keys() == {OCTETS} else value
