"""`vtpm check`: would an operating system be content with a VM's TPM?"""

import json
from collections.abc import Iterable
from typing import Any

import click

from vtpm.cli.errors import explained
from vtpm.cli.look import look, look_options
from vtpm.cli.place import Place

FAILED = "failed"
as_json_option = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")


@click.group(short_help="Check a TPM for what an operating system asks of it.")
def check() -> None:
    """Check a VM's TPM, on a copy: the TPM itself is not touched."""


@check.command(short_help="Check for Windows 11.")
@click.argument("vm")
@look_options
@as_json_option
@click.pass_obj
def windows11(place: Place, /, vm: str, *, as_json: bool, **unlocking: Any) -> None:
    """
    Check what Windows setup, PC Health Check, Get-Tpm, tpmtool, HLK and BitLocker ask of a TPM.

    What depends on the firmware's measurements is checked while the VM is running.
    The status is 1 if a line failed.
    """
    with explained():
        findings = [
            {**finding, "remedy": finding["remedy"].replace("{vm}", vm)}
            for finding in look(place, vm, "windows11", **unlocking)
        ]
    if as_json:
        click.echo(json.dumps(findings))
    else:
        tell(findings)
    if any(finding["verdict"] == FAILED for finding in findings):
        raise click.exceptions.Exit(1)


def tell(findings: Iterable[dict[str, str]]) -> None:
    """A line for each check, and what to do about it."""
    counts: dict[str, int] = {}
    for finding in findings:
        verdict = finding["verdict"]
        counts[verdict] = counts.get(verdict, 0) + 1
        click.echo(f"{verdict:<11}  {finding['who']}: {finding['check']}: {finding['found']}")
        if finding["remedy"]:
            click.echo(f"{'':<11}  -> {finding['remedy']}")
    click.echo(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
