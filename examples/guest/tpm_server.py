"""What can stand behind a guest's TPM device: a server with swtpm's control channel on a UNIX socket."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from examples.guest.host import Host
from examples.guest.processes import server


@contextmanager
def swtpm(directory: Path, *options: str) -> Iterator[Path]:
    """The control socket of a running swtpm, whose state is in the directory."""
    socket = directory / "swtpm.sock"
    with server(
        directory,
        socket,
        "swtpm",
        "socket",
        "--tpm2",
        "--tpmstate",
        f"dir={directory}",
        "--ctrl",
        f"type=unixio,path={socket}",
        *options,
    ):
        yield socket


@contextmanager
def vtpm(directory: Path) -> Iterator[Path]:
    """The control socket of a VM that `vtpm serve` serves, created when the directory is new."""
    host = Host(directory)
    if not host.state_dir.exists():
        host.vtpm("provider", "init", "guests")
        host.vtpm("create", "guest", "--allow-unverified")
    with host.daemon("guest"):
        yield host.socket_of("guest")
