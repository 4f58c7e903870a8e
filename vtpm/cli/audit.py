"""`vtpm audit`: who did what with keys and states."""

import json
from typing import Any

import click

from vtpm.cli.errors import explained
from vtpm.cli.place import Place

STAMP = ("seq", "time", "actor", "op", "result", "prev")


@click.group(short_help="Read and verify the log of operations on keys and states.")
def audit() -> None:
    """Read and verify the audit log, a chain of lines: none can be changed, removed or inserted unnoticed."""


@audit.command()
@click.pass_obj
def verify(place: Place) -> None:
    """Check that every line follows the one before, up to the head."""
    with explained():
        log = place.host().audit
        lines, head = log.verify()
    click.echo(f"{lines} lines are intact; the head is {head}")


@audit.command()
@click.option("--vm", help="Only lines of this VM, by UUID or name.")
@click.option("--last", type=click.IntRange(1), help="Only so many of the newest lines.")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON lines.")
@click.pass_obj
def show(place: Place, vm: str | None, last: int | None, *, as_json: bool) -> None:
    """Print the log, oldest line first."""
    with explained():
        entries = place.host().audit.entries()
    if vm is not None:
        entries = [entry for entry in entries if vm in {entry.get("vm"), entry.get("name")}]
    for entry in entries[-last:] if last else entries:
        click.echo(json.dumps(entry) if as_json else line_of(entry))


def line_of(entry: dict[str, Any]) -> str:
    """An entry, for people."""
    facts = " ".join(f"{name}={value}" for name, value in entry.items() if name not in STAMP)
    return f"{entry['seq']:>6}  {entry['time']}  {entry['actor']}  {entry['op']}: {entry['result']}  {facts}"
