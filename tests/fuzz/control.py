"""The channels of the daemon: any octets, in any pieces, end in requests or in the protocol's own error."""

import hashlib
import random
from collections.abc import Iterator

from tests.fuzz.target import Finding, Target
from vtpm.control import blobs
from vtpm.control.connection import Connection
from vtpm.control.frames import Frame, Framing
from vtpm.control.messages import CMD, PTM_BLOB_TYPE, Malformed, Request
from vtpm.control.mssim import PLATFORM_PORT, TPM_PORT, ProtocolError, Signal, SimulatorConnection

COMMAND = bytes.fromhex("80010000000c0000014400008001")
MAXIMUM = 4096
CONTROL, DATA, TPM, PLATFORM, BLOB = range(5)
HEAD = 3
"""Octets before those that are received: which channel, and how they are split."""


def pieces(octets: bytes, split: int) -> Iterator[bytes]:
    """The octets in pieces."""
    rng = random.Random(split)
    at = 0
    while at < len(octets):
        size = rng.choice((1, 2, 3, 4, 8, 16, len(octets)))
        yield octets[at : at + size]
        at += size


class Channels(Target):
    """The first octet chooses the channel, the next two how what follows is split."""

    name = "channels"

    def seeds(self) -> list[bytes]:
        """Every request, alone and in a row; frames of both kinds; a state blob."""
        bodies = {
            CMD.INIT: bytes(4),
            CMD.SET_LOCALITY: b"\3",
            CMD.RESET_TPMESTABLISHED: b"\3",
            CMD.HASH_DATA: b"\0\0\0\5hello",
            CMD.GET_STATEBLOB: bytes(3) + b"\1" + bytes(7) + b"\1",
            CMD.SET_STATEBLOB: bytes(3) + b"\1" + bytes(7) + b"\1" + b"\0\0\0\4blob",
            CMD.SET_BUFFERSIZE: b"\0\0\x10\0",
            CMD.GET_INFO: bytes(16),
            CMD.LOCK_STORAGE: bytes(4),
        }
        control = [code.to_bytes(4) + bodies.get(code, b"") for code in CMD]
        sized = b"\0\0\0\x0c" + COMMAND[:12]
        data = [COMMAND[:12], COMMAND, b"\0\0\0\x08\0" + sized, COMMAND[:12] + b"\0\0\0\x08\1" + sized]
        tpm = [
            code.to_bytes(4) + bytes(kind.fixed) + (sized if kind.sized else b"")
            for code, kind in TPM_PORT.items()
        ]
        platform = [code.to_bytes(4) + bytes(kind.fixed) for code, kind in PLATFORM_PORT.items()]
        blob = blobs.pack(PTM_BLOB_TYPE.PERMANENT, {"permanent": b"abc", "nv/01800001": bytes(64)})[:-32]
        return [
            bytes([channel, 0, split]) + octets
            for channel, found in (
                (CONTROL, control),
                (DATA, data),
                (TPM, tpm),
                (PLATFORM, platform),
                (BLOB, [blob]),
            )
            for split, octets in enumerate([*found, b"".join(found), b"".join(reversed(found))])
        ]

    def check(self, octets: bytes) -> bool:
        """Receive, and give up at the end."""
        head, octets = octets[:HEAD].ljust(HEAD, b"\0"), octets[HEAD:]
        channel, split = head[0] % 5, int.from_bytes(head[1:])
        if channel == CONTROL:
            return self.check_control(octets, split)
        if channel == DATA:
            return self.check_data(octets, split)
        if channel == BLOB:
            return self.check_blob(octets)
        return self.check_simulator(octets, split, port_is_tpm=channel == TPM)

    def check_control(self, octets: bytes, split: int) -> bool:
        """The control channel gives requests, and none is awaited after giving up."""
        connection = Connection()
        requests: list[Request] = []
        for piece in pieces(octets, split):
            requests += connection.receive_data(piece)
        requests += connection.give_up()
        if connection.is_waiting or connection.give_up():
            raise Finding("a request is awaited after giving up")
        for request in requests:
            if not isinstance(request, Request):
                raise Finding(f"{request!r} is no request")
        connection.receive_data(CMD.GET_CAPABILITY.to_bytes(4))
        return any(not isinstance(request, Malformed) for request in requests)

    def check_data(self, octets: bytes, split: int) -> bool:
        """The data channel gives commands of no more than the maximum, which end as their headers say."""
        framing = Framing(MAXIMUM)
        frames: list[Frame] = []
        for piece in pieces(octets, split):
            if framing.is_one_command(piece) and Framing(MAXIMUM).receive_data(piece) != [Frame(piece)]:
                raise Finding(f"{piece.hex()} is one command, and is taken for something else")
            frames += framing.receive_data(piece)
        frames += framing.give_up()
        if framing.is_draining:
            raise Finding("the rest of a command is awaited after giving up")
        for frame in frames:
            if len(frame.command) > max(MAXIMUM, len(octets)):
                raise Finding(f"a command of {len(frame.command)} octets")
            frame.reply(b"response")
        return bool(frames)

    def check_simulator(self, octets: bytes, split: int, *, port_is_tpm: bool) -> bool:
        """The simulator's ports give the same signals, and the same error, however octets are split."""
        whole, parts = (self.signals(some, port_is_tpm) for some in ([octets], pieces(octets, split)))
        if whole != parts:
            raise Finding(f"{whole} in one piece, {parts} in several")
        return bool(whole[0])

    def signals(self, some: Iterator[bytes] | list[bytes], port_is_tpm: bool) -> tuple[list[Signal], bool]:  # noqa: FBT001
        """The signals, and whether the protocol was broken after them."""
        connection = SimulatorConnection(TPM_PORT if port_is_tpm else PLATFORM_PORT)
        found: list[Signal] = []
        try:
            for piece in some:
                found += connection.receive_data(piece)
            found += connection.receive_data(b"")
        except ProtocolError:
            return found, True
        return found, False

    def check_blob(self, octets: bytes) -> bool:
        """A state blob, with a digest that is right, is one or is refused."""
        try:
            state, companion = blobs.unpack(PTM_BLOB_TYPE.PERMANENT, octets + hashlib.sha256(octets).digest())
        except blobs.BlobError:
            return False
        if blobs.pack(PTM_BLOB_TYPE.PERMANENT, state, companion)[:-32] != octets:
            for name in state:
                blobs.unpack(
                    PTM_BLOB_TYPE.PERMANENT, blobs.pack(PTM_BLOB_TYPE.PERMANENT, {name: state[name]})
                )
        return True
