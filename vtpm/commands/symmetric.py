"""Part 3, clause 15: symmetric primitives."""

from typing import Annotated

from vtpm.commands.mac import running_mac
from vtpm.commands.table import command
from vtpm.commands.tickets import hash_check_ticket, null_hash_check_ticket
from vtpm.crypto.digest import digest
from vtpm.crypto.symmetric import block_size, crypt
from vtpm.spec.algorithms import TPMS_SYMCIPHER_PARMS
from vtpm.spec.constants import TPM_ALG, TPM_CC, TPM_RH
from vtpm.spec.handles import TPMI_DH_OBJECT, TPMI_RH_HIERARCHY
from vtpm.spec.interface import (
    TPMI_ALG_CIPHER_MODE_NULL,
    TPMI_ALG_HASH,
    TPMI_ALG_MAC_SCHEME_NULL,
    TPMI_YES_NO,
)
from vtpm.spec.structures import TPM2B_DIGEST, TPM2B_IV, TPM2B_MAX_BUFFER, TPMT_TK_HASHCHECK
from vtpm.state.entity import Role
from vtpm.state.object import Object
from vtpm.state.sequence import GENERATED
from vtpm.state.tpm import TpmState
from vtpm.wire.error import TPM_RC, TpmError, blaming
from vtpm.wire.structure import structure

CipherKey = Annotated[Object, TPMI_DH_OBJECT, Role.USER, TPM_RC.KEY]


@structure
class EncryptDecryptResponse:
    """15.2"""

    out_data: TPM2B_MAX_BUFFER
    iv_out: TPM2B_IV


@command(TPM_CC.EncryptDecrypt)
def encrypt_decrypt(
    tpm: TpmState,
    key: CipherKey,
    /,
    decrypt: TPMI_YES_NO,
    mode: TPMI_ALG_CIPHER_MODE_NULL,
    iv_in: TPM2B_IV,
    in_data: TPM2B_MAX_BUFFER,
) -> EncryptDecryptResponse:
    """15.2: encrypt or decrypt data; the IV that is returned continues it."""
    return crypted(key, mode, iv_in, in_data, decrypt=decrypt)


@command(TPM_CC.EncryptDecrypt2)
def encrypt_decrypt2(
    tpm: TpmState,
    key: CipherKey,
    /,
    in_data: TPM2B_MAX_BUFFER,
    decrypt: TPMI_YES_NO,
    mode: TPMI_ALG_CIPHER_MODE_NULL,
    iv_in: TPM2B_IV,
) -> EncryptDecryptResponse:
    """15.3: as EncryptDecrypt, with the data in front, where a session can encrypt it."""
    return crypted(key, mode, iv_in, in_data, decrypt=decrypt)


def crypted(
    key: Object, mode: TPM_ALG, iv_in: bytes, in_data: bytes, *, decrypt: bool
) -> EncryptDecryptResponse:
    """15.2: the checks and the operation."""
    parameters, attributes = key.public.parameters, key.public.object_attributes
    if not isinstance(parameters, TPMS_SYMCIPHER_PARMS) or key.sensitive is None:
        raise TpmError(TPM_RC.KEY, at="key")
    if attributes.restricted or not (attributes.decrypt if decrypt else attributes.sign):
        raise TpmError(TPM_RC.ATTRIBUTES, at="key")
    own = parameters.sym.mode
    if own is TPM_ALG.CMAC:
        raise TpmError(TPM_RC.MODE, at="key")
    if mode not in (TPM_ALG.NULL, own) if own is not TPM_ALG.NULL else mode is TPM_ALG.NULL:
        raise TpmError(TPM_RC.MODE, at="mode")
    mode = own if own is not TPM_ALG.NULL else mode
    alg = parameters.sym.algorithm
    if len(iv_in) != (0 if mode is TPM_ALG.ECB else block_size(alg)):
        raise TpmError(TPM_RC.SIZE, at="iv_in")

    with blaming("in_data"):
        out, iv = crypt(alg, mode, key.sensitive.sensitive, iv_in, in_data, encrypt=not decrypt)
    return EncryptDecryptResponse(out_data=out, iv_out=iv)


@structure
class HashResponse:
    """15.4"""

    out_hash: TPM2B_DIGEST
    validation: TPMT_TK_HASHCHECK


@command(TPM_CC.Hash)
def hash(  # noqa: A001 - Part 3 names it so
    tpm: TpmState, /, data: TPM2B_MAX_BUFFER, hash_alg: TPMI_ALG_HASH, hierarchy: TPMI_RH_HIERARCHY
) -> HashResponse:
    """15.4: the digest of data, with a ticket unless the data could be taken for the TPM's own."""
    value = digest(hash_alg, data)
    with blaming("hierarchy"):
        ticket = hash_check_ticket(tpm, hierarchy, hash_alg, value)
    if hierarchy == TPM_RH.NULL or data.startswith(GENERATED):
        ticket = null_hash_check_ticket()
    return HashResponse(out_hash=value, validation=ticket)


@structure
class MacResponse:
    """15.5 and 15.6"""

    out_mac: TPM2B_DIGEST


@command(TPM_CC.MAC)
def mac(
    tpm: TpmState,
    key: Annotated[Object, TPMI_DH_OBJECT, Role.USER],
    /,
    buffer: TPM2B_MAX_BUFFER,
    in_scheme: TPMI_ALG_MAC_SCHEME_NULL,
) -> MacResponse:
    """15.5 and 15.6: the HMAC or CMAC of data; both commands have one code."""
    running = running_mac(key, in_scheme)

    running.update(buffer)
    return MacResponse(out_mac=running.digest())
