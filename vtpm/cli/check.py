"""`vtpm check`: would an operating system be content with a VM's TPM?"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vtpm.cli.errors import explained
from vtpm.cli.event_log import event_log_option, events_in, unexplained
from vtpm.cli.look import look, look_options
from vtpm.cli.place import Place

if TYPE_CHECKING:
    from vtpm.trace.event_log import Event

FAILED = "failed"
as_json_option = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")


@click.group(short_help="Check a TPM for what an operating system asks of it.")
def check() -> None:
    """Check a VM's TPM, on a copy: the TPM itself is not touched."""


@check.command(short_help="Check for Windows 11.")
@click.argument("vm")
@event_log_option
@look_options
@as_json_option
@click.pass_obj
def windows11(place: Place, /, vm: str, log: Path | None, *, as_json: bool, **unlocking: Any) -> None:
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
        if log is not None:
            events = events_in(log)
            findings += [matches(events, look(place, vm, "inspect", **unlocking)), secure_boot(events)]
    if as_json:
        click.echo(json.dumps(findings))
    else:
        tell(findings)
    if any(finding["verdict"] == FAILED for finding in findings):
        raise click.exceptions.Exit(1)


def matches(events: "list[Event]", facts: dict[str, Any]) -> dict[str, str]:
    """PcrsMatchTcgLog, for a log that the guest has handed over."""
    line = {"who": "pre-attestation health check", "check": "PCR match the event log", "remedy": ""}
    if "pcr" not in facts:
        return line | {
            "verdict": "not checked",
            "found": "the VM is off",
            "remedy": "start the VM, then check again",
        }
    wrong = unexplained(events, facts["pcr"])
    if wrong:
        remedy = "take the log of this boot; if it is, other firmware than it says has run"
        return line | {"verdict": FAILED, "found": f"not explained: {', '.join(wrong)}", "remedy": remedy}
    return line | {"verdict": "passed", "found": f"{len(events)} events"}


def secure_boot(events: "list[Event]") -> dict[str, str]:
    """SecureBootEnabled, and what a volume that is bound to PCR 7 depends on."""
    from vtpm.trace.event_log import EventType  # noqa: PLC0415 - help needs none of them
    from vtpm.trace.measured import said_by, secure_boot_of  # noqa: PLC0415

    line = {"who": "BitLocker", "check": "Secure Boot in the event log", "remedy": ""}
    if not secure_boot_of(events):
        remedy = "boot with OVMF that has Microsoft's keys; without, BitLocker seals to PCR 0, 2, 4 and 11"
        return line | {"verdict": "advice", "found": "off", "remedy": remedy}
    started, vouched = (
        ", ".join(filter(None, (said_by(event) for event in events if event.type == kind)))
        for kind in (EventType.EV_EFI_BOOT_SERVICES_APPLICATION, EventType.EV_EFI_VARIABLE_AUTHORITY)
    )
    return line | {"verdict": "passed", "found": f"on; started {started}; vouched for by {vouched}"}


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
