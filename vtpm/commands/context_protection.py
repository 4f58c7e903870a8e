"""
Part 1, "Context Protections": what keeps a saved context secret and whole outside of the TPM.

A context blob is an integrity value, a nonce and the encrypted contents.
The contents are a confounder, the number of the context as a fingerprint, and what was saved.

Key and IV come from the nonce, so that no two contexts share them.
Numbers would not do for that: they begin again with a TPM Reset, and go back with a snapshot of the TPM.
The nonce is an HMAC of fresh random octets and of the contents.
So even a random generator that repeats, in a host that was copied while it ran, makes two nonces
for two contents.

The first form had no nonce and no confounder.
It is still read, because a guest may hold such contexts until the next TPM Reset; it is never written.
Its integrity value is an HMAC of other octets, so that nobody makes a context of one form out of the other.
"""

from hmac import compare_digest
from io import BytesIO
from typing import NamedTuple

from vtpm.crypto.digest import digest_size, hmac_digest
from vtpm.crypto.kdf import kdf_a
from vtpm.crypto.symmetric import cfb_decrypt, cfb_encrypt
from vtpm.spec.constants import TPM_ALG
from vtpm.spec.context import TPMS_CONTEXT
from vtpm.spec.handles import SAVED_ST_CLEAR_OBJECT
from vtpm.spec.structures import TPM2B_DIGEST
from vtpm.state.profile import CONTEXT_HASH
from vtpm.state.tpm import TpmState
from vtpm.wire.error import TPM_RC, TpmError
from vtpm.wire.vocabulary import codec_of

KEY_SIZE, BLOCK_SIZE = 32, 16
NONCE_SIZE = 32
CONFOUNDER_SIZE = BLOCK_SIZE
"""Octets before the fingerprint: whatever follows them, the first block is random."""

FINGERPRINT_SIZE = 8

ENCRYPTION, FIRST_ENCRYPTION = b"CONTEXT 2", b"CONTEXT"
"""The labels of KDFa in the two forms."""

NONCE_LABEL, INTEGRITY_LABEL = b"CONTEXT NONCE 2\0", b"CONTEXT INTEGRITY 2\0"
"""What the HMACs begin with: tickets, contexts of the first form and KDFa have the same key."""


class FingerprintError(Exception):
    """A context of this TPM decrypts to something else: keys or memory are not what they were."""


class Opened(NamedTuple):
    """A form of the blob behind its integrity value: how to decrypt it."""

    label: bytes
    nonce: bytes
    encrypted: bytes
    skipped: int
    """Octets before the fingerprint."""


def sealed_context(tpm: TpmState, sequence: int, handle: int, hierarchy: int, octets: bytes) -> TPMS_CONTEXT:
    """A context of what a handle holds."""
    bare = TPMS_CONTEXT(sequence=sequence, saved_handle=handle, hierarchy=hierarchy, context_blob=b"")
    drawn = tpm.random(NONCE_SIZE + CONFOUNDER_SIZE)
    contents = drawn[NONCE_SIZE:] + sequence.to_bytes(FINGERPRINT_SIZE, "big") + octets
    nonce = _hmac(tpm, bare, NONCE_LABEL, _place(bare), drawn[:NONCE_SIZE], contents)[:NONCE_SIZE]
    key, iv = context_key(tpm, bare, ENCRYPTION, nonce)
    rest = nonce + cfb_encrypt(TPM_ALG.AES, key, iv, contents)
    integrity = context_integrity(tpm, bare, rest)
    blob = len(integrity).to_bytes(2, "big") + integrity + rest
    return TPMS_CONTEXT(sequence=sequence, saved_handle=handle, hierarchy=hierarchy, context_blob=blob)


def opened_context(tpm: TpmState, context: TPMS_CONTEXT) -> bytes:
    """
    The contents of a context that this TPM made; a wrong fingerprint ends in failure mode (Part 3, 28.3).

    An integrity value that the blob cannot hold is an error without a position.
    No key is derived before the integrity of the context is known (Part 1, "Context Confidentiality").
    """
    stream = BytesIO(context.context_blob)
    integrity = codec_of(TPM2B_DIGEST)._parse(stream, None, "")  # noqa: SLF001 - how a construct reads
    rest = stream.read()
    if len(integrity) != digest_size(CONTEXT_HASH) or len(rest) < FINGERPRINT_SIZE:
        raise TpmError(TPM_RC.SIZE, at="context")
    if compare_digest(integrity, context_integrity(tpm, context, rest)):
        form = Opened(ENCRYPTION, rest[:NONCE_SIZE], rest[NONCE_SIZE:], CONFOUNDER_SIZE)
    elif compare_digest(integrity, first_integrity(tpm, context, rest)):
        form = Opened(FIRST_ENCRYPTION, b"", rest, 0)
    else:
        raise TpmError(TPM_RC.INTEGRITY, at="context")
    key, iv = context_key(tpm, context, form.label, form.nonce)
    octets = cfb_decrypt(TPM_ALG.AES, key, iv, form.encrypted)[form.skipped :]
    if int.from_bytes(octets[:FINGERPRINT_SIZE], "big") != context.sequence:
        raise FingerprintError(f"context {context.sequence}")
    return octets[FINGERPRINT_SIZE:]


def context_key(tpm: TpmState, context: TPMS_CONTEXT, label: bytes, nonce: bytes) -> tuple[bytes, bytes]:
    """Part 1, "Context Confidentiality": the key and IV of a context; `nonce` is empty in the first form."""
    number, handle = context.sequence.to_bytes(8, "big"), context.saved_handle.to_bytes(4, "big")
    proof = tpm.proof_of(context.hierarchy)
    octets = kdf_a(CONTEXT_HASH, proof, label, number + nonce, handle, 8 * (KEY_SIZE + BLOCK_SIZE))
    return octets[:KEY_SIZE], octets[KEY_SIZE:]


def context_integrity(tpm: TpmState, context: TPMS_CONTEXT, rest: bytes) -> bytes:
    """Part 1, "Context Integrity": the context ends with the reset or restart that it must not survive."""
    return _hmac(tpm, context, INTEGRITY_LABEL, _place(context), *_lifetime(tpm, context), rest)


def first_integrity(tpm: TpmState, context: TPMS_CONTEXT, rest: bytes) -> bytes:
    """The integrity value of the first form."""
    return _hmac(tpm, context, *_lifetime(tpm, context), _place(context), rest)


def _hmac(tpm: TpmState, context: TPMS_CONTEXT, *parts: bytes) -> bytes:
    return hmac_digest(CONTEXT_HASH, tpm.proof_of(context.hierarchy), b"".join(parts))


def _place(context: TPMS_CONTEXT) -> bytes:
    return context.sequence.to_bytes(8, "big") + context.saved_handle.to_bytes(4, "big")


def _lifetime(tpm: TpmState, context: TPMS_CONTEXT) -> list[bytes]:
    parts = [tpm.permanent.total_reset_count.to_bytes(8, "big")]
    if context.saved_handle == SAVED_ST_CLEAR_OBJECT:
        parts.append(tpm.reset.clear_count.to_bytes(4, "big"))
    return parts
