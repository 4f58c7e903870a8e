"""Part 3, 12.5 and 12.6: credentials, which only the TPM that has a key and an object can open."""

from typing import Annotated

from vtpm.commands.private_key import is_asymmetric
from vtpm.commands.protection import opened_outer, sealed_outer
from vtpm.commands.secret import received_secret, shared_secret
from vtpm.commands.table import command
from vtpm.crypto.digest import digest_size
from vtpm.spec.algorithms import TPM2B_ENCRYPTED_SECRET
from vtpm.spec.constants import TPM_ALG, TPM_CC
from vtpm.spec.handles import TPMI_DH_OBJECT
from vtpm.spec.objects import TPM2B_ID_OBJECT
from vtpm.spec.structures import TPM2B_DIGEST, TPM2B_NAME
from vtpm.state.entity import Role
from vtpm.state.object import Object
from vtpm.state.tpm import TpmState
from vtpm.wire.error import TPM_RC, TpmError
from vtpm.wire.structure import structure, unmarshal

IDENTITY = b"IDENTITY"


def is_credential_key(key: Object) -> bool:
    """12.5: an asymmetric Storage Parent with a Name, such as an endorsement key."""
    attributes, has_name = key.public.object_attributes, key.public.name_alg is not TPM_ALG.NULL
    return is_asymmetric(key.public) and attributes.decrypt and attributes.restricted and has_name


@structure
class ActivateCredentialResponse:
    """12.5"""

    cert_info: TPM2B_DIGEST


@command(TPM_CC.ActivateCredential)
def activate_credential(
    tpm: TpmState,
    activated: Annotated[Object, TPMI_DH_OBJECT, Role.ADMIN],
    key: Annotated[Object, TPMI_DH_OBJECT, Role.USER],
    /,
    credential_blob: TPM2B_ID_OBJECT,
    secret: TPM2B_ENCRYPTED_SECRET,
) -> ActivateCredentialResponse:
    """12.5: a credential that was made for an object of this TPM."""
    if not is_credential_key(key):
        raise TpmError(TPM_RC.TYPE, at="key")
    try:
        seed = received_secret(key, IDENTITY, secret)
    except TpmError as error:
        raise error.positioned_at("secret") from None
    try:
        credential = unmarshal(TPM2B_DIGEST, opened_outer(key, activated.name, seed, credential_blob))
    except TpmError as error:
        raise error.positioned_at("credential_blob") from None

    return ActivateCredentialResponse(cert_info=credential)


@structure
class MakeCredentialResponse:
    """12.6"""

    credential_blob: TPM2B_ID_OBJECT
    secret: TPM2B_ENCRYPTED_SECRET


@command(TPM_CC.MakeCredential)
def make_credential(
    tpm: TpmState,
    key: Annotated[Object, TPMI_DH_OBJECT],
    /,
    credential: TPM2B_DIGEST,
    object_name: TPM2B_NAME,
) -> MakeCredentialResponse:
    """12.6: what a privacy CA does: encrypt a credential for the TPM that has a key and an object."""
    if not is_credential_key(key):
        raise TpmError(TPM_RC.TYPE, at="key")
    if len(credential) > digest_size(key.public.name_alg):
        raise TpmError(TPM_RC.SIZE, at="credential")

    seed, secret = shared_secret(key.public, IDENTITY, tpm.random)
    inside = len(credential).to_bytes(2, "big") + credential
    return MakeCredentialResponse(sealed_outer(key, object_name, seed, inside), secret)
