"""The sockets of `swtpm socket`, made before anything else is loaded."""

import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vtpm.compat.arguments import ArgumentError, Arguments, number
from vtpm.compat.chardev import Carrier, new_device, opened
from vtpm.daemon.sockets import LOOPBACK, Access, listen_tcp, listen_unix, unlink_socket

DEFAULT_MODE = 0o770
"""The mode of a socket's file when none is given, as swtpm's."""


@dataclass(slots=True)
class Listeners:
    """The sockets that were made or passed; each is absent unless asked for."""

    control: socket.socket | None = None
    control_client: socket.socket | None = None
    data: socket.socket | None = None
    data_client: socket.socket | None = None
    carrier: Carrier | None = None
    """What carries commands from a character device to `data_client`."""
    paths: tuple[Path, ...] = ()

    def unlink(self) -> None:
        """Remove the sockets' files, once: another process may listen at the same paths soon."""
        paths, self.paths = self.paths, ()
        for path in paths:
            unlink_socket(path)


def listen(arguments: Arguments, *, chardev: bool = False) -> Listeners:
    """Make the sockets; SocketError or ArgumentError if one cannot be."""
    made = Listeners()
    control = arguments.of("ctrl")
    if control:
        if "clientfd" in control:
            made.control_client = passed("ctrl", "clientfd", control)
        else:
            made.control = _listener("ctrl", control, made)
    if chardev:
        made.carrier = Carrier(_device(arguments))
        made.data_client = made.carrier.client
        return made
    server = arguments.of("server")
    if "port" in arguments.options:
        server = {"type": "tcp", "port": arguments.of("port")["port"], **server}
    if "fd" in arguments.options:
        made.data_client = passed("fd", "fd", arguments.of("fd"))
    elif "fd" in server:
        made.data_client = passed("server", "fd", server)
    elif server:
        made.data = _listener("server", {"type": "tcp", **server}, made)
    return made


def _device(arguments: Arguments) -> int:
    if "vtpm-proxy" not in arguments.switches:
        return opened(arguments.options)
    descriptor, said = new_device()
    sys.stdout.write(f"{said}\n")
    sys.stdout.flush()
    return descriptor


def passed(option: str, name: str, values: Mapping[str, str]) -> socket.socket:
    """A socket whose descriptor was passed."""
    descriptor = number(option, name, values[name])
    try:
        return socket.socket(fileno=descriptor)
    except OSError:
        raise ArgumentError(f"--{option} {name}={descriptor}: not a socket") from None


def _listener(option: str, values: Mapping[str, str], made: Listeners) -> socket.socket:
    kind = values.get("type")
    if "fd" in values:
        listener = passed(option, "fd", values)
        listener.settimeout(0)
        return listener
    if kind == "tcp":
        if "port" not in values:
            raise ArgumentError(f"--{option} type=tcp: a port or fd is required")
        return listen_tcp(number(option, "port", values["port"]), values.get("bindaddr", LOOPBACK))
    if kind == "unixio":
        if "path" not in values:
            raise ArgumentError(f"--{option} type=unixio: a path or fd is required")
        path = Path(values["path"])
        listener = listen_unix(path, _access(option, values))
        made.paths += (path,)
        return listener
    raise ArgumentError(f"--{option} type={kind}: give unixio or tcp")


def _access(option: str, values: Mapping[str, str]) -> Access:
    mode = number(option, "mode", values["mode"], 8) if "mode" in values else DEFAULT_MODE
    uid, gid = (number(option, name, values[name]) if name in values else -1 for name in ("uid", "gid"))
    return Access(mode, uid, gid)
