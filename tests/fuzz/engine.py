"""The TPM: no octets make it fail or answer badly, and a snapshot at any moment is the whole of it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from hypothesis import strategies as st

from tests.commands.test_any_command import HANDLES_OF, populated
from tests.fuzz.structures import drawn
from tests.fuzz.target import Finding, Target
from tests.profiles import EVERYTHING
from tests.scenarios import Password, request_of, seeded
from tests.spec.strategies import values_of
from vtpm import Instant, Tpm
from vtpm.commands import COMMANDS, Command
from vtpm.engine.execute import HEADER
from vtpm.spec.constants import TPM_CC, TPM_ST, TPM_SU
from vtpm.state.profile import DEFAULT, SWTPM_COMPATIBLE
from vtpm.wire.error import TPM_RC

VECTORS = Path(__file__).parents[1] / "vectors"
COMMAND = re.compile(r"^D> ([0-9a-f]+)", re.MULTILINE)

PROFILES = (DEFAULT, EVERYTHING, SWTPM_COMPATIBLE)
LIFE = 50
"""Inputs that a TPM lives for, before one of the next profile begins anew."""

SNAPSHOTS = 20
"""Inputs from one snapshot to the next."""

NOT_DRAWN = {TPM_CC.SetCapability}
"""No capability can be set, so the command has no well-formed parameters."""

RAW, SIZED, AUTHORIZED, SIGNAL = range(4)
"""What an item is: octets as they are; with the right size; with empty passwords, too; no command at all."""


SEPARATOR = b"\xf0NEXT"
"""What is between the items of an input."""


def item(kind: int, octets: bytes, locality: int = 0) -> bytes:
    """One item of an input: its kind and locality, its octets."""
    return bytes([kind | locality << 2]) + octets


def items_of(octets: bytes) -> Iterator[tuple[int, int, bytes]]:
    """The items of an input: any octets are some."""
    for part in octets.split(SEPARATOR):
        if part:
            yield part[0] & 3, part[0] >> 2 & 7, part[1:]


def resized(octets: bytes) -> bytes:
    """The octets with their own length in the header."""
    return octets[:2] + len(octets).to_bytes(4) + octets[6:]


def authorized(octets: bytes) -> bytes:
    """A command of its code, handles and parameters, with as many empty passwords as it needs."""
    command = COMMANDS.get(int.from_bytes(octets[:4]))
    end = 4 + 4 * len(command.handles) if command else 4
    count = command.authorizations if command else 0
    area = b"".join(Password().octets(command, [], b"") for _ in range(count)) if command else b""
    body = octets[4:end] + (len(area).to_bytes(4) + area if area else b"") + octets[end:]
    tag = TPM_ST.SESSIONS if area else TPM_ST.NO_SESSIONS
    return HEADER.pack(tag, HEADER.size + len(body), int.from_bytes(octets[:4])) + body


@st.composite
def commands(draw: st.DrawFn, command: Command) -> bytes:
    """A command with well-formed handles and parameters, without authorizations."""
    handles = [draw(st.sampled_from(choices)) for choices in HANDLES_OF[command.code]]
    parameters = b"".join(codec.build(draw(values_of(codec))) for codec in command.parameters.values())
    body = b"".join(handle.to_bytes(4) for handle in handles) + parameters
    return item(AUTHORIZED, command.code.to_bytes(4) + body)


class Engine(Target):
    """An input is a stream of commands; the state of the TPM goes on from input to input, for a while."""

    name = "engine"
    words: ClassVar[tuple[bytes, ...]] = (SEPARATOR, SEPARATOR + b"\2\0\0\1")

    def __init__(self) -> None:
        self.count = 0
        self.client = populated()
        self.log: list[str] = []

    def seeds(self) -> list[bytes]:
        """Every command drawn at random, recorded commands and boots, and signals."""
        found = [
            octets
            for code, command in COMMANDS.items()
            if code not in NOT_DRAWN and all(HANDLES_OF[code])
            for octets in drawn(commands(command), 6)
        ]
        rows = (VECTORS / "libtpms" / "single-commands.tsv").read_text().splitlines()[1:]
        found += [item(SIZED, bytes.fromhex(row.split("\t")[0])) for row in rows]
        for trace in sorted((VECTORS / "traces").glob("*.trace")):
            recorded = [bytes.fromhex(digits) for digits in COMMAND.findall(trace.read_text())]
            found += {item(SIZED, octets) for octets in recorded}
            found += [
                SEPARATOR.join(item(RAW, octets) for octets in recorded[n : n + 8]) for n in range(0, 64, 8)
            ]
        get_random = COMMANDS[TPM_CC.GetRandom]
        found += [item(RAW, request_of(get_random, [], b"", b"\0\4"), locality) for locality in range(8)]
        found += [item(SIGNAL, bytes([number, 7])) for number in range(6)]
        found += [SEPARATOR.join(found[n :: len(found) // 4]) for n in range(60)]
        return sorted(set(found))

    def check(self, octets: bytes) -> bool:
        """Do what the input says, and look at the TPM now and then."""
        self.count += 1
        if self.count % LIFE == 0:
            self.client = populated(PROFILES[self.count // LIFE % len(PROFILES)])
            self.log.clear()
        taken = False
        for kind, locality, content in items_of(octets):
            self.log.append(f"{kind} {locality} {content.hex()}")
            if kind == SIGNAL:
                self.signal(content)
            else:
                request = (
                    content if kind == RAW else resized(content) if kind == SIZED else authorized(content)
                )
                taken |= self.execute(request, locality)
        if self.count % SNAPSHOTS == 0:
            self.put_down()
        return taken

    def execute(self, request: bytes, locality: int) -> bool:
        """One command: did it succeed?"""
        response = self.client.send(request, locality)
        tpm = self.client.tpm
        if tpm.volatile.failed:
            raise Finding(f"failure mode: {tpm.volatile.failure}\n{request.hex()}\n{self.story()}")
        tag, size, code = HEADER.unpack_from(response)
        expected = request[:2] if code == TPM_RC.SUCCESS else TPM_ST.NO_SESSIONS.to_bytes(2)
        if size != len(response) or tag.to_bytes(2) != expected or size > tpm.profile.max_response_size:
            raise Finding(f"the response {response.hex()} to {request.hex()}\n{self.story()}")
        if code != TPM_RC.SUCCESS and size != HEADER.size:
            raise Finding(f"a refusal with more than a header to {request.hex()}: {response.hex()}")
        return bool(code == TPM_RC.SUCCESS)

    def signal(self, content: bytes) -> None:
        """What is no command: power, time, a measurement by hardware."""
        number, rest = (content[0] if content else 0), content[1:]
        tpm = self.client.tpm
        if number == 0:
            self.client.lose_power()
            self.client.tpm.physical_presence = True
            if not rest.startswith(b"\1"):
                self.client.startup(startup_type=TPM_SU.CLEAR)
        elif number == 1:
            self.client.wait(int.from_bytes(rest[:4]))
        elif number == 2:
            tpm.hash_start()
        elif number == 3:
            tpm.hash_data(rest)
        elif number == 4:
            tpm.hash_end()
        else:
            self.put_down()

    def put_down(self) -> None:
        """A snapshot, and a TPM made of it, which goes on."""
        client, tpm = self.client, self.client.tpm
        blobs = tpm.snapshot() | tpm.snapshot_volatile()
        other = Tpm.restore(blobs, seeded(b"restored"))
        other.resume(Instant(client.now), sole=True)
        again = other.snapshot() | other.snapshot_volatile()
        if again != blobs:
            names = [name for name in blobs.keys() | again.keys() if blobs.get(name) != again.get(name)]
            raise Finding(f"a snapshot is restored with other blobs {names}\n{self.story()}")
        other.physical_presence = True
        client.tpm = other

    def story(self) -> str:
        """What the TPM has been through."""
        return "\n".join(self.log[-40:])
