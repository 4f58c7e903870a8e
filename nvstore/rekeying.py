"""Rekeying of many states, which of them are behind, and how far it went; and the destruction of one."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple
from uuid import UUID

from nvstore.audit import Audit
from nvstore.errors import Locked, NvstoreError, UnknownState
from nvstore.provider.providers import Providers
from nvstore.provider.rotation import Rotations
from nvstore.provider_errors import ProviderLocked
from nvstore.state.file import FileStore
from nvstore.state.place import Place
from nvstore.state.record import Header
from nvstore.vault import Vault

THREADS: Final = 8
"""States that are rekeyed at the same time: each waits for the disk most of its time."""


@dataclass(frozen=True)
class RekeyReport:
    """What became of the states that were to be rekeyed."""

    done: Sequence[str]
    busy: Sequence[str]
    """VMs whose state somebody else has open, who could not be asked to rekey it."""
    failed: Sequence[tuple[str, str]]
    """VMs that were left as they were, each with the reason."""

    def to_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "done": list(self.done),
            "busy": list(self.busy),
            "failed": [{"vm": vm, "why": why} for vm, why in self.failed],
        }


@dataclass(frozen=True)
class ShredReport:
    """What the destruction of one VM's state covers, and what not."""

    vm: str
    kdk_ids: Sequence[str]
    """The keys under which copies of the state elsewhere are readable."""
    holders: Sequence[str]
    """Who is known to hold these keys, besides this host."""

    def to_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {**vars(self), "kdk_ids": list(self.kdk_ids), "holders": list(self.holders)}

    def lines(self) -> list[str]:
        """Return it for people."""
        keys = ", ".join(self.kdk_ids) or "none that is known"
        return [
            f"{self.vm}: the state on this host, its salt and its mark were overwritten and removed",
            "  covered      whoever has this host's disk and keys, as far as the disk overwrites in place",
            "  not covered  copies of the state file: backups, snapshots, blocks that a disk keeps",
            f"  key          such a copy opens with {keys}",
            f"  held by      this host{''.join(f', {holder}' for holder in self.holders)}",
            "  to cover them too, rotate the provider, rekey the other VMs with --deep, make a new backup,",
            "  retire the key by `vtpm provider retire`, and destroy the backups that hold it",
        ]


class States(NamedTuple):
    """What rekeying needs of the states of its host."""

    known: Callable[[], dict[UUID, str]]
    """All VMs of the host, with their names."""
    place: Callable[[UUID], Place]
    headers: Callable[[UUID], list[Header]]
    """The headers of a state's records, newest first; none if it cannot be read."""
    move: Callable[[Sequence[UUID], str], None]
    """Registers VMs under another provider."""
    delete: Callable[[UUID], None]


class Rekeying:
    """The rekeying of one host's states; `Host.rekeying`."""

    def __init__(
        self, states: States, providers: Providers, rotations: Rotations, vault: Vault, audit: Audit
    ) -> None:
        self._states, self._providers = states, providers
        self._rotations, self._vault, self._audit = rotations, vault, audit

    def __repr__(self) -> str:
        return "Rekeying()"

    def stale(self, provider: str | None = None, *, deep: bool = False) -> list[str]:
        """
        Return the VMs that are not under the current key of their provider; `deep` counts their history, too.

        Those of one provider, or of all that are here.
        """
        current = {status.name: status.kdk_id for status in self._providers.list() if status.keys}
        stale = []
        for vm, name in self._states.known().items():
            own = self._states.headers(vm)
            if own and provider in {None, own[0].provider} and own[0].provider in current:
                keys = {header.kdk_id.hex() for header in (own if deep else own[:1])}
                if keys != {current[own[0].provider]}:
                    stale.append(name)
        return sorted(stale)

    def rekey(
        self,
        vms: Sequence[UUID | str],
        *,
        deep: bool = False,
        provider: str | None = None,
        in_use: Callable[[str], bool] = lambda _: False,
    ) -> RekeyReport:
        """
        Write states again under the current key of their provider, or of another one; see `FileStore.rekey`.

        `in_use` is told of each VM whose state somebody else has open, and says whether it was rekeyed there.
        What was interrupted is repeated with what `stale` still returns.
        """
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - slow to import, rarely used

        chosen = self._resolve(vms)
        names = list(chosen.values())
        if provider is not None:
            self._providers.choose(provider, allow_unverified=False)
        depth = "deep" if deep else "shallow"
        with self._audit.entry("rekey", depth=depth, provider=provider, vms=" ".join(names)) as facts:
            with ThreadPoolExecutor(THREADS) as threads:
                results = list(threads.map(partial(self._rekey, deep=deep, provider=provider), chosen))
            outcome = [
                (name, "" if result == Locked.code and in_use(name) else result)
                for name, result in zip(names, results, strict=True)
            ]
            done = [name for name, problem in outcome if not problem]
            if provider is not None:
                self._states.move([vm for vm, name in chosen.items() if name in done], provider)
            busy = [name for name, problem in outcome if problem == Locked.code]
            failed = [(name, problem) for name, problem in outcome if problem not in {"", Locked.code}]
            facts |= {"done": len(done), "busy": len(busy), "failed": len(failed)}
        self.finish_rotations()
        return RekeyReport(done, busy, failed)

    def finish_rotations(self) -> None:
        """Note for each promoted rotation whether a state or secret of this host is still behind."""
        for status in self._providers.list():
            if status.successor and not self.stale(status.name) and not self._vault.stale(status.name):
                with suppress(ProviderLocked):  # who unlocks it next can note it as well
                    self._rotations.finish(status.name)

    def shred(self, vm: UUID | str) -> ShredReport:
        """Destroy the state of a VM as `Host.delete_state` does, and tell what that covers."""
        ((uuid, name),) = self._resolve([vm]).items()
        ids = sorted({header.kdk_id for header in self._states.headers(uuid)})
        self._states.delete(uuid)
        holders = [holder for kdk_id in ids for holder in self._providers.holders(kdk_id)]
        return ShredReport(name, [kdk_id.hex() for kdk_id in ids], holders)

    def _rekey(self, vm: UUID, *, deep: bool, provider: str | None) -> str:
        """Rekey one state; return the code of `Locked`, or what else is in the way, or nothing."""
        try:
            with FileStore.open(self._states.place(vm), vm, self._providers) as store:
                store.rekey(deep=deep, provider=provider)
        except Locked as error:
            return error.code
        except NvstoreError as error:
            return str(error)
        return ""

    def _resolve(self, vms: Sequence[UUID | str]) -> dict[UUID, str]:
        """Return these VMs, given by name or UUID, with their names."""
        known = self._states.known()
        by_label = {str(vm): vm for vm in known} | {name: vm for vm, name in known.items()}
        for vm in vms:
            if str(vm) not in by_label:
                raise UnknownState(str(vm))
        return {by_label[str(vm)]: known[by_label[str(vm)]] for vm in vms}
