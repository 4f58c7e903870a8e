"""`vtpm import-swtpm` and `vtpm export-swtpm`: VMs that come from swtpm, and the way back."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from vtpm.cli.caller import make_directory, read, write_new
from vtpm.cli.errors import explained
from vtpm.cli.passphrase import passphrase_of, passphrase_options
from vtpm.cli.place import Place
from vtpm.cli.vm import as_json_option, check_socket_name, describe, tell, unlock

if TYPE_CHECKING:
    from vtpm.compat.storage import Foreign
    from vtpm.state.profile import Profile

STATE: Final = "tpm2-00.permall"
VOLATILE: Final = "tpm2-00.volatilestate"


def key_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say where swtpm's key is, as its --key has them."""
    for option in (
        click.option(
            "--kdf",
            type=click.Choice(["pbkdf2", "sha512"]),
            default="pbkdf2",
            show_default=True,
            help="How swtpm makes the key of a passphrase.",
        ),
        click.option(
            "--pwdfile",
            type=click.Path(dir_okay=False, path_type=Path),
            help="File with the passphrase of swtpm's key, which --kdf makes the key of.",
        ),
        click.option(
            "--keyfile",
            type=click.Path(dir_okay=False, path_type=Path),
            help="File with swtpm's key, in hexadecimal or binary.",
        ),
    ):
        command = option(command)
    return command


@click.command("import-swtpm", short_help="Take a VM's TPM over from swtpm.")
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.argument("vm")
@click.option("--uuid", "vm_uuid", type=click.UUID, help="The VM's UUID; a new one if it is not given.")
@click.option("--provider", help="The key provider; the default one if it is not given.")
@click.option("--profile", default="swtpm-compatible", show_default=True, help="What kind of TPM it becomes.")
@click.option("--allow-unverified", is_flag=True, help="Accept a provider without a verified backup.")
@click.option("--dry-run", is_flag=True, help="Only say what would be taken over, and what not.")
@key_options
@passphrase_options
@as_json_option
@click.pass_obj
def import_swtpm(
    place: Place,
    source: Path,
    vm: str,
    vm_uuid: uuid.UUID | None,
    provider: str | None,
    profile: str,
    keyfile: Path | None,
    pwdfile: Path | None,
    kdf: str,
    passphrase_file: Path | None,
    passphrase_fd: int | None,
    *,
    allow_unverified: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """
    Make a TPM of the state of swtpm in SOURCE, which stays as it is.

    SOURCE is the directory of swtpm's --tpmstate, its file tpm2-00.permall, or a "linear" file.
    Seeds, authorizations, persistent objects, NV Indices and counters are taken over,
    so that what the guest has sealed still opens, and its EK and SRK stay the same.
    """
    with explained(), foreign_errors():
        from vtpm.compat.storage import foreign_at  # noqa: PLC0415 - help needs none of them
        from vtpm.daemon.admin import ask  # noqa: PLC0415

        check_socket_name(vm)
        kind = profile_named(profile)
        foreign = foreign_at(source)
        blobs, left_behind = taken_from(foreign, key_of(keyfile, pwdfile, kdf), kind)
        for line in left_behind:
            click.echo(f"not taken over: {line}", err=True)
        if dry_run:
            click.echo(f"{len(blobs)} parts of the state can be taken over; nothing was written")
            return
        host = place.host()
        unlock(host, provider, passphrase_of(passphrase_file, passphrase_fd))
        host.create_state(
            vm_uuid or uuid.uuid4(), vm, blobs, provider=provider, allow_unverified=allow_unverified
        ).close()
        ask(place.run_dir, "rescan")
        tell(describe(place, vm), as_json=as_json)


@click.command("export-swtpm", short_help="Write a VM's TPM for swtpm.")
@click.argument("vm")
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option("--provider", help="The key provider that the passphrase unlocks.")
@key_options
@passphrase_options
@click.pass_obj
def export_swtpm(
    place: Place,
    vm: str,
    directory: Path,
    provider: str | None,
    keyfile: Path | None,
    pwdfile: Path | None,
    kdf: str,
    passphrase_file: Path | None,
    passphrase_fd: int | None,
) -> None:
    """
    Write the state of a VM that is off to DIRECTORY, for swtpm 0.7 or later with libtpms 0.9 or later.

    With --keyfile or --pwdfile it is encrypted as swtpm's --key asks for; otherwise it is in the clear.
    From then on only one of both may run, or each would answer with a state that the other does not know.
    """
    with explained(), foreign_errors():
        from vtpm.daemon.clock import entropy  # noqa: PLC0415 - help needs none of them
        from vtpm.daemon.device.custody import custody_of  # noqa: PLC0415
        from vtpm.daemon.device.stateblobs import powered_off, suspended_in  # noqa: PLC0415
        from vtpm.libtpms import file  # noqa: PLC0415
        from vtpm.libtpms.exporting import export_state  # noqa: PLC0415
        from vtpm.libtpms.exporting_run import export_run  # noqa: PLC0415

        key = key_of(keyfile, pwdfile, kdf)
        key = key(max(file.KEY_SIZES)) if callable(key) else key
        host = place.host()
        unlock(host, provider, passphrase_of(passphrase_file, passphrase_fd))
        store = host.open_state(vm)
        try:
            blobs = store.load()
        finally:
            store.close()
        custody_of(blobs).check_start()
        state, (run, suspended_at) = powered_off(blobs), suspended_in(blobs)
        exported = export_state(state | run, entropy)
        states = {STATE: exported.state}
        if run:
            states[VOLATILE] = export_run(state | run, suspended_at, entropy)
        for line in exported.left_behind:
            click.echo(f"not carried over: {line}", err=True)
        for name, octets in states.items():
            wrapped = file.wrap(octets, key, b"" if key is None else entropy(len(key)))
            click.echo(write_state(directory / name, wrapped))


@contextmanager
def foreign_errors() -> Iterator[None]:
    """Turn an error of a state that cannot be carried over into a message."""
    from vtpm.libtpms.errors import ForeignStateError  # noqa: PLC0415 - help needs neither
    from vtpm.state.saved import SavedStateError  # noqa: PLC0415

    try:
        yield
    except (ForeignStateError, SavedStateError) as error:
        raise click.ClickException(str(error)) from None


def profile_named(name: str) -> "Profile":
    """A built-in profile."""
    from vtpm.state.profile import PROFILES  # noqa: PLC0415 - help needs none

    if name not in PROFILES:
        raise click.UsageError(f"--profile {name}: there are {', '.join(PROFILES)}")
    return PROFILES[name]


def taken_from(
    foreign: "Foreign", key: bytes | Callable[[int], bytes] | None, profile: "Profile"
) -> tuple[dict[str, bytes], list[str]]:
    """The blobs of swtpm's states, of a suspended guest's run too, and what they do not have."""
    from vtpm.compat.foreign_state import take, take_run  # noqa: PLC0415 - help needs none of them
    from vtpm.daemon.device.stateblobs import SUSPENDED  # noqa: PLC0415
    from vtpm.libtpms import file  # noqa: PLC0415

    if foreign.permanent is None:
        raise click.ClickException(
            f"{foreign.source}: there is no state of swtpm; name its directory or file"
        )
    taken = take(file.unwrap(foreign.permanent, key), profile)
    if foreign.volatile is None:
        return taken.blobs, [*taken.left_behind]
    run, left_behind = take_run(taken, file.unwrap(foreign.volatile, key))
    return {**taken.blobs, SUSPENDED: run}, [*taken.left_behind, *left_behind]


def key_of(keyfile: Path | None, pwdfile: Path | None, kdf: str) -> bytes | Callable[[int], bytes] | None:
    """The key, or what makes it in the size that the file asks for."""
    from vtpm.libtpms import file  # noqa: PLC0415 - help needs none

    if keyfile is not None and pwdfile is not None:
        raise click.UsageError("give one of --keyfile and --pwdfile")
    if keyfile is not None:
        return file.key_of_file(read(keyfile))
    if pwdfile is None:
        return None
    passphrase = read(pwdfile)  # with its line end, as swtpm has it
    return lambda size: file.key_of_passphrase(passphrase, size, kdf=kdf)


def write_state(path: Path, octets: bytes) -> Path:
    """Write a new state file; one that is there is not overwritten."""
    make_directory(path.parent, 0o700)
    write_new(path, octets, 0o600)
    return path
