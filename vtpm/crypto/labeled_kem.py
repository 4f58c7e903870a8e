"""Part 1, "Secret Sharing": how a seed or a salt reaches the holder of a private key, under a label."""

from vtpm.crypto.digest import digest_size
from vtpm.crypto.ecc import EccKey, Point, generated_key, point_of
from vtpm.crypto.kdf import kdf_e
from vtpm.crypto.primes import Generator
from vtpm.crypto.rsa import RsaKey, RsaPublicKey, oaep_decrypt, oaep_encode
from vtpm.spec.algorithms import TPMS_ECC_POINT
from vtpm.spec.constants import TPM_ALG
from vtpm.wire.error import TPM_RC, TpmError
from vtpm.wire.structure import marshal, unmarshal

SECRET = b"SECRET"
DUPLICATE = b"DUPLICATE"
IDENTITY = b"IDENTITY"


def rsa_encapsulate(
    key: RsaPublicKey, alg: TPM_ALG, label: bytes, generate: Generator
) -> tuple[bytes, bytes]:
    """A fresh seed of a digest's size and its encryption: OAEP with `alg` and the label, zero included."""
    seed = generate(digest_size(alg))
    return seed, key.raw(oaep_encode(alg, label + b"\0", seed, key.size, generate))


def rsa_decapsulate(key: RsaKey, alg: TPM_ALG, label: bytes, secret: bytes) -> bytes:
    """The seed; TPM_RC_VALUE if it was not encrypted for this key and label, or is larger than a digest."""
    if len(secret) != key.public.size:
        raise TpmError(TPM_RC.SIZE)
    seed = oaep_decrypt(key, alg, label + b"\0", secret)
    if len(seed) > digest_size(alg):
        raise TpmError(TPM_RC.VALUE)
    return seed


def ecc_encapsulate(
    key: Point, alg: TPM_ALG, label: bytes, generate: Generator, *, party: bytes
) -> tuple[bytes, bytes]:
    """
    A fresh seed, and the ephemeral point (a TPMS_ECC_POINT) from which the key's holder derives it.

    `party` is the key's x coordinate as its public area has it.
    """
    ephemeral = generated_key(key.curve.id, generate)
    public = ephemeral.public
    bits = 8 * digest_size(alg)
    seed = kdf_e(alg, ephemeral.shared_x(key), label, public.x_octets, party, bits)
    return seed, marshal(TPMS_ECC_POINT(x=public.x_octets, y=public.y_octets))


def ecc_decapsulate(key: EccKey, alg: TPM_ALG, label: bytes, secret: bytes, *, party: bytes) -> bytes:
    """
    The seed; TPM_RC_ECC_POINT if the point is not on the curve, or what its parsing raises.

    `party` is the key's x coordinate as its public area has it; the sender's counts as it was sent.
    Both should be padded to the size of the field (Part 1, "ECC Point Padding"), but not all senders do that,
    and they derive the seed from what they send.
    """
    point = unmarshal(TPMS_ECC_POINT, secret)
    ephemeral = point_of(key.curve.id, point.x, point.y)
    bits = 8 * digest_size(alg)
    return kdf_e(alg, key.shared_x(ephemeral), label, point.x, party, bits)
