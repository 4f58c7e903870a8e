"""
The state of one TPM as blobs: GET_STATEBLOB takes them, SET_STATEBLOB gives them, STORE_VOLATILE keeps one.

A blob that was given takes effect with the next INIT, which makes it durable.
"""

import hmac
import logging
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from vtpm.control import blobs
from vtpm.control.blobs import BlobError, Form, Opened
from vtpm.control.messages import PTM_BLOB_TYPE
from vtpm.daemon.device.custody import CUSTODY, Custody, custody_of
from vtpm.daemon.device.durability import is_derived
from vtpm.daemon.errors import DeviceError

log = logging.getLogger(__name__)

SUSPENDED: Final = "suspended"
"""The name in the store of the volatile state that STORE_VOLATILE made durable."""

SUSPENDED_AT: Final = "suspended-at"
"""The part of a volatile state that says when its Time was, in milliseconds since 1970."""

IN_THE_CLEAR: Final = Form()
"""How state blobs travel unless something else is asked for."""


class Given(NamedTuple):
    """A state that SET_STATEBLOB gave."""

    state: dict[str, bytes]
    companion: bytes
    digest: bytes
    custody: Custody
    """What it says of itself."""
    opened: Opened
    """How it came; without its octets."""


def powered_off(stored: Mapping[str, bytes]) -> dict[str, bytes]:
    """The blobs of a store that are the TPM's own, without a run that was interrupted."""
    return {name: blob for name, blob in stored.items() if name not in {SUSPENDED, CUSTODY}}


def digest_of_state(state: Mapping[str, bytes]) -> bytes:
    """What a permanent state is recognized by."""
    return blobs.digest_of(blobs.pack(PTM_BLOB_TYPE.PERMANENT, state))


def is_same(first: Mapping[str, bytes], second: Mapping[str, bytes]) -> bool:
    """Are two permanent states of the same moment, whatever is derived or passes with time?"""
    digests = [
        digest_of_state({name: blob for name, blob in state.items() if not is_derived([name])})
        for state in (first, second)
    ]
    return hmac.compare_digest(*digests)


def state_blob(tpm: Any, kind: PTM_BLOB_TYPE, custody: Custody, suspended_at: int) -> bytes:
    """The state of a TPM as a blob; empty for the kind that a TPM 2.0 does not have."""
    if kind is PTM_BLOB_TYPE.SAVESTATE:
        return b""
    permanent = permanent_blob(tpm, custody)
    if kind is PTM_BLOB_TYPE.PERMANENT:
        return permanent
    return pack_run(tpm.snapshot_volatile(), suspended_at, blobs.digest_of(permanent))


def permanent_blob(tpm: Any, custody: Custody) -> bytes:
    """The permanent state of a TPM as a blob."""
    return blobs.pack(PTM_BLOB_TYPE.PERMANENT, tpm.snapshot() | custody.part())


def suspended_blob(tpm: Any, suspended_at: int) -> bytes:
    """The volatile state of a TPM as the store keeps it, beside the permanent one."""
    return pack_run(tpm.snapshot_volatile(), suspended_at, digest_of_state(tpm.snapshot()))


def pack_run(run: Mapping[str, bytes], suspended_at: int, companion: bytes) -> bytes:
    """The blob of a volatile state, beside the permanent one of this digest."""
    parts = {**run, SUSPENDED_AT: suspended_at.to_bytes(8, "big")}
    return blobs.pack(PTM_BLOB_TYPE.VOLATILE, parts, companion)


def run_in(parts: Mapping[str, bytes]) -> tuple[dict[str, bytes], int]:
    """The volatile state in the parts of a blob, and when it was suspended; 0 if it does not say so."""
    run = {name: octets for name, octets in parts.items() if name != SUSPENDED_AT}
    return run, int.from_bytes(parts.get(SUSPENDED_AT, b""), "big")


def suspended_in(stored: Mapping[str, bytes]) -> tuple[dict[str, bytes], int]:
    """
    The volatile state in a store, and when it was suspended; none, and 0, if there is none.

    None, too, if it is older than the permanent one.
    """
    if SUSPENDED not in stored:
        return {}, 0
    parts, companion = blobs.unpack(PTM_BLOB_TYPE.VOLATILE, stored[SUSPENDED])
    if companion not in companions_of(powered_off(stored), custody_of(stored)):
        return {}, 0
    return run_in(parts)


def companions_of(stored: Mapping[str, bytes], custody: Custody) -> set[bytes]:
    """What a stored volatile state may say of the permanent one beside it; earlier versions said more."""
    return {digest_of_state(stored), digest_of_state({**stored, **custody.first_part()})}


class GivenState:
    """The blobs that were given for the next INIT, none or one of each kind; `form` is how they travel."""

    def __init__(self, name: str, form: Form) -> None:
        self._name = name
        self._form = form
        self._given: dict[PTM_BLOB_TYPE, Given] = {}

    def __bool__(self) -> bool:
        return bool(self._given)

    @property
    def permanent(self) -> Given | None:
        """The permanent state, if one was given."""
        return self._given.get(PTM_BLOB_TYPE.PERMANENT)

    def put(self, kind: PTM_BLOB_TYPE, blob: bytes) -> None:
        """Take a blob as it traveled, in place of one of its kind; BlobError if it cannot be one."""
        if not blob and kind is not PTM_BLOB_TYPE.PERMANENT:
            self._given.pop(kind, None)
            return
        if kind is PTM_BLOB_TYPE.SAVESTATE:
            raise BlobError(
                "a TPM 2.0 has no state of the kind SAVESTATE; send the permanent and volatile ones"
            )
        self._take(kind, self._form.unwrap(kind, blob))

    def _take(self, kind: PTM_BLOB_TYPE, opened: Opened) -> None:
        state, companion = blobs.unpack(kind, opened.blob)
        custody = Custody.taken_from(state)
        digest = blobs.digest_of(opened.blob)
        self._given[kind] = Given(state, companion, digest, custody, opened._replace(blob=b""))

    @property
    def is_sealed(self) -> bool:
        """Did every one of them come sealed?"""
        return all(given.opened.is_sealed for given in self._given.values())

    @property
    def opened(self) -> Opened:
        """How they came; what the permanent one says counts, if there is one."""
        first = self.permanent or next(iter(self._given.values()))
        return first.opened._replace(is_sealed=self.is_sealed)

    def blobs(self) -> dict[str, bytes]:
        """The blobs by kind, for another process to go on from."""
        return {
            kind.name: blobs.pack(kind, given.state | given.custody.part(), given.companion)
            for kind, given in self._given.items()
        }

    def ways(self) -> dict[str, list[Any]]:
        """How each of them came, by kind, beside `blobs`."""
        return {kind.name: list(given.opened[1:]) for kind, given in self._given.items()}

    def put_all(self, given: Mapping[str, bytes], ways: Mapping[str, Any]) -> None:
        """Go on from `blobs` and `ways`; an earlier version does not say how they came."""
        for name, blob in given.items():
            self._take(PTM_BLOB_TYPE[name], Opened(blob, *ways.get(name, ())))

    def clear(self) -> None:
        """Forget what was given."""
        self._given.clear()

    def volatile_for(
        self, stored: Mapping[str, bytes], custody: Custody, suspended: bytes | None
    ) -> dict[str, bytes]:
        """
        The volatile state that belongs to the permanent one, given or `stored`; empty if there is none.

        DeviceError if the one that was given belongs to another permanent state.
        """
        given = self._given.get(PTM_BLOB_TYPE.VOLATILE)
        if given is not None:
            permanent = (
                self.permanent.digest if self.permanent else digest_of_state({**stored, **custody.part()})
            )
            if not hmac.compare_digest(given.companion, permanent):
                raise DeviceError(
                    "the volatile state belongs to another permanent state; send both blobs of one snapshot"
                )
            return given.state
        if suspended is None:
            return {}
        state, companion = blobs.unpack(PTM_BLOB_TYPE.VOLATILE, suspended)
        permanents = {self.permanent.digest} if self.permanent else companions_of(stored, custody)
        if companion not in permanents:
            log.warning(
                "%s: the stored volatile state is older than the permanent one: not resumed", self._name
            )
            return {}
        return state
