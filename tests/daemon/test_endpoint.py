"""One VM's sockets: vtpm/daemon/endpoint.py and channel.py."""

import asyncio
import shutil
import socket
import stat
import subprocess
import threading
from pathlib import Path

import pytest

from tests.daemon.fake import CREATE, FAILURE, INCREMENT, RAISE, READ, STARTUP, SUCCESS, FakeTpm, value_of
from tests.daemon.served import Peer, run, serving
from vtpm.daemon.control_client import PATIENCE
from vtpm.daemon.endpoint import Policy

READ_CLOCK = "80010000000a00000181"
PREFIXED_READ = "00000008 03 0000000a" + READ.hex()


def test_start_of_qemu(tmp_path: Path) -> None:
    """The sequence of QEMU 7.2 gets, octet by octet, what swtpm gives: ReadClock before INIT is the probe."""

    async def body() -> None:
        async with serving(tmp_path) as served:
            control = served.connect()
            ours, theirs = socket.socketpair()
            control.send_descriptor("00000010", theirs.fileno())
            theirs.close()
            assert (await control.receive(4)).hex() == "00000000"
            data = served.peer(ours)
            assert await data.ask(READ_CLOCK, 10) == "80010000000a00000101"
            assert await control.ask("00000001", 8) == "000000000001ffff"
            assert await control.ask("0000000e") == "00000000"
            assert await control.ask("0000001100000000", 16) == "000000000000100000000af800001000"
            assert await control.ask("0000000e") == "00000000"
            assert await control.ask("0000001100000f80", 16) == "0000000000000f8000000af800001000"
            assert await control.ask("0000000200000000") == "00000000"
            assert await control.ask("00000004", 8) == "0000000000000000"
            assert await control.ask("0000000500000000") == "00000000"
            assert await data.execute(STARTUP) == SUCCESS
            assert await control.ask("00000003") == "00000000"
            assert await control.is_closed()
            assert await data.is_closed()
            assert served.ended == [True]

    run(body)


ANSWERS = [
    ("off", "00000004", "0000000a"),
    ("off", "00000006", "0000000a"),
    ("off", "00000007 00000003 616263", "0000000a"),
    ("off", "0000000c 00000000 00000001 00000000", "0000000a"),
    ("on", "0000000d 00000000 00000001 00000000", "0000000a"),
    ("on", "0000001100001000", "0000000a"),
    ("on", "0000000b00", "0000003d"),
    ("on", "0000000b09", "0000003d"),
    ("on", "0000000505", "0000003d"),
    ("on", "0000000c 00000000 00000003 00000000", "00000800" + 12 * "00"),
    ("on", "0000000c 00000000 00000009 00000000", "00000009" + 12 * "00"),
    ("off", "0000000d 00000000 00000001 00000008 0001020304050607", "00000003"),
    ("off", "0000000d 00000000 00000009 00000008 0001020304050607", "00000003"),
    ("off", "0000000d 00000002 00000001 00000008 0001020304050607", "00000003"),
    ("on", "00000006", "00000000"),
    ("on", "00000009", "00000000"),
    ("on", "0000000f", "0000000000000000"),
    ("off", "00000013 00000000", "00000000"),
    ("on", "00000014", "0000000a"),
    ("on", "0000000e ffff", "00000003"),
    ("on", "00000012 0000000000000000 00000002 00000000", "00000003"),
]


@pytest.mark.parametrize(("phase", "octets", "expected"), ANSWERS)
def test_answers(tmp_path: Path, phase: str, octets: str, expected: str) -> None:
    """A request gets the documented answer, legal or not, and the next one is understood."""

    async def body() -> None:
        async with serving(tmp_path) as served:
            control = served.connect()
            if phase == "on":
                assert await control.ask("0000000200000000") == "00000000"
            assert await control.ask(octets, len(expected) // 2) == expected
            assert await control.ask("0000000f", 8) == "0000000000000000"

    run(body)


NOT_IN_0_7 = ("00000013", "0000000c 00000000 00000009")
"""LOCK_STORAGE, and the result for a blob of no kind, which are as in newer versions of swtpm."""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("swtpm") is None, reason="swtpm is not installed")
@pytest.mark.parametrize(("phase", "octets", "expected"), ANSWERS)
def test_answers_of_swtpm(tmp_path: Path, phase: str, octets: str, expected: str) -> None:
    """The documented answers are those of swtpm."""
    if octets.startswith(NOT_IN_0_7):
        pytest.skip("newer versions of swtpm answer so, 0.7 does not")
    path = tmp_path / "s"
    words = [
        "--tpmstate",
        f"dir={tmp_path}",
        "--ctrl",
        f"type=unixio,path={path}",
        "--seccomp",
        "action=none",
    ]
    with (
        subprocess.Popen(["swtpm", "socket", "--tpm2", *words], stderr=subprocess.DEVNULL) as process,
        socket.socket(socket.AF_UNIX) as control,
    ):
        try:
            control.settimeout(20)
            while control.connect_ex(str(path)):
                assert process.poll() is None
            if phase == "on":
                control.sendall(bytes.fromhex("0000000200000000"))
                assert control.recv(4) == bytes(4)
            control.sendall(bytes.fromhex(octets))
            assert control.recv(4096).hex() == expected
        finally:
            process.kill()


class TestControl:
    """The control channel"""

    def test_hash(self, tmp_path: Path) -> None:
        """Octets to hash pass on as they come, with one answer; what they change is durable."""

        async def body() -> None:
            async with serving(tmp_path) as served:
                control, _ = await served.start()
                assert await control.ask("00000006") == "00000000"
                await control.send("00000007 00000006 616263")
                await served.settle()
                assert await control.ask("646566") == "00000000"
                assert await control.ask("00000008") == "00000000"
                log = "".join(served.device._tpm.log)
                assert "hash_data b'abc'" in log
                assert "hash_data b'def'" in log
                assert served.store.load()["hashed"] == b"1"

        run(body)

    @pytest.mark.slow
    def test_request_that_does_not_end(self, tmp_path: Path) -> None:
        """A request whose rest does not come within half a second is BAD_PARAMETER."""

        async def body() -> None:
            async with serving(tmp_path) as served:
                control = served.connect()
                assert PATIENCE < 1
                assert await control.ask("00000002 0000") == "00000003"
                assert await control.ask("0000000200000000") == "00000000"

        run(body)

    def test_coalesced(self, tmp_path: Path) -> None:
        """Requests in one segment are answered in order."""

        async def body() -> None:
            async with serving(tmp_path) as served:
                control = served.connect()
                assert await control.ask("0000000e 0000000200000000 00000004 0000000f", 24) == (
                    16 * "00" + 8 * "00"
                )

        run(body)

    def test_one_client(self, tmp_path: Path) -> None:
        """A second control client waits until the first has gone."""

        async def body() -> None:
            async with serving(tmp_path) as served:
                first, second = served.connect(), served.connect()
                await second.send("00000001")
                assert await first.ask("00000001", 8) == "000000000001ffff"
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(second.receive(1), 0.02)
                first.close()
                assert (await second.receive(8)).hex() == "000000000001ffff"

        run(body)

    def test_state_blobs(self, tmp_path: Path) -> None:
        """A state read in parts from one VM and given to another goes on there."""

        async def blob(control: Peer, kind: int) -> bytes:
            whole = b""
            for offset in (0, 40):
                header = bytes.fromhex(await control.ask(f"0000000c 00000001 {kind:08x} {offset:08x}", 16))
                size = int.from_bytes(header[8:12])
                assert header[:8] == bytes(8)
                assert header[8:12] == header[12:]
                part = await control.receive(size)
                assert not whole or whole[40:] == part
                whole = whole or part
            return whole

        async def body() -> None:
            (tmp_path / "a").mkdir()
            (tmp_path / "b").mkdir()
            async with serving(tmp_path / "a") as source, serving(tmp_path / "b") as target:
                control, data = await source.start()
                await data.execute(STARTUP)
                await data.execute(INCREMENT)
                blobs = {kind: await blob(control, kind) for kind in (1, 2)}
                control, data = await target.start()
                assert await control.ask("0000000e") == "00000000"
                for kind, octets in blobs.items():
                    request = bytes.fromhex(f"0000000d 00000000 {kind:08x} {len(octets):08x}") + octets
                    await control.send(request[:21])
                    assert await control.ask(request[21:]) == "00000000"
                assert await control.ask("0000000200000001") == "00000000"
                assert value_of(await data.execute(READ)) == 1

        run(body)

    def test_disconnect(self, tmp_path: Path) -> None:
        """A client that goes without SHUTDOWN takes the power with it, in order; another one is served."""

        async def body() -> None:
            async with serving(tmp_path) as served:
                control, data = await served.start()
                await data.execute(STARTUP)
                tpm = served.device._tpm
                control.close()
                assert await data.is_closed()
                await served.settle()
                assert tpm.log[-1] == "00000145 at 0"
                assert served.ended == [False]
                assert not served.device.is_running
                _, data = await served.start()
                assert await data.execute(STARTUP) == SUCCESS

        run(body)

    def test_disconnect_of_a_tool(self, tmp_path: Path) -> None:
        """Where tools come and go, the TPM keeps its power and its data channel."""

        async def body() -> None:
            async with serving(tmp_path, policy=Policy(ends_with_control=False)) as served:
                control, data = await served.start()
                control.close()
                await served.settle()
                assert await data.execute(STARTUP) == SUCCESS

        run(body)

    def test_descriptors(self, tmp_path: Path) -> None:
        """SET_DATAFD wants one descriptor of a socket, and one data channel at a time."""

        async def body() -> None:
            async with serving(tmp_path) as served:
                control = served.connect()
                assert await control.ask("00000010") == "00000003"
                with (tmp_path / "file").open("w") as file:
                    control.send_descriptor("00000010", file.fileno())
                    assert (await control.receive(4)).hex() == "00000003"
                await served.start_data(control)
                ours, theirs = socket.socketpair()
                control.send_descriptor("00000010", theirs.fileno())
                theirs.close()
                assert (await control.receive(4)).hex() == "0000001f"
                assert await served.peer(ours).is_closed()

        run(body)

    def test_locality(self, tmp_path: Path) -> None:
        """SET_LOCALITY holds for the commands that follow, except those with a locality of their own."""

        async def body() -> None:
            async with serving(tmp_path) as served:
                control, data = await served.start()
                assert await control.ask("0000000502") == "00000000"
                await data.execute(READ)
                await data.ask(PREFIXED_READ, 18)
                assert served.device._tpm.log[-2:] == ["0000014e at 2", "0000014e at 3"]

        run(body)

    def test_rejected_locality(self, tmp_path: Path) -> None:
        """A locality can be closed to clients."""

        async def body() -> None:
            async with serving(tmp_path, policy=Policy(rejected_locality=4)) as served:
                control = served.connect()
                assert await control.ask("0000000504") == "0000003d"
                assert await control.ask("0000000503") == "00000000"

        run(body)


class TestData:
    """The data channel"""

    def test_framing(self, tmp_path: Path) -> None:
        """Commands split, coalesced and prefixed are answered each in its own framing, in order."""

        async def body() -> None:
            async with serving(tmp_path) as served:
                _, data = await served.start()
                await data.send(STARTUP[:11])
                await served.settle()
                await data.send(STARTUP[11:] + INCREMENT + bytes.fromhex(PREFIXED_READ) + READ)
                assert await data.receive(10) == SUCCESS
                assert value_of(await data.receive(14)) == 1
                prefixed = await data.receive(22)
                assert (prefixed[:4], prefixed[-4:]) == (b"\0\0\0\x0e", bytes(4))
                assert value_of(await data.receive(14)) == 1

        run(body)

    def test_oversize(self, tmp_path: Path) -> None:
        """A command that claims more octets than a buffer has is answered, whether they come or not."""

        async def body() -> None:
            async with serving(tmp_path) as served:
                _, data = await served.start()
                await data.execute(STARTUP)
                await data.send(bytes.fromhex("8001 00002000 0000014e") + bytes(0x2000 - 10))
                await data.receive(14)
                await data.send("8001 ffffffff 0000014e")
                await data.receive(14)
                assert value_of(await data.execute(INCREMENT)) == 1

        run(body)

    def test_unread_responses(self, tmp_path: Path) -> None:
        """A client that sends much before it reads loses no response."""

        async def body() -> None:
            count = 20_000
            async with serving(tmp_path) as served:
                _, data = await served.start()
                await data.execute(STARTUP)
                reading = asyncio.create_task(data.receive(14 * count))
                await data.send(READ * count)
                assert len(await reading) == 14 * count

        run(body)

    def test_costly_command(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A costly command delays no other VM; its own VM's next one and a control request wait for it."""

        async def body() -> None:
            (tmp_path / "a").mkdir()
            (tmp_path / "b").mkdir()
            gate = threading.Event()
            monkeypatch.setattr(FakeTpm, "gate", gate)
            async with serving(tmp_path / "a") as busy, serving(tmp_path / "b") as other:
                control, data = await busy.start()
                _, other_data = await other.start()
                await data.execute(STARTUP)
                await data.send(CREATE + INCREMENT)
                await control.send("00000004")
                assert await other_data.execute(STARTUP) == SUCCESS
                assert value_of(await other_data.execute(INCREMENT)) == 1
                assert busy.device._tpm.permanent_count == 0
                gate.set()
                assert value_of(await data.receive(14)) == 0
                assert value_of(await data.receive(14)) == 1
                assert await control.receive(8) == bytes(8)

        run(body)

    def test_commits_on_a_thread(self, tmp_path: Path) -> None:
        """Where other TPMs would wait for a commit it runs on a thread, and the response still follows it."""

        async def body() -> None:
            async with serving(tmp_path, others_wait=True) as served:
                _, data = await served.start()
                await data.execute(STARTUP)
                for number in range(1, 4):
                    assert value_of(await data.execute(INCREMENT)) == number
                    assert served.store.load()["permanent"] == b"%d" % number

        run(body)

    def test_defect(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """An exception where none should be ends in failure mode, until the next INIT."""

        async def body() -> None:
            async with serving(tmp_path) as served:
                control, data = await served.start()
                await data.execute(STARTUP)
                assert await data.execute(RAISE) == FAILURE
                assert await data.execute(READ) == FAILURE
                assert await control.ask("0000000200000000") == "00000000"
                assert await data.execute(STARTUP) == SUCCESS

        run(body)
        assert "a defect of this program" in caplog.text

    def test_disconnect(self, tmp_path: Path) -> None:
        """The data client may go; the TPM keeps its power, and another descriptor can be given."""

        async def body() -> None:
            async with serving(tmp_path) as served:
                control, data = await served.start()
                await data.execute(STARTUP)
                await data.execute(INCREMENT)
                data.close()
                await served.settle()
                data = await served.start_data(control)
                assert value_of(await data.execute(READ)) == 1

        run(body)


def test_socket_is_private(tmp_path: Path) -> None:
    """The socket's mode is 0600 from the beginning."""

    async def body() -> None:
        async with serving(tmp_path) as served:
            assert stat.S_IMODE(served.path.stat().st_mode) == 0o600

    run(body)
