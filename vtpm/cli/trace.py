"""`vtpm trace`: captured commands and responses, explained."""

import sys
from contextlib import suppress
from io import BufferedReader, FileIO
from pathlib import Path

import click

from vtpm.cli.errors import explained


@click.command(short_help="Explain captured commands and responses.")
@click.argument("capture", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path))
@click.option(
    "--show-secrets", is_flag=True, help="Show authValues, sealed data, keys and what cannot be decoded."
)
@click.option("--whole", is_flag=True, help="Show all octets of long values.")
def trace(capture: Path, *, show_secrets: bool, whole: bool) -> None:
    """
    Explain the commands and responses in CAPTURE, or on standard input if it is -.

    CAPTURE may be a pcap or pcapng file, as swtpm, tpm2-tss' TCTI "pcap" and tcpdump write them,
    a log of swtpm with --log level=20, recorded lines, or commands and responses in hex or as they are.
    The kind is found out.
    Lines appear as the messages come, so a live TPM can be watched through a pipe.
    """
    from vtpm.trace.capture import events_of  # noqa: PLC0415 - help needs no TPM
    from vtpm.trace.tracer import Tracer  # noqa: PLC0415

    tracer = Tracer(show_secrets=show_secrets, whole=whole)
    file = sys.stdin.fileno() if str(capture) == "-" else capture
    with explained(), suppress(BrokenPipeError), BufferedReader(FileIO(file)) as source:
        for line in tracer.lines(events_of(source)):
            print(line, flush=True)
