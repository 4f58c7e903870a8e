"""Tables: drawn for a terminal, tab-separated for anything else."""

import sys
from collections.abc import Iterable, Sequence

import click


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under their headings."""
    if not sys.stdout.isatty():
        for row in rows:
            click.echo("\t".join(map(str, row)))
        return
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.table import Table  # noqa: PLC0415

    table = Table(*headings)
    for row in rows:
        table.add_row(*map(str, row))
    Console().print(table)
