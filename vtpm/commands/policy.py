"""Part 3, clause 23: enhanced authorization: the conditions that a policy session accumulates."""

from typing import Annotated

from vtpm.commands.creation import selected_digest
from vtpm.commands.table import command
from vtpm.crypto.digest import digest, digest_size
from vtpm.spec.attributes import TPMA_LOCALITY
from vtpm.spec.constants import TPM_ALG, TPM_CC
from vtpm.spec.handles import TPMI_SH_POLICY
from vtpm.spec.interface import HASHES, TPM_CC_TYPE, TPMI_YES_NO
from vtpm.spec.structures import TPM2B_DIGEST, TPM2B_NAME, TPML_DIGEST, TPML_PCR_SELECTION
from vtpm.state.session import Hashed, Policy, Session
from vtpm.state.tpm import TpmState
from vtpm.wire.error import TPM_RC, TpmError
from vtpm.wire.structure import marshal, structure

PolicySession = Annotated[Session, TPMI_SH_POLICY]

ANY_LOCALITY = 0x1F
EXTENDED_LOCALITY = 32
NAME_ALG_SIZE = 2
"""Octets of the algorithm at the beginning of a Name."""


def assert_in(session: Session, code: TPM_CC, *parts: bytes) -> None:
    """Part 1, "Policy Digest": extend the policy digest with a command code and its parts."""
    policy = session.the_policy
    policy.digest = digest(session.hash, policy.digest, code.to_bytes(4, "big"), *parts)


@command(TPM_CC.PolicyOR)
def policy_or(tpm: TpmState, session: PolicySession, /, p_hash_list: TPML_DIGEST) -> None:
    """23.6: what has been accumulated is one of several alternatives."""
    policy = session.the_policy
    if not session.is_trial and policy.digest not in p_hash_list:
        raise TpmError(TPM_RC.VALUE, at="p_hash_list")

    policy.digest = bytes(digest_size(session.hash))
    assert_in(session, TPM_CC.PolicyOR, *p_hash_list)


@command(TPM_CC.PolicyPCR)
def policy_pcr(
    tpm: TpmState, session: PolicySession, /, pcr_digest: TPM2B_DIGEST, pcrs: TPML_PCR_SELECTION
) -> None:
    """
    23.7: PCR have given values, until the command that the policy authorizes.

    A trial session leaves out PCR that do not exist, too, as the reference code does, though not the text.
    So it computes what a policy session of this TPM will have.
    """
    policy = session.the_policy
    selection, current = selected_digest(tpm, session.hash, pcrs)
    if not session.is_trial:
        if policy.pcr_counter not in (0, tpm.reset.pcr_counter):
            raise TpmError(TPM_RC.PCR_CHANGED)
        if pcr_digest and pcr_digest != current:
            raise TpmError(TPM_RC.VALUE, at="pcr_digest")

    assert_in(session, TPM_CC.PolicyPCR, marshal(selection, TPML_PCR_SELECTION), pcr_digest or current)
    if not session.is_trial:
        policy.pcr_counter = tpm.reset.pcr_counter


@command(TPM_CC.PolicyLocality)
def policy_locality(tpm: TpmState, session: PolicySession, /, locality: TPMA_LOCALITY) -> None:
    """23.8: the command comes from given localities."""
    policy, wanted = session.the_policy, int(locality)
    before = policy.locality
    if wanted == 0 or (before and (before < EXTENDED_LOCALITY) is not (wanted < EXTENDED_LOCALITY)):
        raise TpmError(TPM_RC.RANGE, at="locality")
    if wanted < EXTENDED_LOCALITY:
        allowed = (before or ANY_LOCALITY) & wanted
    else:
        allowed = wanted if before in (0, wanted) else 0
    if allowed == 0:
        raise TpmError(TPM_RC.RANGE, at="locality")

    assert_in(session, TPM_CC.PolicyLocality, bytes((wanted,)))
    policy.locality = allowed


@command(TPM_CC.PolicyCommandCode)
def policy_command_code(tpm: TpmState, session: PolicySession, /, code: TPM_CC_TYPE) -> None:
    """23.11: the policy is for one command."""
    policy = session.the_policy
    if policy.command_code not in (0, code):
        raise TpmError(TPM_RC.VALUE, at="code")
    if code not in tpm.commands:
        raise TpmError(TPM_RC.POLICY_CC, at="code")

    assert_in(session, TPM_CC.PolicyCommandCode, code.to_bytes(4, "big"))
    policy.command_code = code


@command(TPM_CC.PolicyPhysicalPresence)
def policy_physical_presence(tpm: TpmState, session: PolicySession, /) -> None:
    """23.12: physical presence is asserted with the command."""
    assert_in(session, TPM_CC.PolicyPhysicalPresence)
    session.the_policy.physical_presence = True


def check_bindable(policy: Policy, kind: Hashed, value: bytes, *, may_repeat: bool) -> None:
    """A session can be bound to one hash of the command: TPM_RC_CPHASH for another."""
    if policy.bound_hash and not (may_repeat and policy.hashed is kind and policy.bound_hash == value):
        raise TpmError(TPM_RC.CPHASH)


def bind_hash(session: Session, code: TPM_CC, kind: Hashed, value: bytes) -> None:
    """Extend the digest with a hash of the command, and remember it for the command's check."""
    assert_in(session, code, value)
    session.the_policy.bound_hash = value
    session.the_policy.hashed = kind


@command(TPM_CC.PolicyCpHash)
def policy_cp_hash(tpm: TpmState, session: PolicySession, /, cp_hash_a: TPM2B_DIGEST) -> None:
    """23.13: the policy is for one command with its Names and parameters."""
    if len(cp_hash_a) != digest_size(session.hash):
        raise TpmError(TPM_RC.SIZE, at="cp_hash_a")
    check_bindable(session.the_policy, Hashed.CP_HASH, cp_hash_a, may_repeat=True)

    bind_hash(session, TPM_CC.PolicyCpHash, Hashed.CP_HASH, cp_hash_a)


@command(TPM_CC.PolicyNameHash)
def policy_name_hash(tpm: TpmState, session: PolicySession, /, name_hash: TPM2B_DIGEST) -> None:
    """23.14: the policy is for given entities."""
    if len(name_hash) != digest_size(session.hash):
        raise TpmError(TPM_RC.SIZE, at="name_hash")
    check_bindable(session.the_policy, Hashed.NAME_HASH, name_hash, may_repeat=False)

    bind_hash(session, TPM_CC.PolicyNameHash, Hashed.NAME_HASH, name_hash)


@command(TPM_CC.PolicyDuplicationSelect)
def policy_duplication_select(
    tpm: TpmState,
    session: PolicySession,
    /,
    object_name: TPM2B_NAME,
    new_parent_name: TPM2B_NAME,
    include_object: TPMI_YES_NO,
) -> None:
    """23.15: the policy is for the duplication of an object to a new parent."""
    policy = session.the_policy
    check_bindable(policy, Hashed.NAME_HASH, b"", may_repeat=False)
    if policy.command_code:
        raise TpmError(TPM_RC.COMMAND_CODE)

    policy.bound_hash = digest(session.hash, object_name, new_parent_name)
    policy.hashed = Hashed.NAME_HASH
    included = object_name if include_object else b""
    flag = bytes((include_object,))
    assert_in(session, TPM_CC.PolicyDuplicationSelect, included, new_parent_name, flag)
    policy.command_code = TPM_CC.Duplicate


@command(TPM_CC.PolicyAuthValue)
def policy_auth_value(tpm: TpmState, session: PolicySession, /) -> None:
    """23.17: the authValue is part of the HMAC key."""
    assert_in(session, TPM_CC.PolicyAuthValue)
    session.the_policy.auth_value_needed = True
    session.the_policy.password_needed = False


@command(TPM_CC.PolicyPassword)
def policy_password(tpm: TpmState, session: PolicySession, /) -> None:
    """23.18: the authValue is given as a password; the digest is that of PolicyAuthValue."""
    assert_in(session, TPM_CC.PolicyAuthValue)
    session.the_policy.password_needed = True
    session.the_policy.auth_value_needed = False


@structure
class PolicyGetDigestResponse:
    """23.19"""

    policy_digest: TPM2B_DIGEST


@command(TPM_CC.PolicyGetDigest)
def policy_get_digest(tpm: TpmState, session: PolicySession, /) -> PolicyGetDigestResponse:
    """23.19: what has been accumulated."""
    return PolicyGetDigestResponse(policy_digest=session.the_policy.digest)


@command(TPM_CC.PolicyNvWritten)
def policy_nv_written(tpm: TpmState, session: PolicySession, /, written_set: TPMI_YES_NO) -> None:
    """23.20: the NV Index that the policy authorizes has been written, or has not."""
    policy = session.the_policy
    if policy.nv_written not in (None, written_set):
        raise TpmError(TPM_RC.VALUE, at="written_set")

    policy.nv_written = written_set
    assert_in(session, TPM_CC.PolicyNvWritten, bytes((written_set,)))


@command(TPM_CC.PolicyTemplate)
def policy_template(tpm: TpmState, session: PolicySession, /, template_hash: TPM2B_DIGEST) -> None:
    """23.21: the policy is for the creation of objects from one template."""
    policy = session.the_policy
    if policy.hashed is Hashed.TEMPLATE and policy.bound_hash != template_hash:
        raise TpmError(TPM_RC.VALUE, at="template_hash")
    check_bindable(policy, Hashed.TEMPLATE, template_hash, may_repeat=True)
    if len(template_hash) != digest_size(session.hash):
        raise TpmError(TPM_RC.SIZE, at="template_hash")

    bind_hash(session, TPM_CC.PolicyTemplate, Hashed.TEMPLATE, template_hash)


@command(TPM_CC.PolicyParameters)
def policy_parameters(tpm: TpmState, session: PolicySession, /, p_hash: TPM2B_DIGEST) -> None:
    """23.24: the policy is for one command with its parameters, whatever its entities are."""
    if len(p_hash) != digest_size(session.hash):
        raise TpmError(TPM_RC.SIZE, at="p_hash")
    check_bindable(session.the_policy, Hashed.PARAMETERS, p_hash, may_repeat=False)

    bind_hash(session, TPM_CC.PolicyParameters, Hashed.PARAMETERS, p_hash)


def check_name(name: bytes, *, at: str) -> None:
    """The Name of a key is a hash algorithm and its digest; it may be left out."""
    if not name:
        return
    if len(name) < NAME_ALG_SIZE:
        raise TpmError(TPM_RC.SIZE, at=at)
    alg = int.from_bytes(name[:NAME_ALG_SIZE], "big")
    if alg not in HASHES:
        raise TpmError(TPM_RC.HASH, at=at)
    if len(name) != NAME_ALG_SIZE + digest_size(TPM_ALG(alg)):
        raise TpmError(TPM_RC.SIZE, at=at)


@command(TPM_CC.PolicyTransportSPDM)
def policy_transport_spdm(
    tpm: TpmState, session: PolicySession, /, req_key_name: TPM2B_NAME, tpm_key_name: TPM2B_NAME
) -> None:
    """23.25: the command comes through a secure channel, with given keys."""
    policy = session.the_policy
    if policy.secure_channel:
        raise TpmError(TPM_RC.VALUE)
    check_name(req_key_name, at="req_key_name")
    check_name(tpm_key_name, at="tpm_key_name")
    key_hash = b""
    if req_key_name or tpm_key_name:
        key_hash = digest(session.hash, marshal(req_key_name, TPM2B_NAME), marshal(tpm_key_name, TPM2B_NAME))

    assert_in(session, TPM_CC.PolicyTransportSPDM, key_hash)
    policy.secure_channel = True
    policy.channel_key_hash = key_hash
