"""`vtpm simulator`: a TPM at a port, for software that talks to one."""

import logging
from pathlib import Path

import click

from vtpm.cli.errors import explained
from vtpm.cli.profile_choice import profile_of, profile_option
from vtpm.daemon.loading import loading
from vtpm.daemon.sockets import LOOPBACK, SocketError, listen_tcp_pair, port_of

PORT = click.IntRange(0, 65534)


@click.command(short_help="Serve a TPM on a port of this machine.")
@click.option("--mssim", type=PORT, help="Command port; the platform port is the next one.")
@click.option("--swtpm", type=PORT, help="Data port; the control port is the next one.")
@click.option("--host", default=LOOPBACK, show_default=True, help="Address to listen at.")
@click.option(
    "--state", type=click.Path(file_okay=False, path_type=Path), help="Keep the TPM in this directory."
)
@profile_option
@click.option("--startup", is_flag=True, help="With --swtpm: execute TPM2_Startup(CLEAR) first.")
@click.option(
    "--trace",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Add commands and responses to this file, secrets included.",
)
@click.option("-v", "--verbose", is_flag=True, help="Say more on standard error.")
def simulator(
    mssim: int | None,
    swtpm: int | None,
    host: str,
    state: Path | None,
    profile_name: str,
    trace: Path | None,
    *,
    startup: bool,
    verbose: bool,
) -> None:
    """
    Serve a TPM on loopback ports until a signal ends it.

    --mssim PORT speaks the protocol of the TCG's simulator (TPM2TOOLS_TCTI=mssim:port=PORT),
    --swtpm PORT that of swtpm (TPM2TOOLS_TCTI=swtpm:port=PORT).
    Port 0 chooses a free pair.
    The TPM is gone at the end unless --state names a directory; one that is there keeps its profile.
    The line "ready …" on standard output says that commands are answered.
    """
    if (mssim is None) == (swtpm is None):
        raise click.UsageError("give one of --mssim and --swtpm: a TPM has one bus")
    if startup and swtpm is None:
        raise click.UsageError("--startup is for --swtpm; a client of --mssim powers the TPM on itself")
    try:
        pair = listen_tcp_pair(mssim if mssim is not None else swtpm or 0, host)
    except SocketError as error:
        raise click.ClickException(str(error)) from None
    logging.basicConfig(format="vtpm: %(message)s", level=logging.INFO if verbose else logging.WARNING)
    with loading():
        from vtpm.daemon.simulation import Simulation  # noqa: PLC0415 - loaded after the sockets are bound

    with explained():
        simulation = Simulation(state, trace, profile_of(profile_name))
    if mssim is not None:
        simulation.serve_mssim(*pair)
    else:
        simulation.serve_swtpm(*pair, startup=startup)
    protocol = "mssim" if mssim is not None else "swtpm"
    simulation.run(lambda: click.echo(f"ready {protocol} port={port_of(pair[0])}"))
