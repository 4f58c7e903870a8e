"""Where things are: the directories of state and of sockets."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

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

    def host(self) -> "Host":
        """The states and the key providers kept there."""
        from nvstore import Host  # noqa: PLC0415 - help needs no store
        from vtpm.daemon.witness import tell_system_log  # noqa: PLC0415

        return Host(self.state_dir, witness=tell_system_log)

    def become_owner(self) -> None:
        """
        Go on as the user who has the state, if root works on that of a service with a user of its own.

        Otherwise that service could not read what is made.
        """
        if os.geteuid() != 0 or not self.state_dir.exists():
            return
        facts = self.state_dir.stat()
        if facts.st_uid != 0:
            os.setgroups([facts.st_gid])
            os.setgid(facts.st_gid)
            os.setuid(facts.st_uid)

    @property
    def run_dir(self) -> Path:
        """The directory of sockets."""
        return Path(self.run)
