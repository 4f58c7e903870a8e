"""Verbs for tests of sessions: an Index to be used, and sessions of somebody who knows no secret."""

from dataclasses import dataclass
from typing import Any

from tests.commands.nv_indices import INDEX, SELF, define
from tests.scenarios import Client, Password, Reply
from vtpm.commands import Command
from vtpm.spec.attributes import TPMA_NV, TPMA_SESSION
from vtpm.wire.error import TPM_RC

AUTH = b"secret"


def write(tpm: Client, *sessions: Any, data: bytes = b"12345678") -> Reply:
    """NV_Write of the Index, authorized by itself."""
    return tpm.nv_write(INDEX, INDEX, data=data, offset=0, sessions=sessions)


def read(tpm: Client, *sessions: Any) -> Reply:
    """NV_Read of the Index, authorized by itself."""
    return tpm.nv_read(INDEX, INDEX, size=8, offset=0, sessions=sessions)


def written(tpm: Client, attributes: TPMA_NV = SELF, auth: bytes = AUTH, policy: bytes = b"") -> None:
    """Define an Index and write it, as its owner or as itself."""
    assert define(tpm, attributes, auth=auth, policy=policy) == TPM_RC.SUCCESS
    assert write(tpm, Password(auth)).rc == TPM_RC.SUCCESS


def attributes(names: str) -> TPMA_SESSION:
    """Attributes by their names, and continueSession."""
    return TPMA_SESSION(continueSession=True, **dict.fromkeys(names.split(), True))


CONTINUED = TPMA_SESSION(continueSession=True)


@dataclass
class Other:
    """A session as the octets of somebody who knows none of its secrets."""

    handle: int
    nonce: bytes = bytes(16)
    attributes: TPMA_SESSION = CONTINUED
    hmac: bytes = b""

    def octets(self, command: Command, names: list[bytes], parameters: bytes) -> bytes:  # noqa: ARG002
        """The session's part of the authorization area."""
        head = self.handle.to_bytes(4, "big") + len(self.nonce).to_bytes(2, "big") + self.nonce
        return head + bytes([self.attributes]) + len(self.hmac).to_bytes(2, "big") + self.hmac
