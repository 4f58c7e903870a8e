"""The TPM as its user sees it: octets in, octets and changes out, and the signals that are no commands."""

from vtpm.commands import COMMANDS
from vtpm.commands.selection import commands_of
from vtpm.crypto.known_answers import SelfTestError, check_first
from vtpm.engine.cost import is_costly
from vtpm.engine.execute import Outcome, execute
from vtpm.engine.launch import hash_data, hash_end, hash_start
from vtpm.spec.constants import TPM_CC
from vtpm.state.checkpoint import Checkpoint
from vtpm.state.clock import Instant
from vtpm.state.live import Entropy
from vtpm.state.power import power_on
from vtpm.state.profile import Profile
from vtpm.state.saved import SavedStateError
from vtpm.state.snapshot import resume, snapshot_volatile
from vtpm.state.suspended import VOLATILE
from vtpm.state.tpm import TpmState

OF_RAM = {TPM_CC.PCR_Extend, TPM_CC.PCR_Event, TPM_CC.PCR_Reset, TPM_CC.SelfTest, TPM_CC.IncrementalSelfTest}
"""Commands with TPMA_CC.nv that write none here: PCR and test results are in RAM."""

WRITERS = frozenset(
    code.to_bytes(4, "big") for code, command in COMMANDS.items() if command.nv and code not in OF_RAM
)


class Tpm(TpmState):
    """
    A TPM 2.0, free of I/O, clocks and entropy of its own; used by one thread at a time.

    `manufacture` makes a new one, `restore` one from its durable blobs.
    Then comes `power_on`, and `execute` for every command, the first of which is Startup.
    """

    def __init__(self, profile: Profile, entropy: Entropy) -> None:
        super().__init__(profile, entropy)
        self.commands = commands_of(profile)

    def execute(self, request: bytes, locality: int = 0, now: Instant | None = None) -> Outcome:
        """
        Execute one command (Part 3, clause 5); any octets end in a well-formed response.

        `locality` is 0 to 4, or 32 to 255 for an extended one; `now` defaults to the last command's.
        """
        return execute(self, request, locality, now or Instant(self.clock.last))

    def checkpoint(self, request: bytes) -> Checkpoint | None:
        """
        What to put back if the changes of a command cannot be made durable.

        None for a command that writes no NV: what it changes, a count or a mark, stands anyway.
        After an orderly Shutdown every command writes, since it takes that back.
        """
        if request[6:10] in WRITERS or self.permanent.shutdown is not None:
            return Checkpoint(self)
        return None

    def power_on(self, now: Instant) -> None:
        """_TPM_Init: power is applied, and what this process has not tested is; Startup must follow."""
        power_on(self, now)
        self._test_first()

    def snapshot_volatile(self) -> dict[str, bytes]:
        """What power would take, as blobs; with those of `snapshot`, the TPM goes on elsewhere."""
        return snapshot_volatile(self)

    def resume(self, now: Instant, *, sole: bool = False) -> None:
        """
        In place of `power_on`: go on where the volatile blob given to `restore` was taken.

        `sole`: nobody else ever goes on from there.
        Otherwise what may be used once is not used at all: open commitments (TPM2_Commit) are closed.
        """
        if self.suspended is None:
            raise SavedStateError(VOLATILE, "it is missing")
        resume(self, self.suspended, now)
        if not sole:
            self.close_commitments()
        self.suspended = None
        self._test_first()

    def _test_first(self) -> None:
        """Part 3, 10.1: no value depends on a function that has not passed its test."""
        try:
            check_first(self.profile.algorithms)
        except SelfTestError as error:
            self.fail(str(error))

    def hash_start(self) -> None:
        """_TPM_Hash_Start: hardware begins to measure at locality 4."""
        self.established = True
        hash_start(self)

    def hash_data(self, octets: bytes) -> None:
        """_TPM_Hash_Data: more of what is measured."""
        hash_data(self, octets)

    def hash_end(self) -> None:
        """_TPM_Hash_End: the measurement is complete."""
        hash_end(self)

    def is_costly(self, request: bytes) -> bool:
        """May the command take many milliseconds, so that a server had better not wait for it?"""
        return is_costly(self, request)
