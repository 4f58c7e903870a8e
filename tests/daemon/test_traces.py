"""Recorded sessions of QEMU and swtpm, replayed against this TPM (tests/vectors/traces)."""

import hashlib
import hmac
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from nvstore import NvstoreError
from tests.daemon.fake import LastingStore
from tests.daemon.served import Peer, Served, run, serving
from vtpm import Tpm
from vtpm.control.messages import CMD
from vtpm.daemon.device.device import code_of
from vtpm.spec.constants import TPM_CC
from vtpm.wire.error import TPM_RC

TRACES = Path(__file__).parents[1] / "vectors" / "traces"

VARYING = {TPM_CC.GetRandom, TPM_CC.GetCapability}
"""Commands whose answers differ from TPM to TPM, or from time to time."""

RANDOM_OCTETS = {
    TPM_CC.StartAuthSession: [NONCE_TPM := slice(16, 48)],
    TPM_CC.CreatePrimary: [
        slice(44, 76),  # x of the point
        slice(78, 110),  # its y
        slice(209, 273),  # digest of the ticket
        slice(277, 309),  # digest in the Name
        slice(311, 343),  # nonce
        slice(346, 378),  # HMAC
    ],
}
"""Where a response to the command has octets that seeds and nonces determine."""

CONTEXT_HEADER = slice(10, 26)
"""What a saved context has before its blob: the sequence, the saved handle and the hierarchy."""

PRIMARY_KEY = slice(18, 110)

STATE_HEADER = 16

BOOT = {"": 1, "Startup": 1, "Shutdown": 1}
LIFECYCLE = {"": 2, "Startup": 4}
WRITES = {
    "boot-ovmf-tpm-crb": BOOT,
    "boot-seabios-tpm-tis": BOOT,
    "inflight-seabios-tpm-tis": {"": 1, "Startup": 2},
    "lifecycle-seabios-tpm-crb": LIFECYCLE,
    "lifecycle-seabios-tpm-tis": LIFECYCLE,
    "timeout-cancel-seabios-tpm-tis": BOOT,
}
"""How many commits each kind of command makes in a session; "" stands for manufacture and migration."""


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


class Session(NamedTuple):
    """An HMAC session without salt or bind, that authorizes what has an empty authValue: its key is empty."""

    recorded: bytes
    nonce_tpm: bytes

    def sign(self, command: bytes) -> bytes:
        """A recorded command with one handle and this session, its HMAC made for this TPM."""
        end = 18 + int.from_bytes(command[14:18])
        nonce, attributes, recorded = command[24:56], command[56:57], command[59:end]
        cp_hash = hashlib.sha256(command[6:14] + command[end:]).digest()
        assert recorded == hmac.digest(b"", cp_hash + nonce + self.recorded + attributes, "sha256")
        signed = hmac.digest(b"", cp_hash + nonce + self.nonce_tpm + attributes, "sha256")
        return command[:59] + signed + command[end:]

    def check(self, command: bytes, response: bytes) -> None:
        """The HMAC of a response that has a handle is right."""
        end = 18 + int.from_bytes(response[14:18])
        nonce, attributes, shown = response[end + 2 : end + 34], response[end + 34 : end + 35], response[-32:]
        rp_hash = hashlib.sha256(response[6:10] + command[6:10] + response[18:end]).digest()
        assert shown == hmac.digest(b"", rp_hash + nonce + command[24:56] + attributes, "sha256")


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
        self.sessions: dict[bytes, Session] = {}
        self.primary_keys: set[bytes] = set()

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
            session = self.sessions.get(event.octets[18:22])
            self.command = session.sign(event.octets) if session else event.octets
            await self.data.send(self.command)
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
            # Where QEMU has closed the connection already, nothing is left to close.
            assert self.control.sock.fileno() < 0 or await self.control.is_closed()

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
        assert (name, response[:2], code_of(response)) == (name, expected[:2], code_of(expected))
        if code_of(self.command) == TPM_CC.ContextSave:
            assert response[CONTEXT_HEADER].hex() == expected[CONTEXT_HEADER].hex()
        elif code_of(self.command) not in VARYING:
            assert (name, self.determined(response)) == (name, self.determined(expected))
        self.note_answer(expected, response)

    def determined(self, response: bytes) -> str:
        """A response without the octets that no two TPMs share."""
        octets = bytearray(response)
        for part in RANDOM_OCTETS.get(TPM_CC(code_of(self.command)), []):
            octets[part] = bytes(len(octets[part]))
        return octets.hex()

    def note_answer(self, expected: bytes, response: bytes) -> None:
        """Sessions begin; the primary key of a template is the same after every start."""
        if code_of(self.command) == TPM_CC.StartAuthSession:
            self.sessions[response[10:14]] = Session(expected[NONCE_TPM], response[NONCE_TPM])
        elif code_of(self.command) == TPM_CC.CreatePrimary:
            self.sessions.pop(self.command[18:22]).check(self.command, response)
            self.primary_keys.add(response[PRIMARY_KEY])
            assert len(self.primary_keys) == 1


@pytest.mark.parametrize("trace", sorted(TRACES.glob("*.trace")), ids=lambda trace: trace.stem)
def test_replay(tmp_path: Path, trace: Path) -> None:
    """Every request and command of the session is answered as swtpm answered it."""

    async def body() -> None:
        async with serving(tmp_path, tpms=Tpm, store=LastingStore()) as served:
            # The swtpm that was recorded does not yet shut a TPM down that its guest did not.
            served.device.auto_shutdown = False
            replay = Replay(served)
            for event in events_of(trace):
                await replay.play(event)

    run(body)


class FlakyStore(LastingStore):
    """A store where the first attempt at every commit but the first fails."""

    attempts = 0

    def commit(self, changes: Mapping[str, bytes | None]) -> None:
        """Fail, or not."""
        self.attempts += 1
        if self.attempts % 2 == 0:
            raise NvstoreError("a failure on purpose", "try again")
        super().commit(changes)


class Persistent(Replay):
    """A guest that sends a command again when NV is unavailable (Part 3, 4.2)."""

    refused = 0

    async def check_answer(self, expected: bytes) -> None:
        """Send again what was refused; the answer must then be the same."""
        assert self.data is not None
        header = await self.data.receive(10)
        while code_of(header) == TPM_RC.NV_UNAVAILABLE:
            self.refused += 1
            await self.data.send(self.command)
            header = await self.data.receive(10)
        self.data.put_back(header)
        await super().check_answer(expected)


class Counting(Replay):
    """Knows which command is under way."""

    under_way = ""

    async def play(self, event: Event) -> None:
        """Note what begins."""
        if event.kind == "D>":
            self.under_way = TPM_CC(code_of(event.octets)).name
        elif event.kind == "C>" and int.from_bytes(event.octets[:4]) in (CMD.INIT, CMD.STORE_VOLATILE):
            self.under_way = ""
        await super().play(event)


@pytest.mark.parametrize("trace", sorted(TRACES.glob("boot-*.trace")), ids=lambda trace: trace.stem)
def test_store_that_fails(tmp_path: Path, trace: Path) -> None:
    """A boot over a store where every commit fails at first: a refused command has no effect."""
    store = FlakyStore()

    async def body() -> None:
        async with serving(tmp_path, tpms=Tpm, store=store) as served:
            served.device.auto_shutdown = False
            replay = Persistent(served)
            for event in events_of(trace):
                await replay.play(event)
            assert replay.refused > 0
            assert served.device.alarm == ""

    run(body)
    assert store.attempts > 1


@pytest.mark.parametrize(("trace", "expected"), WRITES.items())
def test_writes(tmp_path: Path, trace: str, expected: dict[str, int]) -> None:
    """Only the commands that change something persistent write, and each writes once."""
    counted: Counter[str] = Counter()
    replays: list[Counting] = []

    class CountingStore(LastingStore):
        def commit(self, changes: Mapping[str, bytes | None]) -> None:
            """Count it for the command that is under way."""
            counted[replays[0].under_way] += 1
            super().commit(changes)

    async def body() -> None:
        async with serving(tmp_path, tpms=Tpm, store=CountingStore()) as served:
            served.device.auto_shutdown = False
            replays.append(Counting(served))
            for event in events_of(TRACES / f"{trace}.trace"):
                await replays[0].play(event)

    run(body)
    assert counted == expected
