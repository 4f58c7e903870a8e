"""`vtpm audit`: who did what with keys and states."""

import json
import re
from pathlib import Path
from typing import IO, Any

import click

from vtpm.cli.errors import explained
from vtpm.cli.passphrase import passphrase_of
from vtpm.cli.place import Place
from vtpm.cli.vm import unlock

STAMP = ("seq", "time", "actor", "op", "result", "prev", "mac", "root")
HEAD = re.compile(r"\b(\d{1,12}) ([0-9a-f]{64})\b")
"""A head as `verify` prints it and as the system's log has it."""


@click.group(short_help="Read and verify the log of operations on keys and states.")
def audit() -> None:
    """Read and verify the audit log, a chain of lines: none can be changed, removed or inserted unnoticed."""


@audit.command()
@click.option("--provider", help="Unlock this provider first, if it is sealed by a passphrase.")
@click.option("--passphrase-file", type=click.Path(path_type=Path), help="Its passphrase.")
@click.option("--passphrase-fd", type=int, help="Its passphrase, from this file descriptor.")
@click.option(
    "--against",
    type=click.File(errors="replace"),
    help="Heads that were kept elsewhere, such as those in the system's log.",
)
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
@click.pass_obj
def verify(
    place: Place,
    provider: str | None,
    passphrase_file: Path | None,
    passphrase_fd: int | None,
    against: IO[str] | None,
    *,
    as_json: bool,
) -> None:
    """
    Check that every line follows the one before, up to the head, and was written by who had the keys.

    An older copy of the whole log shows only beside heads that were kept elsewhere:

        journalctl --identifier vtpm-audit --output cat | vtpm audit verify --against -
    """
    with explained():
        host = place.host()
        if provider is not None:
            unlock(host, provider, passphrase_of(passphrase_file, passphrase_fd))
        verified = host.audit.verify(host.providers, seen_in(against))
    if as_json:
        click.echo(json.dumps(verified._asdict()))
        return
    click.echo(f"{verified.lines} lines are intact; the head is {verified.lines} {verified.hash}")
    if verified.authentic < verified.lines:
        click.echo(f"a key vouches for the first {verified.authentic} of them: {verified.why}")
    if verified.authentic and verified.unkeyed:
        click.echo(
            f"the first {verified.unkeyed} come before any key: whoever had the disk by then could write them"
        )


def seen_in(heads: IO[str] | None) -> dict[int, str]:
    """The heads in a text, by the numbers of their lines."""
    return {} if heads is None else {int(number): head for number, head in HEAD.findall(heads.read())}


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


@audit.command()
@click.option("--reason", required=True, help="Why, for the new log.")
@click.pass_obj
def restart(place: Place, reason: str) -> None:
    """Put a log that is broken aside as evidence, and begin another one."""
    with explained():
        host = place.host()
        aside = host.audit.restart(reason, host.providers)
    click.echo(f"the former log is in {aside}")


def line_of(entry: dict[str, Any]) -> str:
    """An entry, for people."""
    facts = " ".join(f"{name}={value}" for name, value in entry.items() if name not in STAMP)
    return f"{entry['seq']:>6}  {entry['time']}  {entry['actor']}  {entry['op']}: {entry['result']}  {facts}"
