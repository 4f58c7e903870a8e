"""`vtpm stop`: the end of the daemon, unless guests would lose their TPMs by it."""

import os
import select
from typing import Final

import click

from vtpm.cli.errors import explained
from vtpm.cli.place import Place

ENDS_WITHIN: Final = 80.0
"""Seconds: less than systemd waits for a service to end."""


@click.command(short_help="End the daemon, unless guests run.")
@click.option("--stop-guests", is_flag=True, help="End it in any case: guests that run lose their TPM.")
@click.option(
    "--process", metavar="PID", help="End it only if it is this process; nothing happens if PID is empty."
)
@click.pass_obj
def stop(place: Place, process: str | None, *, stop_guests: bool) -> None:
    """
    End the daemon that serves the run directory; refused, with the names of the guests, while guests run.

    A guest whose daemon has ended gets no answers from its TPM until it is powered off and on.
    To change to another version, use `vtpm serve --replace`.
    """
    if process == "":
        return
    if process is not None and not process.isdecimal():
        raise click.UsageError(f"--process {process}: give the number of a process")
    with explained():
        from vtpm.daemon.admin import ask  # noqa: PLC0415 - help needs no daemon

        meant = None if process is None else int(process)
        told = ask(place.run_dir, "stop", stop_guests=stop_guests, process=meant)
    if told is None:
        click.echo(f"no daemon serves {place.run}")
        return
    if not told["ends"]:
        click.echo(f"{place.run} is served by process {told['process']}, which is left alone")
        return
    if not has_ended(told["process"]):
        raise click.ClickException(
            f"the daemon (process {told['process']}) ends, and has not after {ENDS_WITHIN:g} s: "
            "a TPM is at work; wait for it, and look into its log"
        )
    if told["guests"]:
        click.echo(f"ended; without their TPM until powered off and on: {', '.join(told['guests'])}")
    else:
        click.echo("ended")


def has_ended(process: int) -> bool:
    """Wait until a process has ended; False if it takes too long."""
    try:
        descriptor = os.pidfd_open(process)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], ENDS_WITHIN)[0])
    finally:
        os.close(descriptor)
