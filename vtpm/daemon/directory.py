"""
A directory that holds the state of one TPM, for a simulator and for the entry points in swtpm's place.

The state is encrypted as a VM's is, under a key provider of the directory's own.
Its key is sealed by a passphrase, or else by a file beside the state.
That file keeps the format the same, and damage and rollback are found;
but it protects nothing from somebody who reads the directory.
"""

import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from nvstore import AuditBroken, Host, Store, UnknownState
from nvstore.audit.line import DROPPED
from vtpm.daemon.errors import OperatorError

NAME: Final = "tpm"
PROVIDER: Final = "local"
SWTPM_STATE: Final = "tpm2-00.permall"
SWTPM_VOLATILE: Final = "tpm2-00.volatilestate"


PARTS: Final = ("states", "vms", "marks", "providers", "keys", "vault", "identity", "audit")
"""What a host's store consists of."""


class DirectoryError(OperatorError):
    """The directory cannot be used; the text gives cause and remedy."""


def opener(directory: Path) -> Callable[[], Store]:
    """How to open the directory's store, which is made, without a TPM, where there never was one."""
    return lambda: open_host(lambda: Host(directory), None, dict if state_size(directory) is None else None)


def open_host(
    make: Callable[[], Host],
    passphrase: bytes | None,
    initial: Callable[[], Mapping[str, bytes]] | None,
) -> Store:
    """Open the one state of a host that `make` gives; if `initial` gives its first one, it is made."""
    state = {} if initial is None else initial()
    host = make()
    if host.providers.default is None:
        host.providers.init(PROVIDER, passphrase=passphrase)
    if passphrase is not None:
        host.providers.unlock(PROVIDER, passphrase)
    if initial is None:
        return host.open_state(NAME)
    return host.create_state(uuid.uuid4(), NAME, state, provider=PROVIDER, allow_unverified=True)


def state_size(directory: Path) -> int | None:
    """
    The size in octets of the TPM's state, which its key may or may not open; None if there never was one.

    DirectoryError where there was one that is gone.
    """
    if not any((directory / name).is_dir() for name in PARTS):
        return None
    how = f"remove {', '.join(PARTS)} from it"
    return size_in(Host(directory), f"{how}, or run `swtpm_setup --overwrite` on it")


def size_in(host: Host, start_over: str) -> int | None:
    """The same for a host, and what to do to `start_over`."""
    try:
        return host.show_state(NAME).size
    except UnknownState:
        if (told := _told_of_former(host)) is None:
            return None
    raise DirectoryError(
        f"{host.directory} holds no TPM, but {told}, and no new one is made in its place; put it back from "
        f"a copy, or, to start over on purpose, {start_over}"
    )


def _told_of_former(host: Host) -> str | None:
    """
    What says that a host without a TPM has had one; None if nothing does.

    Where a first start was interrupted, or failed, there may be a provider, and a log that has no more.
    """
    if names := host.names():
        return f"the state, the mark or the registration of {names[0]} is there"
    try:
        host.audit.verify()
        done = [entry for entry in host.audit.entries() if entry.get("result") == "done"]
    except AuditBroken as error:
        return f"its audit log cannot tell whether there was one ({error})"
    if any("vm" in entry or entry.get("op") == DROPPED for entry in done):
        return "its audit log says that there was one"
    known = {entry.get("provider") for entry in done if entry.get("op") == "provider-init"}
    if not known and (host.providers.list() or any((host.directory / "keys").glob("*"))):
        return "the key of one is there"
    return None


def forget(directory: Path) -> None:
    """Remove the TPM and its key provider, and nothing else, from the directory."""
    for name in PARTS:
        part = directory / name
        if part.is_dir() and not part.is_symlink():
            shutil.rmtree(part)


def check_directory(directory: Path) -> None:
    """Refuse a directory that holds the state of swtpm, beside which a new TPM would be a mistake."""
    if (directory / SWTPM_STATE).exists():
        raise DirectoryError(
            f"{directory} holds the state of a TPM of swtpm, which is not read; use swtpm for it, "
            "or name another directory"
        )
