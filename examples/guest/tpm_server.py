"""What can stand behind a guest's TPM device: a server with swtpm's control channel on a UNIX socket."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from examples.guest.processes import server


@contextmanager
def swtpm(directory: Path) -> Iterator[Path]:
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
    ):
        yield socket
