"""A view of a VM's TPM: through the daemon if it runs there, else of what is stored, which is only read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from vtpm.cli.passphrase import passphrase_of, passphrase_options
from vtpm.cli.place import Place
from vtpm.cli.vm import unlock

LIMIT: Final = 60.0
"""Seconds for a view, some of which make RSA keys."""

F = TypeVar("F", bound=Callable[..., Any])


def look_options(command: F) -> F:
    """The options that unlock the stored state of a TPM that does not run."""
    provider = click.option("--provider", help="The key provider that the passphrase unlocks.")
    return provider(passphrase_options(command))


def look(
    place: Place,
    vm: str,
    view: str,
    *,
    provider: str | None,
    passphrase_file: Path | None,
    passphrase_fd: int | None,
) -> Any:
    """What a view shows of a VM's TPM."""
    from vtpm.daemon.admin import ask  # noqa: PLC0415 - help needs neither
    from vtpm.daemon.device.views import shown  # noqa: PLC0415

    host = place.host()
    name = host.show_state(vm).name
    seen = ask(place.run_dir, "view", name=name, view=view, timeout=LIMIT)
    if seen is not None:
        return seen
    unlock(host, provider, passphrase_of(passphrase_file, passphrase_fd))
    return shown(view, host.read_state(name))
