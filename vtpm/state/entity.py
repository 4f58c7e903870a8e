"""Part 1, "Entities": what a handle refers to and how its use is authorized."""

from enum import Enum, auto
from typing import Protocol

from vtpm.spec.constants import TPM_ALG, TPM_CC


class Role(Enum):
    """Part 1, "Authorization Roles": what the authorization of a handle must allow."""

    USER = auto()
    ADMIN = auto()
    DUP = auto()


USER = Role.USER
"""To find a member in an Enum costs as much as a function call, and nearly every command needs this one."""


def without_trailing_zeros(auth: bytes) -> bytes:
    """Part 1, "authValues": trailing zero octets are not part of an authValue."""
    return auth.rstrip(b"\0")


class Entity(Protocol):
    """What the handle area of a command can name."""

    @property
    def handle(self) -> int:
        """The handle by which a command names the entity."""

    @property
    def name(self) -> bytes:
        """Part 1, "Names": the entity's Name."""

    @property
    def auth_value(self) -> bytes:
        """The authValue, without trailing zeros."""

    @property
    def auth_policy(self) -> bytes:
        """The authPolicy, empty if there is none."""

    @property
    def policy_alg(self) -> TPM_ALG:
        """The hash of the authPolicy; TPM_ALG_NULL if there is none."""

    @property
    def is_da_protected(self) -> bool:
        """Does a failed authorization count against the dictionary attack limit?"""

    def is_policy_required(self, role: Role) -> bool:
        """Is a policy session the only way to authorize the role?"""

    def is_auth_value_available(self, role: Role, code: TPM_CC) -> bool:
        """May the authValue authorize the role for this command?"""

    def is_policy_available(self, role: Role, code: TPM_CC) -> bool:
        """May the authPolicy authorize the role for this command?"""
