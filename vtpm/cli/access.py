"""Whether QEMU may connect to a TPM's socket, as the user that libvirt runs it as."""

import os
import pwd
import stat
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vtpm.libvirt.hypervisor import User


def access_problem(socket: Path, user: "User | None") -> str:
    """Why QEMU cannot connect to a socket; empty if it can, or if nothing listens yet."""
    try:
        facts = socket.stat()
    except FileNotFoundError:
        return ""
    if user is None or user.uid == 0:
        return ""
    name, groups = named_user(user)
    if facts.st_uid == user.uid:
        may = facts.st_mode & stat.S_IWUSR
    elif facts.st_gid in groups:
        may = facts.st_mode & stat.S_IWGRP
    else:
        may = facts.st_mode & stat.S_IWOTH
    if may:
        return ""
    return (
        f"QEMU runs as {name}, which may not connect to {socket}: run `chown {name} {socket}`, and have "
        f"`vtpm serve` make it so by --owner {name} from its next start on"
    )


def named_user(user: "User") -> tuple[str, set[int]]:
    """The name of a user, and the groups that QEMU has as that user."""
    try:
        name = pwd.getpwuid(user.uid).pw_name
    except KeyError:
        return str(user.uid), {user.gid}
    return name, set(os.getgrouplist(name, user.gid))
