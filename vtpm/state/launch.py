"""A measurement by hardware that is not complete (Part 1, "H-CRTM"): one running digest for each bank."""

from collections.abc import Iterable

from vtpm.crypto.running import RunningDigest
from vtpm.spec.constants import TPM_ALG


class Launch:
    """What _TPM_Hash_Data has measured so far; of the octets themselves nothing is kept."""

    def __init__(self, digests: dict[TPM_ALG, RunningDigest]) -> None:
        self._digests = digests

    def __repr__(self) -> str:
        return f"Launch({', '.join(alg.name for alg in self._digests)})"

    @classmethod
    def begin(cls, banks: Iterable[TPM_ALG]) -> "Launch":
        """A measurement of nothing so far, for these banks."""
        return cls({alg: RunningDigest(alg) for alg in banks})

    @classmethod
    def load(cls, states: Iterable[tuple[TPM_ALG, bytes]]) -> "Launch":
        """Go on from what `save` gave."""
        return cls({alg: RunningDigest.load(alg, state) for alg, state in states})

    def update(self, octets: bytes) -> None:
        """More of what is measured."""
        for running in self._digests.values():
            running.update(octets)

    def digest(self, alg: TPM_ALG) -> bytes:
        """The digest for one of the banks."""
        return self._digests[alg].digest()

    def save(self) -> list[tuple[TPM_ALG, bytes]]:
        """The state of each running digest."""
        return [(alg, running.save()) for alg, running in self._digests.items()]
