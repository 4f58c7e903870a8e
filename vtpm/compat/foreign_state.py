"""
swtpm's own state, in a directory or in a blob, taken over when it is met.

A directory with swtpm's state and none of this TPM's is one of a guest that ran on swtpm before:
its state is read, never written, and from then on this TPM's own is used.
"""

import logging
from collections.abc import Mapping

from vtpm.compat.keys import Key
from vtpm.compat.storage import Storage
from vtpm.control import blobs, envelope
from vtpm.control.blobs import BlobError, BlobKeyError, Form
from vtpm.control.messages import PTM_BLOB_TYPE
from vtpm.daemon.clock import entropy
from vtpm.daemon.errors import DeviceError
from vtpm.libtpms import file
from vtpm.libtpms.errors import ForeignStateError
from vtpm.state.profile import Profile

log = logging.getLogger(__name__)


def take_over(storage: Storage, profile: Profile, key: Key | None) -> Mapping[str, bytes]:
    """The TPM of swtpm's state in a storage, empty if there is none; DeviceError if it cannot be had."""
    source, permanent, volatile = storage.foreign()
    if permanent is None:
        return {}
    if volatile is not None:
        raise DeviceError(
            f"{source}: there is the volatile state of a suspended guest, which is not read; "
            "resume the guest with swtpm and shut it down, or remove that state to lose what it holds"
        )
    from vtpm.libtpms.importing import import_state  # noqa: PLC0415 - few ever need it

    try:
        imported = import_state(
            file.unwrap(permanent, None if key is None else key.of_size), profile, entropy
        )
    except ForeignStateError as error:
        raise DeviceError(f"{source}: {error}") from None
    log.warning(
        "%s: swtpm's state is taken over; from now on it is kept beside it, and changes there are "
        "not seen here",
        source,
    )
    for line in imported.left_behind:
        log.warning("%s: not taken over: %s", source, line)
    return imported.blobs


class StreamForm(Form):
    """
    State blobs that may come from swtpm, and travel encrypted if there is a migration key.

    A permanent blob of swtpm is taken over; a volatile one is refused.
    """

    def __init__(self, profile: Profile, migration_key: Key | None, file_key: Key | None) -> None:
        self._profile = profile
        self._migration_key = migration_key
        self._file_key = file_key
        self._salt = entropy(envelope.SALT_SIZE)
        self._keys: dict[bytes, bytes] = {}

    @property
    def is_encrypted(self) -> bool:
        """Do blobs travel encrypted?"""
        return self._migration_key is not None

    def wrap(self, blob: bytes) -> bytes:
        """The octets to send for a blob."""
        if self._migration_key is None:
            return blob
        return envelope.seal(self._key_of(self._salt, self._migration_key), self._salt, blob)

    def unwrap(self, kind: PTM_BLOB_TYPE, octets: bytes) -> bytes:
        """The blob in octets that came; BlobError if they hold none."""
        if envelope.is_envelope(octets):
            if self._migration_key is None:
                return super().unwrap(kind, octets)
            return envelope.unseal(self._key_of(envelope.salt_of(octets), self._migration_key), octets)
        if octets.startswith(blobs.IDENTIFIER) or not file.is_state(octets):
            return octets
        if kind is not PTM_BLOB_TYPE.PERMANENT:
            raise BlobError(
                "the volatile state is in the format of libtpms, which is not read; shut the guest down "
                "under swtpm, then send the permanent state alone"
            )
        return blobs.pack(kind, self._taken_over(octets))

    def _taken_over(self, octets: bytes) -> Mapping[str, bytes]:
        key = self._migration_key or self._file_key
        if key is None and file.is_encrypted(octets):
            raise BlobKeyError("swtpm has encrypted the state blob; give the same --migration-key here")
        from vtpm.libtpms.importing import import_state  # noqa: PLC0415 - few ever need it

        try:
            imported = import_state(
                file.unwrap(octets, None if key is None else key.of_size), self._profile, entropy
            )
        except ForeignStateError as error:
            raise BlobError(f"a state blob of swtpm: {error}") from None
        log.warning("a state blob of swtpm is taken over, but for %s", "; ".join(imported.left_behind))
        return imported.blobs

    def _key_of(self, salt: bytes, key: Key) -> bytes:
        """The key of an envelope; those that were made are remembered, because making them is costly."""
        if salt not in self._keys:
            self._keys[salt] = envelope.key_of(key.secret, salt)
        return self._keys[salt]
