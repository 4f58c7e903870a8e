"""A host of virtual machines: what an operator does with `vtpm`, in a directory of its own."""

import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from examples.guest.processes import ProgramFailedError, server

VTPM = Path(sys.executable).with_name("vtpm")
CONFIRMED_WITHIN = 30.0


class Host:
    """An installation with its state, its sockets and its daemon below one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.state_dir, self.run_dir = directory / "state", directory / "run"

    def vtpm(self, *arguments: str | Path) -> str:
        """
        Run one command of the program; its standard output.

        Raises ProgramFailedError with what it said.
        """
        done = subprocess.run(
            [VTPM, *self._places(), *arguments],
            capture_output=True,
            text=True,
            timeout=CONFIRMED_WITHIN,
            check=False,
        )
        if done.returncode != 0:
            raise ProgramFailedError(done.stderr.strip())
        return done.stdout

    def show(self, vm: str) -> dict[str, Any]:
        """What the program says of a VM."""
        shown: dict[str, Any] = json.loads(self.vtpm("show", vm, "--json"))
        return shown

    def make_passphrase(self) -> Path:
        """A file with a passphrase, which its owner alone can read."""
        file = self.directory / "passphrase"
        file.touch(mode=0o600)
        file.write_text(secrets.token_hex(16))
        return file

    def state_of(self, vm: str) -> Path:
        """The file with a VM's encrypted state."""
        return self.state_dir / "states" / f"{self.show(vm)['vm']}.state"

    def socket_of(self, vm: str) -> Path:
        """The control socket of a VM, which QEMU connects to."""
        return self.run_dir / f"{vm}.sock"

    @contextmanager
    def daemon(self, vm: str) -> Iterator["subprocess.Popen[bytes]"]:
        """The daemon, from the moment when it serves a VM."""
        self.log.unlink(missing_ok=True)
        with server(self.directory, self.socket_of(vm), VTPM, *self._places(), "serve") as process:
            yield process

    @property
    def log(self) -> Path:
        """What the daemon said since it was started."""
        return self.directory / "vtpm.log"

    def _places(self) -> list[str | Path]:
        return ["--state-dir", self.state_dir, "--run-dir", self.run_dir]
