"""A virtual TPM 2.0: `Tpm` executes commands, `Outcome` is what comes of one."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vtpm.engine.execute import Outcome
    from vtpm.engine.tpm import Tpm
    from vtpm.state.clock import Instant
    from vtpm.state.profile import DEFAULT, PROFILES, Profile
    from vtpm.state.saved import SavedStateError
    from vtpm.wire.error import TPM_RC, TpmError

__all__ = [
    "DEFAULT",
    "PROFILES",
    "TPM_RC",
    "Instant",
    "Outcome",
    "Profile",
    "SavedStateError",
    "Tpm",
    "TpmError",
]

HOMES = {
    "DEFAULT": "vtpm.state.profile",
    "PROFILES": "vtpm.state.profile",
    "TPM_RC": "vtpm.wire.error",
    "Instant": "vtpm.state.clock",
    "Outcome": "vtpm.engine.execute",
    "Profile": "vtpm.state.profile",
    "SavedStateError": "vtpm.state.saved",
    "Tpm": "vtpm.engine.tpm",
    "TpmError": "vtpm.wire.error",
}
"""Where the names are defined; loaded at first use, since a server binds its sockets before all else."""


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(HOMES[name]), name)
    return value
