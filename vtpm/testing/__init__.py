"""A TPM for tests: `Client` in this process, `TpmServer` at ports, and fixtures of pytest for both."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vtpm.caller.caller import Caller, Password
    from vtpm.caller.messages import Refused, Reply
    from vtpm.testing.client import Client
    from vtpm.testing.entropy import seeded
    from vtpm.testing.server import TpmServer
    from vtpm.testing.session import CallerSession, ResponseError, start_session

__all__ = [
    "Caller",
    "CallerSession",
    "Client",
    "Password",
    "Refused",
    "Reply",
    "ResponseError",
    "TpmServer",
    "seeded",
    "start_session",
]

HOMES = {
    "Caller": "vtpm.caller.caller",
    "CallerSession": "vtpm.testing.session",
    "Client": "vtpm.testing.client",
    "Password": "vtpm.caller.caller",
    "Refused": "vtpm.caller.messages",
    "Reply": "vtpm.caller.messages",
    "ResponseError": "vtpm.testing.session",
    "TpmServer": "vtpm.testing.server",
    "seeded": "vtpm.testing.entropy",
    "start_session": "vtpm.testing.session",
}
"""Where the names are defined; loaded at first use, since pytest imports the plugin in every run."""


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(HOMES[name]), name)
    return value
