"""Listening sockets: vtpm/daemon/sockets.py."""

import os
import socket
import stat
from pathlib import Path

import pytest

from vtpm.daemon.sockets import (
    Access,
    SocketError,
    check_run_dir,
    listen_tcp,
    listen_tcp_pair,
    listen_unix,
    port_of,
    unlink_socket,
)


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o777])
def test_mode(tmp_path: Path, mode: int) -> None:
    """A socket has the mode that was asked for."""
    path = tmp_path / "s"
    with listen_unix(path, Access(mode)):
        assert stat.S_IMODE(path.stat().st_mode) == mode


def test_stale_socket(tmp_path: Path) -> None:
    """The socket of a process that has gone is replaced."""
    path = tmp_path / "s"
    listen_unix(path, Access()).close()
    assert path.exists()

    with listen_unix(path, Access()), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_socket_in_use(tmp_path: Path) -> None:
    """The socket of a process that runs is left to it."""
    path = tmp_path / "s"
    with listen_unix(path, Access()), pytest.raises(SocketError, match="another process listens"):
        listen_unix(path, Access())


@pytest.mark.parametrize("kind", ["file", "link"])
def test_something_else(tmp_path: Path, kind: str) -> None:
    """A file or a symbolic link in the place of a socket is neither replaced nor followed."""
    path = tmp_path / "s"
    if kind == "file":
        path.write_text("precious")
    else:
        path.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(SocketError, match="no socket"):
        listen_unix(path, Access())
    unlink_socket(path)
    assert path.is_symlink() or path.read_text() == "precious"
    assert not (tmp_path / "elsewhere").exists()


def test_long_path(tmp_path: Path) -> None:
    """A path that is too long for a socket is an error that says so."""
    with pytest.raises(SocketError, match="107 octets"):
        listen_unix(tmp_path / ("x" * 120), Access())


def test_port_pair() -> None:
    """Port 0 chooses two neighbors that are free."""
    first, second = listen_tcp_pair(0)
    with first, second:
        assert port_of(second) == port_of(first) + 1
        with pytest.raises(SocketError, match=f"port {port_of(first)}"):
            listen_tcp_pair(port_of(first))


def test_port_in_use() -> None:
    """A port that another process has is an error that names it."""
    with listen_tcp(0) as taken, pytest.raises(SocketError, match=str(port_of(taken))):
        listen_tcp(port_of(taken))


def test_run_dir(tmp_path: Path) -> None:
    """A directory of sockets is used if nobody else could put one there."""
    place = tmp_path / "run"
    place.mkdir(mode=0o711)
    check_run_dir(place)
    for mode in (0o777, 0o1777, 0o770):
        place.chmod(mode)
        with pytest.raises(SocketError, match="chmod go-w"):
            check_run_dir(place)
    place.chmod(0o711)
    link = tmp_path / "link"
    link.symlink_to(place)
    with pytest.raises(SocketError, match="is a link"):
        check_run_dir(link)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a directory of another user")
def test_run_dir_of_another_user(tmp_path: Path) -> None:
    """A directory of another user is refused, with what to do."""
    os.chown(tmp_path, 1, 1)
    with pytest.raises(SocketError, match="belongs to user 1"):
        check_run_dir(tmp_path)
