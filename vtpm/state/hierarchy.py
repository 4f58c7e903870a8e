"""Part 1, "Hierarchies": the owner, endorsement, platform and null hierarchies."""

from dataclasses import dataclass

from vtpm.spec.constants import TPM_ALG, TPM_CC, TPM_RH
from vtpm.state.entity import USER, Role

SEED_SIZE = 64
"""Octets of a primary seed and of a proof value: the largest digest of the TPM."""

PROOF_SIZE = 64


FIRMWARE_LIMITED: dict[int, int] = {
    TPM_RH.FW_OWNER: TPM_RH.OWNER,
    TPM_RH.FW_ENDORSEMENT: TPM_RH.ENDORSEMENT,
    TPM_RH.FW_PLATFORM: TPM_RH.PLATFORM,
    TPM_RH.FW_NULL: TPM_RH.NULL,
}
"""Part 1, "Firmware-Limited Objects": the hierarchies whose objects only this firmware can use."""

SVN_LIMITED: dict[int, int] = {
    TPM_RH.SVN_OWNER_BASE: TPM_RH.OWNER,
    TPM_RH.SVN_ENDORSEMENT_BASE: TPM_RH.ENDORSEMENT,
    TPM_RH.SVN_PLATFORM_BASE: TPM_RH.PLATFORM,
    TPM_RH.SVN_NULL_BASE: TPM_RH.NULL,
}
"""Those that firmware of a lesser security version number, the lower half of the handle, cannot use."""

SVN_MASK = 0xFFFF
BASES = FIRMWARE_LIMITED | SVN_LIMITED


def is_firmware_limited(handle: int | None) -> bool:
    """Is it a firmware-limited hierarchy?"""
    return handle in FIRMWARE_LIMITED


def is_svn_limited(handle: int | None) -> bool:
    """Is it a hierarchy limited by the firmware's security version number?"""
    return handle is not None and handle & ~SVN_MASK in SVN_LIMITED


def base_of(handle: int) -> int:
    """The hierarchy that a limited one belongs to; any other is its own base."""
    return BASES.get(handle) or BASES.get(handle & ~SVN_MASK, handle)


@dataclass(slots=True, eq=False)
class Hierarchy:
    """
    One hierarchy: its primary seed, proof value, authorization and state.

    The lifetimes of its fields differ.
    Seeds and proofs are permanent, but the null hierarchy's last until the next TPM Reset.
    Authorizations are permanent, but the platform's lasts until the next TPM Reset or Restart.
    So does `enabled`.
    """

    handle: int
    seed: bytes
    proof: bytes
    auth_value: bytes = b""
    auth_policy: bytes = b""
    policy_alg: TPM_ALG = TPM_ALG.NULL
    enabled: bool = True
    seed_level: int = 1
    """How primary objects are derived from the seed, as libtpms numbers it (1 since 2019)."""

    def __repr__(self) -> str:
        return f"Hierarchy(0x{self.handle:08X})"

    @property
    def name(self) -> bytes:
        """Part 1, "Names": the handle itself."""
        return self.handle.to_bytes(4, "big")

    @property
    def is_da_protected(self) -> bool:
        """Permanent entities other than lockout are exempt."""
        return False

    def is_policy_required(self, role: Role) -> bool:
        """ADMIN and DUP need a policy."""
        return role is not USER

    def is_auth_value_available(self, role: Role, code: TPM_CC) -> bool:  # noqa: ARG002 - the same for all
        """Every hierarchy has an authValue."""
        return True

    def is_policy_available(self, role: Role, code: TPM_CC) -> bool:  # noqa: ARG002
        """A policy must have been set."""
        return bool(self.auth_policy)
