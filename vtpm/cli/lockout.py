"""`vtpm lockout-reset`: the way out for a guest that is locked out of its TPM."""

import json
from typing import Any

import click

from vtpm.cli.change import change
from vtpm.cli.errors import explained
from vtpm.cli.look import look_options
from vtpm.cli.place import Place


@click.command("lockout-reset", short_help="Forgive failed authorizations.")
@click.argument("vm")
@click.option("--reason", default="", help="Why; it is noted in the audit log.")
@look_options
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
@click.pass_obj
def lockout_reset(place: Place, /, vm: str, reason: str, *, as_json: bool, **unlocking: Any) -> None:
    """
    End the dictionary attack lockout of a VM's TPM, running or off, without its lockoutAuth.

    What the guest's owner has set stays as it is; the audit log notes it.
    """
    with explained():
        tries = change(
            place, vm, "lockout-reset", facts={"reason": reason}, gives="failed_tries", **unlocking
        )
    if as_json:
        click.echo(json.dumps({"vm": vm, "failed_tries": tries}))
    else:
        click.echo(f"{vm}: not locked out; {tries} failed authorizations are forgiven")
