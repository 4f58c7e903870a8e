"""The options that say with what a key is sealed on this host, and where the passphrase of a backup is."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from vtpm.cli.caller import files, read
from vtpm.cli.passphrase import passphrase_of, required_passphrase

F = TypeVar("F", bound=Callable[..., Any])
PATH = click.Path(dir_okay=False, path_type=Path)


def seal_options(command: F) -> F:
    """The options of a new seal."""
    options = (
        click.option("--key-file", type=PATH, help="Seal with this file, made if it is absent."),
        click.option("--passphrase", "seal_by_passphrase", is_flag=True, help="Seal with a passphrase."),
        click.option("--seal-passphrase-file", type=PATH, help="Read that passphrase from a file."),
        click.option("--seal-passphrase-fd", type=click.IntRange(0), help="Read it from a descriptor."),
        click.option("--tpm", is_flag=True, help="Seal with the TPM of this host."),
        click.option("--tpm-tcti", metavar="TCTI", help="Where that TPM is, if not at /dev/tpmrm0."),
        click.option("--systemd-creds", is_flag=True, help="Seal with the credentials of systemd."),
        click.option("--kmip", type=PATH, help="Seal with the KMIP server that this JSON file describes."),
        click.option("--tpm-pcrs", metavar="BANK:N,N", help="PCR that must keep their values: sha256:7."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def seals_of(
    what: str,
    *,
    key_file: Path | None,
    seal_by_passphrase: bool,
    seal_passphrase_file: Path | None,
    seal_passphrase_fd: int | None,
    tpm: bool,
    tpm_tcti: str | None,
    tpm_pcrs: str | None,
    systemd_creds: bool,
    kmip: Path | None,
) -> dict[str, Any]:
    """The seals that the options name, as `Providers` takes them."""
    from nvstore import (  # noqa: PLC0415 - help needs no store
        Sealer,
        SystemdSealer,
        TpmSealer,
        read_kmip_server,
    )

    seals: list[Sealer] = [SystemdSealer()] if systemd_creds else []
    if kmip is not None:
        seals.append(read_kmip_server(read(kmip), kmip))
    if tpm or tpm_tcti or tpm_pcrs:
        given = {"tcti": tpm_tcti, "pcrs": tpm_pcrs}
        seals.append(TpmSealer(**{name: value for name, value in given.items() if value}))
    passphrase = None
    if seal_by_passphrase or seal_passphrase_file is not None or seal_passphrase_fd is not None:
        passphrase = required_passphrase(seal_passphrase_file, seal_passphrase_fd, what, is_new=True)
    return {"passphrase": passphrase, "key_file": key_file, "seals": seals}


def unlock_options(command: F) -> F:
    """The option that unlocks a provider which a passphrase seals."""
    return click.option("--unlock-file", type=PATH, help="File with the passphrase that seals the provider.")(
        command
    )


def unlocked(host: Any, name: str, unlock_file: Path | None) -> Any:
    """The providers of a host, with this one unlocked if a file says how."""
    from nvstore import passphrase_from_file  # noqa: PLC0415 - help needs no store

    if unlock_file is not None:
        host.providers.unlock(name, passphrase_from_file(unlock_file, files()))
    return host.providers


def secret_options(command: F) -> F:
    """The options that open a backup: its passphrase, or enough shares of it."""
    options = (
        click.option("--passphrase-file", type=PATH, help="Read the backup's passphrase from a file."),
        click.option("--passphrase-fd", type=click.IntRange(0), help="Read it from a descriptor."),
        click.option("--share", "shares", type=PATH, multiple=True, help="A share of it; give enough."),
        click.option(
            "--allow-expensive", is_flag=True, help="Open it even if it takes gigabytes or minutes."
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@dataclass(frozen=True)
class Secret:
    """Where the passphrase of a backup comes from."""

    passphrase_file: Path | None
    passphrase_fd: int | None
    shares: tuple[Path, ...]

    def read(self) -> bytes:
        """The passphrase."""
        from nvstore import load_share, recover_passphrase  # noqa: PLC0415 - help needs no store

        if not self.shares:
            return required_passphrase(self.passphrase_file, self.passphrase_fd, "the backup")
        if passphrase_of(self.passphrase_file, self.passphrase_fd) is not None:
            raise click.UsageError("give the passphrase of the backup, or shares of it")
        return recover_passphrase([load_share(path, files()) for path in self.shares])
