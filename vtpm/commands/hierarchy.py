"""Part 3, clause 24: hierarchy commands."""

from typing import Annotated

from vtpm.commands.creation import certified, creation_data_of
from vtpm.commands.object_attributes import check_auth, check_template
from vtpm.commands.object_loading import loaded
from vtpm.commands.primary import derived_primary
from vtpm.commands.table import command
from vtpm.crypto.digest import digest_size
from vtpm.spec.algorithms import TPM2B_SENSITIVE_CREATE
from vtpm.spec.constants import TPM_ALG, TPM_CC, TPM_RH
from vtpm.spec.context import TPM2B_CREATION_DATA
from vtpm.spec.handles import (
    TPMI_DH_OBJECT,
    TPMI_RH_BASE_HIERARCHY,
    TPMI_RH_CLEAR,
    TPMI_RH_ENABLES,
    TPMI_RH_HIERARCHY,
    TPMI_RH_HIERARCHY_AUTH,
    TPMI_RH_HIERARCHY_POLICY,
    TPMI_RH_PLATFORM,
)
from vtpm.spec.interface import TPMI_ALG_HASH_NULL, TPMI_YES_NO
from vtpm.spec.objects import TPM2B_PUBLIC
from vtpm.spec.structures import (
    TPM2B_AUTH,
    TPM2B_DATA,
    TPM2B_DIGEST,
    TPM2B_NAME,
    TPML_PCR_SELECTION,
    TPMT_TK_CREATION,
)
from vtpm.state.act import ActEntity
from vtpm.state.entity import Role, without_trailing_zeros
from vtpm.state.hierarchy import PROOF_SIZE, SEED_SIZE, Hierarchy
from vtpm.state.lockout import Lockout
from vtpm.state.tpm import TpmState
from vtpm.wire.error import TPM_RC, TpmError
from vtpm.wire.structure import marshal, structure

Platform = Annotated[Hierarchy, TPMI_RH_PLATFORM, Role.USER]


@structure
class CreatePrimaryResponse:
    """24.1"""

    object_handle: TPMI_DH_OBJECT
    out_public: TPM2B_PUBLIC
    creation_data: TPM2B_CREATION_DATA
    creation_hash: TPM2B_DIGEST
    creation_ticket: TPMT_TK_CREATION
    name: TPM2B_NAME


@command(TPM_CC.CreatePrimary, physical_presence=True, read_only=False, costly=True)
def create_primary(
    tpm: TpmState,
    primary: Annotated[Hierarchy, TPMI_RH_HIERARCHY, Role.USER],
    /,
    in_sensitive: TPM2B_SENSITIVE_CREATE,
    in_public: TPM2B_PUBLIC,
    outside_info: TPM2B_DATA,
    creation_pcr: TPML_PCR_SELECTION,
) -> CreatePrimaryResponse:
    """24.1: derive an object from the seed of a hierarchy, and load it."""
    tpm.volatile.check_slot()
    try:
        check_template(in_public, len(in_sensitive.data), hierarchy=primary.handle)
    except TpmError as error:
        raise error.positioned_at("in_public") from None
    check_auth(in_sensitive.user_auth, in_public, "in_sensitive")

    public, sensitive = derived_primary(tpm, primary, marshal(in_public), in_public, in_sensitive)
    item = loaded(tpm, primary, public, sensitive)
    data = creation_data_of(tpm, primary, public.name_alg, outside_info, creation_pcr)
    creation_hash, ticket = certified(tpm, primary.handle, item.name, public.name_alg, data)
    return CreatePrimaryResponse(
        object_handle=tpm.volatile.add(item),
        out_public=public,
        creation_data=data,
        creation_hash=creation_hash,
        creation_ticket=ticket,
        name=item.name,
    )


@command(TPM_CC.HierarchyControl, nv=True, extensive=True, physical_presence=True, read_only=False)
def hierarchy_control(
    tpm: TpmState,
    auth: Annotated[Hierarchy, TPMI_RH_BASE_HIERARCHY, Role.USER],
    /,
    enable: TPMI_RH_ENABLES,
    state: TPMI_YES_NO,
) -> None:
    """
    24.2: enable or disable a hierarchy until the next TPM Reset or Restart.

    A disabled hierarchy cannot authorize, so only the platform enables another one, and nobody the platform.
    """
    own = {TPM_RH.OWNER: tpm.owner, TPM_RH.ENDORSEMENT: tpm.endorsement}.get(TPM_RH(enable))
    if auth is not tpm.platform and own is not auth:
        raise TpmError(TPM_RC.AUTH_TYPE)

    if enable == TPM_RH.PLATFORM_NV:
        tpm.clear.ph_enable_nv = state
        return
    tpm.hierarchies[enable].enabled = state
    if not state:
        tpm.volatile.flush({enable})


@command(TPM_CC.SetPrimaryPolicy, nv=True, physical_presence=True, read_only=False)
def set_primary_policy(
    tpm: TpmState,
    auth: Annotated[Hierarchy | Lockout | ActEntity, TPMI_RH_HIERARCHY_POLICY, Role.USER],
    /,
    auth_policy: TPM2B_DIGEST,
    hash_alg: TPMI_ALG_HASH_NULL,
) -> None:
    """24.3: the authPolicy of a hierarchy, of lockout or of the countdown timer."""
    if len(auth_policy) != (0 if hash_alg is TPM_ALG.NULL else digest_size(hash_alg)):
        raise TpmError(TPM_RC.SIZE, at="auth_policy")

    auth.auth_policy = auth_policy
    auth.policy_alg = hash_alg
    if auth is not tpm.platform and not isinstance(auth, ActEntity):
        tpm.touch_permanent()


def renew_seed(tpm: TpmState, hierarchy: Hierarchy) -> None:
    """A new seed: no primary object of the old one can be made again."""
    hierarchy.seed = tpm.random(SEED_SIZE)
    hierarchy.seed_level = 1
    tpm.forget_primaries(hierarchy.handle)


def forget_objects(tpm: TpmState, hierarchies: set[int]) -> None:
    """Flush the transient objects of these hierarchies, and delete the persistent ones."""
    tpm.volatile.flush(hierarchies)
    for item in list(tpm.persistent.values()):
        if item.hierarchy in hierarchies:
            tpm.erase_object(item)


@command(TPM_CC.ChangePPS, nv=True, extensive=True, physical_presence=True, read_only=False, costly=True)
def change_pps(tpm: TpmState, auth: Platform, /) -> None:
    """24.4: a new platform seed; the platform's objects and its policy are gone, but not its authValue."""
    renew_seed(tpm, tpm.platform)
    tpm.platform.proof = tpm.random(PROOF_SIZE)
    tpm.platform.auth_policy, tpm.platform.policy_alg = b"", TPM_ALG.NULL
    tpm.pcr_group.auth_policy, tpm.pcr_group.policy_alg = b"", TPM_ALG.NULL
    forget_objects(tpm, {TPM_RH.PLATFORM})
    tpm.touch_permanent()


@command(TPM_CC.ChangeEPS, nv=True, extensive=True, physical_presence=True, read_only=False, costly=True)
def change_eps(tpm: TpmState, auth: Platform, /) -> None:
    """24.5: a new endorsement seed; the endorsement keys and their authorization are gone."""
    endorsement = tpm.endorsement
    renew_seed(tpm, endorsement)
    endorsement.proof = tpm.random(PROOF_SIZE)
    endorsement.auth_value = endorsement.auth_policy = b""
    endorsement.policy_alg = TPM_ALG.NULL
    endorsement.enabled = True
    tpm.permanent.tpm_generated_eps = True
    forget_objects(tpm, {TPM_RH.ENDORSEMENT})
    tpm.touch_permanent()


@command(TPM_CC.Clear, nv=True, extensive=True, physical_presence=True, read_only=False, costly=True)
def clear(tpm: TpmState, auth: Annotated[Hierarchy | Lockout, TPMI_RH_CLEAR, Role.USER], /) -> None:
    """
    24.6: the owner's objects, Indices and authorizations are gone.

    Where Part 3 is silent, as on the parameters of lockout and on the audit, the reference code decides.
    """
    if tpm.permanent.disable_clear:
        raise TpmError(TPM_RC.DISABLED)

    renew_seed(tpm, tpm.owner)
    tpm.owner.proof = tpm.random(PROOF_SIZE)
    tpm.endorsement.proof = tpm.random(PROOF_SIZE)
    for entity in (tpm.owner, tpm.endorsement, tpm.lockout):
        entity.auth_value = entity.auth_policy = b""
        entity.policy_alg = TPM_ALG.NULL
    tpm.owner.enabled = tpm.endorsement.enabled = True
    forget_objects(tpm, {TPM_RH.OWNER, TPM_RH.ENDORSEMENT})
    for index in list(tpm.nv.values()):
        if not index.attributes.PLATFORMCREATE:
            tpm.erase_nv(index)
    tpm.pcr_group.auth_value = b""
    tpm.lockout.set_defaults()
    tpm.permanent.audit_counter = 0
    tpm.permanent.reset_count = tpm.reset.restart_count = tpm.reset.clear_count = 0
    tpm.clock.restart()
    tpm.count_pcr_change(0)
    tpm.touch_permanent()
    tpm.touch_orderly()


@command(TPM_CC.ClearControl, nv=True, physical_presence=True, read_only=False)
def clear_control(
    tpm: TpmState, auth: Annotated[Hierarchy | Lockout, TPMI_RH_CLEAR, Role.USER], /, disable: TPMI_YES_NO
) -> None:
    """24.7: forbid TPM2_Clear; only the platform allows it again."""
    if isinstance(auth, Lockout) and not disable:
        raise TpmError(TPM_RC.AUTH_FAIL)

    tpm.permanent.disable_clear = disable
    tpm.touch_permanent()


@command(TPM_CC.HierarchyChangeAuth, nv=True, physical_presence=True, read_only=False)
def hierarchy_change_auth(
    tpm: TpmState,
    auth: Annotated[Hierarchy | Lockout, TPMI_RH_HIERARCHY_AUTH, Role.USER],
    /,
    new_auth: TPM2B_AUTH,
) -> None:
    """24.8: the authValue of a hierarchy or of lockout; the response is acknowledged with the new one."""
    auth.auth_value = without_trailing_zeros(new_auth)
    if auth is not tpm.platform:
        tpm.touch_permanent()


@command(TPM_CC.ReadOnlyControl, physical_presence=True)
def read_only_control(tpm: TpmState, auth: Platform, /, state: TPMI_YES_NO) -> None:
    """24.9: enter or leave Read-Only mode, in which nothing permanent changes."""
    tpm.clear.read_only = state
