"""
A part of a VM's state on its way: in a hypervisor's stream to another host, in a save file, in a snapshot.

It opens wherever the provider's key is, for this VM alone, and says before that which key it needs.
Equal content gives equal octets, so that a hypervisor may ask for it in pieces.
"""

import struct
from typing import Final, NamedTuple
from uuid import UUID

from nvstore import box
from nvstore.errors import StreamAltered, StreamDamaged, StreamOfOther
from nvstore.keys import KEY_SIZE, STATE_STREAM, STREAM_KEY, STREAM_SALT, KeySource, expand

MAGIC: Final = b"nvstream"
SUITE: Final = 1
FRONT: Final = struct.Struct(">8sH16s16sBB")
"""Magic, suite, kdk_id, VM, policy, length of the provider's name, which follows."""

DENIES_REVERTS: Final = 1
"""The bit of the policy that says that the VM must not be reverted."""


class Part(NamedTuple):
    """What was sealed of a state, and how its host treated the VM."""

    content: bytes
    denies_reverts: bool

    def __repr__(self) -> str:
        return "Part()"


def is_sealed(octets: bytes) -> bool:
    """Tell whether these octets are a sealed part, of whatever suite."""
    return octets.startswith(MAGIC)


def seal_part(keys: KeySource, provider: str, vm: UUID, part: Part) -> bytes:
    """Return a part of a VM's state, sealed under the current key of a provider."""
    policy, content = DENIES_REVERTS if part.denies_reverts else 0, part.content
    kdk_id = keys.current(provider)
    name = provider.encode()
    header = FRONT.pack(MAGIC, SUITE, kdk_id, vm.bytes, policy, len(name)) + name
    kdk = keys.key(provider, kdk_id)
    salt = expand(expand(kdk, KEY_SIZE, STREAM_SALT, kdk_id, vm.bytes), box.SALT_SIZE, header, content)
    key = expand(kdk, KEY_SIZE, STREAM_KEY, kdk_id, vm.bytes)
    return header + box.seal(key, STATE_STREAM, salt, content, header)


def open_part(keys: KeySource, vm: UUID, octets: bytes) -> Part:
    """
    Return what `seal_part` sealed for this VM, or raise the error that says why not.

    KeyMissing names the key that is not on this host.
    """
    if len(octets) < FRONT.size:
        raise StreamDamaged("it is incomplete")
    magic, suite, kdk_id, owner, policy, size = FRONT.unpack_from(octets)
    if magic != MAGIC or suite != SUITE:
        raise StreamDamaged(f"its format, {suite}, is not known here: a newer version may know it")
    header, sealed = octets[: FRONT.size + size], octets[FRONT.size + size :]
    try:
        provider = header[FRONT.size :].decode()
    except UnicodeDecodeError:
        raise StreamDamaged("the name of its provider is malformed") from None
    if owner != vm.bytes:
        raise StreamOfOther(UUID(bytes=owner), vm)
    key = expand(keys.key(provider, kdk_id), KEY_SIZE, STREAM_KEY, kdk_id, vm.bytes)
    try:
        content = box.unseal(key, STATE_STREAM, sealed, header)
    except box.BoxError:
        raise StreamAltered(vm) from None
    return Part(content, bool(policy & DENIES_REVERTS))
