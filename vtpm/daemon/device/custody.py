"""
Which host has a TPM: so that a run that went on elsewhere goes on nowhere else, and nothing older comes back.

A run goes on in stretches.
One begins with the first command after a start, after an arrival, and after a state was handed out;
its number is made durable with, or before, the first change of that stretch.
So a stretch stands for one exact state where it ends: what was handed out then.
A state blob says which stretches it follows from, the last one of each host: its lineage.
It is believed only out of a sealed blob.

What comes is compared with the stretch that is stored (`Relation`), and `decide` says what becomes of it:

| the store says | a start without state blobs | blobs that come |
|---|---|---|
| here | goes on | go on if they follow from exactly what is stored, or are it; others are a revert |
| expected | refused | go on |
| arrived | refused until the guest has used the TPM here: its run may have stayed elsewhere | as above |
| away | refused | go on if they follow from exactly what was given away; others are refused |
"""

import struct
from collections.abc import Iterable, Mapping, MutableMapping
from enum import IntEnum, IntFlag
from typing import Final, NamedTuple, Self

from vtpm.daemon.errors import DeviceError

CUSTODY: Final = "custody"
"""Its name in the store, and in permanent state blobs."""

FIRST_VERSION: Final = 1
"""Counted moves and no stretches; it is read."""

VERSION: Final = 2
FIRST_FORM: Final = struct.Struct(">HBI")
FORM: Final = struct.Struct(">HBIBQBB")
"""Version, holding, moves, what is admitted, until when, length of the lineage, is there `came`."""

STRETCH: Final = struct.Struct(">16sQ")

MAX_LINEAGE: Final = 255
"""Hosts in a lineage; of more than that, the one that had the TPM longest ago is forgotten."""


class Holding(IntEnum):
    """What a host has of a TPM."""

    HERE = 0
    EXPECTED = 1
    """Nothing yet: its state comes with a run."""
    ARRIVED = 2
    """Its state, with a run that may not have begun to go on here."""
    AWAY = 3
    """The state that it had before its run went on elsewhere."""


class Stretch(NamedTuple):
    """A part of a run: its store on a host, which has an id of its own, and a number that grows there."""

    site: bytes
    number: int


class Relation(IntEnum):
    """How a state that comes stands to what is stored."""

    SAME = 0
    """It is what the stored stretch has handed out."""
    NEWER = 1
    """It follows from that."""
    OTHER = 2
    """It is older, or has gone another way."""
    UNKNOWN = 3
    """One of them counts no stretches: it is of an earlier version, or in the clear."""


class Outcome(IntEnum):
    """What becomes of a state that comes."""

    STAYS = 0
    """It is the stored one, and goes on as that."""
    ARRIVES = 1
    REVERTS = 2
    """It takes the place of the stored one if reverts are admitted."""
    REFUSED = 3
    """It does not, unless an operator has admitted this one."""


class Admitted(IntFlag):
    """What an operator has admitted, for one arrival."""

    NOTHING = 0
    IN_THE_CLEAR = 1
    REVERT = 2


class Word(NamedTuple):
    """An operator's word: what is admitted, and until when, in seconds since 1970."""

    admitted: Admitted = Admitted.NOTHING
    until: int = 0

    def at(self, now: int) -> Admitted:
        """What it admits now."""
        return self.admitted if now <= self.until else Admitted.NOTHING

    def without(self, used: Admitted) -> "Word":
        """What is left of it."""
        left = self.admitted & ~used
        return Word(left, self.until) if left else Word()


def decide(holding: Holding, relation: Relation, *, is_same: bool, is_later: bool) -> Outcome:
    """
    What becomes of a state that comes.

    `is_same`: its content is that which is stored.
    `is_later`: what is stored counts no stretches, and what comes has moved more often.
    """
    if holding is Holding.EXPECTED or relation is Relation.NEWER:
        return Outcome.ARRIVES
    if holding is Holding.AWAY:
        return Outcome.REVERTS if relation is Relation.UNKNOWN and is_later else Outcome.REFUSED
    is_stored = is_same and relation in {Relation.SAME, Relation.UNKNOWN}
    if holding is Holding.ARRIVED:
        return Outcome.ARRIVES if is_stored or relation is Relation.SAME else Outcome.REVERTS
    return Outcome.STAYS if is_stored else Outcome.REVERTS


class Custody(NamedTuple):
    """What this host has of a TPM, and what its state follows from."""

    holding: Holding = Holding.HERE
    moves: int = 0
    """How often the TPM had come to another host by then."""
    lineage: tuple[Stretch, ...] = ()
    """The last stretch at each host that the state follows from, the newest at the end."""
    came: Stretch | None = None
    """The newest stretch of a state that came, until its run goes on here."""
    word: Word = Word()

    @classmethod
    def taken_from(cls, state: MutableMapping[str, bytes]) -> Self:
        """Take it out of the blobs of a state; DeviceError if it cannot be read."""
        octets = state.pop(CUSTODY, None)
        if octets is None:
            return cls()
        try:
            return cls._read(octets)
        except (struct.error, ValueError):
            raise DeviceError(
                "who has the TPM is told in a form that is not known here; update this host first"
            ) from None

    @classmethod
    def _read(cls, octets: bytes) -> Self:
        if octets[:2] == FIRST_VERSION.to_bytes(2):
            _, holding, moves = FIRST_FORM.unpack(octets)
            return cls(Holding(holding), moves)
        version, holding, moves, admitted, until, size, has_came = FORM.unpack_from(octets)
        stretches = [Stretch(*fields) for fields in STRETCH.iter_unpack(octets[FORM.size :])]
        if version != VERSION or len(stretches) != size + has_came or has_came > 1:
            raise ValueError(version)
        came = stretches[size] if has_came else None
        return cls(Holding(holding), moves, tuple(stretches[:size]), came, Word(Admitted(admitted), until))

    def blob(self) -> dict[str, bytes | None]:
        """The change of the store that keeps it."""
        if self == Custody():
            return {CUSTODY: None}
        stretches = [*self.lineage, *([self.came] if self.came else [])]
        front = FORM.pack(
            VERSION, self.holding, self.moves, *self.word, len(self.lineage), self.came is not None
        )
        return {CUSTODY: front + b"".join(STRETCH.pack(*stretch) for stretch in stretches)}

    def part(self) -> dict[str, bytes]:
        """What state blobs have of it: how often the TPM has moved, and its lineage."""
        octets = Custody(Holding.HERE, self.moves, self.lineage).blob()[CUSTODY]
        return {} if octets is None else {CUSTODY: octets}

    def first_part(self) -> dict[str, bytes]:
        """The same, as an earlier version had it."""
        if self.moves == 0:
            return {}
        return {CUSTODY: FIRST_FORM.pack(FIRST_VERSION, Holding.HERE, self.moves)}

    @property
    def stored(self) -> Stretch | None:
        """The stretch whose state is stored; None if none was counted."""
        if self.holding is Holding.ARRIVED:
            return self.came
        return self.lineage[-1] if self.lineage else None

    def relation_of(self, given: "Custody") -> Relation:
        """How the state of state blobs that say this of themselves stands to what is stored."""
        stored = self.stored
        if not given.lineage or stored is None:
            return Relation.UNKNOWN
        if given.lineage[-1] in {stored, self.came}:
            return Relation.SAME
        is_newer = any(site == stored.site and number >= stored.number for site, number in given.lineage)
        return Relation.NEWER if is_newer else Relation.OTHER

    def outcome_of(self, given: "Custody", *, is_same: bool) -> Outcome:
        """What becomes of such a state; see `decide`."""
        is_later = not self.lineage and given.moves > self.moves
        return decide(self.holding, self.relation_of(given), is_same=is_same, is_later=is_later)

    def gone_on(self, here: Stretch | None) -> "Custody":
        """What it becomes when the run goes on at this host, in a stretch of its own."""
        return self._replace(holding=Holding.HERE, lineage=following(self.lineage, here), came=None)

    def after_arrival(self, given: "Custody", here: Stretch | None) -> "Custody":
        """What it becomes with a state that came."""
        came = given.lineage[-1] if given.lineage else None
        lineage = following(given.lineage, here)
        return Custody(Holding.ARRIVED, given.moves + 1, lineage, came, self.word)

    def after_revert(self, given: "Custody", here: Stretch | None) -> "Custody":
        """What it becomes with a state that took the place of the stored one."""
        if self.holding is not Holding.HERE:
            return self.after_arrival(given, here)
        return Custody(
            Holding.HERE, max(self.moves, given.moves), following(given.lineage, here), None, self.word
        )

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


def following(lineage: Iterable[Stretch], here: Stretch | None) -> tuple[Stretch, ...]:
    """A lineage with one more stretch, in place of an earlier one of the same host."""
    if here is None:
        return tuple(lineage)
    return (*(stretch for stretch in lineage if stretch.site != here.site), here)[-MAX_LINEAGE:]


def custody_of(stored: Mapping[str, bytes]) -> Custody:
    """What the blobs of a store say of it."""
    return Custody.taken_from(dict(stored))


def give_away(stored: Mapping[str, bytes], _here: Stretch) -> dict[str, bytes | None]:
    """The change of a store when a run has gone on elsewhere; DeviceError if nothing has come yet."""
    custody = custody_of(stored)
    if custody.holding is Holding.AWAY:
        return {}
    if custody.holding is Holding.EXPECTED:
        custody.check_start()
    return custody._replace(holding=Holding.AWAY, came=None).blob()


def keep(stored: Mapping[str, bytes], _here: Stretch) -> dict[str, bytes | None]:
    """The change of a store when the run of a TPM that came has gone on here, whatever it has done."""
    custody = custody_of(stored)
    return custody._replace(holding=Holding.HERE).blob() if custody.holding is Holding.ARRIVED else {}


def reclaim(stored: Mapping[str, bytes], here: Stretch) -> dict[str, bytes | None]:
    """
    The change of a store that takes what is there for the TPM, whatever became of it elsewhere.

    It goes on in a stretch of its own, so that what comes from there afterwards does not follow from it.
    """
    custody = custody_of(stored)
    if custody.holding is Holding.EXPECTED:
        raise DeviceError(
            "nothing of the TPM is here, since it has not come yet; delete it with `vtpm delete`, "
            "or import a bundle of it after that"
        )
    if custody.holding is Holding.HERE:
        raise DeviceError("the TPM is here: nothing has to be reclaimed")
    return custody.gone_on(here)._replace(moves=custody.moves + 2).blob()
