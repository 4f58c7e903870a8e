"""
What a seal gives: 32 octets, and the box under them in which a KDK lies on a host.

Each kind of seal is described in the provider's file, without secrets, and gives its sealing key again.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from nvstore import box
from nvstore.keys import HOST_SEAL, Entropy, context, kdk_id_of
from nvstore.provider_errors import WrongKey, WrongPassphrase

KEY_FILE: Final = "key-file"
PASSPHRASE: Final = "passphrase"  # noqa: S105 the name of a kind of seal
HOST_TPM: Final = "tpm"
SYSTEMD: Final = "systemd-creds"
KMIP: Final = "kmip"


class SealingKey(NamedTuple):
    """What a seal gives, and how it is told to give it again."""

    description: dict[str, Any]
    key: bytes

    def __repr__(self) -> str:
        return f"SealingKey({self.description['kind']})"

    def seal(self, entropy: Entropy, name: str, kdk: bytes) -> dict[str, Any]:
        """Return the seal of a KDK as the provider's file keeps it."""
        associated = _associated(name, kdk_id_of(kdk))
        sealed = box.seal(self.key, HOST_SEAL, entropy(box.SALT_SIZE), kdk, associated)
        return {**self.description, "box": sealed.hex()}


def unseal(sealing: SealingKey, name: str, kdk_id: bytes, seal: Mapping[str, Any]) -> bytes:
    """Return the KDK in a seal, which reproduces its id; WrongKey or WrongPassphrase if it does not open."""
    try:
        kdk = box.unseal(sealing.key, HOST_SEAL, bytes.fromhex(seal["box"]), _associated(name, kdk_id))
    except (box.BoxError, KeyError, ValueError):
        if seal["kind"] == PASSPHRASE:
            raise WrongPassphrase(f"provider {name!r}") from None
        source = f"the key file {seal['path']}" if seal["kind"] == KEY_FILE else f"the {seal['kind']} seal"
        raise WrongKey(f"{source} of provider {name!r}", kdk_id) from None
    if (found := kdk_id_of(kdk)) != kdk_id:
        raise WrongKey(f"provider {name!r}", kdk_id, found)
    return kdk


def _associated(name: str, kdk_id: bytes) -> bytes:
    return context(name.encode(), kdk_id)
