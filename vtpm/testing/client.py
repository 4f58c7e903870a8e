"""A TPM in the process of a test."""

from collections.abc import Mapping

from vtpm.caller.caller import Direct
from vtpm.caller.messages import Reply
from vtpm.engine.tpm import Tpm
from vtpm.spec.constants import TPM_SU
from vtpm.state.clock import Instant
from vtpm.state.profile import DEFAULT, Profile
from vtpm.testing.entropy import seeded


class Client(Direct):
    """
    A TPM in this process, with deterministic entropy and a clock that only `wait` moves.

    The same seed and the same commands give the same octets.
    `tpm` is the TPM itself, `durable` what a store would hold.
    """

    def __init__(self, *, profile: Profile = DEFAULT, seed: bytes = b"test", start: bool = True) -> None:
        super().__init__(Tpm.manufacture(seeded(seed), profile))
        self.losses = 0
        """How often power was lost: each run has an entropy of its own."""
        self.durable: dict[str, bytes] = {}
        self.changes: dict[str, bytes | None] = {}
        """What the last command changed; `None` for what it deleted."""
        self.keep(self.tpm.changes())
        self.tpm.power_on(Instant(self.now))
        if start:
            self.startup(startup_type=TPM_SU.CLEAR)

    def keep(self, changes: Mapping[str, bytes | None]) -> None:
        """Do what a store does with the changes of a command."""
        self.changes = dict(changes)
        for name, blob in changes.items():
            if blob is None:
                self.durable.pop(name, None)
            else:
                self.durable[name] = blob

    def wait(self, milliseconds: int) -> None:
        """Let time pass."""
        self.now += milliseconds

    def send(self, request: bytes, locality: int = 0) -> bytes:
        """Send octets as they are; `changes` then has what became durable."""
        outcome = self.tpm.execute(request, locality, Instant(self.now))
        self.keep(outcome.changes)
        return outcome.response

    def power_cycle(self, *, shutdown: TPM_SU | None = TPM_SU.CLEAR, startup: TPM_SU = TPM_SU.CLEAR) -> Reply:
        """Shut down (or not), lose power together with everything that is not durable, and start again."""
        if shutdown is not None:
            self.shutdown(shutdown_type=shutdown).check()
        self.lose_power()
        return self.startup(startup_type=startup)

    def lose_power(self) -> None:
        """A new process begins with what is durable."""
        self.losses += 1
        self.tpm = Tpm.restore(self.durable, seeded(b"after power loss" + self.losses.to_bytes(4, "big")))
        self.tpm.power_on(Instant(self.now))
