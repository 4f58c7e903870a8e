"""Part 3, clause 18: attestation commands, and NV_Certify of clause 31."""

from typing import Annotated

from vtpm.commands.attest import Signer, attest, attesting_scheme, is_anonymous
from vtpm.commands.creation import selected_digest
from vtpm.commands.table import command
from vtpm.commands.tickets import creation_ticket, is_genuine
from vtpm.crypto.digest import digest
from vtpm.spec.algorithms import TPMT_SIG_SCHEME_NULL, TPMT_SIGNATURE_NULL
from vtpm.spec.constants import TPM_CC, TPM_ST
from vtpm.spec.handles import (
    TPMI_DH_OBJECT,
    TPMI_RH_ENDORSEMENT,
    TPMI_RH_NV_AUTH,
    TPMI_RH_NV_INDEX,
    TPMI_SH_HMAC,
)
from vtpm.spec.limits import MAX_NV_BUFFER_SIZE
from vtpm.spec.structures import (
    TPM2B_ATTEST,
    TPM2B_DATA,
    TPM2B_DIGEST,
    TPML_PCR_SELECTION,
    TPMS_CERTIFY_INFO,
    TPMS_COMMAND_AUDIT_INFO,
    TPMS_CREATION_INFO,
    TPMS_NV_CERTIFY_INFO,
    TPMS_NV_DIGEST_CERTIFY_INFO,
    TPMS_QUOTE_INFO,
    TPMS_SESSION_AUDIT_INFO,
    TPMS_TIME_ATTEST_INFO,
    TPMT_TK_CREATION,
)
from vtpm.state.entity import Role
from vtpm.state.firmware import FIRMWARE_VERSION
from vtpm.state.hierarchy import Hierarchy
from vtpm.state.nv import NvIndex
from vtpm.state.object import Object
from vtpm.state.session import Session
from vtpm.state.tpm import TpmState
from vtpm.wire.error import TPM_RC, TpmError, blaming
from vtpm.wire.integers import UINT16
from vtpm.wire.structure import structure


@structure
class AttestResponse:
    """Clause 18: a statement and its signature."""

    attested: TPM2B_ATTEST
    signature: TPMT_SIGNATURE_NULL


@command(TPM_CC.Certify)
def certify(
    tpm: TpmState,
    certified: Annotated[Object, TPMI_DH_OBJECT, Role.ADMIN],
    sign_key: Signer,
    /,
    qualifying_data: TPM2B_DATA,
    in_scheme: TPMT_SIG_SCHEME_NULL,
) -> AttestResponse:
    """18.2: an object of this Name is loaded."""
    scheme = attesting_scheme(sign_key, in_scheme)

    qualified = b"" if is_anonymous(scheme) else certified.qualified_name
    info = TPMS_CERTIFY_INFO(certified.name, qualified)
    return AttestResponse(*attest(tpm, TPM_ST.ATTEST_CERTIFY, sign_key, scheme, qualifying_data, info))


@command(TPM_CC.CertifyCreation)
def certify_creation(
    tpm: TpmState,
    sign_key: Signer,
    certified: Annotated[Object, TPMI_DH_OBJECT],
    /,
    qualifying_data: TPM2B_DATA,
    creation_hash: TPM2B_DIGEST,
    in_scheme: TPMT_SIG_SCHEME_NULL,
    ticket: TPMT_TK_CREATION,
) -> AttestResponse:
    """18.3: this TPM created the object, with creation data of this hash."""
    scheme = attesting_scheme(sign_key, in_scheme)
    with blaming("ticket"):
        expected = creation_ticket(tpm, ticket.hierarchy, certified.name, creation_hash)
    if not is_genuine(ticket, expected):
        raise TpmError(TPM_RC.TICKET, at="ticket")

    info = TPMS_CREATION_INFO(certified.name, creation_hash)
    return AttestResponse(*attest(tpm, TPM_ST.ATTEST_CREATION, sign_key, scheme, qualifying_data, info))


@command(TPM_CC.Quote)
def quote(
    tpm: TpmState,
    sign_key: Signer,
    /,
    qualifying_data: TPM2B_DATA,
    in_scheme: TPMT_SIG_SCHEME_NULL,
    pcr_select: TPML_PCR_SELECTION,
) -> AttestResponse:
    """18.4: the selected PCR have values of this digest."""
    scheme = attesting_scheme(sign_key, in_scheme)
    if scheme.details is None:
        raise TpmError(TPM_RC.SCHEME, at="in_scheme")

    info = TPMS_QUOTE_INFO(*selected_digest(tpm, scheme.details.hash_alg, pcr_select))
    return AttestResponse(*attest(tpm, TPM_ST.ATTEST_QUOTE, sign_key, scheme, qualifying_data, info))


Privacy = Annotated[Hierarchy, TPMI_RH_ENDORSEMENT, Role.USER]


@command(TPM_CC.GetSessionAuditDigest)
def get_session_audit_digest(
    tpm: TpmState,
    privacy: Privacy,
    sign_key: Signer,
    session: Annotated[Session, TPMI_SH_HMAC],
    /,
    qualifying_data: TPM2B_DATA,
    in_scheme: TPMT_SIG_SCHEME_NULL,
) -> AttestResponse:
    """18.5: the audit digest of a session."""
    scheme = attesting_scheme(sign_key, in_scheme)
    if session.audit_digest is None:
        raise TpmError(TPM_RC.TYPE, at="session")

    exclusive = tpm.volatile.exclusive_session == session.handle
    info = TPMS_SESSION_AUDIT_INFO(exclusive, session.audit_digest)
    return AttestResponse(*attest(tpm, TPM_ST.ATTEST_SESSION_AUDIT, sign_key, scheme, qualifying_data, info))


@command(TPM_CC.GetCommandAuditDigest, nv=True)
def get_command_audit_digest(
    tpm: TpmState,
    privacy: Privacy,
    sign_key: Signer,
    /,
    qualifying_data: TPM2B_DATA,
    in_scheme: TPMT_SIG_SCHEME_NULL,
) -> AttestResponse:
    """18.6: the command audit digest, which a signed statement ends."""
    scheme = attesting_scheme(sign_key, in_scheme)

    permanent = tpm.permanent
    codes = b"".join(code.to_bytes(4, "big") for code in sorted(permanent.audited))
    info = TPMS_COMMAND_AUDIT_INFO(
        audit_counter=permanent.audit_counter,
        digest_alg=permanent.audit_alg,
        audit_digest=tpm.reset.command_audit_digest,
        command_digest=digest(permanent.audit_alg, codes),
    )
    outcome = attest(tpm, TPM_ST.ATTEST_COMMAND_AUDIT, sign_key, scheme, qualifying_data, info)
    if sign_key is not None:
        tpm.reset.command_audit_digest = b""
    return AttestResponse(*outcome)


@command(TPM_CC.GetTime)
def get_time(
    tpm: TpmState,
    privacy: Privacy,
    sign_key: Signer,
    /,
    qualifying_data: TPM2B_DATA,
    in_scheme: TPMT_SIG_SCHEME_NULL,
) -> AttestResponse:
    """18.7: Time and Clock."""
    scheme = attesting_scheme(sign_key, in_scheme)

    info = TPMS_TIME_ATTEST_INFO(tpm.time_info(), FIRMWARE_VERSION)
    return AttestResponse(*attest(tpm, TPM_ST.ATTEST_TIME, sign_key, scheme, qualifying_data, info))


@command(TPM_CC.NV_Certify)
def nv_certify(
    tpm: TpmState,
    sign_key: Signer,
    auth_handle: Annotated[Hierarchy | NvIndex, TPMI_RH_NV_AUTH, Role.USER],
    nv_index: Annotated[NvIndex, TPMI_RH_NV_INDEX],
    /,
    qualifying_data: TPM2B_DATA,
    in_scheme: TPMT_SIG_SCHEME_NULL,
    size: UINT16,
    offset: UINT16,
) -> AttestResponse:
    """31.16: the contents of an NV Index, or the digest of all of it if neither size nor offset is given."""
    scheme = attesting_scheme(sign_key, in_scheme)
    nv_index.check_read(auth_handle)
    if size + offset > nv_index.public.data_size:
        raise TpmError(TPM_RC.NV_RANGE)
    if size > MAX_NV_BUFFER_SIZE:
        raise TpmError(TPM_RC.VALUE, at="size")
    if size or offset:
        kind = TPM_ST.ATTEST_NV
        part = TPMS_NV_CERTIFY_INFO(nv_index.name, offset, nv_index.data[offset : offset + size])
        return AttestResponse(*attest(tpm, kind, sign_key, scheme, qualifying_data, part))
    if scheme.details is None:
        raise TpmError(TPM_RC.SCHEME, at="in_scheme")

    whole = TPMS_NV_DIGEST_CERTIFY_INFO(nv_index.name, digest(scheme.details.hash_alg, nv_index.data))
    return AttestResponse(*attest(tpm, TPM_ST.ATTEST_NV_DIGEST, sign_key, scheme, qualifying_data, whole))
