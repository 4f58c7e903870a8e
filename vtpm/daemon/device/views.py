"""What an operator may see of a TPM: every view looks at a copy, so none of them can touch the TPM itself."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib import import_module
from typing import Any, Final

from vtpm.daemon.clock import Entropy, entropy
from vtpm.daemon.device.stateblobs import powered_off
from vtpm.daemon.errors import OperatorError
from vtpm.engine.tpm import Tpm
from vtpm.state.clock import Instant
from vtpm.state.saved import SavedStateError

VIEWS: Final = {
    "ek": ("vtpm.manufacture.endorsement", "describe_endorsement"),
    "identity": ("vtpm.manufacture.identity", "describe_identity"),
    "inspect": ("vtpm.manufacture.description", "describe"),
    "platform": ("vtpm.manufacture.platform", "describe_platform"),
    "windows11": ("vtpm.manufacture.windows", "examine"),
}
"""
Functions of a TPM, which they may use up, and the time; they give what JSON can say, and no secret.

They are loaded when asked for.
"""


class ViewError(OperatorError):
    """There is no such view, or no TPM to look at; the text gives cause and remedy."""


def shown(
    view: str,
    blobs: Mapping[str, bytes],
    idle: int | None = None,
    *,
    restore: Callable[[Mapping[str, bytes], Entropy], Tpm] = Tpm.restore,
) -> Any:
    """
    What a view shows of the TPM that is in these blobs.

    `idle` is how many milliseconds ago it executed a command, None for a TPM that is off.
    """
    if view not in VIEWS:
        raise ViewError(f"there is no view {view}; use the `vtpm` of the daemon's version")
    module, name = VIEWS[view]
    look: Callable[[Tpm, datetime], Any] = getattr(import_module(module), name)
    return look(copy_of(blobs, idle, restore), datetime.now(UTC))


def copy_of(
    blobs: Mapping[str, bytes], idle: int | None, restore: Callable[[Mapping[str, bytes], Entropy], Tpm]
) -> Tpm:
    """Another TPM with the same state: at this moment if it runs, else powered but not started."""
    try:
        tpm = restore(blobs if idle is not None else powered_off(blobs), entropy)
        if idle is None:
            tpm.power_on(Instant(0))
        else:
            tpm.resume(Instant(0))
            tpm.begin(0, Instant(idle))
    except SavedStateError as error:
        raise ViewError(f"{error}; restore the state from a backup") from None
    return tpm
