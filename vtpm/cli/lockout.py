"""`vtpm lockout-reset`: the way out for a guest that is locked out of its TPM."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vtpm.cli.errors import explained
from vtpm.cli.passphrase import passphrase_of, passphrase_options
from vtpm.cli.place import Place
from vtpm.cli.vm import unlock

if TYPE_CHECKING:
    from nvstore import Host


@click.command("lockout-reset", short_help="Forgive failed authorizations.")
@click.argument("vm")
@click.option("--reason", default="", help="Why; it is noted in the audit log.")
@click.option("--provider", help="The key provider that the passphrase unlocks.")
@passphrase_options
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
@click.pass_obj
def lockout_reset(
    place: Place,
    vm: str,
    reason: str,
    provider: str | None,
    passphrase_file: Path | None,
    passphrase_fd: int | None,
    *,
    as_json: bool,
) -> None:
    """
    End the dictionary attack lockout of a VM's TPM, running or off, without its lockoutAuth.

    What the guest's owner has set stays as it is; the audit log notes it.
    """
    with explained():
        from vtpm.daemon.admin import ask  # noqa: PLC0415 - help needs no daemon

        host = place.host()
        status = host.show_state(vm)
        with host.audit.entry("lockout-reset", vm=status.vm, name=status.name, reason=reason) as facts:
            tries = ask(place.run_dir, "lockout-reset", name=status.name)
            facts["through"] = "store" if tries is None else "daemon"
            if tries is None:
                unlock(host, provider, passphrase_of(passphrase_file, passphrase_fd))
                ask(place.run_dir, "release", name=status.name)
                try:
                    tries = reset_stored(host, status.name)
                finally:
                    ask(place.run_dir, "rescan")
            facts["failed_tries"] = tries
    if as_json:
        click.echo(json.dumps({"vm": status.name, "failed_tries": tries}))
    else:
        click.echo(f"{status.name}: not locked out; {tries} failed authorizations are forgiven")


def reset_stored(host: "Host", name: str) -> int:
    """Forgive what is counted in the stored state of a TPM that is off; how many failures there were."""
    from vtpm.daemon.clock import entropy  # noqa: PLC0415 - help needs none of them
    from vtpm.daemon.device import SUSPENDED  # noqa: PLC0415
    from vtpm.state.saved import SavedStateError  # noqa: PLC0415
    from vtpm.state.tpm import TpmState  # noqa: PLC0415

    with host.open_state(name) as store:
        blobs = store.load()
        if SUSPENDED in blobs:
            raise click.ClickException(
                f"{name}: its state was stored while it ran, and goes on only with the state as it is now; "
                "start the VM, then try again"
            )
        try:
            tpm = TpmState.restore(blobs, entropy)
        except SavedStateError as error:
            raise click.ClickException(f"{error}; restore the state from a backup") from None
        tries = tpm.lockout.failed_tries
        tpm.lockout.forgive()
        tpm.touch_permanent()
        store.commit(tpm.changes())
    return tries
