"""What lasts until the next TPM Reset: Part 1, "State Reset Data"."""

from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class ResetData:
    """Counters, saved contexts and the audit; kept by a Restart or Resume after Shutdown(STATE)."""

    session_context: int
    """The number that the next saved session context gets; the first is behind the slots of loaded ones."""
    clear_count: int = 0
    restart_count: int = 0
    object_context: int = 0
    """How many object contexts have been saved."""
    saved_sessions: dict[int, int] = field(default_factory=dict)
    """The number of the saved context of every session that is saved, by the low 24 bits of its handle."""
    command_audit_digest: bytes = b""
    """Empty until an audited command is executed."""
    pcr_counter: int = 0
    commit_counter: int = 0
    commit_nonce: bytes = field(default=b"", repr=False)
    commit_used: int = 0
    """Which commit counters, modulo the slots, are open (bits)."""

    def close_commitments(self) -> None:
        """Let no number that TPM2_Commit has given points of be used any more."""
        self.commit_used = 0

    def count_restart(self) -> None:
        """A TPM Restart or Resume, or a dynamic launch, has happened (restartCount, 32 bits)."""
        self.restart_count = (self.restart_count + 1) & 0xFFFFFFFF

    def is_gap_full(self, most: int) -> bool:
        """Part 1, "Context Gap": would the next saved session be more than `most` after the oldest?"""
        return bool(self.saved_sessions) and self.session_context - min(self.saved_sessions.values()) > most
