"""What the pipeline knows of the command that it is executing."""

from dataclasses import dataclass, field

from vtpm.commands.table import Command
from vtpm.crypto.digest import digest
from vtpm.spec.attributes import TPMA_SESSION
from vtpm.spec.constants import TPM_ALG
from vtpm.state.entity import Entity, Role
from vtpm.state.session import Session


@dataclass(slots=True, eq=False)
class SessionUse:
    """One session of the authorization area; a password has no `session`, only a value in `auth`."""

    number: int
    """From 1, as response codes count."""
    session: Session | None
    nonce_caller: bytes
    attributes: TPMA_SESSION
    auth: bytes
    entity: Entity | None = None
    """What it authorizes; none for a session that only encrypts, decrypts or audits."""
    role: Role | None = None
    includes_auth: bool = False
    """Is the entity's authValue part of the HMAC key?"""

    def __repr__(self) -> str:
        return f"SessionUse({self.number}, {self.session!r})"


@dataclass(slots=True, eq=False)
class Call:
    """A command on its way through the pipeline; names are taken once, before the command can change them."""

    command: Command
    handles: list[int]
    entities: list[Entity | Session | None]
    names: list[bytes]
    parameters: bytes = b""
    sessions: list[SessionUse] = field(default_factory=list)
    cp_hashes: dict[TPM_ALG, bytes] = field(default_factory=dict)
    decrypt: SessionUse | None = None
    encrypt: SessionUse | None = None
    audit: SessionUse | None = None

    def cp_hash(self, alg: TPM_ALG) -> bytes:
        """Part 1, "cpHash": of the command code, the Names and the parameters as they were sent."""
        if alg not in self.cp_hashes:
            code = self.command.code.to_bytes(4, "big")
            self.cp_hashes[alg] = digest(alg, code, *self.names, self.parameters)
        return self.cp_hashes[alg]
