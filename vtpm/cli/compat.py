"""`vtpm compat-dir`: where the programs are that take swtpm's place."""

import os
import sys
from pathlib import Path

import click

from vtpm.cli.errors import explained
from vtpm.compat.directory import make_directory


@click.command("compat-dir", short_help="Print the directory of the swtpm entry point.")
def compat_dir() -> None:
    """
    Print a directory with a program named swtpm that is this TPM.

    Put it first on the PATH of whatever looks for swtpm.
    """
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share")
    with explained():
        click.echo(make_directory([Path(sys.prefix) / "libexec/vtpm", data / "vtpm/libexec"]))
