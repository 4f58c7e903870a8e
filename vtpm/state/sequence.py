"""Part 1, "Hash, MAC, and Event Sequences": sequence objects, which live in transient handles."""

from dataclasses import dataclass
from enum import Enum, auto

from vtpm.crypto.running import Running
from vtpm.spec.constants import TPM_ALG, TPM_CC, TPM_GENERATED_VALUE
from vtpm.state.entity import Role, without_trailing_zeros

GENERATED = TPM_GENERATED_VALUE.to_bytes(4, "big")
"""What the structures begin with that the TPM itself makes and signs."""


class SequenceKind(Enum):
    """What the octets of a sequence end in."""

    HASH = auto()
    MAC = auto()
    EVENT = auto()


@dataclass(slots=True, eq=False)
class Sequence:
    """
    A sequence object; `states` are the running digests or MAC, one for each algorithm (several for an event).

    What begins with TPM_GENERATED_VALUE denies a hash its ticket.
    """

    kind: SequenceKind
    auth_value: bytes
    states: dict[TPM_ALG, Running]
    handle: int = 0
    started: bool = False
    is_generated: bool = False
    """Do the octets begin with TPM_GENERATED_VALUE (or are there fewer than four in the first buffer)?"""

    def __post_init__(self) -> None:
        self.auth_value = without_trailing_zeros(self.auth_value)

    def __repr__(self) -> str:
        return f"Sequence(0x{self.handle:08X}, {self.kind.name})"

    def update(self, octets: bytes) -> None:
        """
        Part 3, 17.7: more octets.

        The first buffer alone decides whether a digest can have a ticket, so it must hold four octets.
        """
        if not self.started:
            self.started = True
            self.is_generated = len(octets) < len(GENERATED) or octets.startswith(GENERATED)
        for state in self.states.values():
            state.update(octets)

    @property
    def name(self) -> bytes:
        """A sequence object has an empty Name."""
        return b""

    @property
    def auth_policy(self) -> bytes:
        """A sequence object has no policy."""
        return b""

    @property
    def policy_alg(self) -> TPM_ALG:
        """A sequence object has no policy."""
        return TPM_ALG.NULL

    @property
    def is_da_protected(self) -> bool:
        """A sequence object has noDA set."""
        return False

    def is_policy_required(self, role: Role) -> bool:
        """Only DUP, which no command asks of a sequence."""
        return role is Role.DUP

    def is_auth_value_available(self, role: Role, code: TPM_CC) -> bool:  # noqa: ARG002 - the same for all
        """The authValue always authorizes."""
        return True

    def is_policy_available(self, role: Role, code: TPM_CC) -> bool:  # noqa: ARG002
        """A sequence object has no policy."""
        return False
