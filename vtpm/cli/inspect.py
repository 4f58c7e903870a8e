"""`vtpm inspect`: what a VM's TPM holds, as its operator may see it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from vtpm.cli.errors import explained
from vtpm.cli.event_log import event_log_option, events_in, unexplained
from vtpm.cli.look import look, look_options
from vtpm.cli.place import Place

as_json_option = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
LISTS = {"hierarchies": "name", "persistent": "handle", "nv": "index"}
"""What is a list of things, and by which fact each is known."""


@click.command("inspect", short_help="Show what a TPM holds.")
@click.argument("vm")
@event_log_option
@look_options
@as_json_option
@click.pass_obj
def inspect_tpm(place: Place, /, vm: str, log: Path | None, *, as_json: bool, **unlocking: Any) -> None:
    """
    Show NV Indices, persistent objects, hierarchies, lockout, clock and profile of a VM's TPM.

    PCR, and what else ends with a run, only while the VM is running.
    Nothing is touched, and no secret is shown: no seed, authorization or content of an Index.
    """
    with explained():
        facts = look(place, vm, "inspect", **unlocking)
        if log is not None:
            facts |= meaning_of(log, facts)
    if as_json:
        click.echo(json.dumps(facts))
    else:
        for line in lines_of(facts):
            click.echo(line)


def meaning_of(log: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """The events of a log, and the PCR that they do not explain."""
    from vtpm.trace.measured import events_as_facts  # noqa: PLC0415 - help needs none

    if "pcr" not in facts:
        raise click.UsageError("--event-log explains the PCR of a VM that is running, and this one is off")
    events = events_in(log)
    return {"unexplained": unexplained(events, facts["pcr"]), "events": events_as_facts(events)}


def lines_of(facts: dict[str, Any]) -> Iterator[str]:
    """The facts, for people."""
    for name, value in facts.items():
        title = name.replace("_", " ")
        if name in LISTS:
            yield f"{title}:{'' if value else ' none'}"
            yield from (f"  {item[LISTS[name]]}  {said(item, LISTS[name])}" for item in value)
        elif name == "events":
            yield f"{title}:"
            yield from (f"  pcr {event['pcr']:>2}  {event['type']}  {event['says']}" for event in value)
        elif name == "pcr":
            for bank, values in value.items():
                yield f"pcr {bank}:"
                yield from (f"  {number:>2}  {octets}" for number, octets in values.items())
        elif isinstance(value, dict):
            yield f"{title}:"
            yield from (f"  {key.replace('_', ' ')}: {text_of(fact)}" for key, fact in value.items())
        else:
            yield f"{title}: {text_of(value)}"


def said(item: dict[str, Any], label: str) -> str:
    """The facts of one thing in a line, without those that say nothing."""
    return ", ".join(
        f"{key.replace('_', ' ')} {text_of(fact)}"
        for key, fact in item.items()
        if key != label and fact is not None
    )


def text_of(value: Any) -> str:
    """A fact as a word."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    return "-" if value is None else str(value)
