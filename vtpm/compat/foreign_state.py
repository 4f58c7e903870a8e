"""
swtpm's own state, in a directory, a file or a blob, taken over when it is met.

A place with swtpm's state and none of this TPM's is one of a guest that ran on swtpm before:
its state is read, never written, and from then on this TPM's own is used.
"""

import logging
import os
from collections.abc import Mapping
from typing import Final, NamedTuple

from vtpm.compat.arguments import ArgumentError
from vtpm.compat.keys import Key
from vtpm.compat.storage import Storage
from vtpm.control import blobs, envelope
from vtpm.control.blobs import BlobError, BlobKeyError, Form, Opened
from vtpm.control.messages import PTM_BLOB_TYPE
from vtpm.daemon.clock import entropy
from vtpm.daemon.device.stateblobs import SUSPENDED, digest_of_state, pack_run, run_in
from vtpm.daemon.errors import DeviceError
from vtpm.libtpms import file
from vtpm.libtpms.errors import ForeignStateError
from vtpm.state.profile import Profile

BLOBS: Final = "VTPM_STATE_BLOBS"
"""The variable of the environment that says in whose form state blobs are sent."""

CLEAR_BLOBS: Final = "VTPM_CLEAR_STATE_BLOBS"
"""The variable that says whether state blobs in the clear are taken where there is a migration key."""

ACCEPT: Final = "accept"

MAX_KEYS: Final = 8
"""Envelopes' keys that are remembered."""

log = logging.getLogger(__name__)


def is_for_swtpm() -> bool:
    """Does the environment ask for state blobs that swtpm takes? ArgumentError if it asks for others."""
    value = os.environ.get(BLOBS, "")
    if value not in ("", "vtpm", "swtpm"):
        raise ArgumentError(f"{BLOBS}={value}: give vtpm or swtpm")
    return value == "swtpm"


def takes_clear() -> bool:
    """Does the environment allow state blobs in the clear beside a migration key? ArgumentError if not so."""
    value = os.environ.get(CLEAR_BLOBS, "")
    if value not in ("", ACCEPT):
        raise ArgumentError(f"{CLEAR_BLOBS}={value}: give {ACCEPT}, or unset it")
    return value == ACCEPT


class Taken(NamedTuple):
    """swtpm's states as octets of libtpms, and what has been made of them."""

    permanent: bytes
    blobs: dict[str, bytes]
    left_behind: tuple[str, ...]


def take(permanent: bytes, profile: Profile) -> Taken:
    """The TPM of a permanent state; ForeignStateError if it cannot be had."""
    from vtpm.libtpms.importing import import_state  # noqa: PLC0415 - few ever need it

    imported = import_state(permanent, profile, entropy)
    return Taken(permanent, imported.blobs, imported.left_behind)


def take_run(taken: Taken, volatile: bytes) -> tuple[bytes, tuple[str, ...]]:
    """The volatile blob of a volatile state beside what was taken, and what it does not have."""
    from vtpm.libtpms.importing_run import import_run  # noqa: PLC0415 - as above

    run = import_run(volatile, taken.permanent, taken.blobs, entropy)
    return pack_run(run.blobs, run.saved_at, digest_of_state(taken.blobs)), run.left_behind


def take_over(storage: Storage, profile: Profile, key: Key | None) -> Mapping[str, bytes]:
    """The TPM of swtpm's state in a storage, empty if there is none; DeviceError if it cannot be had."""
    source, permanent, volatile = storage.foreign()
    if permanent is None:
        return {}
    make_key = None if key is None else key.of_size
    try:
        taken = take(file.unwrap(permanent, make_key), profile)
        state, left_behind = taken.blobs, taken.left_behind
        if volatile is not None:
            run, left = take_run(taken, file.unwrap(volatile, make_key))
            state, left_behind = {**state, SUSPENDED: run}, (*left_behind, *left)
    except ForeignStateError as error:
        raise DeviceError(f"{source}: {error}") from None
    log.warning(
        "%s: swtpm's state is taken over; from now on it is kept beside it, and changes there are "
        "not seen here",
        source,
    )
    for line in left_behind:
        log.warning("%s: not taken over: %s", source, line)
    return state


class StreamForm(Form):
    """
    State blobs that may come from swtpm, and travel encrypted if there is a migration key.

    With `for_swtpm` they leave in the form that swtpm takes, without what libtpms has no place for.
    """

    def __init__(
        self,
        profile: Profile,
        migration_key: Key | None,
        file_key: Key | None,
        *,
        for_swtpm: bool = False,
        takes_clear: bool = False,
    ) -> None:
        self._profile = profile
        self._migration_key = migration_key
        self._file_key = file_key
        self._for_swtpm, self._takes_clear = for_swtpm, takes_clear
        self._front = envelope.Front(envelope.VERSION, envelope.COST, entropy(envelope.SALT_SIZE))
        self._keys: dict[envelope.Front, bytes] = {}
        self._taken: Taken | None = None
        """What the last permanent blob of swtpm has become: a volatile one follows it."""
        self._permanent: bytes = b""
        """The last permanent blob that was sent."""
        self._sent: dict[bytes, bytes] = {}
        """What was sent in swtpm's form for a blob, since a blob is asked for in parts."""

    @property
    def is_encrypted(self) -> bool:
        """Do blobs travel encrypted?"""
        return self._migration_key is not None

    def wrap(self, blob: bytes) -> bytes:
        """The octets to send for a blob; BlobError if swtpm could not go on with it."""
        if self._for_swtpm:
            return self._wrap_for_swtpm(blob)
        if self._migration_key is None:
            return blob
        return envelope.seal(self._keys_of(self._front, self._migration_key), self._front, blob)

    def unwrap(self, kind: PTM_BLOB_TYPE, octets: bytes) -> Opened:
        """
        The blob in octets that came; BlobError if they hold none.

        With a migration key, one in the clear is refused: whoever has the stream would replace the TPM by it.
        """
        if envelope.is_envelope(octets):
            if self._migration_key is None:
                return super().unwrap(kind, octets)
            keys = self._keys_of(envelope.front_of(octets), self._migration_key)
            return Opened(envelope.unseal(keys, octets), is_sealed=True)
        is_foreign = not octets.startswith(blobs.IDENTIFIER) and file.is_state(octets)
        if self._migration_key is not None and not (is_foreign and file.is_encrypted(octets)):
            if not self._takes_clear:
                raise BlobError(
                    "the state blob is in the clear, although there is a migration key: anybody may have "
                    "made it; give its source the same --migration-key, or, if you know where it is from, "
                    f"start this program once with {CLEAR_BLOBS}={ACCEPT} in its environment"
                )
            log.warning("a %s state blob in the clear is taken beside the migration key", kind.name.lower())
        if not is_foreign:
            return Opened(octets)
        key = self._migration_key or self._file_key
        if key is None and file.is_encrypted(octets):
            raise BlobKeyError("swtpm has encrypted the state blob; give the same --migration-key here")
        try:
            state = file.unwrap(octets, None if key is None else key.of_size)
            return Opened(self._taken_over(kind, state), is_sealed=file.is_encrypted(octets))
        except ForeignStateError as error:
            raise BlobError(f"a state blob of swtpm: {error}") from None

    def _taken_over(self, kind: PTM_BLOB_TYPE, state: bytes) -> bytes:
        if kind is PTM_BLOB_TYPE.PERMANENT:
            self._taken = take(state, self._profile)
            blob, left_behind = blobs.pack(kind, self._taken.blobs), self._taken.left_behind
        elif self._taken is None:
            raise BlobError("a volatile state of swtpm needs its permanent one; send that first")
        else:
            blob, left_behind = take_run(self._taken, state)
        log.warning("a %s state blob of swtpm is taken over", kind.name.lower())
        for line in left_behind:
            log.warning("not taken over: %s", line)
        return blob

    def _wrap_for_swtpm(self, blob: bytes) -> bytes:
        digest = blobs.digest_of(blob)
        if digest not in self._sent:
            if blobs.kind_of(blob) is PTM_BLOB_TYPE.PERMANENT:
                self._permanent, self._sent = blob, {}
            try:
                state = self._exported(blob)
            except ForeignStateError as error:
                raise BlobError(str(error)) from None
            key = None if self._migration_key is None else self._migration_key.of_size(max(file.KEY_SIZES))
            self._sent[digest] = file.wrap_blob(state, key, b"" if key is None else entropy(len(key)))
        return self._sent[digest]

    def _exported(self, blob: bytes) -> bytes:
        """Libtpms' state of a blob."""
        from vtpm.libtpms.exporting import export_state  # noqa: PLC0415 - few ever need it
        from vtpm.libtpms.exporting_run import export_run  # noqa: PLC0415

        permanent, _ = blobs.unpack(PTM_BLOB_TYPE.PERMANENT, self._permanent)
        if blob == self._permanent:
            exported = export_state(permanent, entropy)
            for line in exported.left_behind:
                log.warning("not sent to swtpm: %s", line)
            return exported.state
        volatile, companion = blobs.unpack(PTM_BLOB_TYPE.VOLATILE, blob)
        if companion != blobs.digest_of(self._permanent):
            raise BlobError("the permanent state has changed since it was sent; ask for both again")
        run, suspended_at = run_in(volatile)
        return export_run(permanent | run, suspended_at, entropy)

    def _keys_of(self, front: envelope.Front, key: Key) -> bytes:
        """The key of an envelope; the last ones are remembered, because making them is costly."""
        if front not in self._keys:
            if len(self._keys) >= MAX_KEYS:
                self._keys.clear()
            self._keys[front] = envelope.key_of(key.secret, front)
        return self._keys[front]
