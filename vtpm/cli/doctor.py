"""`vtpm doctor`: whether all is well with this host's TPMs, and what to do if not."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vtpm.cli.errors import explained
from vtpm.cli.passphrase import passphrase_of, passphrase_options
from vtpm.cli.place import Place

if TYPE_CHECKING:
    from vtpm.daemon.guests import Guest


@click.command(short_help="Check everything, and say what to do.")
@click.option("--provider", help="The provider that the passphrase unlocks; the default one if not given.")
@passphrase_options
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
@click.pass_obj
def doctor(
    place: Place,
    provider: str | None,
    passphrase_file: Path | None,
    passphrase_fd: int | None,
    *,
    as_json: bool,
) -> None:
    """
    Check providers, backups, states, disk and audit log of this host, and what its daemon reports.

    The status is 0 if all is well, 1 after warnings and 2 after errors.
    """
    with explained():
        from nvstore import Checkup, examine  # noqa: PLC0415 - help needs no store
        from vtpm.cli.vm import looked_after, unlock  # noqa: PLC0415

        host = place.host()
        unlock(host, provider, passphrase_of(passphrase_file, passphrase_fd))
        found = examine(host)
        served, lost = looked_after(place)
        running = [*lost_findings(lost), *running_findings(served)]
        checkup = Checkup(found.vms, [*running, *found.findings])
    if as_json:
        click.echo(json.dumps(checkup.to_json()))
    else:
        print_page(checkup)
    raise click.exceptions.Exit(int(checkup.level))


def lost_findings(lost: "dict[str, Guest]") -> list[Any]:
    """The guests that run without their TPM."""
    from nvstore.doctor import Finding, Level  # noqa: PLC0415 - help needs no store

    return [
        Finding(Level.ERROR, f"VM {guest.name}", guest.complaint, guest.remedy) for guest in lost.values()
    ]


def running_findings(served: dict[str, Any]) -> list[Any]:
    """What is wrong with TPMs that run."""
    from nvstore.doctor import Finding, Level  # noqa: PLC0415 - help needs no store

    findings = []
    for name, vm in served.items():
        if vm["alarm"]:
            problem = f"its changes cannot be written: {vm['alarm']}"
            remedy = "remove the cause; the TPM tries again by itself"
            findings.append(Finding(Level.ERROR, f"VM {name}", problem, remedy))
        if vm["failed"]:
            problem = "its TPM is in failure mode"
            remedy = (
                "look into the daemon's log, then restart the guest; the daemon itself need not end for that"
            )
            findings.append(Finding(Level.ERROR, f"VM {name}", problem, remedy))
    return findings


def print_page(checkup: Any) -> None:
    """The page, for people."""
    from vtpm.cli.table import print_table  # noqa: PLC0415 - JSON needs no table

    headings = ("VM", "State", "Generation", "Provider", "Epoch", "Seal", "Freshness", "Backup", "Lineage")
    print_table(
        headings,
        [
            (
                vm.name,
                vm.state,
                vm.generation,
                vm.provider,
                vm.epoch or "-",
                vm.seal,
                vm.freshness,
                vm.last_verified or "never",
                vm.lineage,
            )
            for vm in checkup.vms
        ],
    )
    for finding in checkup.findings:
        click.echo(f"{finding.grade.upper()}: {finding.subject}: {finding.problem}\n  -> {finding.remedy}")
    if not checkup.level:
        click.echo("all is well")
