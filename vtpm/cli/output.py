"""Files that commands write for their caller."""

from pathlib import Path

import click


def write_new(file: Path, octets: bytes) -> None:
    """Write a file that must not be there yet."""
    try:
        with file.open("xb") as stream:
            stream.write(octets)
    except FileExistsError:
        raise click.ClickException(f"{file} is there already; move it away, or name another file") from None
