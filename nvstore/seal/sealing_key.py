"""
What a seal gives: 32 octets, and the box under them in which a KDK lies on a host.

Each kind of seal is described in the provider's file, without secrets, and gives its sealing key again.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple

from nvstore import box
from nvstore.keys import HOST_SEAL, Entropy, context, kdk_id_of
from nvstore.provider_errors import ProviderAltered, WrongKey, WrongPassphrase

KEY_FILE: Final = "key-file"
PASSPHRASE: Final = "passphrase"  # noqa: S105 the name of a kind of seal
HOST_TPM: Final = "tpm"
SYSTEMD: Final = "systemd-creds"
KMIP: Final = "kmip"

BINDING: Final = "binding"
"""The member of a seal that says what its box is bound to; the first version has none."""
AUTHENTICATED: Final = 2
"""To the provider's name, the key's id and `require_host_tpm`, in a file that is authenticated."""


class SealingKey(NamedTuple):
    """What a seal gives, and how it is told to give it again."""

    description: dict[str, Any]
    key: bytes

    def __repr__(self) -> str:
        return f"SealingKey({self.description['kind']})"

    def seal(self, entropy: Entropy, name: str, kdk: bytes, *, require_host_tpm: bool) -> dict[str, Any]:
        """Return the seal of a KDK as the provider's file keeps it, bound to what it says of the provider."""
        associated = Binding(name, kdk_id_of(kdk), require_host_tpm=require_host_tpm).associated
        sealed = box.seal(self.key, HOST_SEAL, entropy(box.SALT_SIZE), kdk, associated)
        return {**self.description, BINDING: AUTHENTICATED, "box": sealed.hex()}


class Binding(NamedTuple):
    """What the box of a KDK is bound to."""

    name: str
    kdk_id: bytes
    require_host_tpm: bool
    version: int = AUTHENTICATED

    @property
    def associated(self) -> bytes:
        """Return the associated data of the box."""
        if self.version != AUTHENTICATED:
            return context(self.name.encode(), self.kdk_id)
        flag = bytes([self.require_host_tpm])
        return context(self.name.encode(), self.kdk_id, BINDING.encode(), bytes([self.version]), flag)

    def others(self) -> Iterator["Binding"]:
        """Yield what a box may be bound to instead, if the file that it lies in was altered."""
        for flag in (False, True):
            yield self._replace(version=AUTHENTICATED, require_host_tpm=flag)
        yield self._replace(version=1)


def unseal(sealing: SealingKey, bound: Binding, seal: Mapping[str, Any]) -> bytes:
    """
    Return the KDK in a seal, which reproduces its id.

    WrongKey or WrongPassphrase if it does not open; ProviderAltered if it is bound to something else.
    """
    name, kdk_id = bound.name, bound.kdk_id
    try:
        kdk = _open(sealing, bound, seal)
    except (box.BoxError, KeyError, TypeError, ValueError):
        if seal["kind"] == PASSPHRASE:
            raise WrongPassphrase(f"provider {name!r}") from None
        source = f"the key file {seal['path']}" if seal["kind"] == KEY_FILE else f"the {seal['kind']} seal"
        raise WrongKey(f"{source} of provider {name!r}", kdk_id) from None
    if (found := kdk_id_of(kdk)) != kdk_id:
        raise WrongKey(f"provider {name!r}", kdk_id, found)
    return kdk


def _open(sealing: SealingKey, bound: Binding, seal: Mapping[str, Any]) -> bytes:
    octets = bytes.fromhex(seal["box"])
    try:
        return box.unseal(sealing.key, HOST_SEAL, octets, bound.associated)
    except box.Tampered:
        for other in bound.others():
            with suppress(box.Tampered):
                box.unseal(sealing.key, HOST_SEAL, octets, other.associated)
                said = "what it requires of a host, or that it is authenticated, is not what was sealed"
                raise ProviderAltered(bound.name, said) from None
        raise
