"""sd_listen_fds(3): sockets that are there before the daemon."""

import fcntl
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.daemon.living import LIMIT, STARTUP, VTPM, Guest, Host, is_ready, said
from vtpm.daemon.activation import ActivationError, listening_socket, owner_of, passed_sockets

FREE = 100
"""The first descriptor that the test passes: the shell renumbers them."""

SHELL = """
for number in $(seq "$1"); do
    eval "exec $((number + 2))<&$((number + 99))"
done
export LISTEN_PID="${2:-$$}"
shift 2
exec "$@"
"""


def listener_at(path: Path) -> socket.socket:
    """What systemd makes of ListenStream=."""
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen()
    return sock


@contextmanager
def activated(
    host: Host, sockets: list[socket.socket], names: str | None = None, *words: str, process: str = ""
) -> Iterator["subprocess.Popen[str]"]:
    """A daemon that is started with sockets, as systemd starts it; ended in the end."""
    passed = [fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD, FREE + i) for i, sock in enumerate(sockets)]
    environment = {**os.environ, "LISTEN_FDS": str(len(passed))}
    if names is not None:
        environment["LISTEN_FDNAMES"] = names
    command = ["bash", "-c", SHELL, "sh", str(len(passed)), process, str(VTPM), *host.places, "serve", *words]
    with subprocess.Popen(
        command, pass_fds=passed, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as daemon:
        for descriptor in passed:
            os.close(descriptor)
        try:
            yield daemon
        finally:
            daemon.terminate()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Host:
    """A host with one VM, whose state is never opened."""
    host = Host(tmp_path_factory.mktemp("made"))
    host.vtpm("provider", "init", "test")
    host.vtpm("create", "vm", "--bare", "--allow-unverified")
    return host


@pytest.fixture
def host(made: Host, tmp_path: Path) -> Host:
    """The same host at another place."""
    shutil.copytree(made.state, tmp_path / "state")
    (tmp_path / "run").mkdir(mode=0o700)
    return Host(tmp_path)


@pytest.fixture
def listeners(host: Host) -> Iterator[list[socket.socket]]:
    """The sockets of the daemon and of the VM."""
    with ExitStack() as stack:
        paths = (host.socket.with_name(".daemon"), host.socket)
        yield [stack.enter_context(listener_at(path)) for path in paths]


@pytest.mark.slow
class TestActivated:
    """The daemon serves at sockets that it was given"""

    def test_clients_that_wait(self, host: Host, listeners: list[socket.socket]) -> None:
        """Who has connected before the daemon was started is served; the sockets outlive it."""
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(LIMIT)
            asking.connect(str(host.socket.with_name(".daemon")))
            asking.sendall(b'{"do": "status"}\n')
            with activated(host, listeners) as daemon:
                status = json.loads(asking.makefile("rb").readline())["result"]
                assert status["vm"]["socket"] == str(host.socket)
                assert is_ready(daemon)
                guest = Guest(host.socket)
                assert guest.execute(STARTUP)[6:10] == bytes(4)
                guest.close()
            assert daemon.wait(LIMIT) == 0, said(daemon)
        with activated(host, listeners) as daemon:
            assert is_ready(daemon), said(daemon)
            assert "vm" in host.vtpm("list")

    def test_replaced(self, host: Host, listeners: list[socket.socket]) -> None:
        """A daemon that takes over leaves the files of the sockets to whoever made them, too."""
        with activated(host, listeners) as daemon:
            assert is_ready(daemon), said(daemon)
            with host.serve("--replace") as new:
                assert is_ready(new), said(new)
                assert daemon.wait(LIMIT) == 0
                new.terminate()
                assert new.wait(LIMIT) == 0, said(new)
        assert host.socket.is_socket()
        assert host.socket.with_name(".daemon").is_socket()

    def test_named(self, host: Host, tmp_path: Path) -> None:
        """Elsewhere than in the run directory, the name of a socket says whose it is."""
        path = tmp_path / "elsewhere"
        with listener_at(path) as sock, activated(host, [sock], "vm") as daemon:
            assert is_ready(daemon), said(daemon)
            guest = Guest(path)
            assert guest.execute(STARTUP)[6:10] == bytes(4)
            guest.close()
            assert not host.socket.exists()

    def test_not_for_this_process(self, host: Host, tmp_path: Path) -> None:
        """What was passed to another process is not touched."""
        with (
            listener_at(tmp_path / "elsewhere") as sock,
            activated(host, [sock], "vm", process=str(os.getpid())) as daemon,
        ):
            assert is_ready(daemon), said(daemon)
            assert host.socket.is_socket()

    def test_refused(self, host: Host, tmp_path: Path) -> None:
        """A socket that belongs to no VM is an error with a remedy."""
        with listener_at(tmp_path / "elsewhere") as sock, activated(host, [sock]) as daemon:
            assert daemon.wait(LIMIT) == 1
            assert "ListenStream=" in said(daemon)


class TestOwner:
    """Whose a socket is"""

    @pytest.mark.parametrize(
        ("path", "name", "owner"),
        [
            ("run/vm.sock", "", "vm"),
            ("run/vm.sock", "vtpm-vm@vm.socket", "vm"),
            ("run/a.b.sock", "other", "a.b"),
            ("run/.daemon", "vtpm.socket", ".daemon"),
            ("vm.sock", "other", "other"),
            ("daemon", ".daemon", ".daemon"),
        ],
    )
    def test_owner(self, tmp_path: Path, path: str, name: str, owner: str) -> None:
        """Its place decides, then its name."""
        (tmp_path / "run").mkdir()
        with listener_at(tmp_path / path) as sock:
            assert owner_of(sock, name, tmp_path / "run") == owner

    @pytest.mark.parametrize("name", ["", "unknown", "vtpm.socket"])
    def test_nobody(self, tmp_path: Path, name: str) -> None:
        """A name that systemd gives by itself tells nothing."""
        with listener_at(tmp_path / "vm.sock") as sock, pytest.raises(ActivationError, match="for no VM"):
            owner_of(sock, name, tmp_path / "run")


class TestUseless:
    """What cannot be listened at is refused"""

    def test_no_socket(self, tmp_path: Path) -> None:
        """A file."""
        with (tmp_path / "file").open("wb") as file, pytest.raises(ActivationError, match="is no socket"):
            listening_socket(os.dup(file.fileno()), "vm")

    def test_connected(self) -> None:
        """A connection, as with Accept=yes."""
        ours, theirs = socket.socketpair()
        with ours, pytest.raises(ActivationError, match="Accept=no"):
            listening_socket(theirs.detach(), "vm")

    def test_another_family(self) -> None:
        """A port."""
        with socket.create_server(("127.0.0.1", 0)) as sock, pytest.raises(ActivationError, match="UNIX"):
            listening_socket(os.dup(sock.fileno()), "vm")

    def test_count(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A number that is none; the variables are gone afterwards."""
        monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
        monkeypatch.setenv("LISTEN_FDS", "many")
        with pytest.raises(ActivationError, match="no number"):
            passed_sockets(tmp_path)
        assert "LISTEN_PID" not in os.environ
        assert passed_sockets(tmp_path) == {}
