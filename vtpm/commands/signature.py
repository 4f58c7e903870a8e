"""Part 3, clause 20: signing and signature verification."""

from typing import Annotated

from vtpm.commands.key_signature import check_signature, digest_fits, selected_scheme
from vtpm.commands.key_signature import sign as signed
from vtpm.commands.table import command
from vtpm.commands.tickets import hash_check_ticket, is_genuine, null_verified_ticket, verified_ticket
from vtpm.spec.algorithms import TPMT_SIG_SCHEME_NULL, TPMT_SIGNATURE
from vtpm.spec.constants import TPM_ALG, TPM_CC, TPM_RH
from vtpm.spec.handles import TPMI_DH_OBJECT
from vtpm.spec.structures import TPM2B_DIGEST, TPMT_TK_HASHCHECK, TPMT_TK_VERIFIED
from vtpm.state.entity import Role
from vtpm.state.object import Object
from vtpm.state.tpm import TpmState
from vtpm.wire.error import TPM_RC, TpmError, blaming
from vtpm.wire.structure import structure


@structure
class VerifySignatureResponse:
    """20.2"""

    validation: TPMT_TK_VERIFIED


@command(TPM_CC.VerifySignature)
def verify_signature(
    tpm: TpmState,
    key: Annotated[Object, TPMI_DH_OBJECT, TPM_RC.ATTRIBUTES],
    /,
    digest: TPM2B_DIGEST,
    signature: TPMT_SIGNATURE,
) -> VerifySignatureResponse:
    """20.2: check a signature with a loaded key; the ticket says that it was right."""
    if not key.public.object_attributes.sign:
        raise TpmError(TPM_RC.ATTRIBUTES, at="key")
    with blaming("signature"):
        check_signature(key, digest, signature)

    if key.hierarchy == TPM_RH.NULL or key.public.name_alg is TPM_ALG.NULL:
        return VerifySignatureResponse(validation=null_verified_ticket())
    return VerifySignatureResponse(validation=verified_ticket(tpm, key.hierarchy, digest, key.name))


@structure
class SignResponse:
    """20.5"""

    signature: TPMT_SIGNATURE


@command(TPM_CC.Sign)
def sign(
    tpm: TpmState,
    key: Annotated[Object, TPMI_DH_OBJECT, Role.USER, TPM_RC.KEY],
    /,
    digest: TPM2B_DIGEST,
    in_scheme: TPMT_SIG_SCHEME_NULL,
    validation: TPMT_TK_HASHCHECK,
) -> SignResponse:
    """20.5: sign a digest; a restricted key signs only what this TPM has hashed."""
    attributes = key.public.object_attributes
    if not attributes.sign or key.public.type is TPM_ALG.SYMCIPHER:
        raise TpmError(TPM_RC.KEY, at="key")
    if attributes.x509sign:
        raise TpmError(TPM_RC.ATTRIBUTES, at="key")
    scheme = selected_scheme(key, in_scheme)
    if scheme is None or scheme.details is None:
        raise TpmError(TPM_RC.SCHEME, at="in_scheme")
    if attributes.restricted or validation.digest:
        with blaming("validation"):
            ticket = hash_check_ticket(tpm, validation.hierarchy, scheme.details.hash_alg, digest)
        if not is_genuine(validation, ticket):
            raise TpmError(TPM_RC.TICKET, at="validation")
    elif not digest_fits(scheme, digest):
        raise TpmError(TPM_RC.SIZE, at="digest")

    return SignResponse(signature=signed(tpm, key, scheme, digest))
