"""A TPM with the interface of `vtpm.Tpm` and four commands, which can be told to misbehave."""

import threading
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, Self

from nvstore import MemoryStore
from vtpm.control.frames import HEADER
from vtpm.daemon.device.device import Result, refusal
from vtpm.state.clock import Instant
from vtpm.state.profile import DEFAULT
from vtpm.wire.error import TPM_RC

STARTUP = bytes.fromhex("80010000000c000001440000")
SHUTDOWN = bytes.fromhex("80010000000c000001450001")
INCREMENT = bytes.fromhex("80010000000a00000134")
READ = bytes.fromhex("80010000000a0000014e")
CREATE = bytes.fromhex("80010000000a00000153")
RAISE = bytes.fromhex("80010000000a00000191")

FAILURE = refusal()
SUCCESS = refusal(TPM_RC.SUCCESS)


def answer(value: int) -> bytes:
    """A response with a number in it."""
    return HEADER.pack(0x8001, HEADER.size + 4, 0) + value.to_bytes(4)


class LastingStore(MemoryStore):
    """A store that can be opened again."""

    def close(self) -> None:
        """Keep everything."""


class FakeTpm:
    """A counter that is permanent, and one that is not."""

    gate: threading.Event | None = None
    """What the costly command waits for."""

    def __init__(self, permanent: int = 0, volatile: int = 0) -> None:
        self.profile = DEFAULT
        self.volatile = SimpleNamespace(failed=False)
        self.clock = SimpleNamespace(last=0)
        self.established = False
        self.physical_presence = False
        self.permanent_count = permanent
        self.count = volatile
        self.started = False
        self.log: list[str] = []
        self._changes: dict[str, bytes | None] = {}
        self.nv_available = True

    @classmethod
    def manufacture(cls, *, entropy: Callable[[int], bytes]) -> Self:
        """A new TPM."""
        tpm = cls()
        assert len(entropy(32)) == 32
        tpm._changes = {**tpm.snapshot()}
        return tpm

    @classmethod
    def restore(cls, blobs: Mapping[str, bytes], entropy: Callable[[int], bytes]) -> Self:
        """A TPM from its blobs."""
        del entropy
        return cls(int(blobs["permanent"]), int(blobs.get("ram", b"0")))

    def snapshot(self) -> dict[str, bytes]:
        """What is permanent."""
        return {"permanent": b"%d" % self.permanent_count}

    def snapshot_volatile(self) -> dict[str, bytes]:
        """What is not."""
        return {"ram": b"%d" % self.count}

    def close_commitments(self) -> None:
        """It commits to nothing."""

    def power_on(self, _now: Instant) -> None:
        """_TPM_Init."""
        self.log.append("power_on")
        self.started, self.count = False, 0

    def resume(self, _now: Instant) -> None:
        """Go on."""
        self.log.append("resume")
        self.started = True

    def execute(self, request: bytes, locality: int, _now: Instant) -> Result:
        """Execute a command."""
        self.log.append(f"{request[6:10].hex()} at {locality}")
        if self.volatile.failed:
            return Result(FAILURE, {})
        if request == RAISE:
            raise RuntimeError("a defect")
        if request == STARTUP:
            self.started = True
            return Result(SUCCESS, {})
        if not self.started:
            return Result(refusal(TPM_RC.INITIALIZE), {})
        if request == INCREMENT:
            self.count += 1
            self.permanent_count += 1
            return Result(answer(self.permanent_count), {"permanent": b"%d" % self.permanent_count})
        if request == CREATE and self.gate is not None:
            assert self.gate.wait(20)
        return Result(SUCCESS if request == SHUTDOWN else answer(self.count), {})

    def checkpoint(self, _request: bytes) -> SimpleNamespace:
        """What to put back."""
        before = self.count, self.permanent_count

        def put_back() -> None:
            self.count, self.permanent_count = before

        return SimpleNamespace(put_back=put_back)

    def touch_orderly(self) -> None:
        """Clock must be saved."""
        self._changes["orderly"] = b"now"

    @staticmethod
    def is_costly(request: bytes) -> bool:
        """Does it take long?"""
        return request == CREATE

    def changes(self) -> dict[str, bytes | None]:
        """What is to be durable."""
        changes, self._changes = self._changes, {}
        return changes

    def fail(self, reason: str) -> None:
        """Enter failure mode."""
        self.log.append(reason)
        self.volatile.failed = True

    def hash_start(self) -> None:
        """_TPM_Hash_Start."""
        self.established = True
        self.log.append("hash_start")

    def hash_data(self, octets: bytes) -> None:
        """_TPM_Hash_Data."""
        self.log.append(f"hash_data {octets!r}")

    def hash_end(self) -> None:
        """_TPM_Hash_End."""
        self._changes = {"hashed": b"1"}


def value_of(response: bytes) -> Any:
    """The number in a response of `answer`."""
    assert response[6:10] == bytes(4), response.hex()
    return int.from_bytes(response[10:])
