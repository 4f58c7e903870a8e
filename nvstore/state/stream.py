"""
A part of a VM's state on its way: in a hypervisor's stream to another host, in a save file, in a snapshot.

It opens wherever the provider's key is, for this VM alone, and says before that which key it needs.
Equal content gives equal octets, so that a hypervisor may ask for it in pieces.
Suite 2, which is written, says from which host it comes; suite 1 is read.
"""

import struct
from typing import Final, NamedTuple
from uuid import UUID

from nvstore import box
from nvstore.errors import StreamAltered, StreamDamaged, StreamOfOther
from nvstore.keys import (
    KEY_SIZE,
    STATE_STREAM,
    STATE_STREAM_1,
    STREAM_KEY,
    STREAM_KEY_1,
    STREAM_SALT,
    KeySource,
    expand,
)

MAGIC: Final = b"nvstream"
SUITE: Final = 2
LABELS: Final = {1: (STREAM_KEY_1, STATE_STREAM_1), 2: (STREAM_KEY, STATE_STREAM)}
"""Of each suite: what derives its key, and what its box is for."""

MAX_ORIGIN: Final = 255
FRONT: Final = struct.Struct(">8sH16s16sBB")
"""Magic, suite, kdk_id, VM, policy, length of the provider's name, which follows."""

DENIES_REVERTS: Final = 1
"""The bit of the policy that says that the VM must not be reverted."""


class Part(NamedTuple):
    """What was sealed of a state, and how its host treated the VM."""

    content: bytes
    denies_reverts: bool
    origin: str = ""
    """The name of the host that it comes from, as that calls itself; empty if it is not said."""
    kdk_id: bytes = b""
    """The key that it was sealed under."""

    def __repr__(self) -> str:
        return "Part()"


def is_sealed(octets: bytes) -> bool:
    """Tell whether these octets are a sealed part, of whatever suite."""
    return octets.startswith(MAGIC)


def seal_part(keys: KeySource, provider: str, vm: UUID, part: Part) -> bytes:
    """Return a part of a VM's state, sealed under the current key of a provider."""
    policy = DENIES_REVERTS if part.denies_reverts else 0
    origin = part.origin.encode()[:MAX_ORIGIN]
    content = bytes((len(origin),)) + origin + part.content
    kdk_id = keys.current(provider)
    name = provider.encode()
    header = FRONT.pack(MAGIC, SUITE, kdk_id, vm.bytes, policy, len(name)) + name
    kdk = keys.key(provider, kdk_id)
    salt = expand(expand(kdk, KEY_SIZE, STREAM_SALT, kdk_id, vm.bytes), box.SALT_SIZE, header, content)
    key = expand(kdk, KEY_SIZE, STREAM_KEY, kdk_id, vm.bytes)
    return header + box.seal(key, STATE_STREAM, salt, content, header)


def key_of(octets: bytes) -> tuple[str, bytes]:
    """Return the provider, as its host calls it, and the id of the key that a part needs; StreamDamaged."""
    header = _header_of(octets)
    return header[FRONT.size :].decode(), FRONT.unpack_from(header)[2]


def _header_of(octets: bytes) -> bytes:
    """Return the header of a part, which is of a suite that is known; StreamDamaged if it is not whole."""
    if len(octets) < FRONT.size:
        raise StreamDamaged("it is incomplete")
    magic, suite, *_, size = FRONT.unpack_from(octets)
    if magic != MAGIC or suite not in LABELS:
        raise StreamDamaged(f"its format, {suite}, is not known here: a newer version may know it")
    header = octets[: FRONT.size + size]
    try:
        header[FRONT.size :].decode()
    except UnicodeDecodeError:
        raise StreamDamaged("the name of its provider is malformed") from None
    return header


def open_part(keys: KeySource, vm: UUID, octets: bytes) -> Part:
    """
    Return what `seal_part` sealed for this VM, or raise the error that says why not.

    KeyMissing names the key that is not on this host.
    """
    header = _header_of(octets)
    _, suite, kdk_id, owner, policy, _ = FRONT.unpack_from(header)
    provider, sealed = header[FRONT.size :].decode(), octets[len(header) :]
    if owner != vm.bytes:
        raise StreamOfOther(UUID(bytes=owner), vm)
    key_label, box_label = LABELS[suite]
    key = expand(keys.key(provider, kdk_id), KEY_SIZE, key_label, kdk_id, vm.bytes)
    try:
        content = box.unseal(key, box_label, sealed, header)
    except box.BoxError:
        raise StreamAltered(vm) from None
    origin = b""
    if suite > 1:
        size = content[0]
        origin, content = content[1 : 1 + size], content[1 + size :]
    return Part(content, bool(policy & DENIES_REVERTS), origin.decode(errors="replace"), kdk_id)
