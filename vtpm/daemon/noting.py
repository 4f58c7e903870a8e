"""What an operator changes of what is noted of a VM: its name, its policy, its anchor."""

from collections.abc import Callable, Mapping
from typing import Final

from nvstore import Host
from vtpm.daemon.errors import OperatorError

ALLOW: Final = "allow"


class NotingError(OperatorError):
    """The daemon does not know what is to be changed; the text gives cause and remedy."""


def _policy(host: Host, vm: str, value: str) -> None:
    host.set_policy(vm, reverts=value == ALLOW)


def _anchor(host: Host, vm: str, value: str) -> None:
    host.set_anchor(vm, value)


def _name(host: Host, vm: str, value: str) -> None:
    host.rename(vm, value)


NOTED: Final[Mapping[str, Callable[[Host, str, str], None]]] = {
    "reverts": _policy,
    "anchor": _anchor,
    "name": _name,
}
"""What may be changed, by its name in requests."""


def changed(host: Host, vm: str, what: str, value: str) -> bool:
    """Change it in the state, which may be open in this process, and in the index."""
    if what not in NOTED:
        raise NotingError(f"what is noted of a VM has no {what!r}; use a client of the daemon's version")
    NOTED[what](host, vm, value)
    return True
