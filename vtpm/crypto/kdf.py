"""Key derivation: KDFa and KDFe of Part 1, and the XOR obfuscation built on KDFa."""

from vtpm.crypto.digest import digest, digest_size, hmac_digest
from vtpm.spec.constants import TPM_ALG


def kdf_a(alg: TPM_ALG, key: bytes, label: bytes, context_u: bytes, context_v: bytes, bits: int) -> bytes:
    """KDFa: SP 800-108 in counter mode with HMAC; `label` without its terminating zero."""
    size = (bits + 7) // 8
    fixed = label + b"\0" + context_u + context_v + bits.to_bytes(4, "big")
    octets = b""
    for counter in range(1, -(-size // digest_size(alg)) + 1):
        octets += hmac_digest(alg, key, counter.to_bytes(4, "big") + fixed)
    octets = octets[:size]
    if bits % 8:
        octets = bytes((octets[0] & (1 << bits % 8) - 1,)) + octets[1:]
    return octets


def kdf_e(alg: TPM_ALG, z: bytes, use: bytes, party_u: bytes, party_v: bytes, bits: int) -> bytes:
    """KDFe: SP 800-56A's one-step derivation; `use` without its terminating zero."""
    size = (bits + 7) // 8
    octets = b""
    for counter in range(1, -(-size // digest_size(alg)) + 1):
        octets += digest(alg, counter.to_bytes(4, "big"), z, use, b"\0", party_u, party_v)
    octets = octets[:size]
    if bits % 8:
        octets = bytes((octets[0] & (1 << bits % 8) - 1,)) + octets[1:]
    return octets


def xor_obfuscate(alg: TPM_ALG, key: bytes, newer: bytes, older: bytes, octets: bytes) -> bytes:
    """Part 1, "XOR Parameter Obfuscation": the octets, masked; the same again removes the mask."""
    mask = kdf_a(alg, key, b"XOR", newer, older, 8 * len(octets))
    return (int.from_bytes(octets, "big") ^ int.from_bytes(mask, "big")).to_bytes(len(octets), "big")


def kdf_2(alg: TPM_ALG, z: bytes, size: int) -> bytes:
    """KDF2 of IEEE Std 1363a, 13.2, without parameters: `size` octets."""
    octets = b""
    for counter in range(1, -(-size // digest_size(alg)) + 1):
        octets += digest(alg, z, counter.to_bytes(4, "big"))
    return octets[:size]
