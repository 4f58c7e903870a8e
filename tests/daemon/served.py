"""A device behind sockets in the running event loop, and a client that talks to it."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import uvloop

from nvstore import Store
from tests.daemon.fake import FakeTpm, LastingStore
from vtpm.daemon.device.device import Device
from vtpm.daemon.endpoint import Endpoint, Policy
from vtpm.daemon.lane import Lane
from vtpm.daemon.peer import Gate
from vtpm.daemon.sockets import Access, listen_unix

DEFAULT_POLICY = Policy()

PATIENCE = 20
"""Seconds after which a test that waits has failed."""


class Peer:
    """A client's socket."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(0)
        self.sock = sock
        self._received = b""

    async def send(self, octets: str | bytes) -> None:
        """Send octets."""
        await asyncio.get_running_loop().sock_sendall(self.sock, raw(octets))

    async def receive(self, count: int) -> bytes:
        """Exactly so many octets; fewer if the connection ends."""
        loop = asyncio.get_running_loop()
        received, self._received = self._received[:count], self._received[count:]
        while len(received) < count:
            part = await asyncio.wait_for(loop.sock_recv(self.sock, count - len(received)), PATIENCE)
            if not part:
                break
            received += part
        return received

    def put_back(self, octets: bytes) -> None:
        """Let the next `receive` have these octets first."""
        self._received = octets + self._received

    async def ask(self, octets: str | bytes, count: int = 4) -> str:
        """Send a request and give its response of so many octets, in hexadecimal."""
        await self.send(octets)
        return (await self.receive(count)).hex()

    async def execute(self, command: bytes) -> bytes:
        """Send a TPM command, and give its response."""
        await self.send(command)
        header = await self.receive(10)
        return header + await self.receive(int.from_bytes(header[2:6]) - 10)

    async def is_closed(self) -> bool:
        """Does the other side end the connection?"""
        return await self.receive(1) == b""

    def send_descriptor(self, octets: str | bytes, descriptor: int) -> None:
        """Send a request with a descriptor."""
        socket.send_fds(self.sock, [raw(octets)], [descriptor])

    def close(self) -> None:
        """Disconnect."""
        self.sock.close()


def raw(octets: str | bytes) -> bytes:
    """Octets, of hexadecimal or as they are."""
    return bytes.fromhex(octets) if isinstance(octets, str) else octets


class Served(SimpleNamespace):
    """An endpoint of a fake TPM, and how to reach it."""

    device: Device
    endpoint: Endpoint
    store: Store
    path: Path
    ended: list[bool]
    peers: list[Peer]

    def connect(self) -> Peer:
        """A client of the control socket."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.connect(str(self.path))
        return self.peer(sock)

    def peer(self, sock: socket.socket) -> Peer:
        """A client's socket, closed with the test."""
        self.peers.append(Peer(sock))
        return self.peers[-1]

    async def start(self) -> tuple[Peer, Peer]:
        """A client that has done what QEMU does at a start: control and data sockets, the TPM powered."""
        control = self.connect()
        data = await self.start_data(control)
        assert await control.ask("0000000200000000") == "00000000"
        return control, data

    async def start_data(self, control: Peer) -> Peer:
        """A data channel whose other end the control client passes on."""
        ours, theirs = socket.socketpair()
        control.send_descriptor("00000010", theirs.fileno())
        theirs.close()
        assert await control.receive(4) == bytes(4)
        return self.peer(ours)

    async def settle(self) -> None:
        """Let everything that is under way happen."""
        for _ in range(3):
            await self.endpoint.lane.idle()
            await asyncio.sleep(0)


@asynccontextmanager
async def serving(
    directory: Path,
    *,
    tpms: Any = FakeTpm,
    store: Store | None = None,
    others_wait: bool = False,
    policy: Policy = DEFAULT_POLICY,
    gate: Gate | None = None,
) -> AsyncIterator[Served]:
    """Serve a device at a socket in a directory."""
    loop = asyncio.get_running_loop()
    store = store or LastingStore()
    device = Device("vm", tpms, lambda: store, may_manufacture=True)
    path = directory / "vm.sock"
    ended: list[bool] = []
    with ThreadPoolExecutor(2) as executor:
        lane = Lane(loop, executor, device.fail)
        endpoint = Endpoint(
            loop,
            device,
            lane,
            listen_unix(path, Access()),
            policy=policy,
            gate=gate,
            others_wait=lambda: others_wait,
            ended=ended.append,
        )
        served = Served(device=device, endpoint=endpoint, store=store, path=path, ended=ended, peers=[])
        try:
            yield served
        finally:
            await endpoint.close()
            for peer in served.peers:
                peer.close()


def run(body: Callable[[], Awaitable[Any]]) -> None:
    """Run a test's coroutine in the daemon's kind of loop."""

    async def bounded() -> None:
        await asyncio.wait_for(body(), 2 * PATIENCE)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(bounded())
