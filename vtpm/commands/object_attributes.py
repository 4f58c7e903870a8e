"""Part 1, "Object Attributes", and Part 2, 8.3 and 12.2: which public areas make sense together."""

from vtpm.crypto.digest import digest_size
from vtpm.spec.algorithms import TPMS_SCHEME_XOR, TPMS_SYMCIPHER_PARMS, TPMT_SYM_DEF_OBJECT
from vtpm.spec.attributes import TPMA_OBJECT
from vtpm.spec.constants import TPM_ALG
from vtpm.spec.interface import CIPHER_MODES, ECC_SIGNATURES, RSA_SIGNATURES
from vtpm.spec.limits import MAX_DIGEST_SIZE
from vtpm.spec.objects import TPMS_ECC_PARMS, TPMS_KEYEDHASH_PARMS, TPMS_RSA_PARMS, TPMT_PUBLIC
from vtpm.state.entity import without_trailing_zeros
from vtpm.state.hierarchy import is_firmware_limited, is_svn_limited
from vtpm.state.object import Object
from vtpm.wire.error import TPM_RC, TpmError

SIGNING_SCHEMES = {TPM_ALG.RSA: RSA_SIGNATURES, TPM_ALG.ECC: ECC_SIGNATURES}
DECRYPTION_SCHEMES = {
    TPM_ALG.RSA: (TPM_ALG.RSAES, TPM_ALG.OAEP),
    TPM_ALG.ECC: (TPM_ALG.ECDH, TPM_ALG.SM2, TPM_ALG.ECMQV),
}


def symmetric_of(public: TPMT_PUBLIC) -> TPMT_SYM_DEF_OBJECT | None:
    """The symmetric algorithm of a public area; None for a keyed hash, which has none."""
    if public.type is TPM_ALG.KEYEDHASH:
        return None
    parameters = public.parameters
    if isinstance(parameters, TPMS_SYMCIPHER_PARMS):
        return parameters.sym
    assert isinstance(parameters, TPMS_RSA_PARMS | TPMS_ECC_PARMS)
    return parameters.symmetric


def check_auth(user_auth: bytes, public: TPMT_PUBLIC, at: str) -> None:
    """Part 1, "authValues": not longer than a digest of the nameAlg, or than any without one."""
    most = MAX_DIGEST_SIZE if public.name_alg is TPM_ALG.NULL else digest_size(public.name_alg)
    if len(without_trailing_zeros(user_auth)) > most:
        raise TpmError(TPM_RC.SIZE, at=at)


def check_template(
    public: TPMT_PUBLIC, data_size: int, *, parent: Object | None = None, hierarchy: int | None = None
) -> None:
    """
    Part 3, 12.1: may an object of this public area be created under the parent, or as a primary object?

    `data_size` is the size of the sensitive data that the caller provides.
    """
    attributes = public.object_attributes
    generated = attributes.sensitiveDataOrigin
    if not generated and data_size == 0:
        raise TpmError(TPM_RC.ATTRIBUTES)
    if parent is not None and generated and data_size != 0:
        raise TpmError(TPM_RC.ATTRIBUTES)
    if public.type in (TPM_ALG.KEYEDHASH, TPM_ALG.SYMCIPHER):
        sealed = public.type is TPM_ALG.KEYEDHASH and not attributes.sign and not attributes.decrypt
        if sealed and generated:
            raise TpmError(TPM_RC.ATTRIBUTES)
        if attributes.restricted and not generated and (attributes.fixedParent or attributes.fixedTPM):
            raise TpmError(TPM_RC.ATTRIBUTES)
    elif not generated:
        raise TpmError(TPM_RC.ATTRIBUTES)
    check_public(public, parent=parent, hierarchy=hierarchy)


def check_public(public: TPMT_PUBLIC, *, parent: Object | None = None, hierarchy: int | None = None) -> None:
    """Part 2, 8.3: do the attributes fit each other, and the parent or the primary's hierarchy?"""
    attributes = public.object_attributes
    above = parent.public.object_attributes if parent is not None else None
    if public.auth_policy and len(public.auth_policy) != digest_size(public.name_alg):
        raise TpmError(TPM_RC.SIZE)
    if not (_is_fixed_rightly(attributes, above) and _is_used_rightly(public)):
        raise TpmError(TPM_RC.ATTRIBUTES)
    _check_limits(attributes, above, hierarchy)
    if parent is not None and parent.is_derivation_parent and not _is_derived_rightly(attributes, parent):
        raise TpmError(TPM_RC.ATTRIBUTES)
    check_scheme(public, parent=parent)


def _is_fixed_rightly(attributes: TPMA_OBJECT, above: TPMA_OBJECT | None) -> bool:
    """Part 1, "Hierarchy Control": fixedTPM, fixedParent and encryptedDuplication against the parent's."""
    if above is None or above.fixedTPM:
        return attributes.fixedParent == attributes.fixedTPM and not (
            attributes.fixedTPM and attributes.encryptedDuplication
        )
    return not attributes.fixedTPM and attributes.encryptedDuplication == above.encryptedDuplication


def _is_derived_rightly(attributes: TPMA_OBJECT, parent: Object) -> bool:
    """Part 1, "Derived Objects": a derived object is as fixed as its parent."""
    return attributes.fixedParent and attributes.fixedTPM == parent.public.object_attributes.fixedTPM


def _is_used_rightly(public: TPMT_PUBLIC) -> bool:
    """Part 2, 8.3.3: a restricted object either signs or decrypts; only data does neither."""
    attributes = public.object_attributes
    if attributes.sign != attributes.decrypt:
        return True
    return not attributes.restricted and (attributes.sign or public.type is TPM_ALG.KEYEDHASH)


def _check_limits(attributes: TPMA_OBJECT, above: TPMA_OBJECT | None, hierarchy: int | None) -> None:
    """Part 1, "Firmware-Limited Objects": a limited object is fixedTPM, and limited from above."""
    if (attributes.firmwareLimited or attributes.svnLimited) and not attributes.fixedTPM:
        raise TpmError(TPM_RC.ATTRIBUTES)
    if attributes.firmwareLimited:
        limited = above.firmwareLimited if above is not None else is_firmware_limited(hierarchy)
        if not limited:
            raise TpmError(TPM_RC.ATTRIBUTES)
    if attributes.svnLimited:
        limited = above.svnLimited if above is not None else is_svn_limited(hierarchy)
        if not limited:
            raise TpmError(TPM_RC.ATTRIBUTES)


def check_scheme(public: TPMT_PUBLIC, *, parent: Object | None = None) -> None:
    """
    Part 2, 12.2.3: do the schemes and the symmetric algorithm fit the attributes?

    A parent's symmetric mode is ignored, as Part 3, 12.1 says: children are always encrypted in CFB mode.
    """
    attributes = public.object_attributes
    parameters = public.parameters
    if isinstance(parameters, TPMS_SYMCIPHER_PARMS):
        if attributes.decrypt and parameters.sym.mode not in (*CIPHER_MODES, TPM_ALG.NULL):
            raise TpmError(TPM_RC.SCHEME)
    elif isinstance(parameters, TPMS_KEYEDHASH_PARMS):
        _check_keyed_hash_scheme(attributes, parameters)
    else:
        _check_asymmetric_scheme(public, parameters)
    symmetric = symmetric_of(public)
    if symmetric is not None and attributes.restricted and attributes.decrypt:
        if symmetric.algorithm is TPM_ALG.NULL:
            raise TpmError(TPM_RC.SYMMETRIC)
        if attributes.fixedParent and parent is not None:
            if public.name_alg is not parent.public.name_alg:
                raise TpmError(TPM_RC.HASH)
            if symmetric != symmetric_of(parent.public):
                raise TpmError(TPM_RC.SYMMETRIC)


def _check_keyed_hash_scheme(attributes: TPMA_OBJECT, parameters: TPMS_KEYEDHASH_PARMS) -> None:
    scheme = parameters.scheme
    if attributes.sign == attributes.decrypt:
        allowed = TPM_ALG.NULL
    else:
        allowed = TPM_ALG.HMAC if attributes.sign else TPM_ALG.XOR
    if scheme.scheme is not allowed:
        raise TpmError(TPM_RC.SCHEME)
    details = scheme.details
    kdf = details.kdf if isinstance(details, TPMS_SCHEME_XOR) else TPM_ALG.NULL
    if allowed is TPM_ALG.XOR and attributes.restricted and kdf is not TPM_ALG.KDF1_SP800_108:
        raise TpmError(TPM_RC.SCHEME)


def _check_asymmetric_scheme(public: TPMT_PUBLIC, parameters: TPMS_RSA_PARMS | TPMS_ECC_PARMS) -> None:
    attributes = public.object_attributes
    scheme, restricted = parameters.scheme.scheme, attributes.restricted
    if attributes.sign == attributes.decrypt:
        allowed: tuple[TPM_ALG, ...] = (TPM_ALG.NULL,)
    elif attributes.sign:
        allowed = SIGNING_SCHEMES[public.type] + (() if restricted else (TPM_ALG.NULL,))
    else:
        allowed = (TPM_ALG.NULL,) + (() if restricted else DECRYPTION_SCHEMES[public.type])
    if scheme not in allowed:
        raise TpmError(TPM_RC.SCHEME)
    if not (restricted and attributes.decrypt) and parameters.symmetric.algorithm is not TPM_ALG.NULL:
        raise TpmError(TPM_RC.SYMMETRIC)
    if isinstance(parameters, TPMS_ECC_PARMS) and parameters.kdf.scheme is not TPM_ALG.NULL:
        raise TpmError(TPM_RC.KDF)
