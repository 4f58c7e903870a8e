"""The seeds and proofs of swtpm, taken over by this TPM, so that both derive the same keys and tickets."""

from io import BytesIO

from tests.differential.judge import PERMANENT, VOLATILE, Swtpm
from tests.scenarios import Client
from vtpm.spec.constants import TPM_ALG, TPM_RH, TPM_SU

PERSISTENT_DATA = (0x12213443).to_bytes(4, "big")
STATE_RESET = (0x01102332).to_bytes(4, "big")
"""What libtpms begins these two parts of its state with."""


def after(state: bytes, magic: bytes) -> BytesIO:
    """The content of a part of the state: behind its magic and the least version of a reader."""
    place = state.index(magic) + len(magic) + 2
    return BytesIO(state[place:])


def buffers(stream: BytesIO, count: int) -> list[bytes]:
    """So many octet strings, each with its size in two octets."""
    return [stream.read(int.from_bytes(stream.read(2), "big")) for _ in range(count)]


def adopt_permanent(own: Client, judge: Swtpm) -> None:
    """Take over the seeds and proofs of the three permanent hierarchies, and make them durable."""
    stream = after(judge.state(PERMANENT), PERSISTENT_DATA)
    stream.read(1 + 3 * 2)  # disableClear and the hashes of three policies
    buffers(stream, 6)  # the policies, and the authorizations
    seeds = buffers(stream, 3)
    platform, owner, endorsement = buffers(stream, 3)
    order = (TPM_RH.ENDORSEMENT, TPM_RH.OWNER, TPM_RH.PLATFORM)
    for handle, seed, proof in zip(order, seeds, (endorsement, owner, platform), strict=True):
        hierarchy = own.tpm.hierarchies[handle]
        hierarchy.seed, hierarchy.proof = seed, proof
    own.tpm.touch_permanent()
    own.keep(own.tpm.changes())


def adopt_factory(own: Client) -> None:
    """Be as libtpms leaves the factory: shut down in an orderly way, with SHA-512 for the audit."""
    own.tpm.permanent.shutdown = TPM_SU.CLEAR
    own.tpm.permanent.audit_alg = TPM_ALG.SHA512


def adopt_null(own: Client, judge: Swtpm) -> None:
    """
    Take over the seed and proof of the null hierarchy, which every TPM Reset makes anew.

    After a Restart or Resume libtpms 0.9 forgets how the seed makes primes, and goes on in the old way.
    """
    null = own.tpm.hierarchies[TPM_RH.NULL]
    before = null.seed
    null.proof, null.seed = buffers(after(judge.state(VOLATILE), STATE_RESET), 2)
    null.seed_level = 0 if null.seed == before else 1
