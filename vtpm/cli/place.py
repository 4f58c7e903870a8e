"""Where things are: the directories of state and of sockets."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vtpm.cli import caller

if TYPE_CHECKING:
    from nvstore import Host


def default_state_dir() -> str:
    """The directory of state: the system's for root, the user's otherwise."""
    if os.geteuid() == 0:
        return "/var/lib/vtpm"
    data = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")  # noqa: PTH111 - a string
    return os.path.join(data, "vtpm")  # noqa: PTH118 - a string


def default_run_dir() -> str:
    """The directory of sockets: the system's for root, the user's otherwise."""
    if os.geteuid() == 0:
        return "/run/vtpm"
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return os.path.join(runtime, "vtpm") if runtime else os.path.join(default_state_dir(), "run")  # noqa: PTH118


@dataclass(frozen=True, slots=True)
class Place:
    """The directories of one installation."""

    state: str
    run: str

    @property
    def state_dir(self) -> Path:
        """The directory of state."""
        return Path(self.state)

    def host(self, *, require_host_tpm: bool = False) -> "Host":
        """The states and the key providers kept there; with a TPM required, no other seal opens a key."""
        from nvstore import Host  # noqa: PLC0415 - help needs no store
        from vtpm.daemon.witness import tell_system_log  # noqa: PLC0415

        self.become_owner()
        return Host(
            self.state_dir,
            files=caller.files(),
            witness=tell_system_log,
            require_host_tpm=require_host_tpm,
        )

    def become_owner(self) -> None:
        """
        Go on as the user who has the state, for good, if root works on that of a service with its own user.

        Otherwise that service could not read what is made, and what it has put there could misuse root.
        What the command line names elsewhere is still reached as root; see `vtpm.cli.caller`.
        """
        caller.become_owner(self.state_dir, sys.argv[1:])

    def give_run_dir(self) -> None:
        """Give the directory of sockets to the user who has the state, if both are root's to decide about."""
        if os.geteuid() != 0 or not self.state_dir.exists():
            return
        owner = self.state_dir.stat()
        if owner.st_uid != 0 and self.run_dir.lstat().st_uid == 0:
            os.chown(self.run_dir, owner.st_uid, owner.st_gid, follow_symlinks=False)

    @property
    def run_dir(self) -> Path:
        """The directory of sockets."""
        return Path(self.run)
