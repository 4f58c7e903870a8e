"""
What becomes of a TPM's state when its VM is cloned.

A copy has all the secrets of its origin, so the two are one TPM to everybody who relies on it.
A replaced one has nothing of it.
A fork has an identity of its own and keeps what is sealed to the storage hierarchy.
"""

from collections.abc import Callable, Mapping

from vtpm.commands.hierarchy import forget_objects, renew_seed
from vtpm.engine.tpm import Tpm
from vtpm.spec.constants import TPM_RH
from vtpm.state.hierarchy import PROOF_SIZE
from vtpm.state.live import Entropy
from vtpm.state.saved import CLEAR, RESET
from vtpm.state.suspended import closed_reset

EK_CERTIFICATES = range(0x01C00000, 0x01C10000)
"""The NV Indices of endorsement keys: certificates, templates, nonces (TCG EK Credential Profile)."""

Blobs = Mapping[str, bytes]
Change = Callable[[Blobs, Entropy], dict[str, bytes]]


def copy(blobs: Blobs, entropy: Entropy) -> dict[str, bytes]:  # noqa: ARG001 - a copy draws nothing
    """The same TPM again, but for commitments that are open: their numbers would sign twice."""
    if RESET not in blobs:
        return dict(blobs)
    return {**blobs, RESET: closed_reset(blobs[RESET])}


def replace(blobs: Blobs, entropy: Entropy) -> dict[str, bytes]:
    """A new TPM of the same profile."""
    return Tpm.manufacture(entropy, Tpm.restore(blobs, entropy).profile).snapshot()


def fork(blobs: Blobs, entropy: Entropy) -> dict[str, bytes]:
    """
    A TPM with endorsement and platform seeds of its own, and the storage seed of its origin.

    What belongs to the old seeds goes with them: persistent objects and certificates of endorsement keys.
    A saved run does not go on in it: its first start is a TPM Reset.
    """
    tpm = Tpm.restore(blobs, entropy)
    for hierarchy in (tpm.endorsement, tpm.platform):
        renew_seed(tpm, hierarchy)
        hierarchy.proof = tpm.random(PROOF_SIZE)
    tpm.permanent.tpm_generated_eps = True
    forget_objects(tpm, {TPM_RH.ENDORSEMENT, TPM_RH.PLATFORM})
    for index in list(tpm.nv.values()):
        if index.handle in EK_CERTIFICATES:
            tpm.erase_nv(index)
    tpm.permanent.shutdown = None
    tpm.changes()
    forked = tpm.snapshot()
    return {name: blob for name, blob in forked.items() if name not in (RESET, CLEAR)}


WAYS: dict[str, Change] = {"copy": copy, "fork": fork, "replace": replace}
"""By the name that an operator gives."""
