"""
Which host has a TPM: so that a run that went on elsewhere goes on nowhere else.

A TPM counts the times that it came to another host, and a state blob says how often that was.
So a host tells a TPM that comes back, newer than what it gave away, from one that it had before.

| the store says | a start without state blobs | blobs that come |
|---|---|---|
| here | goes on | from a newer stay go on; others are a revert, unless they are the stored state |
| expected | refused | go on |
| arrived | refused until the guest has used the TPM here: its run may have stayed elsewhere | go on again |
| away | refused | from a newer stay go on; others are refused |
"""

import struct
from collections.abc import Mapping, MutableMapping
from enum import IntEnum
from typing import Final, NamedTuple, Self

from vtpm.daemon.errors import DeviceError

CUSTODY: Final = "custody"
"""Its name in the store, and in permanent state blobs; absent for a TPM that never moved."""

VERSION: Final = 1
FORM: Final = struct.Struct(">HBI")


class Holding(IntEnum):
    """What a host has of a TPM."""

    HERE = 0
    EXPECTED = 1
    """Nothing yet: its state comes with a run."""
    ARRIVED = 2
    """Its state, with a run that may not have begun to go on here."""
    AWAY = 3
    """The state that it had before its run went on elsewhere."""


class Custody(NamedTuple):
    """What this host has of a TPM, and how often the TPM had come to another host by then."""

    holding: Holding = Holding.HERE
    moves: int = 0

    @classmethod
    def taken_from(cls, state: MutableMapping[str, bytes]) -> Self:
        """Take it out of the blobs of a state; DeviceError if it cannot be read."""
        octets = state.pop(CUSTODY, None)
        if octets is None:
            return cls()
        try:
            version, holding, moves = FORM.unpack(octets)
            if version == VERSION:
                return cls(Holding(holding), moves)
        except (struct.error, ValueError):
            pass
        raise DeviceError("who has the TPM is told in a form that is not known here; update this host first")

    def blob(self) -> dict[str, bytes | None]:
        """The change of the store that keeps it."""
        return {CUSTODY: None if self == Custody() else FORM.pack(VERSION, *self)}

    def part(self) -> dict[str, bytes]:
        """What state blobs have of it: how often the TPM has moved."""
        return {} if self.moves == 0 else {CUSTODY: FORM.pack(VERSION, Holding.HERE, self.moves)}

    def check_start(self) -> None:
        """DeviceError unless the TPM may be started from what is stored."""
        if self.holding is Holding.HERE:
            return
        what = {
            Holding.EXPECTED: "the TPM has not come to this host yet; migrate the VM to it",
            Holding.ARRIVED: "the TPM came with a migration that may have failed, and was not used here; "
            "start the VM where it was, or migrate it again",
            Holding.AWAY: "the TPM went to another host with its run, and what is stored here is older; "
            "start the VM there, or migrate it back",
        }
        raise DeviceError(
            f"{what[self.holding]}; if it is lost there, `vtpm state reclaim` takes what is here, "
            "for good and with a note in the audit log"
        )

    def with_given(self, moves: int) -> "Custody | None":
        """
        What it becomes with state blobs of a TPM that had moved so often; None if they are no newer stay.

        DeviceError where they must not be used at all.
        """
        oldest = {
            Holding.HERE: self.moves + 1,
            Holding.EXPECTED: 0,
            Holding.ARRIVED: self.moves - 1,
            Holding.AWAY: self.moves + 1,
        }
        if moves >= oldest[self.holding]:
            return Custody(Holding.ARRIVED, moves + 1)
        if self.holding is Holding.AWAY:
            raise DeviceError(
                "the TPM went to another host with its run, and the state that was given is from before; "
                "go on there, or take what is here with `vtpm state reclaim` if that is lost"
            )
        return None


def custody_of(stored: Mapping[str, bytes]) -> Custody:
    """What the blobs of a store say of it."""
    return Custody.taken_from(dict(stored))


def give_away(stored: Mapping[str, bytes]) -> dict[str, bytes | None]:
    """The change of a store when a run has gone on elsewhere; DeviceError if it is not here."""
    custody = custody_of(stored)
    if custody.holding is Holding.AWAY:
        return {}
    custody.check_start()
    return Custody(Holding.AWAY, custody.moves).blob()


def keep(stored: Mapping[str, bytes]) -> dict[str, bytes | None]:
    """The change of a store when the run of a TPM that came has gone on here."""
    custody = custody_of(stored)
    return Custody(Holding.HERE, custody.moves).blob() if custody.holding is Holding.ARRIVED else {}


def reclaim(stored: Mapping[str, bytes]) -> dict[str, bytes | None]:
    """
    The change of a store that takes what is there for the TPM, whatever became of it elsewhere.

    It counts as one that went and came back, so that what comes from there afterwards is older.
    """
    custody = custody_of(stored)
    if custody.holding is Holding.EXPECTED:
        raise DeviceError(
            "nothing of the TPM is here, since it has not come yet; delete it with `vtpm delete`, "
            "or import a bundle of it after that"
        )
    if custody.holding is Holding.HERE:
        raise DeviceError("the TPM is here: nothing has to be reclaimed")
    return Custody(Holding.HERE, custody.moves + 2).blob()
