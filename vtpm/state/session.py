"""Part 1, "Authorization Sessions": HMAC, policy and trial sessions."""

from dataclasses import dataclass
from enum import Enum, auto

from vtpm.crypto.digest import digest, digest_size
from vtpm.spec.algorithms import TPMT_SYM_DEF
from vtpm.spec.constants import TPM_ALG, TPM_CC, TPM_HT
from vtpm.state.clock import Clock
from vtpm.state.entity import Entity


class Hashed(Enum):
    """Which part of the command `Policy.bound_hash` is compared with."""

    CP_HASH = auto()
    NAME_HASH = auto()
    PARAMETERS = auto()
    TEMPLATE = auto()


@dataclass(slots=True, eq=False)
class Policy:
    """What a policy session has accumulated, and what the command must still show."""

    digest: bytes
    command_code: TPM_CC | int = 0
    locality: int = 0
    """A TPMA_LOCALITY; 0 is any locality."""
    timeout: int = 0
    """In milliseconds of Time; 0 is none."""
    bound_hash: bytes = b""
    hashed: Hashed | None = None
    auth_value_needed: bool = False
    password_needed: bool = False
    physical_presence: bool = False
    nv_written: bool | None = None
    """The state of WRITTEN that the Index must have, if PolicyNvWritten was executed."""
    pcr_counter: int = 0
    """pcrUpdateCounter at PolicyPCR; 0 if PCR do not matter."""
    secure_channel: bool = False
    channel_key_hash: bytes = b""

    def expire_at(self, timeout: int) -> None:
        """Part 3, 23.2.4: let the policy end at `timeout`, if not earlier; 0 leaves it as it is."""
        if timeout and (self.timeout == 0 or timeout < self.timeout):
            self.timeout = timeout


@dataclass(slots=True, eq=False)
class Session:
    """A loaded session; `policy` is set in policy and trial sessions."""

    handle: int
    hash: TPM_ALG
    symmetric: TPMT_SYM_DEF
    nonce_tpm: bytes
    session_key: bytes
    policy: Policy | None = None
    is_trial: bool = False
    bound: bytes | None = None
    """`binding_of` the entity it is bound to; none once it audits."""
    is_da_bound: bool = False
    is_lockout_bound: bool = False
    audit_digest: bytes | None = None
    """The session audit digest, once the session audits."""
    start_time: int = 0
    epoch: int = 0

    def __repr__(self) -> str:
        return f"Session(0x{self.handle:08X}, {self.hash.name})"

    @property
    def name(self) -> bytes:
        """Part 1, "Names": the handle itself."""
        return self.handle.to_bytes(4, "big")

    @property
    def is_policy(self) -> bool:
        """Is it a policy or trial session?"""
        return self.handle >> 24 == TPM_HT.POLICY_SESSION

    @property
    def the_policy(self) -> Policy:
        """The policy of a session that a command has found to be a policy session."""
        assert self.policy is not None
        return self.policy

    def restart_policy(self) -> None:
        """Begin the policy again: after use, and by PolicyRestart; its time goes on."""
        self.policy = Policy(bytes(digest_size(self.hash)))

    def restart_time(self, clock: Clock) -> None:
        """Expirations count from now: the nonce to which they refer is new."""
        self.start_time, self.epoch = clock.time, clock.epoch


def binding_of(entity: Entity) -> bytes:
    """
    What a session remembers of the entity it is bound to: its Name and authValue must be the same later.

    Only a digest is kept, so that the authValue is not in a second place.
    """
    return digest(TPM_ALG.SHA256, len(entity.name).to_bytes(2, "big"), entity.name, entity.auth_value)
