"""Every command of `vtpm`, run in this process with arguments of its own kinds."""

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from unittest.mock import patch

import click

from vtpm.cli.main import cli, main

ENDLESS = {"serve", "simulator", "libvirt watch", "libvirt hook"}
"""Commands that run until they are told to end, or that another program calls."""

NOWHERE = "qemu+unix:///system?socket=/nonexistent/libvirt-sock"
"""Where no libvirt is."""


@dataclass(frozen=True)
class Told:
    """What a command said, and its status."""

    status: int
    out: str
    err: str


def leaves(group: click.Command = cli, words: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """All commands that have none below them, by their words."""
    context = click.Context(group)
    if not isinstance(group, click.Group):
        yield " ".join(words), group
        return
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield from leaves(command, (*words, name))


LEAVES = dict(leaves())


def is_path(parameter: click.Parameter) -> bool:
    """Does a parameter name a file or directory?"""
    return isinstance(parameter.type, click.Path)


def words_of(command: str, value: Callable[[click.Parameter], str | None]) -> list[str]:
    """The command with all that it requires, each value from `value`, or what does for its kind."""
    words = command.split()
    for parameter in LEAVES[command].params:
        if isinstance(parameter, click.Argument):
            given = value(parameter)
            if given is not None:
                words.append(given)
        elif parameter.required:
            words += [parameter.opts[0], value(parameter) or usual(parameter)]
        elif parameter.name == "yes":
            words.append("--yes")
        elif parameter.name == "uri":
            words += ["--connect", NOWHERE]
    return words


def usual(parameter: click.Parameter) -> str:
    """A value that a required option takes."""
    if isinstance(parameter.type, click.Choice):
        return str(parameter.type.choices[0])
    return "1" if isinstance(parameter.type, click.IntRange) else "a reason"


def run(words: list[str], **environment: str) -> Told:
    """Run a command to its end, which is an exit: any other exception is the test's failure."""
    out, err = io.StringIO(), io.StringIO()
    status = 0
    with (
        patch.object(sys, "argv", ["vtpm", *words]),
        patch.object(sys, "stdin", io.StringIO()),
        patch.dict(os.environ, environment),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
    return Told(status, out.getvalue(), err.getvalue())
