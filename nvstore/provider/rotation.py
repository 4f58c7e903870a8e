"""
Rotation of a provider's key, in two phases, so that no host and no VM is ever left without a key it needs.

`begin` makes the successor, which opens nothing yet: it is backed up, and pushed to the other hosts.
`promote` makes it current, once a verified backup holds it, and every host that has the current key.
From then on states are rekeyed, while both keys are here; `finish` notes that this host has none left.
A key that nothing needs any more can be retired.
"""

from collections.abc import Collection
from dataclasses import replace

from nvstore.keys import KEY_SIZE, kdk_id_of
from nvstore.provider.backup import KeyEntry
from nvstore.provider.chain import with_certificates
from nvstore.provider.lifecycle import State, Step
from nvstore.provider.provider import Provider, Rotation, SealedKey
from nvstore.provider.setting import Setting
from nvstore.provider.status import without_successor
from nvstore.provider_errors import KeyInUse, KeyMissing, RotationRefused


class Rotations:
    """The rotations of one host's providers; `Host.rotations`."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._book, self._ring, self._audit = setting.book, setting.ring, setting.audit
        self._chain = setting.chain

    def __repr__(self) -> str:
        return f"Rotations({self._book!r})"

    def begin(self, name: str) -> bytes:
        """Make the successor of a provider's key, in the seals of the current one, and return its id."""
        with self._audit.entry("provider-rotate", provider=name) as facts, self._book.exclusive():
            provider = self._chain.open(name)
            kdk = self._setting.entropy(KEY_SIZE)
            successor, now = kdk_id_of(kdk), self._setting.now()
            after = provider.after(Step.ROTATE, rotation=Rotation(successor, now))
            current = provider.current_key
            assert current is not None
            required, sealing = provider.require_host_tpm, self._ring.sealing_of(name, current)
            sealed = self._ring.seal(sealing, name, kdk, require_host_tpm=required)
            epoch = max(entry.epoch for entry in (*provider.retired, *(k.entry for k in provider.keys))) + 1
            older = {kdk_id: self._ring[kdk_id] for kdk_id in provider.kdk_ids}
            entry = with_certificates(KeyEntry(successor, epoch, now), older)
            self._ring.put(successor, kdk)
            self._chain.write(replace(after, keys=(*provider.keys, SealedKey(entry, sealed))))
            facts["kdk_id"] = successor.hex()
        return successor

    def promote(self, name: str, *, without: Collection[str] = ()) -> None:
        """
        Make the successor current: states are written under it from now on.

        RotationRefused: no verified backup holds it, or a host with the current key has not acknowledged it.
        `without` names hosts that are given up.
        """
        with self._audit.entry("provider-promote", provider=name) as facts, self._book.exclusive():
            provider = self._chain.open(name)
            after = provider.after(Step.PROMOTE)
            rotation = _unpromoted(provider)
            _check_distributed(provider, rotation, without)
            facts["kdk_id"] = rotation.successor.hex()
            promoted = replace(rotation, promoted=self._setting.now())
            self._chain.write(replace(after, current=rotation.successor, rotation=promoted))

    def abandon(self, name: str) -> None:
        """Give a rotation up before it is promoted: the successor is destroyed, which opens nothing."""
        with self._audit.entry("provider-abandon", provider=name) as facts, self._book.exclusive():
            provider = self._chain.open(name)
            after = provider.after(Step.ABANDON, rotation=None)
            successor = _unpromoted(provider).successor
            facts["kdk_id"] = successor.hex()
            self._chain.write(_without(after, successor))
            self._ring.drop(successor)

    def finish(self, name: str) -> None:
        """Note that no state of this host is left under an older key; without a rotation, do nothing."""
        with self._book.exclusive():
            provider = self._chain.open(name)
            if provider.state is State.ROTATING and provider.rotation and provider.rotation.promoted:
                self._chain.write(provider.after(Step.FINISH, rotation=None))

    def retire(self, name: str, kdk_id: bytes) -> None:
        """
        Destroy an older key of a provider on this host.

        KeyInUse: a state still has a record under it, be it in its history only, or it is the current key.
        Copies of states elsewhere that are under it become unreadable with the last copy of the key.
        """
        with (
            self._audit.entry("provider-retire", begun=True, provider=name, kdk_id=kdk_id.hex()),
            self._book.exclusive(),
        ):
            provider = self._chain.open(name)
            if provider.key(kdk_id) is None:
                raise KeyMissing(kdk_id, name, provider.current, self._book.holders(kdk_id))
            users = self._setting.users([kdk_id], name)
            rotation = provider.rotation
            if kdk_id == provider.current or (rotation and kdk_id == rotation.successor):
                users = [f"provider {name} itself", *users]
            if users:
                raise KeyInUse(kdk_id, users)
            self._chain.write(_without(provider, kdk_id))
            self._ring.drop(kdk_id)


def _unpromoted(provider: Provider) -> Rotation:
    """Return the rotation that has not been promoted yet, or raise RotationRefused."""
    rotation = provider.rotation
    if rotation is None or rotation.promoted:
        raise RotationRefused(provider.name, "it was promoted", "rekey the VMs that are left")
    return rotation


def _check_distributed(provider: Provider, rotation: Rotation, without: Collection[str]) -> None:
    if provider.last_verified(rotation.successor) is None:
        raise RotationRefused(
            provider.name,
            f"no verified backup holds the successor {rotation.successor.hex()}",
            "make a backup now, and verify it",
        )
    waiting = [host for host in without_successor(provider) if {host.name, host.host_id}.isdisjoint(without)]
    if waiting:
        raise RotationRefused(
            provider.name,
            f"{', '.join(host.describe() for host in waiting)} has not acknowledged the successor",
            "push it there, or go on without that host",
        )


def _without(provider: Provider, kdk_id: bytes) -> Provider:
    """Return a provider after one of its keys was destroyed."""
    gone = tuple(key.entry for key in provider.keys if key.entry.kdk_id == kdk_id)
    left = tuple(key for key in provider.keys if key.entry.kdk_id != kdk_id)
    return replace(provider, keys=left, retired=(*provider.retired, *gone))
