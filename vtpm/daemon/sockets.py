"""Listening sockets: bound before anything else is loaded, private unless said otherwise."""

import contextlib
import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vtpm.daemon.errors import OperatorError

SUFFIX: Final = ".sock"
LOOPBACK: Final = "127.0.0.1"
BACKLOG: Final = 16
WRITABLE_BY_OTHERS: Final = 0o022
PORT_ATTEMPTS: Final = 100
MAX_PORT: Final = 0xFFFF


class SocketError(OperatorError):
    """A socket cannot be made; the text gives cause and remedy."""


@dataclass(frozen=True, slots=True)
class Access:
    """Who may connect: the mode of the socket's file, and its owner and group unless they are -1."""

    mode: int = 0o600
    uid: int = -1
    gid: int = -1


def socket_path(run_dir: Path, vm: str) -> Path:
    """Where the control socket of a VM is."""
    return run_dir / f"{vm}{SUFFIX}"


def check_run_dir(path: Path) -> None:
    """SocketError if others than root and this user could put a socket of their own in a directory."""
    facts = path.lstat()
    if not stat.S_ISDIR(facts.st_mode):
        raise SocketError(f"{path} is a link or no directory; name the directory itself")
    if facts.st_uid not in {0, os.geteuid()}:
        raise SocketError(
            f"{path} belongs to user {facts.st_uid}; run this as that user, "
            "or name another directory by --run-dir; a daemon may be serving guests in this one"
        )
    if facts.st_mode & WRITABLE_BY_OTHERS:
        raise SocketError(f"others can write to {path}; make it yours alone: chmod go-w {path}")


def listen_unix(path: Path, access: Access) -> socket.socket:
    """Listen at a path; a socket that nobody listens at any more is replaced."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        previous = os.umask(0o177)
        try:
            listener.bind(os.fspath(path))
            listener.listen(BACKLOG)
        finally:
            os.umask(previous)
        if access.uid != -1 or access.gid != -1:
            os.chown(path, access.uid, access.gid, follow_symlinks=False)
        path.chmod(access.mode)
    except OSError as error:
        listener.close()
        reason = (
            "the path is longer than 107 octets" if "too long" in str(error) else error.strerror or str(error)
        )
        raise SocketError(
            f"cannot listen at {path}: {reason}; choose a directory that you may write to"
        ) from None
    listener.settimeout(0)
    return listener


def listen_tcp(port: int, host: str = LOOPBACK) -> socket.socket:
    """Listen at a port."""
    listener = _tcp_socket(host)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise SocketError(f"cannot listen at {host}, port {port}: {reason}; choose another port") from None
    listener.settimeout(0)
    return listener


def listen_tcp_pair(port: int, host: str = LOOPBACK) -> tuple[socket.socket, socket.socket]:
    """Listen at a port and the one after it; port 0 chooses a free pair."""
    if port:
        first = listen_tcp(port, host)
        try:
            return first, listen_tcp(port + 1, host)
        except SocketError:
            first.close()
            raise
    for _ in range(PORT_ATTEMPTS):
        first = listen_tcp(0, host)
        chosen = port_of(first)
        if chosen < MAX_PORT:
            with contextlib.suppress(SocketError):
                return first, listen_tcp(chosen + 1, host)
        first.close()
    raise SocketError("no two neighboring ports are free; name a port")


def port_of(listener: socket.socket) -> int:
    """The port at which a socket listens."""
    port: int = listener.getsockname()[1]
    return port


def unlink_socket(path: Path) -> None:
    """Remove a socket's file, if it is still there."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()


def _tcp_socket(host: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return sock


def _remove_stale(path: Path) -> None:
    """Remove a socket that refuses connections; anything else at the path is an error."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(None, "a file is there that is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except FileNotFoundError:
            return
    raise FileExistsError(None, "another process listens there")
