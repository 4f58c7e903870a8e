"""Saved states: a blob is read or refused by name, and what is read is written again as the same octets."""

from tests.fuzz.target import Finding, Target
from tests.scenarios import seeded
from tests.state.rich import rich
from vtpm import Instant, Tpm
from vtpm.spec.constants import TPM_SU
from vtpm.state.saved import SavedStateError


class SavedBlobs(Target):
    """The first octet chooses a blob of a TPM that has everything; the others take its place."""

    name = "saved"

    def __init__(self) -> None:
        running = rich()
        self.running = running.tpm.snapshot() | running.tpm.snapshot_volatile()
        running.shutdown(shutdown_type=TPM_SU.STATE).check()
        self.off = running.tpm.snapshot()
        self.choices = [(self.running, name) for name in sorted(self.running)]
        self.choices += [(self.off, name) for name in sorted(self.off)]

    def seeds(self) -> list[bytes]:
        """The blobs themselves."""
        return [bytes([number]) + blobs[name] for number, (blobs, name) in enumerate(self.choices)]

    def check(self, octets: bytes) -> bool:
        """Restore, go on or start, and save again."""
        blobs, name = self.choices[octets[0] % len(self.choices) if octets else 0]
        given = blobs | {name: octets[1:]}
        try:
            tpm = Tpm.restore(given, seeded(b"restored"))
            if blobs is self.running:
                tpm.resume(Instant(0))
            else:
                tpm.power_on(Instant(0))
        except SavedStateError:
            return False
        again = tpm.snapshot() | (tpm.snapshot_volatile() if blobs is self.running else {})
        self.check_readable(again)
        return True

    def check_readable(self, blobs: dict[str, bytes]) -> None:
        """What this TPM saves, it can read."""
        try:
            Tpm.restore(blobs, seeded(b"again"))
        except SavedStateError as error:
            raise Finding(f"what was read and saved cannot be read any more: {error}") from error
