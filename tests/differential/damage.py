"""Nearly valid commands: one part of a valid one is another."""

from typing import TYPE_CHECKING

from tests.differential.pair import Auth, Request
from vtpm.spec.attributes import TPMA_SESSION
from vtpm.spec.constants import TPM_RH

if TYPE_CHECKING:
    from tests.differential.stream import Stream

HANDLES = (
    0, 1, 16, 23, 24, 0x01000001, 0x01000002, 0x01800003, 0x01FFFFFF, 0x02000000, 0x02000001, 0x03000000,
    0x03000001, 0x40000000, 0x40000001, 0x40000006, 0x40000007, 0x40000009, 0x4000000A, 0x4000000B,
    0x4000000C, 0x4000000D, 0x4000010B, 0x80000000, 0x80000001, 0x80000002, 0x80000003, 0x80FFFFFF,
    0x81000000, 0x81000001, 0x81800000, 0x90000000, 0xFFFFFFFF,
)  # fmt: skip
"""Handles of all kinds, most of nothing."""


def damage(stream: "Stream", request: Request) -> None:
    """Change one part of a request."""
    ways = [parameter, parameter, bits, bits, cut, longer, handle, handle, auth, auth, frame]
    stream.pick(ways)(stream, request)


def parameter(stream: "Stream", request: Request) -> None:
    """Other parameters, as their constructs have them."""
    octets = b"".join(stream.dice.value(codec) for codec in request.command.parameters.values())
    request.parameters = (octets, octets)


def bits(stream: "Stream", request: Request) -> None:
    """One octet of the parameters is another."""
    shortest = min(map(len, request.parameters))
    if shortest:
        place = stream.dice.random.randrange(min(shortest, 80))
        change = stream.pick([1, 2, 4, 8, 16, 32, 64, 128, 255])
        one, other = (
            octets[:place] + bytes([octets[place] ^ change]) + octets[place + 1 :]
            for octets in request.parameters
        )
        request.parameters = (one, other)


def cut(stream: "Stream", request: Request) -> None:
    """The parameters end early."""
    count = stream.pick([1, 1, 2, 4, 16])
    request.parameters = (request.parameters[0][:-count], request.parameters[1][:-count])


def longer(stream: "Stream", request: Request) -> None:
    """The parameters go on."""
    more = stream.dice.octets(stream.pick([1, 2, 4]))
    request.parameters = (request.parameters[0] + more, request.parameters[1] + more)


def handle(stream: "Stream", request: Request) -> None:
    """One handle is another, or two are exchanged."""
    if len(request.handles) > 1 and stream.dice.chance(0.3):
        request.handles.reverse()
    elif request.handles:
        place = stream.dice.random.randrange(len(request.handles))
        request.handles[place] = stream.pick([*HANDLES, *stream.objects(), *stream.pair.tpm.nv])


def auth(stream: "Stream", request: Request) -> None:
    """Another authorization, one too few or too many."""
    wrong = Auth(
        stream.pick([b"", b"wrong", bytes(65)]),
        stream.pick([TPM_RH.TPM_RS_PW, 0x02000000, 0x02000001, 0x03000000, 0x03000005, TPM_RH.NULL]),
        stream.pick([TPMA_SESSION(0), TPMA_SESSION(1), TPMA_SESSION(0x21), TPMA_SESSION(0x81)]),
    )
    way = stream.pick(["other", "other", "more", "fewer"])
    if way == "more":
        request.auths.append(wrong)
    elif request.auths and way == "fewer":
        request.auths.pop()
    elif request.auths:
        request.auths[-1] = wrong


def frame(stream: "Stream", request: Request) -> None:
    """The header or the size of the authorization area is another."""
    place, value = stream.pick(
        [
            *((0, tag) for tag in (b"\x80\x01", b"\x80\x02", b"\x00\xc1", b"\x80\x03")),
            *((5, size) for size in (b"\x00", b"\xff")),
            (13 + 4 * len(request.handles), stream.dice.octets(1)),
        ]
    )
    request.edit = lambda octets: octets[:place] + value + octets[place + len(value) :]
