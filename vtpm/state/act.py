"""Part 1, "Authenticated Countdown Timer (ACT)"."""

from dataclasses import dataclass

from vtpm.spec.attributes import TPMA_ACT
from vtpm.spec.constants import TPM_ALG, TPM_CC, TPM_RH
from vtpm.state.entity import Role
from vtpm.state.hierarchy import Hierarchy

SECOND = 1000
"""In milliseconds, which is what Time counts."""

STOP = 0xFFFFFFFF
"""Part 3, 33.2: the timeout that clears `signaled`, and starts nothing."""


@dataclass(slots=True, eq=False)
class Act:
    """A countdown in seconds of Time; kept by a Resume only, as are its policy and whether it has expired."""

    auth_policy: bytes = b""
    policy_alg: TPM_ALG = TPM_ALG.NULL
    deadline: int = 0
    """When it expires, in milliseconds of Time; 0 if it does not count."""
    signaled: bool = False
    preserved: bool = False
    """Had it signaled before the Resume that began this run (preserveSignaled)?"""
    updated: bool = False
    """Has a timeout been set since Startup?"""
    kept: tuple[int, bool] | None = None
    """What Shutdown(STATE) has saved: the seconds to begin with again, and `signaled`."""

    @property
    def attributes(self) -> TPMA_ACT:
        """Part 2, 8.12."""
        return TPMA_ACT(signaled=self.signaled, preserveSignaled=self.preserved)

    def remaining(self, time: int) -> int:
        """Seconds until it expires, a part of one counting in full."""
        return max(0, -((time - self.deadline) // SECOND)) if self.deadline else 0

    def update(self, time: int) -> None:
        """Time has advanced: does it expire?"""
        if self.deadline and time >= self.deadline:
            self.deadline = 0
            self.signaled = True

    def set(self, seconds: int, time: int) -> None:
        """TPM2_ACT_SetTimeout: the four states of Part 3, 33.2.1, and the end of a signal."""
        if seconds == STOP:
            self.signaled = False
        elif seconds:
            self.signaled = False
            self.deadline = time + SECOND * seconds
        elif self.deadline:
            self.signaled = True
        if seconds in (0, STOP):
            self.deadline = 0
        self.preserved = False
        self.updated = True
        self.kept = None

    def shut_down(self, time: int) -> None:
        """
        Shutdown(STATE): save what a Resume begins with again.

        Only half of it if no timeout was set since Startup, so that repeated shutdowns do not prolong it.
        """
        seconds = self.remaining(time)
        if not self.updated and seconds > 1:
            seconds //= 2
        self.kept = (seconds, self.signaled)

    def resume(self, time: int) -> None:
        """Startup(STATE): count again from what was saved."""
        seconds, signaled = self.kept or (0, False)
        self.kept = None
        self.updated = False
        self.deadline = time + SECOND * seconds if seconds else 0
        self.signaled = signaled and not seconds
        self.preserved = signaled


@dataclass(slots=True, eq=False)
class ActEntity:
    """The handle of a timer: the platform's authValue authorizes it, or a policy of its own."""

    act: Act
    platform: Hierarchy
    handle: int = TPM_RH.ACT_0

    @property
    def name(self) -> bytes:
        """Part 1, "Names": the handle itself."""
        return self.handle.to_bytes(4, "big")

    @property
    def auth_value(self) -> bytes:
        """The platform's authValue."""
        return self.platform.auth_value

    @property
    def auth_policy(self) -> bytes:
        """The timer's own authPolicy."""
        return self.act.auth_policy

    @auth_policy.setter
    def auth_policy(self, policy: bytes) -> None:
        self.act.auth_policy = policy

    @property
    def policy_alg(self) -> TPM_ALG:
        """The hash of the authPolicy."""
        return self.act.policy_alg

    @policy_alg.setter
    def policy_alg(self, alg: TPM_ALG) -> None:
        self.act.policy_alg = alg

    @property
    def is_da_protected(self) -> bool:
        """Permanent entities other than lockout are exempt."""
        return False

    def is_policy_required(self, role: Role) -> bool:
        """ADMIN and DUP need a policy."""
        return role is not Role.USER

    def is_auth_value_available(self, role: Role, code: TPM_CC) -> bool:  # noqa: ARG002 - the same for all
        """The platform's authValue is there while its hierarchy is enabled."""
        return self.platform.enabled

    def is_policy_available(self, role: Role, code: TPM_CC) -> bool:  # noqa: ARG002
        """A policy must have been set."""
        return bool(self.act.auth_policy)
