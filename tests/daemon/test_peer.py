"""A TPM is its own domain's: vtpm/daemon/peer.py and door.py."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from tests.daemon.fake import STARTUP, SUCCESS
from tests.daemon.served import Served, run, serving
from vtpm.daemon import door, peer
from vtpm.daemon.carried import Carried
from vtpm.daemon.peer import Gate, Peer, Peers, machine_of, peer_of, scope_of

OWN = UUID("1f2e3d4c-0000-4000-8000-000000000001")
OTHER = UUID("1f2e3d4c-0000-4000-8000-000000000002")
FAILED = "00000009"
INIT = "0000000200000000"
GROUPS = "/sys/fs/cgroup/unified"
CLIENT = """
import socket, sys
sys.stdin.readline()
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
print("connected", flush=True)
sys.stdin.readline()
"""


class Reader:
    """What is known of whoever connects next."""

    def __init__(self, *peers: Peer) -> None:
        self.peers = list(peers)

    def __call__(self, sock: socket.socket) -> Peer:
        """Take the next one; the last stays."""
        assert sock.fileno() >= 0
        return self.peers.pop(0) if len(self.peers) > 1 else self.peers[0]


def of(*domains: UUID, uid: int = 64055) -> Peer:
    """A process of these domains."""
    return Peer(4711, uid, domains=frozenset(domains))


def gate(*peers: Peer, allowed: Peers = Peers.AUTO) -> Gate:
    """The gate of a TPM to which these processes come, one after the other."""
    return Gate("vm", OWN, allowed, lambda: 0.0, Reader(*peers))


@pytest.mark.parametrize(
    ("allowed", "who", "admitted"),
    [
        (Peers.AUTO, of(OWN), True),
        (Peers.AUTO, of(), True),
        (Peers.AUTO, of(OTHER), False),
        (Peers.AUTO, of(OWN, OTHER), False),
        (Peers.AUTO, of(OTHER, uid=0), False),
        (Peers.DOMAIN, of(OWN), True),
        (Peers.DOMAIN, of(), False),
        (Peers.DOMAIN, of(OTHER), False),
        (Peers.ANY, of(OTHER), True),
    ],
)
def test_who_may_connect(allowed: Peers, who: Peer, *, admitted: bool) -> None:
    """A process of another domain is refused unless all are let in, one of none where that is asked for."""
    with socket.socket(socket.AF_UNIX) as sock:
        assert gate(who, allowed=allowed).admits(sock) is admitted


@pytest.mark.parametrize(
    "request_", [INIT, "0000000d 00000000 00000001 00000008 0001020304050607", "00000003"]
)
def test_neighbor_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture, request_: str) -> None:
    """Another domain's QEMU gets a failure and the end, the TPM gets nothing, the log says who it was."""

    async def body() -> None:
        async with serving(tmp_path, gate=gate(of(OTHER), of(OWN))) as served:
            neighbor = served.connect()
            with contextlib.suppress(ConnectionError):
                await neighbor.send(request_)
            with contextlib.suppress(ConnectionError):
                assert (await neighbor.receive(100)).hex() in {FAILED, ""}
            assert not served.device.is_running
            assert served.ended == []

            _, data = await served.start()
            assert await data.execute(STARTUP) == SUCCESS

    run(body)
    (line,) = [record.getMessage() for record in caplog.records if "refused" in record.getMessage()]
    assert "process 4711" in line
    assert str(OTHER) in line


def test_neighbor_beside_the_guest(tmp_path: Path) -> None:
    """It is answered at once while the guest runs, and the guest does not notice."""

    async def body() -> None:
        async with serving(tmp_path, gate=gate(of(OWN), of(OTHER))) as served:
            _, data = await served.start()
            for _ in range(50):
                with contextlib.suppress(ConnectionError):
                    assert (await served.connect().receive(100)).hex() in {FAILED, ""}
            assert await data.execute(STARTUP) == SUCCESS

    run(body)


def test_refusals_are_few_lines(caplog: pytest.LogCaptureFixture) -> None:
    """A thousand refusals are one line until its time is over; then another one has their number."""
    now = [0.0]
    watched = Gate("vm", OWN, Peers.AUTO, lambda: now[0], Reader(of(OTHER)))
    with socket.socket(socket.AF_UNIX) as sock:
        for _ in range(1000):
            watched.admits(sock)
        assert len(caplog.records) == 1
        now[0] = peer.REPEATED
        watched.admits(sock)

    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert "999 more" in caplog.records[1].getMessage()


def test_unknown_domain_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """Where nothing tells QEMUs apart, the log says so once, with what to do."""
    watched = gate(of())
    with socket.socket(socket.AF_UNIX) as sock:
        assert watched.admits(sock)
        assert watched.admits(sock)

    (record,) = caplog.records
    assert "--peers domain" in record.getMessage()


class TestWaiting:
    """Clients beside the one that is served"""

    def test_turned_away(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A second client is answered after a while, and the first one goes on."""
        monkeypatch.setattr(door, "BUSY", 0.05)

        async def body() -> None:
            async with serving(tmp_path, gate=gate(of(OWN))) as served:
                control, data = await served.start()
                second = served.connect()
                assert await second.ask(INIT) == FAILED
                assert await second.is_closed()
                assert await data.execute(STARTUP) == SUCCESS
                assert await control.ask("00000004", 8) == "0000000000000000"

        run(body)
        assert "another client is connected" in caplog.text

    def test_restart(self, tmp_path: Path) -> None:
        """The client of a quick restart waits for the end of the one before."""

        async def body() -> None:
            async with serving(tmp_path, gate=gate(of(OWN))) as served:
                first, _ = await served.start()
                second = served.connect()
                await second.send(INIT)
                await asyncio.sleep(0.05)
                first.close()
                assert (await second.receive(4)).hex() == "00000000"
                assert served.device.is_running

        run(body)

    def test_many(self, tmp_path: Path) -> None:
        """There is a limit to how many wait."""

        async def body() -> None:
            async with serving(tmp_path, gate=gate(of(OWN))) as served:
                await served.start()
                waiting = [served.connect() for _ in range(door.MOST + 1)]
                assert (await waiting[-1].receive(4)).hex() == FAILED

        run(body)

    def test_silent(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A client that does nothing is disconnected, though it asks now and then; the next one is served."""
        monkeypatch.setattr(door, "SILENCE", 0.2)

        async def body() -> None:
            async with serving(tmp_path, gate=gate(of(OWN))) as served:
                silent = served.connect()
                assert await silent.ask("00000001", 8) == "000000000001ffff"
                assert await silent.is_closed()
                _, data = await served.start()
                assert await data.execute(STARTUP) == SUCCESS

        run(body)
        assert "is disconnected" in caplog.text

    @pytest.mark.parametrize("powered", [False, True])
    def test_idle_guest(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, powered: bool) -> None:
        """A guest that does nothing, and a QEMU that waits for a migration, stay connected."""
        monkeypatch.setattr(door, "SILENCE", 0.02)

        async def body() -> None:
            async with serving(tmp_path, gate=gate(of(OWN))) as served:
                control = served.connect()
                await served.start_data(control)
                if powered:
                    assert await control.ask(INIT) == "00000000"
                await asyncio.sleep(0.2)
                assert await control.ask("00000001", 8) == "000000000001ffff"

        run(body)


SCOPED = "0::/machine.slice/machine-qemu\\x2d1\\x2dguest.scope/libvirt/emulator\n"


@pytest.mark.parametrize(
    ("groups", "scope"),
    [
        (SCOPED, "machine-qemu\\x2d1\\x2dguest.scope"),
        (
            "4:memory:/a\n1:name=systemd:/machine.slice/machine-qemu\\x2d1\\x2dg.scope\n",
            "machine-qemu\\x2d1\\x2dg.scope",
        ),
        ("4:memory:/machine.slice/machine-qemu\\x2d1\\x2dg.scope\n", ""),
        ("0::/user.slice/machine-x.service\n", ""),
        ("0::/\n", ""),
        ("nonsense", ""),
        ("", ""),
    ],
)
def test_scope(groups: str, scope: str) -> None:
    """The scope of a machine is found in what the kernel says of control groups."""
    assert scope_of(groups) == scope


@pytest.mark.parametrize(
    ("label", "domain"),
    [
        (f"libvirt-{OWN} (enforce)", OWN),
        (f"libvirt-{OWN}", OWN),
        (f"libvirt-{OWN}-more (enforce)", None),
        (f"x//libvirt-{OWN}", None),
        ("unconfined", None),
        ("system_u:system_r:svirt_t:s0:c1,c2", None),
        ("", None),
    ],
)
def test_label(monkeypatch: pytest.MonkeyPatch, label: str, domain: UUID | None) -> None:
    """A profile of libvirt's is that of one domain, and nothing that resembles it is."""
    monkeypatch.setattr(peer, "label_of", lambda _: label)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert peer_of(ours).domains == ({domain} if domain else set())


def test_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The UUID of a machine is what systemd-machined has for its scope."""
    monkeypatch.setattr(peer, "MACHINES", tmp_path)
    (tmp_path / "unit:machine-a.scope").write_text(f"NAME=a\nCLASS=vm\nID={OWN.hex}\n")
    (tmp_path / "unit:machine-b.scope").write_text("NAME=b\n")

    assert machine_of("machine-a.scope") == OWN
    assert machine_of("machine-b.scope") is None
    assert machine_of("machine-c.scope") is None


@pytest.fixture
def scope() -> Iterator[Path]:
    """A control group that is named like the scope of a machine."""
    path = Path(GROUPS) / f"machine-test\\x2d{os.getpid()}.scope"
    try:
        path.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error.strerror}")
    yield path
    path.rmdir()


def test_real_control_group(tmp_path: Path, scope: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process in another machine's scope is recognized by the kernel's word, and refused."""
    monkeypatch.setattr(peer, "MACHINES", tmp_path)
    (tmp_path / f"unit:{scope.name}").write_text(f"ID={OTHER.hex}\n")
    with (
        socket.socket(socket.AF_UNIX) as listener,
        subprocess.Popen(
            [sys.executable, "-c", CLIENT, str(tmp_path / "s")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        (scope / "cgroup.procs").write_text(str(process.pid))
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "connected\n"
        sock, _ = listener.accept()
        with sock:
            found = peer_of(sock)
            assert (found.pid, found.uid, found.scope) == (process.pid, os.geteuid(), scope.name)
            assert found.domains == {OTHER}
            assert not Gate("vm", OWN, Peers.AUTO, lambda: 0.0).admits(sock)
            assert Gate("vm", OTHER, Peers.DOMAIN, lambda: 0.0).admits(sock)

            process.send_signal(signal.SIGKILL)
            process.wait()
            assert peer_of(sock).domains == set()  # its number may be another process' by now


def test_waits_through_replacement(tmp_path: Path) -> None:
    """A client that waits is among what passes to another daemon."""

    async def body() -> None:
        async with serving(tmp_path, gate=gate(of(OWN))) as served:
            first = served.connect()
            assert await first.ask("00000001", 8) == "000000000001ffff"
            second = served.connect()
            await second.send("00000001")
            while not (carried := await handed_over(served)).facts["waiting"]:
                await served.settle()
            assert os.fstat(carried.descriptors["waiting0"])
            first.close()
            assert (await second.receive(8)).hex() == "000000000001ffff"

    async def handed_over(served: Served) -> Carried:
        served.endpoint.pause()
        await served.endpoint.lane.idle()
        carried = served.endpoint.hand_over()
        served.endpoint.proceed()
        return carried

    run(body)
