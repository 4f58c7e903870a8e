"""What tests use of `vtpm.testing`: a client whose methods are the commands of the table, sent as octets."""

from vtpm.caller.caller import BY_HANDLER, Caller, Password
from vtpm.caller.messages import HEADER, Reply, parameters_of, reply_of, request_of
from vtpm.testing.client import Client
from vtpm.testing.entropy import seeded

__all__ = [
    "BY_HANDLER",
    "HEADER",
    "Caller",
    "Client",
    "Password",
    "Reply",
    "parameters_of",
    "reply_of",
    "request_of",
    "seeded",
]
