"""Part 2, 8.2: the algorithms that a TPM implements, and what kind of algorithm each is."""

from vtpm.spec.attributes import TPMA_ALGORITHM
from vtpm.spec.constants import TPM_ALG
from vtpm.spec.interface import (
    BLOCK_CIPHERS,
    CIPHER_MODES,
    ECC_SIGNATURES,
    HASHES,
    KDFS,
    KEY_EXCHANGES,
    RSA_ENCRYPTIONS,
    RSA_SIGNATURES,
)
from vtpm.state.profile import Profile

SETS = (
    (HASHES, TPMA_ALGORITHM(hash=True)),
    (BLOCK_CIPHERS, TPMA_ALGORITHM(symmetric=True)),
    (CIPHER_MODES, TPMA_ALGORITHM(symmetric=True, encrypting=True)),
    (KDFS, TPMA_ALGORITHM(hash=True, method=True)),
    ((*RSA_SIGNATURES, *ECC_SIGNATURES), TPMA_ALGORITHM(asymmetric=True, signing=True)),
    (RSA_ENCRYPTIONS, TPMA_ALGORITHM(asymmetric=True, encrypting=True)),
    (KEY_EXCHANGES, TPMA_ALGORITHM(asymmetric=True, method=True)),
    ((TPM_ALG.OAEP,), TPMA_ALGORITHM(hash=True)),
    ((TPM_ALG.CMAC,), TPMA_ALGORITHM(symmetric=True, signing=True)),
    ((TPM_ALG.HMAC,), TPMA_ALGORITHM(hash=True, signing=True)),
    ((TPM_ALG.XOR,), TPMA_ALGORITHM(hash=True, symmetric=True)),
    ((TPM_ALG.RSA, TPM_ALG.ECC), TPMA_ALGORITHM(asymmetric=True, object=True)),
    ((TPM_ALG.SYMCIPHER,), TPMA_ALGORITHM(symmetric=True, object=True)),
    ((TPM_ALG.KEYEDHASH,), TPMA_ALGORITHM(hash=True, object=True, signing=True, encrypting=True)),
)
"""What the members of each set are (TCG Algorithm Registry, Table 3); an algorithm may be in several."""


def attributes_of(alg: TPM_ALG) -> TPMA_ALGORITHM:
    """What the sets that an algorithm is in make of it; none if it is not implemented."""
    word = 0
    for members, attributes in SETS:
        if alg in members:
            word |= attributes
    return TPMA_ALGORITHM(word)


ALGORITHMS = {alg: attributes for alg in sorted(TPM_ALG) if (attributes := attributes_of(alg))}
"""Every algorithm of this program in ascending order."""


def algorithms_of(profile: Profile) -> dict[TPM_ALG, TPMA_ALGORITHM]:
    """The algorithms that a TPM of this profile has, and their attributes."""
    own = {alg: TPMA_ALGORITHM(word) for alg, word in profile.algorithm_attributes}
    return {alg: own.get(alg, there) for alg, there in ALGORITHMS.items() if alg in profile.algorithms}
