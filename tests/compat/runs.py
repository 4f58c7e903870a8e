"""Processes of `swtpm socket`, ours or swtpm's, and `swtpm_ioctl` for them."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LIMIT = 30.0


class Server:
    """A running server."""

    def __init__(self, process: "subprocess.Popen[bytes]", control: Path, client: str) -> None:
        self.process = process
        self._control = control
        self._client = client

    def ioctl(self, *words: str, status: int = 0) -> str:
        """Run swtpm_ioctl to its expected end; what it printed."""
        done = subprocess.run(
            [self._client, *words, "--unix", str(self._control)],
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        assert done.returncode == status, done.stderr
        return done.stderr if status else done.stdout

    def shut_down(self) -> str:
        """End the process in order; what it has logged on standard error."""
        self.ioctl("-s")
        _, said = self.process.communicate(timeout=LIMIT)
        assert self.process.returncode == 0, said
        return said.decode()


@contextmanager
def serving(
    programs: Path,
    state: Path,
    *words: str,
    own: bool = True,
    name: str = "control",
    descriptors: tuple[int, ...] = (),
) -> Iterator[Server]:
    """A process on a directory, from its socket's appearance on; `own` says whose program serves."""
    control = state.with_name(f"{state.name}.{name}")
    program = str(programs / "swtpm") if own else "swtpm"
    backend = "backend-uri=file://" if state.is_file() else "dir="
    command = [program, "socket", "--tpm2", "--tpmstate", f"{backend}{state}"]
    with subprocess.Popen(
        [*command, "--ctrl", f"type=unixio,path={control}", *words],
        stderr=subprocess.PIPE,
        pass_fds=descriptors,
    ) as process:
        try:
            deadline = time.monotonic() + LIMIT
            while not control.is_socket():
                assert process.poll() is None, process.communicate()[1]
                assert time.monotonic() < deadline, "no control socket"
            yield Server(process, control, str(programs / "swtpm_ioctl"))
        finally:
            process.kill()
