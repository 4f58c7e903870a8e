"""Part 1, "Dictionary Attack Protection": the lockout authorization and the count of failed ones."""

from dataclasses import dataclass

from vtpm.spec.constants import TPM_ALG, TPM_CC, TPM_RH
from vtpm.state.entity import Role

MAX_TRIES = 3
RECOVERY_TIME = 1000
"""The parameters of a new TPM, as the reference code sets them; TPM2_Clear brings them back."""


@dataclass(slots=True, eq=False)
class Lockout:
    """
    TPM_RH_LOCKOUT and the dictionary attack parameters; permanent, but for the timers.

    Times are in seconds, timers in milliseconds of TPM Time.
    """

    auth_value: bytes = b""
    auth_policy: bytes = b""
    policy_alg: TPM_ALG = TPM_ALG.NULL
    failed_tries: int = 0
    max_tries: int = MAX_TRIES
    recovery_time: int = RECOVERY_TIME
    lockout_recovery: int = RECOVERY_TIME
    auth_enabled: bool = True
    """May lockoutAuth be used? Not for `lockout_recovery` seconds after it failed."""
    used: bool = False
    """Has a protected entity been used since the last Shutdown? Then losing power counts as a failure."""
    self_heal_timer: int = 0
    lockout_timer: int = 0

    handle: int = TPM_RH.LOCKOUT

    def __repr__(self) -> str:
        return f"Lockout(failed_tries={self.failed_tries}, max_tries={self.max_tries})"

    @property
    def name(self) -> bytes:
        """Part 1, "Names": the handle itself."""
        return self.handle.to_bytes(4, "big")

    @property
    def is_da_protected(self) -> bool:
        """Lockout has a protection of its own: one failure disables it for a time."""
        return True

    @property
    def locked_out(self) -> bool:
        """Is the use of protected entities refused?"""
        return self.failed_tries >= self.max_tries

    def is_policy_required(self, role: Role) -> bool:
        """ADMIN and DUP need a policy."""
        return role is not Role.USER

    def is_auth_value_available(self, role: Role, code: TPM_CC) -> bool:  # noqa: ARG002 - the same for all
        """Lockout always has an authValue."""
        return True

    def is_policy_available(self, role: Role, code: TPM_CC) -> bool:  # noqa: ARG002
        """A policy must have been set."""
        return bool(self.auth_policy)

    def set_defaults(self) -> None:
        """Forgive all failures, and forget the parameters that were set."""
        self.failed_tries = 0
        self.max_tries = MAX_TRIES
        self.recovery_time = self.lockout_recovery = RECOVERY_TIME
        self.auth_enabled = True

    def forgive(self) -> None:
        """Forget all failures, lockoutAuth's own too: for whoever runs the TPM, as no command does that."""
        self.failed_tries = 0
        self.auth_enabled = True

    def count_failure(self, time: int) -> bool:
        """A protected entity's authorization failed; was the permanent state changed?"""
        self.self_heal_timer = time
        if self.recovery_time == 0:
            return False
        self.failed_tries += 1
        return True

    def disable_auth(self, time: int) -> bool:
        """The use of lockoutAuth failed; was the permanent state changed?"""
        self.lockout_timer = time
        self.auth_enabled = False
        return self.lockout_recovery != 0

    def heal(self, time: int) -> bool:
        """Forgive failures for the time passed without one; was the permanent state changed?"""
        changed = False
        if self.failed_tries:
            if self.recovery_time:
                forgiven = min(
                    (time - self.self_heal_timer) // (1000 * self.recovery_time), self.failed_tries
                )
            else:
                forgiven = self.failed_tries
            if forgiven > 0:
                self.failed_tries -= forgiven
                self.self_heal_timer += forgiven * 1000 * self.recovery_time
                changed = True
        waited = time - self.lockout_timer
        if not self.auth_enabled and self.lockout_recovery and waited >= 1000 * self.lockout_recovery:
            self.auth_enabled = True
            changed = True
        return changed

    def start(self, time: int, *, orderly: bool) -> None:
        """Start-up: losing power after a protected entity was used counts as a failure."""
        if self.used and not orderly and self.recovery_time and not self.locked_out:
            self.failed_tries += 1
        self.used = False
        if self.lockout_recovery == 0:
            # Part 3, 25.3: with a recovery of zero, only a reboot enables lockoutAuth again.
            self.auth_enabled = True
        self.self_heal_timer = time
        self.lockout_timer = time
