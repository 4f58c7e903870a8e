"""`vtpm inspect`: what a VM's TPM holds, as its operator may see it."""

import json
from collections.abc import Iterator
from typing import Any

import click

from vtpm.cli.errors import explained
from vtpm.cli.look import look, look_options
from vtpm.cli.place import Place

as_json_option = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
LISTS = {"hierarchies": "name", "persistent": "handle", "nv": "index"}
"""What is a list of things, and by which fact each is known."""


@click.command("inspect", short_help="Show what a TPM holds.")
@click.argument("vm")
@look_options
@as_json_option
@click.pass_obj
def inspect_tpm(place: Place, /, vm: str, *, as_json: bool, **unlocking: Any) -> None:
    """
    Show NV Indices, persistent objects, hierarchies, lockout, clock and profile of a VM's TPM.

    PCR, and what else ends with a run, only while the VM is running.
    Nothing is touched, and no secret is shown: no seed, authorization or content of an Index.
    """
    with explained():
        facts = look(place, vm, "inspect", **unlocking)
    if as_json:
        click.echo(json.dumps(facts))
    else:
        for line in lines_of(facts):
            click.echo(line)


def lines_of(facts: dict[str, Any]) -> Iterator[str]:
    """The facts, for people."""
    for name, value in facts.items():
        title = name.replace("_", " ")
        if name in LISTS:
            yield f"{title}:{'' if value else ' none'}"
            yield from (f"  {item[LISTS[name]]}  {said(item, LISTS[name])}" for item in value)
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
