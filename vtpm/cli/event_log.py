"""The option that names an event log, and what comes of it."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from vtpm.cli.caller import read

if TYPE_CHECKING:
    from vtpm.trace.event_log import Event

F = TypeVar("F", bound=Callable[..., Any])

event_log_option = click.option(
    "--event-log",
    "log",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What firmware has logged: the guest's /sys/kernel/security/tpm0/binary_bios_measurements.",
)


def events_in(log: Path) -> "list[Event]":
    """The events of a log."""
    from vtpm.trace.event_log import EventLogError, parse  # noqa: PLC0415 - help needs none

    try:
        return list(parse(read(log)))
    except EventLogError as error:
        raise click.ClickException(f"{log}: {error}; copy the log again, whole and as it is") from None


def unexplained(events: "list[Event]", pcr: dict[str, dict[str, str]]) -> list[str]:
    """The PCR that the log does not explain, such as `SHA256 7`."""
    from vtpm.trace.measured import explained_pcr  # noqa: PLC0415 - help needs none

    banks = explained_pcr(events, pcr)
    return [
        f"{bank} {number}"
        for bank, numbers in banks.items()
        for number, right in numbers.items()
        if not right
    ]
