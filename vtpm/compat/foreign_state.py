"""
swtpm's own state, in a directory or in a blob, taken over when it is met.

A directory with swtpm's state and none of this TPM's is one of a guest that ran on swtpm before:
its state is read, never written, and from then on this TPM's own is used.
"""

import fcntl
import logging
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from vtpm.compat.keys import Key
from vtpm.control import blobs, envelope
from vtpm.control.blobs import BlobError, BlobKeyError, Form
from vtpm.control.messages import PTM_BLOB_TYPE
from vtpm.daemon.clock import entropy
from vtpm.daemon.directory import SWTPM_STATE, SWTPM_VOLATILE
from vtpm.daemon.errors import DeviceError
from vtpm.libtpms import file
from vtpm.libtpms.errors import ForeignStateError
from vtpm.state.profile import Profile

LOCK: Final = ".lock"
FLOCK: Final = struct.Struct("hhqqi4x")
"""struct flock of fcntl(2) on 64-bit Linux: type, whence, start, length, process."""

log = logging.getLogger(__name__)


def take_over(directory: Path, profile: Profile, key: Key | None) -> Mapping[str, bytes]:
    """The TPM of swtpm's state in a directory, empty if there is none; DeviceError if it cannot be had."""
    source = directory / SWTPM_STATE
    try:
        octets = source.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise DeviceError(f"{source}: {error.strerror}") from None
    if (directory / SWTPM_VOLATILE).exists():
        raise DeviceError(
            f"{directory / SWTPM_VOLATILE} is the volatile state of a suspended guest, which is not read; "
            "resume the guest with swtpm and shut it down, or remove that file to lose what it holds"
        )
    check_unused(directory)
    from vtpm.libtpms.importing import import_state  # noqa: PLC0415 - few ever need it

    try:
        imported = import_state(file.unwrap(octets, None if key is None else key.of_size), profile, entropy)
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


def check_unused(directory: Path) -> None:
    """DeviceError if a running swtpm has locked a directory."""
    lock = directory / LOCK
    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        asked = FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        answer = FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    finally:
        os.close(descriptor)
    if answer[0] != fcntl.F_UNLCK:
        raise DeviceError(f"{lock} is locked by process {answer[-1]}: swtpm runs; shut the guest down first")


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
