"""
TPMs whose runs go from one host to another: what travels, what is expected, what is given away.

A run that goes on elsewhere is known to the hypervisor alone, which tells it by libvirt's hook or events.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from uuid import UUID

from nvstore import ArrivalFailed, Host, NvstoreError
from nvstore.transfer import Amendment
from vtpm.control.blobs import Form, Opened
from vtpm.control.messages import PTM_BLOB_TYPE
from vtpm.daemon.clock import since_1970
from vtpm.daemon.device.bringup import Gate
from vtpm.daemon.device.custody import (
    Admitted,
    Custody,
    Holding,
    Stretch,
    Word,
    custody_of,
    give_away,
    keep,
    reclaim,
)
from vtpm.daemon.errors import OperatorError

log = logging.getLogger(__name__)

EXPECTED: Final = Custody(Holding.EXPECTED)

MINUTES: Final = 60
"""How long an operator's word for one arrival is good, unless another time is given."""

MOST_MINUTES: Final = 7 * 24 * 60

Change = Callable[[Mapping[str, bytes], Stretch], dict[str, bytes | None]]

CHANGES: Final[Mapping[str, Change]] = {
    "give-away": give_away,
    "keep": keep,
    "reclaim": reclaim,
}
"""What may be said of a TPM's custody, by its name in requests and in the audit log."""


class HandoverError(OperatorError):
    """A TPM cannot come here, or go; the text gives cause and remedy."""


class HostGate(Gate):
    """What a host asks about a state that comes for one of its VMs, and writes down in its audit log."""

    needs_seal = True

    def __init__(self, host: Host, vm: UUID) -> None:
        self._host, self.vm = host, vm

    def admit_revert(self, *, is_admitted: bool) -> None:
        """See Gate."""
        self._host.admit_revert(self.vm, is_admitted=is_admitted)

    @contextmanager
    def arrival(self, **facts: Any) -> Iterator[dict[str, Any]]:
        """See Gate: a line of the audit log and of the daemon's log."""
        name = self._host.show_state(self.vm).name
        noted = noted_of(**facts)
        try:
            with self._host.audit.entry("arrive", frequent=True, vm=self.vm, name=name) as entry:
                entry.update(noted)
                try:
                    yield entry
                except OperatorError as error:
                    raise ArrivalFailed(self.vm, str(error)) from error
                noted = {**noted, **entry}
        except ArrivalFailed as error:
            raise error.__cause__ or error from None
        log.info("%s: its state came: %s", name, ", ".join(f"{key} {value}" for key, value in noted.items()))


def noted_of(*, is_sealed: bool, origin: str, key: str, **_: Any) -> dict[str, str]:
    """How a state came, for the audit log."""
    return {"sealed": "yes" if is_sealed else "no", "host": origin, "kdk_id": key}


class ProviderForm(Form):
    """State blobs of one VM as they travel from a host: sealed under the key of its provider."""

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

    def unwrap(self, kind: PTM_BLOB_TYPE, octets: bytes) -> Opened:
        """
        The blob in octets that came; NvstoreError or BlobError if they hold none that opens here.

        What is in the clear is marked so, for `HostGate`.
        """
        if not self._transfers.is_wrapped(octets):
            return super().unwrap(kind, octets)
        try:
            part = self._transfers.unwrap(self._vm, octets)
        except NvstoreError:
            with self._host.audit.entry("arrive", vm=self._vm, sealed="yes", kind=kind.name.lower()):
                raise
        self._denies_reverts |= part.denies_reverts
        return Opened(part.content, is_sealed=True, origin=part.origin, key=part.kdk_id.hex())

    def arrived(self) -> None:
        """Forbid reverts of the VM if its host did."""
        if self._denies_reverts:
            self._host.set_policy(self._vm, reverts=False)
        self._denies_reverts = False


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
    in_the_clear: bool = False,
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
        if key:
            host.providers.check_stream_key(vm, host.show_state(vm).provider, provider, bytes.fromhex(key))
        if in_the_clear and not dry_run:
            admit(host, str(vm), reason="expected in the clear", in_the_clear=True)
        return
    if name in known.values():
        raise HandoverError(
            f"this host has another TPM called {name}; delete it if nothing needs it, or rename its domain"
        )
    chosen = host.providers.choose(here, allow_unverified=allow_unverified)
    if not dry_run:
        word = word_of(in_the_clear=in_the_clear) if in_the_clear else Word()
        custody = EXPECTED._replace(word=word)
        blobs = {blob: octets for blob, octets in custody.blob().items() if octets is not None}
        host.transfers.expect(vm, name, blobs, chosen, allow_unverified=allow_unverified)


def is_expected(host: Host, vm: str) -> bool:
    """Is nothing of a VM's TPM here yet, and nothing that an operator has admitted on its way?"""
    custody = custody_of(host.read_state(vm))
    return custody.holding is Holding.EXPECTED and custody.word == Word()


def word_of(*, in_the_clear: bool = False, revert: bool = False, minutes: int = MINUTES) -> Word:
    """An operator's word, from now on."""
    admitted = Admitted.IN_THE_CLEAR if in_the_clear else Admitted.NOTHING
    admitted |= Admitted.REVERT if revert else Admitted.NOTHING
    if not admitted:
        raise HandoverError("say what is admitted: --in-the-clear, --revert, or both")
    if not 0 < minutes <= MOST_MINUTES:
        raise HandoverError(
            f"a word is good for up to {MOST_MINUTES} minutes; give --minutes between 1 and that"
        )
    return Word(admitted, since_1970() // 1000 + 60 * minutes)


def admit(host: Host, vm: str, *, reason: str, **admitted: Any) -> None:
    """Admit, once and for a while, a state of a VM that is off, that would be refused when it comes."""
    word = word_of(**admitted)

    def change(stored: Mapping[str, bytes], _here: Stretch) -> dict[str, bytes | None]:
        return custody_of(stored)._replace(word=word).blob()

    what = {
        "in_the_clear": bool(word.admitted & Admitted.IN_THE_CLEAR),
        "revert": bool(word.admitted & Admitted.REVERT),
    }
    host.transfers.amend(vm, "admit", amendment(change), reason, until=word.until, **what)


def change_custody(host: Host, vm: str, change: str, reason: str | None = None) -> None:
    """Say who has the TPM of a VM that is off."""
    if change not in CHANGES:
        raise HandoverError(f"there is no change {change}; use the `vtpm` of the daemon's version")
    host.transfers.amend(vm, change, amendment(CHANGES[change]), reason)


def amendment(change: Change) -> Amendment:
    """A change of who has a TPM as a change of its state."""
    return lambda stored, generation: change(stored, Stretch(*generation))
