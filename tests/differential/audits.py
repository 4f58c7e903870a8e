"""
Part 1, 17 and 32: the audit digests of one TPM, as its caller computes them from what was sent and answered.

The digests of two TPMs differ wherever something random is audited, so each is judged by its own.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Any

from tests.scenarios import Reply
from tests.sessions import HASHES, CallerSession
from vtpm.commands import Command
from vtpm.spec.constants import TPM_ALG, TPM_CC, TPM_RH
from vtpm.spec.structures import TPMS_ATTEST
from vtpm.wire.structure import unmarshal


@dataclass
class Executed:
    """A command that has succeeded, with its parameters and those of its response as they were sent."""

    command: Command
    handles: list[int]
    names: list[bytes]
    parameters: bytes
    answer: bytes

    def extended(self, alg: TPM_ALG, old: bytes) -> bytes:
        """The digest `old` after this command."""
        name, code = HASHES[alg], self.command.code.to_bytes(4, "big")
        cp_hash = hashlib.new(name, code + b"".join(self.names) + self.parameters).digest()
        rp_hash = hashlib.new(name, bytes(4) + code + self.answer).digest()
        return hashlib.new(name, (old or bytes(len(cp_hash))) + cp_hash + rp_hash).digest()


@dataclass
class Audits:
    """The audit digests of one TPM; an empty one has not begun."""

    sessions: dict[int, bytes] = field(default_factory=dict)
    commands: bytes = b""

    def is_attested(self, executed: Executed, reply: Reply) -> bool:
        """Is the digest in an attestation of an audit the right one? To be asked before `follow`."""
        if executed.command.code not in (TPM_CC.GetSessionAuditDigest, TPM_CC.GetCommandAuditDigest):
            return True
        attested: Any = unmarshal(TPMS_ATTEST, reply.attested).attested
        if executed.command.code == TPM_CC.GetCommandAuditDigest:
            return bool(attested.audit_digest == self.commands)
        return bool(attested.session_digest == self.sessions.get(executed.handles[2]))

    def follow(self, executed: Executed, audited_by: TPM_ALG | None) -> None:
        """A command has succeeded; `audited_by` is the hash of the command audit if that applies."""
        signs = executed.handles[1:2] != [TPM_RH.NULL]
        if executed.command.code == TPM_CC.GetCommandAuditDigest and signs:
            self.commands = b""
        if audited_by is not None:
            self.commands = executed.extended(audited_by, self.commands)

    def follow_session(self, executed: Executed, session: CallerSession) -> None:
        """A command has succeeded with a session, which audits if its attributes say so."""
        if session.attributes.audit:
            old = b"" if session.attributes.auditReset else self.sessions.get(session.handle, b"")
            self.sessions[session.handle] = executed.extended(session.alg, old)

    def forget(self, session: int) -> None:
        """A session has begun or ended."""
        self.sessions.pop(session, None)
