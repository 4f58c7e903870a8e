"""
Files that the caller names on the command line, with the caller's rights whoever this process has become.

Root works on a service's directory as that service's user; `become_owner` makes it so, once and for good.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import TYPE_CHECKING

import click

from vtpm.daemon.secrecy import forbid_dumps

if TYPE_CHECKING:
    from nvstore.courier import CourierFiles
    from nvstore.files import OsFiles

EXTRAS = ("tpm2_pytss", "kmip", "encodings.idna")
"""What is loaded by name where it is needed."""

_dropped: "CourierFiles | None" = None


def become_owner(directory: Path, words: Sequence[str]) -> None:
    """Become the owner of a service's directory, if this process is root's; `words` name files elsewhere."""
    global _dropped  # noqa: PLW0603 - who a process runs as is a fact of the process
    if os.geteuid() != 0:
        return
    from nvstore.courier import act_as_owner  # noqa: PLC0415 - help needs no store

    _dropped = act_as_owner(directory, words, load_all)
    forbid_dumps()  # a change of user undoes it where fs.suid_dumpable is not 0 (proc_sys_fs(5))


def load_all() -> None:
    """Load every module that a command may use: the one whom this process becomes may not read them."""
    import nvstore  # noqa: PLC0415
    import vtpm  # noqa: PLC0415

    names = [*EXTRAS]
    for package in (nvstore, vtpm):
        names += [module.name for module in walk_packages(package.__path__, f"{package.__name__}.")]
    for name in names:
        with suppress(Exception):  # an extra that is not installed, or does not load: its user says so
            import_module(name)


def files() -> "OsFiles | None":
    """The file system for a store; None for that of this process's own user."""
    return _dropped


def read(path: Path, most: int = -1) -> bytes:
    """The content of a file that the caller named, or its first octets."""
    with path.open("rb") if _dropped is None else _dropped.reading(path) as file:
        return file.read(most)


def write_new(path: Path, octets: bytes, mode: int = 0o666) -> None:
    """Write a file that the caller named and that must not be there yet; durable on return."""
    try:
        if _dropped is None:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        else:
            descriptor = _dropped.new_file(path, mode)
    except FileExistsError:
        raise click.ClickException(f"{path} is there already; move it away, or name another file") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(octets)
        file.flush()
        os.fsync(descriptor)


def make_directory(path: Path, mode: int = 0o777) -> None:
    """Make a directory that the caller named, with its parents; it may exist."""
    if _dropped is None:
        path.mkdir(mode=mode, parents=True, exist_ok=True)
    else:
        _dropped.new_directory(path, mode)
