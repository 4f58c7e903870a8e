"""
Part 1, "TPM Firmware-Limited and SVN-Limited Objects": hierarchies that belong to a version of the firmware.

The firmware of a virtual TPM is this program.
Its secrets come from a root that is part of the TPM's state.
So a limit holds between versions of this program, not against somebody who has the state and its key.
"""

from vtpm.crypto.digest import digest
from vtpm.crypto.kdf import kdf_a
from vtpm.state.hierarchy import SVN_MASK, Hierarchy, is_firmware_limited
from vtpm.state.profile import CONTEXT_HASH
from vtpm.wire.error import TPM_RC, TpmError

FIRMWARE_VERSION = 1 << 32
"""Major version of the project in the upper half, minor in the lower."""

FIRMWARE_SVN = 0
"""Security version number: grows when a flaw is mended that could have told keys."""

FIRMWARE_MAX_SVN = 255

ROOT_SIZE = 64
SECRET_BITS = 512


def firmware_secret(root: bytes) -> bytes:
    """What only this version knows."""
    version = FIRMWARE_VERSION.to_bytes(8, "big")
    return kdf_a(CONTEXT_HASH, root, b"FW_SECRET", version, b"", SECRET_BITS)


def svn_secret(root: bytes, svn: int) -> bytes:
    """What versions from this SVN on know: the one of each SVN is the digest of the next one's."""
    secret = kdf_a(CONTEXT_HASH, root, b"SVN_SECRET", b"", b"", SECRET_BITS)
    for _ in range(svn, FIRMWARE_MAX_SVN + 1):
        secret = digest(CONTEXT_HASH, secret)
    return secret


def limited(base: Hierarchy, handle: int, root: bytes) -> Hierarchy:
    """
    The limited variant of a hierarchy, with its base's authorization, and a seed and a proof of its own.

    TPM_RC_SVN_LIMITED if this firmware's SVN is too small.
    """
    if is_firmware_limited(handle):
        label, secret = b"H_FW_SECRET", firmware_secret(root)
    elif handle & SVN_MASK > FIRMWARE_SVN:
        raise TpmError(TPM_RC.SVN_LIMITED)
    else:
        label, secret = b"H_SVN_SECRET", svn_secret(root, handle & SVN_MASK)
    return Hierarchy(
        handle=handle,
        seed=kdf_a(CONTEXT_HASH, base.seed, b"H_SEED_SECRET", secret, label, 8 * len(base.seed)),
        proof=kdf_a(CONTEXT_HASH, base.proof, b"H_PROOF_SECRET", secret, label, 8 * len(base.proof)),
        auth_value=base.auth_value,
        auth_policy=base.auth_policy,
        policy_alg=base.policy_alg,
        enabled=base.enabled,
        seed_level=base.seed_level,
    )
