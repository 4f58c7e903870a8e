"""
TPMs whose runs go from one host to another: what travels, what is expected, what is given away.

A run that goes on elsewhere is known to the hypervisor alone, which tells it by libvirt's hook or events.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final
from uuid import UUID

from nvstore import Host
from vtpm.control.blobs import Form
from vtpm.control.messages import PTM_BLOB_TYPE
from vtpm.daemon.device.custody import Custody, Holding, custody_of, give_away, keep, reclaim
from vtpm.daemon.errors import OperatorError

EXPECTED: Final = Custody(Holding.EXPECTED)

CHANGES: Final[Mapping[str, Callable[[Mapping[str, bytes]], dict[str, bytes | None]]]] = {
    "give-away": give_away,
    "keep": keep,
    "reclaim": reclaim,
}
"""What may be said of a TPM's custody, by its name in requests and in the audit log."""


class HandoverError(OperatorError):
    """A TPM cannot come here, or go; the text gives cause and remedy."""


class ProviderForm(Form):
    """
    State blobs of one VM as they travel from a host: sealed under the key of its provider.

    Blobs in the clear are taken, too: save files and snapshots of before may hold them.
    """

    def __init__(self, host: Host, vm: UUID) -> None:
        self._host, self._transfers, self._vm = host, host.transfers, vm
        self._denies_reverts = False

    @property
    def is_encrypted(self) -> bool:
        """They always are."""
        return True

    def wrap(self, blob: bytes) -> bytes:
        """The octets to send for a blob; NvstoreError if the key cannot be had."""
        return self._transfers.wrap(self._vm, blob)

    def unwrap(self, kind: PTM_BLOB_TYPE, octets: bytes) -> bytes:
        """The blob in octets that came; NvstoreError or BlobError if they hold none that opens here."""
        if not self._transfers.is_wrapped(octets):
            return super().unwrap(kind, octets)
        part = self._transfers.unwrap(self._vm, octets)
        self._denies_reverts = part.denies_reverts
        return part.content

    def arrived(self) -> None:
        """Forbid reverts of the VM if its host did."""
        if self._denies_reverts:
            self._host.set_policy(self._vm, reverts=False)


def offer_of(host: Host, vm: str) -> dict[str, Any]:
    """What another host must know to expect a VM's TPM; no secret."""
    status = host.show_state(vm)
    custody_of(host.read_state(vm)).check_start()
    key = host.providers.current(status.provider)
    return {"vm": str(status.vm), "name": status.name, "provider": status.provider, "key": key.hex()}


def expect(
    host: Host,
    vm: UUID,
    name: str,
    provider: str = "",
    key: str = "",
    *,
    allow_unverified: bool = False,
    dry_run: bool = False,
) -> None:
    """
    Prepare for the TPM of a VM that comes with its run; its state may be here from before.

    HandoverError or NvstoreError if it could not be opened, or is somebody else's.
    """
    here = host.providers.having(provider, bytes.fromhex(key)) if key else provider or None
    known = {state.vm: state.name for state in host.list_states()}
    if known.get(vm, name) != name:
        raise HandoverError(
            f"the TPM of {vm} is called {known[vm]} on this host, and {name} where it comes from; "
            f"have its definition name the socket of {known[vm]}"
        )
    if vm in known:
        custody_of(host.read_state(vm))
        return
    if name in known.values():
        raise HandoverError(
            f"this host has another TPM called {name}; delete it if nothing needs it, or rename its domain"
        )
    chosen = host.providers.choose(here, allow_unverified=allow_unverified)
    if not dry_run:
        blobs = {blob: octets for blob, octets in EXPECTED.blob().items() if octets is not None}
        host.transfers.expect(vm, name, blobs, chosen, allow_unverified=allow_unverified)


def is_expected(host: Host, vm: str) -> bool:
    """Is nothing of a VM's TPM here yet?"""
    return custody_of(host.read_state(vm)).holding is Holding.EXPECTED


def change_custody(host: Host, vm: str, change: str, reason: str | None = None) -> None:
    """Say who has the TPM of a VM that is off."""
    if change not in CHANGES:
        raise HandoverError(f"there is no change {change}; use the `vtpm` of the daemon's version")
    host.transfers.amend(vm, change, CHANGES[change], reason)
