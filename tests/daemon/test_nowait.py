"""What a client can do through sockets that it shares: nothing that another VM notices."""

import asyncio
import fcntl
import os
import socket
import struct
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.daemon.fake import INCREMENT, STARTUP, SUCCESS, value_of
from tests.daemon.served import PATIENCE, Peer, Served, run, serving

SET_DATA_FD = "00000010"
ESTABLISHED = "00000004"
BAD_PARAMETER = "00000003"
MANY = 20_000
LINGERING = struct.pack("ii", 1, 3600)


def make_blocking(sock: socket.socket) -> None:
    """Clear O_NONBLOCK, and set time-outs, for everybody who shares the socket."""
    fcntl.fcntl(sock, fcntl.F_SETFL, fcntl.fcntl(sock, fcntl.F_GETFL) & ~os.O_NONBLOCK)
    for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
        sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", 0, 0))


async def shared_data(served: Served, control: Peer) -> tuple[Peer, socket.socket]:
    """A data channel whose passed end the client keeps as well."""
    ours, theirs = socket.socketpair()
    control.send_descriptor(SET_DATA_FD, theirs.fileno())
    assert await control.receive(4) == bytes(4)
    return served.peer(ours), theirs


async def flood(peer: Peer, octets: bytes) -> None:
    """Send until nobody takes more."""
    loop = asyncio.get_running_loop()
    with suppress(TimeoutError):
        await asyncio.wait_for(loop.sock_sendall(peer.sock, octets), 1)


def full_and_lingering() -> tuple[socket.socket, socket.socket]:
    """A TCP connection whose last close waits for a reader that there is not, and the reader."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sock = socket.create_connection(listener.getsockname())
        reader, _ = listener.accept()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGERING)
    sock.settimeout(0)
    with suppress(BlockingIOError):
        while True:
            sock.send(bytes(1 << 16))
    return sock, reader


async def until(reached: Callable[[], bool]) -> None:
    """Wait for something that must happen; the test's own limit ends it otherwise."""
    for _ in range(1000 * PATIENCE):
        if reached():
            return
        await asyncio.sleep(0.001)
    pytest.fail("it does not happen")


def descriptors() -> int:
    """How many this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


class TestBlocking:
    """A client that shares the daemon's socket makes it block."""

    def test_unread_answers(self, tmp_path: Path) -> None:
        """A client that clears O_NONBLOCK and reads nothing delays nobody, and can be ended."""

        async def body() -> None:
            (tmp_path / "a").mkdir()
            (tmp_path / "b").mkdir()
            async with serving(tmp_path / "a") as hostile, serving(tmp_path / "b") as other:
                control = hostile.connect()
                data, shared = await shared_data(hostile, control)
                assert await control.ask("0000000200000000") == "00000000"
                make_blocking(shared)
                await data.execute(STARTUP)
                make_blocking(shared)
                await flood(data, INCREMENT * MANY)
                _, other_data = await other.start()
                assert await other_data.execute(STARTUP) == SUCCESS
                assert value_of(await other_data.execute(INCREMENT)) == 1
                assert hostile.device._tpm.permanent_count < MANY
                conversation = hostile.endpoint.data
                assert conversation is not None
                await until(lambda: bool(conversation._outlet.pending))
                assert len(conversation._outlet.pending) <= 14
                assert len(conversation._framing.position()["buffer"]) <= 1 << 16
                shared.close()

        run(body)

    def test_stolen_octets(self, tmp_path: Path) -> None:
        """A client that reads from the daemon's end takes octets from itself alone."""

        async def body() -> None:
            async with serving(tmp_path) as served:
                control = served.connect()
                data, shared = await shared_data(served, control)
                assert await control.ask("0000000200000000") == "00000000"
                for _ in range(50):
                    await data.send(INCREMENT)
                    make_blocking(shared)
                    with suppress(BlockingIOError):
                        shared.recv(100, socket.MSG_DONTWAIT)
                    await asyncio.sleep(0)
                assert await control.ask(ESTABLISHED, 8) == bytes(8).hex()
                shared.close()

        run(body)


Sockets = tuple[socket.socket, ...]


def _datagrams() -> Sockets:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)


def _packets() -> Sockets:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def _listening() -> Sockets:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind("")
    sock.listen()
    return (sock,)


def _unconnected() -> Sockets:
    return (socket.socket(socket.AF_UNIX),)


UNFIT = {
    "datagrams": _datagrams,
    "packets": _packets,
    "listening": _listening,
    "unconnected": _unconnected,
    "lingering": full_and_lingering,
}


class TestPassed:
    """What is passed in place of a data channel's socket."""

    @pytest.mark.parametrize("kind", UNFIT)
    def test_unfit_socket(self, tmp_path: Path, kind: str) -> None:
        """A socket of another kind is refused; that the last close of it waits delays nothing."""

        async def body() -> None:
            async with serving(tmp_path) as served:
                control = served.connect()
                passed, *others = UNFIT[kind]()
                control.send_descriptor(SET_DATA_FD, passed.fileno())
                passed.close()
                assert (await control.receive(4)).hex() == BAD_PARAMETER
                for sock in others:
                    sock.close()
                data = await served.start_data(control)
                assert await control.ask("0000000200000000") == "00000000"
                assert await data.execute(STARTUP) == SUCCESS

        run(body)

    def test_own_connection(self, tmp_path: Path) -> None:
        """The client's end of a connection to the daemon is refused: answers would come back as requests."""

        async def body() -> None:
            async with serving(tmp_path) as served:
                control = served.connect()
                control.send_descriptor(SET_DATA_FD, control.sock.fileno())
                assert (await control.receive(4)).hex() == BAD_PARAMETER

        run(body)

    def test_file(self, tmp_path: Path) -> None:
        """A descriptor that is no socket is refused."""

        async def body() -> None:
            async with serving(tmp_path) as served:
                control = served.connect()
                with tempfile.TemporaryFile() as file:
                    control.send_descriptor(SET_DATA_FD, file.fileno())
                assert (await control.receive(4)).hex() == BAD_PARAMETER

        run(body)

    def test_beside_commands(self, tmp_path: Path) -> None:
        """A client that passes descriptors with commands is disconnected; their close delays nothing."""

        async def body() -> None:
            (tmp_path / "a").mkdir()
            (tmp_path / "b").mkdir()
            async with serving(tmp_path / "a") as hostile, serving(tmp_path / "b") as other:
                _, data = await hostile.start()
                passed, reader = full_and_lingering()
                data.send_descriptor(INCREMENT, passed.fileno())
                passed.close()
                assert await data.is_closed()
                _, other_data = await other.start()
                assert await other_data.execute(STARTUP) == SUCCESS
                reader.close()

        run(body)

    def test_left_in_the_queue(self, tmp_path: Path) -> None:
        """What a client passes and nobody reads is closed with the socket, on no other VM's time."""

        async def body() -> None:
            (tmp_path / "a").mkdir()
            (tmp_path / "b").mkdir()
            async with serving(tmp_path / "a") as hostile, serving(tmp_path / "b") as other:
                control, data = await hostile.start()
                passed, reader = full_and_lingering()
                hostile.endpoint.pause()
                data.send_descriptor(INCREMENT, passed.fileno())
                passed.close()
                conversation = hostile.endpoint.data
                assert conversation is not None
                conversation.close()
                _, other_data = await other.start()
                assert await other_data.execute(STARTUP) == SUCCESS
                reader.close()
                hostile.endpoint.proceed()
                assert await control.ask(ESTABLISHED, 8) == bytes(8).hex()

        run(body)

    def test_no_descriptor_is_kept(self, tmp_path: Path) -> None:
        """However many are passed, all are closed."""

        async def body() -> None:
            async with serving(tmp_path) as served:
                control, _ = await served.start()
                assert await control.ask(ESTABLISHED, 8) == bytes(8).hex()
                with tempfile.TemporaryFile() as file:
                    before = descriptors()
                    for _ in range(20):
                        socket.send_fds(control.sock, [bytes.fromhex(ESTABLISHED)], [file.fileno()] * 100)
                        assert await control.receive(8) == bytes(8)
                    await until(lambda: not served.endpoint._disposer.is_busy)
                    assert descriptors() == before

        run(body)


class TestLeft:
    """A client that has left."""

    def test_its_commands_are_dropped(self, tmp_path: Path) -> None:
        """Of what it has sent only the commands that were begun are carried out."""

        async def body() -> None:
            async with serving(tmp_path) as served:
                _, data = await served.start()
                await data.execute(STARTUP)
                conversation = served.endpoint.data
                assert conversation is not None
                conversation.pause()
                await data.send(INCREMENT * 1000)
                data.close()
                conversation.proceed()
                await until(lambda: served.endpoint.data is None)
                assert served.device._tpm.permanent_count <= 1

        run(body)

    def test_close_waits_for_one_command(self, tmp_path: Path) -> None:
        """The end of the daemon waits for no command that was read and not begun."""

        async def body() -> None:
            async with serving(tmp_path, others_wait=True) as served:
                _, data = await served.start()
                await data.execute(STARTUP)
                await data.send(INCREMENT * 1000)
                await until(lambda: bool(served.endpoint.lane.is_busy))
                tpm = served.device._tpm
                await served.endpoint.close()
                assert tpm.permanent_count < 100

        run(body)
