"""
A seal by the TPM of this host: the sealing key is a sealed data object under its storage root key.

The object's policy is PolicyPCR (TPM 2.0 Part 3, clause 23.7): it unseals while the chosen PCR have the
values that they had when it was sealed.
The parent is the SRK that is persistent at 81000001, or one made anew from the template of the TCG's
provisioning guidance (ECC on P-256); its name is noted, so that a replaced or cleared TPM is told apart.
Unsealing is salted with the parent and encrypted, so that the key never crosses the bus in the clear.

A TPM that was replaced does not give the key again.
Then another seal of the same provider opens, or its backup, and the provider is resealed with the new TPM.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from nvstore.files import Files
from nvstore.keys import KEY_SIZE, Entropy
from nvstore.provider_errors import ExtraMissing, SealFailed
from nvstore.seal.sealing_key import HOST_TPM, SealingKey
from nvstore.tcti import check_tcti, opened

DEVICE: Final = "device:/dev/tpmrm0"
"""The TCTI of the kernel's resource manager."""

SECURE_BOOT: Final = "sha256:7"
"""The PCR of the secure boot policy: it changes with keys and switches of the firmware, not with updates."""

_PCRS: Final = re.compile(r"sha(256|384|512):([0-9]|1[0-9]|2[0-3])(,([0-9]|1[0-9]|2[0-3]))*")
_SRK_HANDLE: Final = 0x81000001
_ANOTHER: Final = (
    "open it by another seal or restore it from its backup, then seal it with this TPM by reseal"
)
_Tss = Any
"""The module tpm2_pytss, or an object of it: it is optional, and has no types."""


@dataclass(frozen=True)
class TpmSealer:
    """The TPM of this host, at this TCTI, while these PCR keep their values."""

    tcti: str = DEVICE
    pcrs: str = SECURE_BOOT
    kind: str = HOST_TPM

    def make(self, files: Files, entropy: Entropy, what: str) -> SealingKey:  # noqa: D102 described by Sealer
        del files
        key = entropy(KEY_SIZE)
        with _tpm(self.tcti, what) as (tss, esys):
            selection = _selection(tss, self.pcrs, what)
            template = _template(tss, _policy_of(tss, esys, selection))
            sensitive = tss.TPM2B_SENSITIVE_CREATE(tss.TPMS_SENSITIVE_CREATE(data=key))
            with _parent(tss, esys) as parent:
                private, public, *_ = esys.create(parent, sensitive, template)
                description = {
                    "kind": HOST_TPM,
                    "tcti": self.tcti,
                    "pcrs": self.pcrs,
                    "parent": bytes(esys.tr_get_name(parent)).hex(),
                    "public": public.marshal().hex(),
                    "private": private.marshal().hex(),
                }
        return SealingKey(description, key)


def recover_from_tpm(description: Mapping[str, Any], what: str) -> bytes:
    """Return the sealing key, or raise SealFailed or ExtraMissing."""
    try:
        tcti, pcrs = str(description["tcti"]), str(description["pcrs"])
        parent_name = bytes.fromhex(description["parent"])
        octets = bytes.fromhex(description["public"]), bytes.fromhex(description["private"])
    except (KeyError, TypeError, ValueError):
        raise _failed(what, "its description is malformed", _ANOTHER) from None
    with _tpm(tcti, what) as (tss, esys), _parent(tss, esys, parent_name) as parent:
        selection = _selection(tss, pcrs, what)
        public = tss.TPM2B_PUBLIC.unmarshal(octets[0])[0]
        bound = tss.TPMA_OBJECT.FIXEDTPM | tss.TPMA_OBJECT.FIXEDPARENT
        if int(public.publicArea.objectAttributes) & int(bound) != int(bound):
            reason = "its object may have been made outside of this TPM"
            raise _failed(what, reason, f"find out who could write the provider's file; {_ANOTHER}")
        if parent is None:
            raise _failed(
                what, "this is another TPM than the one that sealed it, or it was cleared", _ANOTHER
            )
        if _policy_of(tss, esys, selection) != bytes(public.publicArea.authPolicy):
            reason = f"the PCR {pcrs} have other values than when it was sealed"
            raise _failed(what, reason, f"find out what has changed in the boot of this host; {_ANOTHER}")
        sealed = esys.load(parent, tss.TPM2B_PRIVATE.unmarshal(octets[1])[0], public)
        session = _session(tss, esys, tss.TPM2_SE.POLICY, parent)
        try:
            esys.policy_pcr(session, tss.TPM2B_DIGEST(), selection)
            return bytes(esys.unseal(sealed, session1=session))
        finally:
            esys.flush_context(session)
            esys.flush_context(sealed)


@contextmanager
def _tpm(tcti: str, what: str) -> Iterator[tuple[_Tss, _Tss]]:
    """Open the TPM; its errors become SealFailed; TctiRefused."""
    check_tcti(tcti)
    try:
        import tpm2_pytss as tss  # noqa: PLC0415 - optional, and most hosts never need it
    except ImportError:
        raise ExtraMissing("a seal by the host's TPM", "tpm2-pytss", "tpm") from None
    try:
        with opened(tss, tcti) as esys:
            yield tss, esys
    except tss.TSS2_Exception as error:
        raise _failed(what, f"{error} (at {tcti})", "make the TPM accessible to this user") from None


def _failed(what: str, reason: str, remedy: str) -> SealFailed:
    return SealFailed(f"the TPM that seals the key of {what}", reason, remedy)


def _selection(tss: _Tss, pcrs: str, what: str) -> _Tss:
    if not _PCRS.fullmatch(pcrs):
        raise _failed(what, f"{pcrs!r} names no PCR of one bank", "name them as in sha256:7 or sha256:0,7")
    return tss.TPML_PCR_SELECTION.parse(pcrs)


@contextmanager
def _parent(tss: _Tss, esys: _Tss, name: bytes | None = None) -> Iterator[_Tss]:
    """Give the SRK: the persistent one, or else one made for this time; None if none has this name."""
    _more, data = esys.get_capability(tss.TPM2_CAP.HANDLES, _SRK_HANDLE, 1)
    if _SRK_HANDLE in [int(handle) for handle in data.data.handles]:
        persistent = esys.tr_from_tpmpublic(_SRK_HANDLE)
        if name in {None, bytes(esys.tr_get_name(persistent))}:
            yield persistent
            return
    made = esys.create_primary(tss.TPM2B_SENSITIVE_CREATE(), _srk_template(tss), tss.ESYS_TR.OWNER)[0]
    try:
        yield made if name in {None, bytes(esys.tr_get_name(made))} else None
    finally:
        esys.flush_context(made)


def _srk_template(tss: _Tss) -> _Tss:
    """Return the template of the ECC SRK (TCG TPM v2.0 Provisioning Guidance, clause 7.5.1)."""
    attributes = (
        tss.TPMA_OBJECT.FIXEDTPM
        | tss.TPMA_OBJECT.FIXEDPARENT
        | tss.TPMA_OBJECT.SENSITIVEDATAORIGIN
        | tss.TPMA_OBJECT.USERWITHAUTH
        | tss.TPMA_OBJECT.NODA
        | tss.TPMA_OBJECT.RESTRICTED
        | tss.TPMA_OBJECT.DECRYPT
    )
    template = tss.TPM2B_PUBLIC.parse("ecc256:aes128cfb", objectAttributes=attributes)
    template.publicArea.unique.ecc.x = bytes(32)
    template.publicArea.unique.ecc.y = bytes(32)
    return template


def _template(tss: _Tss, policy: bytes) -> _Tss:
    """Return the public area of a sealed data object that this policy alone unseals."""
    attributes = tss.TPMA_OBJECT.FIXEDTPM | tss.TPMA_OBJECT.FIXEDPARENT | tss.TPMA_OBJECT.NODA
    template = tss.TPM2B_PUBLIC.parse("keyedhash", objectAttributes=attributes)
    template.publicArea.authPolicy = policy
    return template


def _session(tss: _Tss, esys: _Tss, kind: _Tss, parent: _Tss) -> _Tss:
    """Begin a session that is salted with the parent, and encrypts what the TPM answers."""
    symmetric = tss.TPMT_SYM_DEF.parse("aes128cfb")
    session = esys.start_auth_session(parent, tss.ESYS_TR.NONE, kind, symmetric, tss.TPM2_ALG.SHA256)
    flags = tss.TPMA_SESSION.ENCRYPT | tss.TPMA_SESSION.DECRYPT | tss.TPMA_SESSION.CONTINUESESSION
    esys.trsess_set_attributes(session, flags, flags)
    return session


def _policy_of(tss: _Tss, esys: _Tss, selection: _Tss) -> bytes:
    """Return the policy that is met while these PCR have the values that they have now."""
    none = tss.ESYS_TR.NONE
    symmetric = tss.TPMT_SYM_DEF(algorithm=tss.TPM2_ALG.NULL)
    trial = esys.start_auth_session(none, none, tss.TPM2_SE.TRIAL, symmetric, tss.TPM2_ALG.SHA256)
    try:
        esys.policy_pcr(trial, tss.TPM2B_DIGEST(), selection)
        return bytes(esys.policy_get_digest(trial))
    finally:
        esys.flush_context(trial)
