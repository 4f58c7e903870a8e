"""Verbs for tests about NV Indices."""

from tests.scenarios import Client
from vtpm.spec.attributes import TPMA_NV
from vtpm.spec.constants import TPM_ALG, TPM_RH
from vtpm.spec.nv import TPMS_NV_PUBLIC

INDEX = 0x01000001
OWNED = TPMA_NV(OWNERREAD=True, OWNERWRITE=True, NO_DA=True)
"""What the owner reads and writes."""

SELF = TPMA_NV(AUTHREAD=True, AUTHWRITE=True, NO_DA=True)
"""What its authValue reads and writes."""


def public_of(
    attributes: TPMA_NV = SELF,
    size: int = 8,
    *,
    handle: int = INDEX,
    alg: TPM_ALG = TPM_ALG.SHA256,
    policy: bytes = b"",
) -> TPMS_NV_PUBLIC:
    """A public area."""
    return TPMS_NV_PUBLIC(handle, alg, attributes, policy, size)


def define(
    tpm: Client,
    attributes: TPMA_NV = SELF,
    size: int = 8,
    *,
    handle: int = INDEX,
    auth: bytes = b"",
    alg: TPM_ALG = TPM_ALG.SHA256,
    policy: bytes = b"",
) -> int:
    """Define an Index, by whoever its attributes say creates it; gives the response code."""
    creator = TPM_RH.PLATFORM if attributes.PLATFORMCREATE else TPM_RH.OWNER
    public = public_of(attributes, size, handle=handle, alg=alg, policy=policy)
    return tpm.nv_define_space(creator, auth=auth, public_info=public).rc


def attributes_of(tpm: Client, handle: int = INDEX) -> TPMA_NV:
    """The attributes as they are now."""
    attributes = tpm.nv_read_public(handle).nv_public.attributes
    assert isinstance(attributes, TPMA_NV)
    return attributes
