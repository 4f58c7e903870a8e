"""What Windows 11 does with keys of a TPM: storage, endorsement and attestation keys, BitLocker's seal."""

import hmac
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from vtpm.caller.messages import Reply
from vtpm.crypto.digest import digest
from vtpm.manufacture.certificates import (
    EK_CERTIFICATE,
    TPM_MANUFACTURER,
    TPM_MODEL,
    TPM_VERSION,
    public_key_of,
)
from vtpm.manufacture.checklist import NOBODY, Checklist, Finding, NotChecked, Policy, Subject, creation_of
from vtpm.manufacture.endorsement import certifies, kind_of, parsed
from vtpm.manufacture.templates import EK, SRK_HANDLE, SRK_TEMPLATE
from vtpm.spec.algorithms import (
    TPMS_SCHEME_HASH,
    TPMT_KEYEDHASH_SCHEME,
    TPMT_RSA_SCHEME,
    TPMT_SIG_SCHEME,
    TPMT_SYM_DEF_OBJECT,
)
from vtpm.spec.attributes import TPMA_NV, TPMA_OBJECT
from vtpm.spec.constants import TPM_ALG, TPM_NT, TPM_PT, TPM_RH, TPM_SE
from vtpm.spec.nv import TPMS_NV_PUBLIC
from vtpm.spec.objects import TPMS_KEYEDHASH_PARMS, TPMS_RSA_PARMS, TPMT_PUBLIC
from vtpm.spec.structures import TPMS_PCR_SELECTION, TPMT_HA
from vtpm.wire.error import TPM_RC, decode

TPMTOOL: Final = "tpmtool"
HEALTH: Final = "pre-attestation health check"
HLK: Final = "HLK"
BITLOCKER: Final = "BitLocker"

RENEW: Final = "vtpm ek renew {vm}"
CLEAR: Final = "clear the TPM in the guest's firmware, or in Windows: Clear-Tpm"

AIK_TEMPLATE: Final = TPMT_PUBLIC(
    type=TPM_ALG.RSA,
    name_alg=TPM_ALG.SHA256,
    object_attributes=TPMA_OBJECT(
        fixedTPM=True,
        fixedParent=True,
        sensitiveDataOrigin=True,
        userWithAuth=True,
        noDA=True,
        restricted=True,
        sign=True,
    ),
    auth_policy=bytes.fromhex("9dffcbf36c383ae699fb9868dc6dcb89d7153884be2803922c124158bfad22ae"),
    parameters=TPMS_RSA_PARMS(
        symmetric=TPMT_SYM_DEF_OBJECT(TPM_ALG.NULL, 0, TPM_ALG.NULL),
        scheme=TPMT_RSA_SCHEME(TPM_ALG.RSASSA, TPMS_SCHEME_HASH(TPM_ALG.SHA1)),
        key_bits=2048,
        exponent=0,
    ),
    unique=b"",
)
"""The attestation key of Windows' Platform Crypto Provider: RSASSA with SHA-1, and the provider's policy."""

SHA1_INFO: Final = bytes.fromhex("3021300906052b0e03021a05000414")
"""RFC 8017, 9.2, note 1: what stands before a SHA-1 digest in a signature."""

QUALIFIER: Final = bytes(range(20))
"""Get-TpmSupportedFeature has a key certify its own creation with 20 octets."""

VMK: Final = bytes(range(44))
VMK_ATTRIBUTES: Final = TPMA_OBJECT(fixedTPM=True, fixedParent=True, noDA=True)
SEALED_TO: Final = TPMS_PCR_SELECTION(TPM_ALG.SHA256, b"\x80\x08\x00")
"""PCR 7 and 11, BitLocker's profile under Secure Boot."""

CAP_PCR: Final = 11
COUNTER_INDEX: Final = 0x01500000
"""In the owner's range (TCG Registry of Reserved TPM 2.0 Handles, 2.2)."""

COUNTER: Final = TPMA_NV(OWNERWRITE=True, OWNERREAD=True, NO_DA=True, TPM_NT=TPM_NT.COUNTER)

KEY_CHECKS: Final = Checklist()

Part = TypeVar("Part", bound=x509.ExtensionType)


def sealed_template(policy: bytes) -> TPMT_PUBLIC:
    """The public area of BitLocker's sealed volume master key."""
    return TPMT_PUBLIC(
        type=TPM_ALG.KEYEDHASH,
        name_alg=TPM_ALG.SHA256,
        object_attributes=VMK_ATTRIBUTES,
        auth_policy=policy,
        parameters=TPMS_KEYEDHASH_PARMS(TPMT_KEYEDHASH_SCHEME(TPM_ALG.NULL, None)),
        unique=b"",
    )


@KEY_CHECKS.check(TPMTOOL, "ready for storage", CLEAR)
def storage_root_key(subject: Subject) -> str:
    """The storage root key, under which BitLocker seals, or room for Windows to make it."""
    public = subject.persistent(SRK_HANDLE)
    if public is None:
        if subject.property(TPM_PT.HR_PERSISTENT_AVAIL) == 0:
            raise Finding("no storage root key, and no room for a persistent object")
        return "no storage root key yet: Windows makes it"
    found = f"{kind_of(public)} at 0x{SRK_HANDLE:08x}"
    expected, attributes = SRK_TEMPLATE.object_attributes, public.object_attributes
    if attributes & expected != expected or attributes.sign:
        raise Finding(f"{found} is no storage root key: {attributes}")
    return found


@KEY_CHECKS.check(TPMTOOL, "endorsement key", CLEAR)
def endorsement_key(subject: Subject) -> str:
    """What anybody makes from the default template is the key at the endorsement key's handle."""
    made = subject.primary(TPM_RH.ENDORSEMENT, EK.RSA_2048.value.template)
    subject.flush_context(flush_handle=made.object_handle).check()
    persistent = subject.persistent(EK.RSA_2048.value.handle)
    if persistent is None:
        return "as the template makes it; not yet persistent"
    if persistent != made.out_public:
        raise Finding(f"the object at 0x{EK.RSA_2048.value.handle:08x} is another key than the template's")
    return f"{kind_of(persistent)} at 0x{EK.RSA_2048.value.handle:08x}"


@KEY_CHECKS.check(HEALTH, "EK certificate", RENEW)
def ek_certificate(subject: Subject) -> str:
    """EkCertIsAvailable: that of the RSA key, for this key and this time, with what the TCG wants in it."""
    certificate = certificate_of(subject, EK.RSA_2048)
    purposes = extension_of(certificate, x509.ExtendedKeyUsage)
    if purposes is None or EK_CERTIFICATE not in purposes:
        raise Finding(f"it is not for an endorsement key ({EK_CERTIFICATE.dotted_string})")
    names = extension_of(certificate, x509.SubjectAlternativeName)
    directories = names.get_values_for_type(x509.DirectoryName) if names is not None else []
    said = {attribute.oid for name in directories for attribute in name}
    if not {TPM_MANUFACTURER, TPM_MODEL, TPM_VERSION} <= said:
        raise Finding("it does not say the TPM's manufacturer, model and version")
    return f"issued by {certificate.issuer.rfc4514_string()}"


@KEY_CHECKS.check(TPMTOOL, "ECC EK certificate", RENEW)
def ecc_ek_certificate(subject: Subject) -> str:
    """It need not be there; if it is, then for the key that is there."""
    key = EK.ECC_P384
    if subject.nv_read_public(key.value.certificate).rc:
        return "none, which Windows does not mind"
    certificate_of(subject, key)
    return f"for {kind_of(key.value.template)}"


@KEY_CHECKS.check(
    TPMTOOL, "capable of attestation", "see that no policy of the host forbids SHA-1 signatures"
)
def attestation(subject: Subject) -> str:
    """Get-TpmSupportedFeature: an attestation key, RSASSA with SHA-1, certifies its own creation."""
    with attestation_key(subject) as (key, created):
        reply = subject.certify_creation(
            key,
            key,
            qualifying_data=QUALIFIER,
            creation_hash=created.creation_hash,
            in_scheme=TPMT_SIG_SCHEME(TPM_ALG.NULL, None),
            ticket=created.creation_ticket,
        ).check()
    public = public_key_of(created.out_public)
    assert isinstance(public, RSAPublicKey)
    if not is_sha1_signature(public, reply.signature.signature.sig, reply.attested):
        raise Finding("the signature under its creation is wrong")
    return "RSASSA with SHA-1 certifies its own creation"


@KEY_CHECKS.check(TPMTOOL, "ready for attestation", CLEAR)
def activation(subject: Subject) -> str:
    """An authority that trusts the EK hands a credential to the attestation key: ActivateCredential."""
    ek = subject.standing(EK.RSA_2048.value.handle, TPM_RH.ENDORSEMENT, EK.RSA_2048.value.template)
    with attestation_key(subject) as (key, _):
        name = subject.read_public(key).check().name
        sent = subject.make_credential(ek, credential=QUALIFIER, object_name=name).check()
        session = subject.policy()
        subject.policy_secret(
            TPM_RH.ENDORSEMENT, session, nonce_tpm=b"", cp_hash_a=b"", policy_ref=b"", expiration=0
        ).check()
        reply = subject.activate_credential(
            key,
            ek,
            credential_blob=sent.credential_blob,
            secret=sent.secret,
            sessions=[NOBODY, Policy(session)],
        ).check()
    if not hmac.compare_digest(reply.cert_info, QUALIFIER):
        raise Finding("the credential came back changed")
    return "a credential for the attestation key is opened with the EK"


@KEY_CHECKS.check(BITLOCKER, "seals to PCR 7 and 11", CLEAR)
def seal(subject: Subject) -> str:
    """The volume master key is opened in the measured state, and no more once PCR 11 is capped."""
    srk = subject.standing(SRK_HANDLE, TPM_RH.OWNER, SRK_TEMPLATE)
    values = subject.pcr_read(pcr_selection_in=(SEALED_TO,)).check().pcr_values
    state = digest(TPM_ALG.SHA256, *values)
    trial = subject.policy(TPM_SE.TRIAL)
    subject.policy_auth_value(trial).check()
    subject.policy_pcr(trial, pcr_digest=state, pcrs=(SEALED_TO,)).check()
    policy = subject.policy_get_digest(trial).check().policy_digest
    subject.flush_context(flush_handle=trial).check()

    sealed = subject.create(srk, **creation_of(sealed_template(policy), VMK)).check()
    item = subject.load(srk, in_private=sealed.out_private, in_public=sealed.out_public).check().object_handle
    session = subject.policy()
    subject.policy_auth_value(session).check()
    subject.policy_pcr(session, pcr_digest=state, pcrs=(SEALED_TO,)).check()
    opened = subject.unseal(item, sessions=[Policy(session)]).check().out_data
    if not hmac.compare_digest(opened, VMK):
        raise Finding("what was sealed came back changed")

    subject.pcr_extend(CAP_PCR, digests=(TPMT_HA(TPM_ALG.SHA256, bytes(32)),)).check()
    session = subject.policy()
    capped = subject.policy_pcr(session, pcr_digest=state, pcrs=(SEALED_TO,))
    subject.flush_context(flush_handle=session)
    subject.flush_context(flush_handle=item)
    if capped.rc != TPM_RC.VALUE.parameter(1):
        raise Finding(f"a changed PCR {CAP_PCR} is answered {decode(capped.rc)}")
    return "sealed, unsealed, refused after PCR 11 was capped"


@KEY_CHECKS.check(HLK, "counter in NV", CLEAR)
def counter(subject: Subject) -> str:
    """The owner defines a counter, counts, and removes it."""
    public = TPMS_NV_PUBLIC(COUNTER_INDEX, TPM_ALG.SHA256, COUNTER, b"", 8)
    subject.nv_define_space(TPM_RH.OWNER, auth=b"", public_info=public).check()
    counts = []
    for _ in range(2):
        subject.nv_increment(TPM_RH.OWNER, COUNTER_INDEX).check()
        data = subject.nv_read(TPM_RH.OWNER, COUNTER_INDEX, size=8, offset=0).check().data
        counts.append(int.from_bytes(data, "big"))
    subject.nv_undefine_space(TPM_RH.OWNER, COUNTER_INDEX).check()
    if counts[1] != counts[0] + 1:
        raise Finding(f"it went from {counts[0]} to {counts[1]}")
    return "it counts"


@contextmanager
def attestation_key(subject: Subject) -> Iterator[tuple[int, Reply]]:
    """An attestation key, loaded, and what Create said of it."""
    srk = subject.standing(SRK_HANDLE, TPM_RH.OWNER, SRK_TEMPLATE)
    created = subject.create(srk, **creation_of(AIK_TEMPLATE)).check()
    key = subject.load(srk, in_private=created.out_private, in_public=created.out_public).check()
    try:
        yield key.object_handle, created
    finally:
        subject.flush_context(flush_handle=key.object_handle)


def certificate_of(subject: Subject, key: EK) -> x509.Certificate:
    """The certificate in an endorsement key's Index, if it is that of the key, and valid now."""
    index = key.value.certificate
    if subject.nv_read_public(index).rc:
        raise Finding(f"there is none at 0x{index:08x}")
    certificate = parsed(contents_of(subject, index))
    if certificate is None:
        raise Finding(f"what is at 0x{index:08x} is no certificate")
    public = subject.persistent(key.value.handle)
    if public is None:
        raise NotChecked(
            f"its key is not at 0x{key.value.handle:08x}", "let Windows make it, then check again"
        )
    if not certifies(certificate, public):
        raise Finding("it is for another key than the one in the TPM")
    if not certificate.not_valid_before_utc <= subject.time <= certificate.not_valid_after_utc:
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        raise Finding(f"it is valid from {begin.isoformat()} to {end.isoformat()}")
    return certificate


def contents_of(subject: Subject, index: int) -> bytes:
    """All of an Index that whoever reaches the TPM may read."""
    size = subject.nv_read_public(index).check().nv_public.data_size
    most = subject.property(TPM_PT.NV_BUFFER_MAX)
    return b"".join(
        subject.nv_read(index, index, size=min(most, size - at), offset=at).check().data
        for at in range(0, size, most)
    )


def extension_of(certificate: x509.Certificate, kind: type[Part]) -> Part | None:
    """The extension of a kind, if the certificate has one."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def is_sha1_signature(key: RSAPublicKey, signature: bytes, message: bytes) -> bool:
    """RFC 8017, 8.2.2, whatever this host's policy says of SHA-1."""
    numbers, size = key.public_numbers(), key.key_size // 8
    signed = SHA1_INFO + digest(TPM_ALG.SHA1, message)
    expected = b"\0\1" + b"\xff" * (size - len(signed) - 3) + b"\0" + signed
    encoded = pow(int.from_bytes(signature, "big"), numbers.e, numbers.n).to_bytes(size, "big")
    return hmac.compare_digest(encoded, expected)
