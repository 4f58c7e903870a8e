"""Part 3, clause 12: object commands."""

from dataclasses import replace
from typing import Annotated

from vtpm.commands.creation import certified, creation_data_of
from vtpm.commands.derivation import derived_object
from vtpm.commands.key_creation import created
from vtpm.commands.object_attributes import check_auth, check_template
from vtpm.commands.object_loading import check_loadable, loaded
from vtpm.commands.primary import derived_primary
from vtpm.commands.protection import private_of, sensitive_of
from vtpm.commands.table import command
from vtpm.crypto.rsa import RsaKey, fresh_key
from vtpm.spec.algorithms import (
    TPM2B_SENSITIVE_CREATE,
    TPM2B_SENSITIVE_DATA,
    TPMS_SENSITIVE_CREATE,
)
from vtpm.spec.constants import TPM_ALG, TPM_CC, TPM_RH
from vtpm.spec.context import TPM2B_CREATION_DATA
from vtpm.spec.handles import TPMI_DH_OBJECT, TPMI_DH_PARENT, TPMI_RH_HIERARCHY
from vtpm.spec.objects import (
    TPM2B_PRIVATE,
    TPM2B_PUBLIC,
    TPM2B_PUBLIC_NULL,
    TPM2B_SENSITIVE,
    TPM2B_TEMPLATE,
    TPMT_PUBLIC,
    TPMT_SENSITIVE,
)
from vtpm.spec.structures import (
    TPM2B_AUTH,
    TPM2B_DATA,
    TPM2B_DIGEST,
    TPM2B_NAME,
    TPML_PCR_SELECTION,
    TPMT_TK_CREATION,
)
from vtpm.state.entity import Role, without_trailing_zeros
from vtpm.state.hierarchy import Hierarchy
from vtpm.state.object import Object, name_of, qualified_name_of
from vtpm.state.tpm import TpmState
from vtpm.wire.error import TPM_RC, TpmError
from vtpm.wire.structure import structure, unmarshal

Parent = Annotated[Object, TPMI_DH_OBJECT, Role.USER]


def random_areas(
    tpm: TpmState, public: TPMT_PUBLIC, sensitive: TPM2B_SENSITIVE_CREATE
) -> tuple[TPMT_PUBLIC, TPMT_SENSITIVE]:
    """The areas of an ordinary object, from the TPM's own random numbers."""

    def make_rsa(bits: int, exponent: int) -> RsaKey:
        return fresh_key(bits, exponent, tpm.random, tpm.prime_pool)

    return created(public, sensitive, tpm.random, make_rsa)


@structure
class CreateResponse:
    """12.1"""

    out_private: TPM2B_PRIVATE
    out_public: TPM2B_PUBLIC
    creation_data: TPM2B_CREATION_DATA
    creation_hash: TPM2B_DIGEST
    creation_ticket: TPMT_TK_CREATION


@command(TPM_CC.Create, read_only=False, costly=True)
def create(
    tpm: TpmState,
    parent: Parent,
    /,
    in_sensitive: TPM2B_SENSITIVE_CREATE,
    in_public: TPM2B_PUBLIC,
    outside_info: TPM2B_DATA,
    creation_pcr: TPML_PCR_SELECTION,
) -> CreateResponse:
    """12.1: make an object that only its parent can load."""
    if not parent.is_parent:
        raise TpmError(TPM_RC.TYPE, at="parent")
    tpm.volatile.check_slot()
    try:
        check_template(in_public, len(in_sensitive.data), parent=parent)
    except TpmError as error:
        raise error.positioned_at("in_public") from None
    check_auth(in_sensitive.user_auth, in_public, "in_sensitive")

    public, sensitive = random_areas(tpm, in_public, in_sensitive)
    name = name_of(public)
    data = creation_data_of(tpm, parent, public.name_alg, outside_info, creation_pcr)
    creation_hash, ticket = certified(tpm, parent.hierarchy, name, public.name_alg, data)
    return CreateResponse(
        out_private=private_of(tpm, parent, public, name, sensitive),
        out_public=public,
        creation_data=data,
        creation_hash=creation_hash,
        creation_ticket=ticket,
    )


@structure
class LoadResponse:
    """12.2 and 12.3"""

    object_handle: TPMI_DH_OBJECT
    name: TPM2B_NAME


@command(TPM_CC.Load)
def load(
    tpm: TpmState, parent: Parent, /, in_private: TPM2B_PRIVATE, in_public: TPM2B_PUBLIC
) -> LoadResponse:
    """12.2: load an object under its parent."""
    tpm.volatile.check_slot()
    if not in_private:
        raise TpmError(TPM_RC.SIZE, at="in_private")
    if not parent.is_parent:
        raise TpmError(TPM_RC.TYPE, at="parent")
    name = name_of(in_public)
    try:
        sensitive = sensitive_of(parent, name, in_private)
    except TpmError as error:
        raise error.positioned_at("in_private") from None
    check_loadable(in_public, sensitive, parent)

    item = loaded(tpm, parent, in_public, sensitive, name=name)
    return LoadResponse(object_handle=tpm.volatile.add(item), name=item.name)


@command(TPM_CC.LoadExternal, costly=True)
def load_external(
    tpm: TpmState,
    /,
    in_private: TPM2B_SENSITIVE,
    in_public: TPM2B_PUBLIC_NULL,
    hierarchy: TPMI_RH_HIERARCHY,
) -> LoadResponse:
    """12.3: load an object that no parent of this TPM protects, or only its public area."""
    tpm.volatile.check_slot()
    try:
        place = tpm.enabled_hierarchy(hierarchy)
    except TpmError as error:
        raise error.positioned_at("hierarchy") from None
    if in_private is not None:
        if hierarchy != TPM_RH.NULL:
            raise TpmError(TPM_RC.HIERARCHY, at="hierarchy")
        attributes = in_public.object_attributes
        if attributes.fixedTPM or attributes.fixedParent or attributes.restricted:
            raise TpmError(TPM_RC.ATTRIBUTES, at="in_public")
    check_loadable(in_public, in_private, None)

    item = loaded(tpm, place, in_public, in_private, external=True)
    return LoadResponse(object_handle=tpm.volatile.add(item), name=item.name)


@structure
class ReadPublicResponse:
    """12.4"""

    out_public: TPM2B_PUBLIC_NULL
    name: TPM2B_NAME
    qualified_name: TPM2B_NAME


@command(TPM_CC.ReadPublic)
def read_public(
    tpm: TpmState, item: Annotated[Object, TPMI_DH_OBJECT, TPM_RC.SEQUENCE], /
) -> ReadPublicResponse:
    """12.4: the public area of a loaded object."""
    return ReadPublicResponse(item.public, item.name, item.qualified_name)


@structure
class UnsealResponse:
    """12.7"""

    out_data: TPM2B_SENSITIVE_DATA


@command(TPM_CC.Unseal)
def unseal(tpm: TpmState, item: Annotated[Object, TPMI_DH_OBJECT, Role.USER], /) -> UnsealResponse:
    """12.7: the data of a sealed data object."""
    if item.public.type is not TPM_ALG.KEYEDHASH:
        raise TpmError(TPM_RC.TYPE, at="item")
    attributes = item.public.object_attributes
    if attributes.decrypt or attributes.sign or attributes.restricted:
        raise TpmError(TPM_RC.ATTRIBUTES, at="item")

    assert item.sensitive is not None
    return UnsealResponse(out_data=item.sensitive.sensitive)


@structure
class ObjectChangeAuthResponse:
    """12.8"""

    out_private: TPM2B_PRIVATE


@command(TPM_CC.ObjectChangeAuth, read_only=False)
def object_change_auth(
    tpm: TpmState,
    item: Annotated[Object, TPMI_DH_OBJECT, Role.ADMIN],
    parent: Annotated[Object, TPMI_DH_OBJECT],
    /,
    new_auth: TPM2B_AUTH,
) -> ObjectChangeAuthResponse:
    """12.8: the private area of an object with another authValue; the loaded one keeps its own."""
    check_auth(new_auth, item.public, "new_auth")
    qualified_name = qualified_name_of(parent.qualified_name, item.name, item.public.name_alg)
    if not (parent.is_parent and item.name and item.qualified_name == qualified_name):
        raise TpmError(TPM_RC.TYPE, at="parent")

    assert item.sensitive is not None
    sensitive = replace(item.sensitive, auth_value=without_trailing_zeros(new_auth))
    return ObjectChangeAuthResponse(private_of(tpm, parent, item.public, item.name, sensitive))


@structure
class CreateLoadedResponse:
    """12.9"""

    object_handle: TPMI_DH_OBJECT
    out_private: TPM2B_PRIVATE
    out_public: TPM2B_PUBLIC
    name: TPM2B_NAME


@command(TPM_CC.CreateLoaded, physical_presence=True, read_only=False, costly=True)
def create_loaded(
    tpm: TpmState,
    parent: Annotated[Object | Hierarchy, TPMI_DH_PARENT, Role.USER],
    /,
    in_sensitive: TPM2B_SENSITIVE_CREATE,
    in_public: TPM2B_TEMPLATE,
) -> CreateLoadedResponse:
    """12.9: make an object under any kind of parent, and load it; only an ordinary one has a private area."""
    derives = isinstance(parent, Object) and parent.is_derivation_parent
    if isinstance(parent, Object) and not derives and not parent.is_parent:
        raise TpmError(TPM_RC.TYPE, at="parent")
    tpm.volatile.check_slot()

    private = b""
    if isinstance(parent, Hierarchy):
        public = whole_template(tpm, in_public, in_sensitive, None, parent.handle)
        public, sensitive = derived_primary(tpm, parent, in_public, public, in_sensitive)
    elif derives:
        public, sensitive = derived_object(tpm, parent, in_public, in_sensitive)
    else:
        public = whole_template(tpm, in_public, in_sensitive, parent, None)
        public, sensitive = random_areas(tpm, public, in_sensitive)
        private = private_of(tpm, parent, public, name_of(public), sensitive)
    item = loaded(tpm, parent, public, sensitive)
    return CreateLoadedResponse(tpm.volatile.add(item), private, public, item.name)


def whole_template(
    tpm: TpmState,
    in_public: bytes,
    in_sensitive: TPMS_SENSITIVE_CREATE,
    parent: Object | None,
    hierarchy: int | None,
) -> TPMT_PUBLIC:
    """The template as a public area, to its last octet, if an object can be made of it."""
    try:
        public: TPMT_PUBLIC = unmarshal(tpm.narrowing.of(TPMT_PUBLIC), in_public)
        check_auth(in_sensitive.user_auth, public, "in_sensitive")
        check_template(public, len(in_sensitive.data), parent=parent, hierarchy=hierarchy)
    except TpmError as error:
        raise error.positioned_at("in_public") from None
    return public
