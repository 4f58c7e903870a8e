"""Part 3, 12.2 and 12.3: what makes the two areas of an object fit each other, and where it then belongs."""

from vtpm.commands.key_creation import check_cipher_key, largest_key, symmetric_unique
from vtpm.commands.object_attributes import check_public, check_scheme
from vtpm.crypto.curves import CURVES
from vtpm.crypto.digest import digest_size
from vtpm.crypto.ecc import key_of, point_of
from vtpm.crypto.rsa import key_from_prime
from vtpm.spec.algorithms import TPMS_ECC_POINT, TPMS_SYMCIPHER_PARMS
from vtpm.spec.constants import TPM_ALG, TPM_RH
from vtpm.spec.objects import (
    TPMS_ECC_PARMS,
    TPMS_KEYEDHASH_PARMS,
    TPMS_RSA_PARMS,
    TPMT_PUBLIC,
    TPMT_SENSITIVE,
)
from vtpm.state.hierarchy import Hierarchy
from vtpm.state.object import Object, name_of, qualified_name_of
from vtpm.state.tpm import TpmState
from vtpm.wire.error import TPM_RC, TpmError


def loaded(
    tpm: TpmState,
    parent: Object | Hierarchy,
    public: TPMT_PUBLIC,
    sensitive: TPMT_SENSITIVE | None,
    *,
    name: bytes = b"",
    external: bool = False,
) -> Object:
    """
    An object under its parent, or a primary or external one in its hierarchy; in no slot yet.

    Its Name is computed where the caller has not needed it before.
    """
    name = name or name_of(public)
    above = parent.qualified_name if isinstance(parent, Object) else parent.name
    hierarchy = parent.hierarchy if isinstance(parent, Object) else parent.handle
    return Object(
        public=public,
        sensitive=sensitive,
        hierarchy=hierarchy,
        name=name,
        qualified_name=name if external else qualified_name_of(above, name, public.name_alg),
        external=external,
        primary=not isinstance(parent, Object) and not external and hierarchy != TPM_RH.NULL,
        st_clear=public.object_attributes.stClear or (isinstance(parent, Object) and parent.st_clear),
    )


def check_loadable(public: TPMT_PUBLIC, sensitive: TPMT_SENSITIVE | None, parent: Object | None) -> None:
    """The attributes, then the areas; the handler calls its arguments `in_public` and `in_private`."""
    try:
        if sensitive is None or public.name_alg is TPM_ALG.NULL:
            check_scheme(public)
        else:
            if len(sensitive.seed_value) > digest_size(public.name_alg):
                raise TpmError(TPM_RC.KEY_SIZE, at="in_private")
            check_public(public, parent=parent)
    except TpmError as error:
        raise error.positioned_at("in_public") from None
    if parent is None or not parent.public.object_attributes.fixedTPM:
        check_areas(public, sensitive)


def check_areas(public: TPMT_PUBLIC, sensitive: TPMT_SENSITIVE | None) -> None:
    """Part 3, 12.3: the sensitive area belongs to the public one; what the TPM made itself needs no check."""
    size = 0 if public.name_alg is TPM_ALG.NULL else digest_size(public.name_alg)
    if sensitive is not None:
        if sensitive.sensitive_type is not public.type:
            raise TpmError(TPM_RC.TYPE, at="in_private")
        if 0 < size < len(sensitive.auth_value):
            raise TpmError(TPM_RC.SIZE, at="in_private")
    if isinstance(public.parameters, TPMS_RSA_PARMS):
        _check_rsa(public, public.parameters, sensitive)
    elif isinstance(public.parameters, TPMS_ECC_PARMS):
        _check_ecc(public, public.parameters, sensitive)
    else:
        _check_symmetric(public, public.parameters, sensitive, size)
    attributes = public.object_attributes
    is_parent = attributes.restricted and attributes.decrypt and public.name_alg is not TPM_ALG.NULL
    if sensitive is not None and is_parent and not size // 2 <= len(sensitive.seed_value) <= size:
        raise TpmError(TPM_RC.SIZE, at="in_private")


def _check_rsa(public: TPMT_PUBLIC, parameters: TPMS_RSA_PARMS, sensitive: TPMT_SENSITIVE | None) -> None:
    size = parameters.key_bits // 8
    modulus = public.unique
    assert isinstance(modulus, bytes)
    if len(modulus) != size or modulus[0] < 0x80:
        raise TpmError(TPM_RC.KEY, at="in_public")
    if parameters.exponent and parameters.exponent < 7:
        raise TpmError(TPM_RC.VALUE, at="in_public")
    if sensitive is not None:
        if len(sensitive.sensitive) * 2 != size or sensitive.sensitive[0] < 0x80:
            raise TpmError(TPM_RC.KEY_SIZE, at="in_private")
        key_from_prime(modulus, sensitive.sensitive, parameters.exponent)


def _check_ecc(public: TPMT_PUBLIC, parameters: TPMS_ECC_PARMS, sensitive: TPMT_SENSITIVE | None) -> None:
    point = public.unique
    assert isinstance(point, TPMS_ECC_POINT)
    if sensitive is None:
        size = CURVES[parameters.curve_id].size
        if len(point.x) != size or len(point.y) != size:
            raise TpmError(TPM_RC.KEY, at="in_public")
        if public.name_alg is not TPM_ALG.NULL:
            try:
                point_of(parameters.curve_id, point.x, point.y)
            except TpmError as error:
                raise error.positioned_at("in_public") from None
        return
    key = key_of(parameters.curve_id, sensitive.sensitive)
    mine = key.public.x, key.public.y
    given = int.from_bytes(point.x, "big"), int.from_bytes(point.y, "big")
    if public.name_alg is not TPM_ALG.NULL and mine != given:
        raise TpmError(TPM_RC.BINDING)


def _check_symmetric(
    public: TPMT_PUBLIC,
    parameters: TPMS_KEYEDHASH_PARMS | TPMS_SYMCIPHER_PARMS,
    sensitive: TPMT_SENSITIVE | None,
    size: int,
) -> None:
    unique = public.unique
    assert isinstance(unique, bytes)
    if sensitive is None:
        if len(unique) != size:
            raise TpmError(TPM_RC.KEY, at="in_public")
        return
    if isinstance(parameters, TPMS_SYMCIPHER_PARMS):
        if not sensitive.sensitive:
            raise TpmError(TPM_RC.KEY_SIZE, at="in_private")
        try:
            check_cipher_key(parameters.sym, sensitive.sensitive)
        except TpmError as error:
            raise error.positioned_at("in_private") from None
    elif len(sensitive.sensitive) > largest_key(parameters):
        raise TpmError(TPM_RC.KEY_SIZE, at="in_private")
    if public.name_alg is not TPM_ALG.NULL:
        if len(sensitive.seed_value) != size:
            raise TpmError(TPM_RC.KEY_SIZE, at="in_private")
        if unique != symmetric_unique(public, sensitive.seed_value, sensitive.sensitive):
            raise TpmError(TPM_RC.BINDING)
