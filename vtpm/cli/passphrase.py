"""Passphrases: from a file, a descriptor or a prompt, never from an argument."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from vtpm.cli import caller

READ: Final = "vtpm.passphrases"
"""Where the passphrases that descriptors gave are kept while a command runs."""

F = TypeVar("F", bound=Callable[..., Any])


def passphrase_options(command: F) -> F:
    """The options that say where a passphrase is."""
    for option in (
        click.option(
            "--passphrase-fd", type=click.IntRange(0), help="Read the passphrase from a descriptor."
        ),
        click.option(
            "--passphrase-file",
            type=click.Path(dir_okay=False, path_type=Path),
            help="Read the passphrase from a file.",
        ),
    ):
        command = option(command)
    return command


def passphrase_of(file: Path | None, descriptor: int | None) -> bytes | None:
    """The passphrase that the options name; None if they name none."""
    from nvstore import passphrase_from_fd, passphrase_from_file  # noqa: PLC0415 - help needs no store

    if file is not None and descriptor is not None:
        raise click.UsageError("give one of --passphrase-file and --passphrase-fd")
    if file is not None:
        return passphrase_from_file(file, caller.files())
    if descriptor is None:
        return None
    read: dict[int, bytes] = click.get_current_context().find_root().meta.setdefault(READ, {})
    if descriptor not in read:  # it can be read once, and a command may need it again
        read[descriptor] = passphrase_from_fd(descriptor)
    return read[descriptor]


def required_passphrase(
    file: Path | None, descriptor: int | None, what: str, *, is_new: bool = False
) -> bytes:
    """The passphrase that the options name, or one that is asked for at the terminal."""
    given = passphrase_of(file, descriptor)
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise click.UsageError(f"{what} needs a passphrase: give --passphrase-file or --passphrase-fd")
    asked: str = click.prompt(f"Passphrase of {what}", hide_input=True, confirmation_prompt=is_new, err=True)
    return asked.encode()
