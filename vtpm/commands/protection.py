"""Part 1, "Protected Storage": the encrypted areas in which sensitive data leaves the TPM."""

from hmac import compare_digest
from io import BytesIO

from vtpm.commands.object_attributes import symmetric_of
from vtpm.crypto.digest import digest, digest_size, hmac_digest
from vtpm.crypto.kdf import kdf_a
from vtpm.crypto.symmetric import block_size, cfb_decrypt, cfb_encrypt
from vtpm.spec.algorithms import TPMT_SYM_DEF_OBJECT
from vtpm.spec.constants import TPM_ALG
from vtpm.spec.objects import TPMT_PUBLIC, TPMT_SENSITIVE
from vtpm.spec.structures import TPM2B_DIGEST, TPM2B_IV
from vtpm.state.object import Object
from vtpm.state.tpm import TpmState
from vtpm.wire.error import TPM_RC, TpmError
from vtpm.wire.structure import marshal, unmarshal
from vtpm.wire.vocabulary import Sized, codec_of

SENSITIVE = Sized(TPMT_SENSITIVE)
SIZE = 2
"""Octets of the size before a sensitive area."""


def sealed_outer(parent: Object, name: bytes, seed: bytes, octets: bytes, iv: bytes | None = None) -> bytes:
    """
    "Outer Duplication Wrapper": the octets encrypted and with an HMAC, under keys from a seed.

    The parent says which algorithms; `iv` is part of the result where one is given, and zero otherwise.
    """
    alg = parent.public.name_alg
    cipher, key = _protection_key(parent, name, seed)
    zeros = bytes(block_size(cipher))
    encrypted = cfb_encrypt(cipher, key, zeros if iv is None else iv, octets)
    if iv is not None:
        encrypted = marshal(iv, TPM2B_IV) + encrypted
    return marshal(_integrity(alg, name, seed, encrypted), TPM2B_DIGEST) + encrypted


def opened_outer(parent: Object, name: bytes, seed: bytes, octets: bytes, *, has_iv: bool = False) -> bytes:
    """The octets that `sealed_outer` protected; TPM_RC_INTEGRITY if they are not what it made."""
    stream = BytesIO(octets)
    integrity = codec_of(TPM2B_DIGEST)._parse(stream, None, "")  # noqa: SLF001 - how a construct reads
    encrypted = stream.read()
    if not compare_digest(integrity, _integrity(parent.public.name_alg, name, seed, encrypted)):
        raise TpmError(TPM_RC.INTEGRITY)
    cipher, key = _protection_key(parent, name, seed)
    iv = bytes(block_size(cipher))
    if has_iv:
        stream = BytesIO(encrypted)
        iv = codec_of(TPM2B_IV)._parse(stream, None, "")  # noqa: SLF001 - how a construct reads
        encrypted = stream.read()
        if len(iv) != block_size(cipher):
            raise TpmError(TPM_RC.VALUE)
    return cfb_decrypt(cipher, key, iv, encrypted)


def _protection_key(parent: Object, name: bytes, seed: bytes) -> tuple[TPM_ALG, bytes]:
    symmetric = symmetric_of(parent.public)
    assert symmetric is not None
    key = kdf_a(parent.public.name_alg, seed, b"STORAGE", name, b"", symmetric.key_bits)
    return symmetric.algorithm, key


def _integrity(alg: TPM_ALG, name: bytes, seed: bytes, encrypted: bytes) -> bytes:
    key = kdf_a(alg, seed, b"INTEGRITY", b"", b"", 8 * digest_size(alg))
    return hmac_digest(alg, key, encrypted + name)


def sealed_inner(
    symmetric: TPMT_SYM_DEF_OBJECT, key: bytes, alg: TPM_ALG, name: bytes, octets: bytes
) -> bytes:
    """Make the inner wrapper of duplication, with a key that the caller knows."""
    inside = marshal(digest(alg, octets, name), TPM2B_DIGEST) + octets
    return cfb_encrypt(symmetric.algorithm, key, bytes(block_size(symmetric.algorithm)), inside)


def opened_inner(
    symmetric: TPMT_SYM_DEF_OBJECT, key: bytes, alg: TPM_ALG, name: bytes, octets: bytes
) -> bytes:
    """The octets that `sealed_inner` protected; TPM_RC_INTEGRITY if the key or the Name is another."""
    iv = bytes(block_size(symmetric.algorithm))
    stream = BytesIO(cfb_decrypt(symmetric.algorithm, key, iv, octets))
    integrity = codec_of(TPM2B_DIGEST)._parse(stream, None, "")  # noqa: SLF001 - how a construct reads
    inside = stream.read()
    if not compare_digest(integrity, digest(alg, inside, name)):
        raise TpmError(TPM_RC.INTEGRITY)
    return inside


def private_of(
    tpm: TpmState, parent: Object, public: TPMT_PUBLIC, name: bytes, sensitive: TPMT_SENSITIVE
) -> bytes:
    """Part 2, 12.3.7: the sensitive area as only its parent can load it."""
    symmetric = symmetric_of(parent.public)
    assert symmetric is not None
    iv = tpm.random(block_size(symmetric.algorithm))
    return sealed_outer(parent, name, _seed_of(parent), sensitive_octets(public.name_alg, sensitive), iv)


def sensitive_of(parent: Object, name: bytes, private: bytes) -> TPMT_SENSITIVE:
    """The sensitive area of a TPM2B_PRIVATE; TPM_RC_INTEGRITY, or TPM_RC_SENSITIVE if it is malformed."""
    octets = opened_outer(parent, name, _seed_of(parent), private, has_iv=True)
    if len(octets) < SIZE:
        raise TpmError(TPM_RC.INSUFFICIENT)
    try:
        return sensitive_inside(octets)
    except TpmError:
        raise TpmError(TPM_RC.SENSITIVE) from None


def sensitive_inside(octets: bytes) -> TPMT_SENSITIVE:
    """The sensitive area after its size; TPM_RC_SIZE if that is not the size of what follows it."""
    if len(octets) < SIZE:
        raise TpmError(TPM_RC.INSUFFICIENT)
    if int.from_bytes(octets[:SIZE], "big") != len(octets) - SIZE:
        raise TpmError(TPM_RC.SIZE)
    sensitive: TPMT_SENSITIVE = unmarshal(TPMT_SENSITIVE, octets[SIZE:])
    return sensitive


def sensitive_octets(name_alg: TPM_ALG, sensitive: TPMT_SENSITIVE) -> bytes:
    """The TPM2B_SENSITIVE that is protected; its authValue is padded, so that its length stays secret."""
    padded = TPMT_SENSITIVE(
        sensitive_type=sensitive.sensitive_type,
        auth_value=sensitive.auth_value.ljust(digest_size(name_alg), b"\0"),
        seed_value=sensitive.seed_value,
        sensitive=sensitive.sensitive,
    )
    return marshal(padded, SENSITIVE)


def _seed_of(parent: Object) -> bytes:
    assert parent.sensitive is not None
    return parent.sensitive.seed_value
