"""Rekeying of many states: which of them are behind, and how far it went."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

THREADS = 8
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
