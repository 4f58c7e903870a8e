"""An operator's change of a VM's TPM, audited: through the daemon if it has it, else of what is stored."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vtpm.cli.passphrase import passphrase_of
from vtpm.cli.place import Place
from vtpm.cli.vm import unlock


def change(
    place: Place,
    vm: str,
    name: str,
    *,
    facts: Mapping[str, str],
    gives: str,
    provider: str | None,
    passphrase_file: Path | None,
    passphrase_fd: int | None,
    **arguments: Any,
) -> Any:
    """Make a change; what it gives. `facts` and this, called `gives`, are noted in the audit log."""
    from vtpm.daemon.admin import ask  # noqa: PLC0415 - help needs neither
    from vtpm.daemon.device.changes import altered  # noqa: PLC0415

    host = place.host()
    status = host.show_state(vm)
    with host.audit.entry(name, vm=status.vm, name=status.name) as noted:
        noted.update(facts)
        result = ask(place.run_dir, "change", name=status.name, change=name, **arguments)
        noted["through"] = "store" if result is None else "daemon"
        if result is None:
            unlock(host, provider, passphrase_of(passphrase_file, passphrase_fd))
            ask(place.run_dir, "release", name=status.name)
            try:
                with host.open_state(status.name) as store:
                    result, changes = altered(
                        store.load(), (store.incarnation, store.generation + 1), name, **arguments
                    )
                    store.commit(changes)
            finally:
                ask(place.run_dir, "rescan")
        noted[gives] = result
    return result
