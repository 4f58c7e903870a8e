"""Block ciphers and their modes (Part 1, Annex "Symmetric"), and CMAC."""

from collections.abc import Callable
from typing import Any

from cryptography.hazmat.decrepit.ciphers.algorithms import Camellia, TripleDES
from cryptography.hazmat.decrepit.ciphers.modes import CFB, OFB
from cryptography.hazmat.primitives.ciphers import BlockCipherAlgorithm, Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES, SM4
from cryptography.hazmat.primitives.ciphers.modes import CBC, CTR, ECB, Mode
from cryptography.hazmat.primitives.cmac import CMAC

from vtpm.spec.constants import TPM_ALG
from vtpm.wire.error import TPM_RC, TpmError

CIPHERS: dict[TPM_ALG, Callable[[bytes], BlockCipherAlgorithm]] = {
    TPM_ALG.AES: AES,
    TPM_ALG.CAMELLIA: Camellia,
    TPM_ALG.SM4: SM4,
    TPM_ALG.TDES: lambda key: TripleDES(key if len(key) == 24 else key + key[:8]),
}


COUNTING = (TPM_ALG.AES, TPM_ALG.SM4)
"""The ciphers that OpenSSL has in CTR mode; for the others the mode is made of single blocks."""


def block_size(alg: TPM_ALG) -> int:
    """Octets of a block."""
    return 8 if alg is TPM_ALG.TDES else 16


def cfb_encrypt(alg: TPM_ALG, key: bytes, iv: bytes, octets: bytes) -> bytes:
    """Encrypt in CFB mode with full feedback."""
    context = Cipher(CIPHERS[alg](key), CFB(iv)).encryptor()
    return context.update(octets) + context.finalize()


def cfb_decrypt(alg: TPM_ALG, key: bytes, iv: bytes, octets: bytes) -> bytes:
    """Decrypt in CFB mode with full feedback."""
    context = Cipher(CIPHERS[alg](key), CFB(iv)).decryptor()
    return context.update(octets) + context.finalize()


def crypt(
    alg: TPM_ALG, mode: TPM_ALG, key: bytes, iv: bytes, octets: bytes, *, encrypt: bool
) -> tuple[bytes, bytes]:
    """
    Encrypt or decrypt, and the IV with which a next call goes on.

    TPM_RC_SIZE if CBC or ECB gets part of a block.
    """
    block = block_size(alg)
    if mode in (TPM_ALG.CBC, TPM_ALG.ECB) and len(octets) % block:
        raise TpmError(TPM_RC.SIZE)
    if not octets:
        return b"", iv
    if mode is TPM_ALG.CTR:
        return _count(alg, key, iv, octets)
    # Zeros fill the last block, so that what follows it shows the rest of the key stream.
    size, octets = len(octets), octets + bytes(-len(octets) % block)
    cipher: Cipher[Any] = Cipher(CIPHERS[alg](key), _mode(mode, iv))
    context = cipher.encryptor() if encrypt else cipher.decryptor()
    out = context.update(octets) + context.finalize()
    return out[:size], _following(mode, size, *((octets, out) if encrypt else (out, octets)), block)


def _mode(mode: TPM_ALG, iv: bytes) -> Mode:
    if mode is TPM_ALG.ECB:
        return ECB()  # noqa: S305 - a guest may ask for it
    if mode is TPM_ALG.CBC:
        return CBC(iv)
    return OFB(iv) if mode is TPM_ALG.OFB else CFB(iv)


def _following(mode: TPM_ALG, size: int, plain_text: bytes, cipher_text: bytes, block: int) -> bytes:
    """The IV that continues `size` octets, which zeros fill up to a whole block on one side."""
    if mode is TPM_ALG.ECB:
        return b""
    stream = bytes(a ^ b for a, b in zip(plain_text[-block:], cipher_text[-block:], strict=True))
    if mode is TPM_ALG.OFB:
        return stream
    known = size - (len(cipher_text) - block)
    return cipher_text[-block:][:known] + stream[known:]


def _count(alg: TPM_ALG, key: bytes, iv: bytes, octets: bytes) -> tuple[bytes, bytes]:
    """CTR, with a counter as large as the block."""
    block = block_size(alg)
    blocks = -(-len(octets) // block)
    first, modulus = int.from_bytes(iv, "big"), 1 << 8 * block
    following = ((first + blocks) % modulus).to_bytes(block, "big")
    if alg in COUNTING:
        return Cipher(CIPHERS[alg](key), CTR(iv)).encryptor().update(octets), following
    counters = b"".join(((first + i) % modulus).to_bytes(block, "big") for i in range(blocks))
    stream = Cipher(CIPHERS[alg](key), ECB()).encryptor().update(counters)[: len(octets)]  # noqa: S305
    return (int.from_bytes(octets, "big") ^ int.from_bytes(stream, "big")).to_bytes(
        len(octets), "big"
    ), following


def cmac(alg: TPM_ALG, key: bytes, message: bytes) -> bytes:
    """SP 800-38B."""
    context = CMAC(CIPHERS[alg](key))
    context.update(message)
    return context.finalize()
