"""`vtpm serve`: the daemon."""

import contextlib
import grp
import logging
import pwd
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click

from vtpm.cli.errors import explained
from vtpm.cli.passphrase import passphrase_of, passphrase_options
from vtpm.cli.place import Place
from vtpm.daemon.activation import passed_sockets
from vtpm.daemon.admin import NAME, TIMEOUT, admin_path, connect
from vtpm.daemon.loading import loading
from vtpm.daemon.peer import Peers
from vtpm.daemon.readiness import tell_ready
from vtpm.daemon.replacement.detachment import detached
from vtpm.daemon.replacement.successor import successor_of
from vtpm.daemon.sockets import Access, check_run_dir, listen_unix

OCTAL = 8
RUN_DIR_MODE = 0o711
"""A hypervisor must reach the sockets in it; each socket says who may connect."""


@click.command(short_help="Serve the TPMs of all VMs.")
@click.option("--owner", help="User who owns the sockets, as QEMU's.")
@click.option("--group", help="Group of the sockets.")
@click.option("--mode", default="0600", show_default=True, help="Mode of the sockets, in octal.")
@click.option(
    "--peers",
    type=click.Choice([kind.value for kind in Peers]),
    default=Peers.AUTO.value,
    show_default=True,
    help="Who may connect: only a TPM's own domain, besides processes of no known domain, or any process.",
)
@click.option(
    "--provider", help="The provider that the passphrase unlocks; the default one if it is not given."
)
@passphrase_options
@click.option(
    "--trace-dir",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    help="Add each VM's commands and responses to <vm>.pcapng there, guests' secrets included.",
)
@click.option(
    "--require-host-tpm", is_flag=True, help="Unseal keys by a TPM alone, whatever the providers' files say."
)
@click.option("--replace", is_flag=True, help="Take over from the daemon that runs, guests and all.")
@click.option("--background", is_flag=True, help="Return once it serves; it goes on by itself.")
@click.option(
    "--stop-guests",
    is_flag=True,
    help="End at the first signal, though guests that run lose their TPM by it.",
)
@click.option("-v", "--verbose", is_flag=True, help="Say more on standard error.")
@click.pass_obj
def serve(
    place: Place,
    owner: str | None,
    group: str | None,
    mode: str,
    peers: str,
    provider: str | None,
    passphrase_file: Path | None,
    passphrase_fd: int | None,
    trace_dir: Path | None,
    *,
    require_host_tpm: bool,
    replace: bool,
    background: bool,
    stop_guests: bool,
    verbose: bool,
) -> None:
    """
    Serve every VM's TPM at a control socket of its own, <run dir>/<vm>.sock, until a signal ends it.

    VMs that are created meanwhile are served at once.
    While guests run, a signal that asks it to end is refused, and says so, until it is sent again: a guest
    whose daemon has ended gets no answers from its TPM until it is powered off and on.
    The line "ready …" on standard output says that the sockets are there.

    With --replace it takes the place of the daemon that runs, as for an update: guests notice nothing.
    If that is not possible, it says why, and the other daemon goes on; if there is none, it just serves.
    """
    logging.basicConfig(format="vtpm: %(message)s", level=logging.INFO if verbose else logging.WARNING)
    access = Access(mode_of(mode), user_id(owner), group_id(group))
    tell = detached() if background else None
    with explained():
        with contextlib.suppress(FileExistsError):
            place.run_dir.mkdir(mode=RUN_DIR_MODE, parents=True)
        place.give_run_dir()
        place.become_owner()
        check_run_dir(place.run_dir)
        passed = passed_sockets(place.run_dir)
        successor = successor_of(place.run_dir) if replace else None
        admin = passed.get(NAME)
        if admin is None and successor is None:
            check_alone(place)
            admin = listen_unix(admin_path(place.run_dir), Access())
        with loading():
            from vtpm.cli.vm import unlock  # noqa: PLC0415 - loaded after the socket is bound
            from vtpm.daemon.server import Server  # noqa: PLC0415

        host = place.host(require_host_tpm=require_host_tpm)
        unlock(host, provider, passphrase_of(passphrase_file, passphrase_fd))
        server = Server(host, place.run_dir, access, trace_dir, passed, Peers(peers), stop_guests=stop_guests)
        if successor is not None:
            admin = server.succeed(successor)
    assert admin is not None
    server.run(admin, partial(tell_served, place, tell))


def check_alone(place: Place) -> None:
    """ClickException if a daemon serves the run directory already."""
    sock = connect(place.run_dir, TIMEOUT)
    if sock is not None:
        sock.close()
        raise click.ClickException(
            f"a daemon serves {place.run} already, and goes on; `vtpm serve --replace`, with the options "
            "that this one was given, takes over from it while guests run"
        )


def tell_served(place: Place, tell: Callable[[], None] | None, count: int) -> None:
    """Say that the sockets are there."""
    click.echo(f"ready run-dir={place.run} vms={count}")
    tell_ready()
    if tell is not None:
        tell()


def mode_of(text: str) -> int:
    """A mode from its octal digits."""
    try:
        mode = int(text, OCTAL)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o777:
        raise click.UsageError(f"--mode {text}: give three octal digits, such as 0660")
    return mode


def user_id(name: str | None) -> int:
    """The number of a user; -1 if none is named."""
    try:
        return -1 if name is None else pwd.getpwnam(name).pw_uid
    except KeyError:
        raise click.UsageError(f"--owner {name}: there is no such user") from None


def group_id(name: str | None) -> int:
    """The number of a group; -1 if none is named."""
    try:
        return -1 if name is None else grp.getgrnam(name).gr_gid
    except KeyError:
        raise click.UsageError(f"--group {name}: there is no such group") from None
