"""Block ciphers in CFB mode, as sessions and protected areas use them."""

from cryptography.hazmat.decrepit.ciphers.algorithms import Camellia, TripleDES
from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES, SM4

from vtpm.spec.constants import TPM_ALG

CIPHERS = {TPM_ALG.AES: AES, TPM_ALG.CAMELLIA: Camellia, TPM_ALG.SM4: SM4, TPM_ALG.TDES: TripleDES}


def cfb_encrypt(alg: TPM_ALG, key: bytes, iv: bytes, octets: bytes) -> bytes:
    """Encrypt in CFB mode with full feedback."""
    context = Cipher(CIPHERS[alg](key), CFB(iv)).encryptor()
    return context.update(octets) + context.finalize()


def cfb_decrypt(alg: TPM_ALG, key: bytes, iv: bytes, octets: bytes) -> bytes:
    """Decrypt in CFB mode with full feedback."""
    context = Cipher(CIPHERS[alg](key), CFB(iv)).decryptor()
    return context.update(octets) + context.finalize()
