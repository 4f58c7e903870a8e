"""Programs that end with the one that started them."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from examples.guest.initramfs import program

READY_WITHIN = 10.0


class ProgramFailedError(RuntimeError):
    """A program did not do its part; the message carries what it said."""


def command_line(name: str | Path, *arguments: str | Path) -> list[str]:
    """A program's command line; the kernel kills the program when its parent is gone, however that ended."""
    path = name if isinstance(name, Path) else program(name)
    return [str(program("setpriv")), "--pdeathsig", "KILL", "--", str(path), *map(str, arguments)]


def end(process: subprocess.Popen[bytes], patience: float = 3.0) -> None:
    """Ask a process to end, and kill it when it does not."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def wait_for_socket(path: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    """
    Wait until a server listens at its socket; a file that a killed server left behind is not enough.

    Raises ProgramFailedError when it ends, or takes too long.
    """
    deadline = time.monotonic() + READY_WITHIN
    while not _listens(path):
        if process.poll() is not None or time.monotonic() > deadline:
            said = log.read_text(errors="replace")
            raise ProgramFailedError(f"nothing listens at {path}; {process.args!r} said: {said}")
        time.sleep(0.005)


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


@contextmanager
def server(
    directory: Path, listener: Path, name: str | Path, *arguments: str | Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A running server with its socket made; its output goes to a log in the directory."""
    log = directory / f"{Path(name).name}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            command_line(name, *arguments), stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        wait_for_socket(listener, process, log)
        yield process
    finally:
        end(process)
