"""Part 1, "Attestation": how the TPM makes a statement and signs it."""

from dataclasses import replace
from typing import Annotated, Any

from vtpm.commands.key_signature import NO_SIGNATURE, selected_scheme, sign
from vtpm.crypto.digest import digest
from vtpm.crypto.kdf import kdf_a
from vtpm.spec.algorithms import TPMT_SIG_SCHEME, TPMT_SIGNATURE
from vtpm.spec.constants import TPM_ALG, TPM_GENERATED_VALUE, TPM_RH, TPM_ST
from vtpm.spec.handles import TPMI_DH_OBJECT_NULL
from vtpm.spec.structures import TPMS_ATTEST, TPMS_CLOCK_INFO
from vtpm.state.entity import Role
from vtpm.state.firmware import FIRMWARE_VERSION
from vtpm.state.hierarchy import base_of
from vtpm.state.object import Object
from vtpm.state.profile import CONTEXT_HASH
from vtpm.state.tpm import TpmState
from vtpm.wire.error import TPM_RC, TpmError
from vtpm.wire.structure import marshal

Signer = Annotated[Object | None, TPMI_DH_OBJECT_NULL, Role.USER, TPM_RC.KEY]
"""The key that signs a statement; without one, the statement is not signed."""

MASK32, MASK64 = (1 << 32) - 1, (1 << 64) - 1


def attesting_scheme(key: Object | None, wanted: TPMT_SIG_SCHEME) -> TPMT_SIG_SCHEME:
    """The scheme of a statement's signature; the handler calls its arguments `sign_key` and `in_scheme`."""
    if key is not None and (not key.public.object_attributes.sign or key.public.type is TPM_ALG.SYMCIPHER):
        raise TpmError(TPM_RC.KEY, at="sign_key")
    scheme = selected_scheme(key, wanted)
    if scheme is None:
        raise TpmError(TPM_RC.SCHEME, at="in_scheme")
    return scheme


def is_anonymous(scheme: TPMT_SIG_SCHEME) -> bool:
    """Must the statement not show whose it is?"""
    return scheme.scheme is TPM_ALG.ECDAA


def signer_of(key: Object | None) -> bytes:
    """The Qualified Name of the signer; that of TPM_RH_NULL is the handle itself (18.1)."""
    return TPM_RH.NULL.to_bytes(4, "big") if key is None else key.qualified_name


def obfuscated(
    tpm: TpmState, key: Object | None, info: TPMS_CLOCK_INFO, version: int
) -> tuple[TPMS_CLOCK_INFO, int]:
    """
    18.1: the counters of `info` and the firmware version, changed in a way of the key's own.

    The mask is added as two numbers in little-endian order, which 18.1 leaves open, as in libtpms.
    """
    alg = CONTEXT_HASH
    if key is not None and key.public.name_alg is not TPM_ALG.NULL:
        alg = key.public.name_alg
    mask = kdf_a(alg, tpm.owner.proof, b"OBFUSCATE", signer_of(key), b"", 128)
    counters = int.from_bytes(mask[8:], "little")
    changed = replace(
        info,
        reset_count=info.reset_count + (counters >> 32) & MASK32,
        restart_count=info.restart_count + counters & MASK32,
    )
    return changed, version + int.from_bytes(mask[:8], "little") & MASK64


def statement(
    tpm: TpmState,
    kind: TPM_ST,
    key: Object | None,
    scheme: TPMT_SIG_SCHEME,
    qualifying_data: bytes,
    attested: Any,
) -> TPMS_ATTEST:
    """
    Part 2, 10.11.12: the statement.

    Unless a key of the endorsement or platform hierarchy signs, what would identify the TPM is obfuscated.
    """
    anonymous = is_anonymous(scheme)
    info, version = tpm.time_info().clock_info, FIRMWARE_VERSION
    if key is None or base_of(key.hierarchy) not in tpm.unobfuscated_hierarchies:
        info, version = obfuscated(tpm, key, info, version)
    return TPMS_ATTEST(
        magic=TPM_GENERATED_VALUE,
        type=kind,
        qualified_signer=b"" if anonymous else signer_of(key),
        extra_data=b"" if anonymous else qualifying_data,
        clock_info=info,
        firmware_version=version,
        attested=attested,
    )


def attest(
    tpm: TpmState,
    kind: TPM_ST,
    key: Object | None,
    scheme: TPMT_SIG_SCHEME,
    qualifying_data: bytes,
    attested: Any,
) -> tuple[bytes, TPMT_SIGNATURE]:
    """A statement as octets, and its signature."""
    octets = marshal(statement(tpm, kind, key, scheme, qualifying_data, attested))
    if key is None:
        return octets, NO_SIGNATURE
    assert scheme.details is not None
    alg = scheme.details.hash_alg
    value = digest(alg, octets)
    if is_anonymous(scheme) and qualifying_data:
        # What an anonymous statement does not show is signed nevertheless.
        value = digest(alg, qualifying_data, value)
    return octets, sign(tpm, key, scheme, value)
