"""Part 3, clause 13: duplication commands."""

from typing import Annotated

from vtpm.commands.object_loading import check_loadable
from vtpm.commands.private_key import is_asymmetric
from vtpm.commands.protection import (
    opened_inner,
    opened_outer,
    private_of,
    sealed_inner,
    sealed_outer,
    sensitive_inside,
    sensitive_octets,
)
from vtpm.commands.secret import received_secret, shared_secret
from vtpm.commands.table import command
from vtpm.crypto.digest import digest_size
from vtpm.spec.algorithms import TPM2B_ENCRYPTED_SECRET, TPMT_SYM_DEF_OBJECT, TPMT_SYM_DEF_OBJECT_NULL
from vtpm.spec.constants import TPM_ALG, TPM_CC
from vtpm.spec.handles import TPMI_DH_OBJECT, TPMI_DH_OBJECT_NULL
from vtpm.spec.objects import TPM2B_PRIVATE, TPM2B_PUBLIC, TPMT_PUBLIC, TPMT_SENSITIVE
from vtpm.spec.structures import TPM2B_DATA, TPM2B_NAME
from vtpm.state.entity import Role
from vtpm.state.object import Object, name_of
from vtpm.state.tpm import TpmState
from vtpm.wire.error import TPM_RC, TpmError
from vtpm.wire.structure import structure
from vtpm.wire.vocabulary import codec_of

DUPLICATE = b"DUPLICATE"


def is_storage(key: Object) -> bool:
    """Is it the asymmetric key of a Storage Parent, if only the public part of it?"""
    attributes, has_name = key.public.object_attributes, key.public.name_alg is not TPM_ALG.NULL
    is_parent = attributes.restricted and attributes.decrypt and not attributes.sign
    return is_parent and is_asymmetric(key.public) and has_name


def check_inner_key(symmetric: TPMT_SYM_DEF_OBJECT, key: bytes, at: str, *, may_be_empty: bool) -> None:
    """The key of the inner wrapper is as long as its algorithm asks, and there is none without one."""
    size = 0 if symmetric.algorithm is TPM_ALG.NULL else symmetric.key_bits // 8
    if len(key) != size and not (may_be_empty and not key):
        raise TpmError(TPM_RC.SIZE, at=at)


@structure
class DuplicateResponse:
    """13.1"""

    encryption_key_out: TPM2B_DATA
    duplicate: TPM2B_PRIVATE
    out_sym_seed: TPM2B_ENCRYPTED_SECRET


@command(TPM_CC.Duplicate)
def duplicate(
    tpm: TpmState,
    item: Annotated[Object, TPMI_DH_OBJECT, Role.DUP],
    new_parent: Annotated[Object | None, TPMI_DH_OBJECT_NULL],
    /,
    encryption_key_in: TPM2B_DATA,
    symmetric_alg: TPMT_SYM_DEF_OBJECT_NULL,
) -> DuplicateResponse:
    """13.1: protect an object for another parent, perhaps of another TPM."""
    attributes = item.public.object_attributes
    if attributes.fixedParent:
        raise TpmError(TPM_RC.ATTRIBUTES, at="item")
    if new_parent is not None and not is_storage(new_parent):
        raise TpmError(TPM_RC.TYPE, at="new_parent")
    has_inner = symmetric_alg.algorithm is not TPM_ALG.NULL
    if attributes.encryptedDuplication:
        if not has_inner:
            raise TpmError(TPM_RC.SYMMETRIC, at="symmetric_alg")
        if new_parent is None:
            raise TpmError(TPM_RC.HIERARCHY, at="new_parent")
    check_inner_key(symmetric_alg, encryption_key_in, "encryption_key_in", may_be_empty=True)

    assert item.sensitive is not None
    octets = sensitive_octets(item.public.name_alg, item.sensitive)
    made = b""
    if has_inner:
        if not encryption_key_in:
            made = tpm.random(symmetric_alg.key_bits // 8)
        key = encryption_key_in or made
        octets = sealed_inner(symmetric_alg, key, item.public.name_alg, item.name, octets)
    secret = b""
    if new_parent is not None:
        seed, secret = shared_secret(new_parent.public, DUPLICATE, tpm.random)
        octets = sealed_outer(new_parent, item.name, seed, octets)
    return DuplicateResponse(encryption_key_out=made, duplicate=octets, out_sym_seed=secret)


@structure
class RewrapResponse:
    """13.2"""

    out_duplicate: TPM2B_PRIVATE
    out_sym_seed: TPM2B_ENCRYPTED_SECRET


@command(TPM_CC.Rewrap)
def rewrap(
    tpm: TpmState,
    old_parent: Annotated[Object | None, TPMI_DH_OBJECT_NULL, Role.USER],
    new_parent: Annotated[Object | None, TPMI_DH_OBJECT_NULL],
    /,
    in_duplicate: TPM2B_PRIVATE,
    name: TPM2B_NAME,
    in_sym_seed: TPM2B_ENCRYPTED_SECRET,
) -> RewrapResponse:
    """13.2: give a duplicated object another outer wrapper; the inner one stays closed."""
    if bool(in_sym_seed) is not (old_parent is not None):
        raise TpmError(TPM_RC.HANDLE, at="old_parent")
    octets = in_duplicate
    if old_parent is not None:
        if not is_storage(old_parent):
            raise TpmError(TPM_RC.TYPE, at="old_parent")
        try:
            seed = received_secret(old_parent, DUPLICATE, in_sym_seed)
        except TpmError:
            raise TpmError(TPM_RC.VALUE, at="in_sym_seed") from None
        try:
            octets = opened_outer(old_parent, name, seed, in_duplicate)
        except TpmError as error:
            raise error.positioned_at("in_duplicate") from None
    if new_parent is None:
        return RewrapResponse(out_duplicate=octets, out_sym_seed=b"")
    if not is_storage(new_parent):
        raise TpmError(TPM_RC.TYPE, at="new_parent")
    if 2 + 2 + digest_size(new_parent.public.name_alg) + len(octets) > codec_of(TPM2B_PRIVATE).most():
        raise TpmError(TPM_RC.VALUE, at="in_duplicate")

    seed, secret = shared_secret(new_parent.public, DUPLICATE, tpm.random)
    return RewrapResponse(sealed_outer(new_parent, name, seed, octets), secret)


@structure
class ImportResponse:
    """13.3"""

    out_private: TPM2B_PRIVATE


@command(TPM_CC.Import, costly=True)
def import_object(
    tpm: TpmState,
    parent: Annotated[Object, TPMI_DH_OBJECT, Role.USER],
    /,
    encryption_key: TPM2B_DATA,
    object_public: TPM2B_PUBLIC,
    duplicate: TPM2B_PRIVATE,
    in_sym_seed: TPM2B_ENCRYPTED_SECRET,
    symmetric_alg: TPMT_SYM_DEF_OBJECT_NULL,
) -> ImportResponse:
    """13.3: make a duplicated object one of this parent's, which Load then takes."""
    attributes = object_public.object_attributes
    if attributes.fixedTPM or attributes.fixedParent:
        raise TpmError(TPM_RC.ATTRIBUTES, at="object_public")
    if not parent.is_parent:
        raise TpmError(TPM_RC.TYPE, at="parent")
    check_inner_key(symmetric_alg, encryption_key, "encryption_key", may_be_empty=False)
    if attributes.encryptedDuplication and not encryption_key:
        raise TpmError(TPM_RC.ATTRIBUTES, at="encryption_key")
    octets = without_outer(parent, object_public, duplicate, in_sym_seed)
    sensitive = without_inner(object_public, octets, encryption_key, symmetric_alg)
    if parent.public.object_attributes.fixedTPM:
        try:
            check_loadable(object_public, sensitive, None)
        except TpmError as error:
            places = {"in_public": "object_public", "in_private": "duplicate"}
            at = places.get(error.at) if isinstance(error.at, str) else None
            raise TpmError(error.rc, at=at) from None

    name = name_of(object_public)
    return ImportResponse(out_private=private_of(tpm, parent, object_public, name, sensitive))


def without_outer(parent: Object, public: TPMT_PUBLIC, octets: bytes, secret: bytes) -> bytes:
    """The duplicate without its outer wrapper, if it has one."""
    if not secret:
        if public.object_attributes.encryptedDuplication:
            raise TpmError(TPM_RC.ATTRIBUTES, at="in_sym_seed")
        return octets
    if parent.public.type is TPM_ALG.SYMCIPHER:
        raise TpmError(TPM_RC.TYPE, at="parent")
    try:
        seed = received_secret(parent, DUPLICATE, secret)
    except TpmError as error:
        raise error.positioned_at("in_sym_seed") from None
    try:
        return opened_outer(parent, name_of(public), seed, octets)
    except TpmError as error:
        raise error.positioned_at("duplicate") from None


def without_inner(
    public: TPMT_PUBLIC, octets: bytes, key: bytes, symmetric: TPMT_SYM_DEF_OBJECT
) -> TPMT_SENSITIVE:
    """The sensitive area inside the inner wrapper, if there is one."""
    name = name_of(public)
    try:
        if symmetric.algorithm is not TPM_ALG.NULL:
            octets = opened_inner(symmetric, key, public.name_alg, name, octets)
        return sensitive_inside(octets)
    except TpmError as error:
        raise error.positioned_at("duplicate") from None
