"""What tests use of `vtpm.testing`: a client whose methods are the commands of the table, sent as octets."""

from vtpm.testing.client import BY_HANDLER, Caller, Client, Password
from vtpm.testing.entropy import seeded
from vtpm.testing.messages import HEADER, Reply, parameters_of, reply_of, request_of

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
