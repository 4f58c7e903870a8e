"""Recorded sessions of QEMU and swtpm, replayed against this TPM (tests/vectors/traces)."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.daemon.fake import LastingStore
from tests.daemon.served import Peer, Served, run, serving
from vtpm import Tpm
from vtpm.commands import COMMANDS
from vtpm.control.messages import CMD
from vtpm.daemon.device import code_of
from vtpm.spec.constants import TPM_CC

TRACES = Path(__file__).parents[1] / "vectors" / "traces"

VARYING = {TPM_CC.GetRandom, TPM_CC.GetCapability}
"""Commands whose answers differ from TPM to TPM, or from time to time."""

STATE_HEADER = 16


class Event(NamedTuple):
    """One line of a trace."""

    kind: str
    octets: bytes = b""
    text: str = ""


def events_of(trace: Path) -> Iterator[Event]:
    """The lines of a trace."""
    for line in trace.read_text().splitlines():
        if line.startswith("#"):
            yield Event("#", text=line)
        else:
            kind, octets, _time = line.split()
            yield Event(kind, bytes.fromhex(octets))


class Replay:
    """The hypervisor's side of a trace."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.control: Peer | None = None
        self.data: Peer | None = None
        self.blobs: dict[int, bytes] = {}
        self.asked = b""
        self.command = b""
        self.skip = 0

    async def play(self, event: Event) -> None:
        """Do or check what a line says."""
        if event.kind == "#":
            await self.note(event.text)
        elif event.kind.startswith("C>"):
            await self.request(event)
        elif event.kind == "C<":
            await self.check_response(event.octets)
        elif event.kind == "D>":
            assert self.data is not None
            self.command = event.octets
            await self.data.send(event.octets)
        else:
            await self.check_answer(event.octets)

    async def note(self, text: str) -> None:
        """Connections begin and end."""
        if text.startswith("#connect"):
            self.control = self.served.connect()
        elif text.startswith("#ctrl-eof-from-qemu"):
            assert self.control is not None
            self.control.close()
            await self.served.settle()
        elif text.startswith("#ctrl-eof-from-swtpm"):
            assert self.control is not None
            assert await self.control.is_closed()

    async def request(self, event: Event) -> None:
        """Send a control request; a state blob is this TPM's own."""
        assert self.control is not None
        if self.skip:
            self.skip -= len(event.octets)
            return
        self.asked = event.octets
        if event.kind == "C>+fd":
            self.data = await self.served.start_data(self.control)
            return
        octets = event.octets
        if octets.startswith(CMD.SET_STATEBLOB.to_bytes(4)):
            self.skip = int.from_bytes(octets[12:16]) - len(octets[16:])
            blob = self.blobs[octets[11]]
            octets = octets[:12] + len(blob).to_bytes(4) + blob
        await self.control.send(octets)

    async def check_response(self, expected: bytes) -> None:
        """The response is swtpm's, but for what each server decides itself."""
        assert self.control is not None
        command = int.from_bytes(self.asked[:4])
        if command == CMD.SET_DATAFD:
            assert expected == bytes(4)
        elif command == CMD.GET_STATEBLOB:
            header = await self.control.receive(STATE_HEADER)
            size = int.from_bytes(header[12:])
            assert header[:8] == expected[:8]
            assert bool(size) == bool(int.from_bytes(expected[12:16]))
            self.blobs[self.asked[11]] = await self.control.receive(size)
        elif command == CMD.GET_CAPABILITY:
            caps = await self.control.receive(len(expected))
            assert int.from_bytes(caps) & int.from_bytes(expected) == int.from_bytes(expected)
        else:
            assert (await self.control.receive(len(expected))).hex() == expected.hex()

    async def check_answer(self, expected: bytes) -> None:
        """The TPM's response has swtpm's tag and code, and its octets where they are determined."""
        assert self.data is not None
        header = await self.data.receive(10)
        response = header + await self.data.receive(int.from_bytes(header[2:6]) - 10)
        name = f"{code_of(self.command):#x}"
        if code_of(self.command) not in COMMANDS:
            pytest.skip(f"the engine has no command {name} yet")
        if code_of(self.command) in VARYING:
            assert (name, response[:2], code_of(response)) == (name, expected[:2], code_of(expected))
        else:
            assert (name, response.hex()) == (name, expected.hex())


@pytest.mark.parametrize("trace", sorted(TRACES.glob("*.trace")), ids=lambda trace: trace.stem)
def test_replay(tmp_path: Path, trace: Path) -> None:
    """Every request and command of the session is answered as swtpm answered it."""

    async def body() -> None:
        async with serving(tmp_path, tpms=Tpm, store=LastingStore()) as served:
            replay = Replay(served)
            for event in events_of(trace):
                await replay.play(event)

    run(body)
