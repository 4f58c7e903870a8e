"""
The code beside custody.pml: traces of real functions, and of devices with stores, by the model's transitions.

What the model knows by sets of stretches, the code knows by the last one of each host.
`World` is the model: its relation and properties are asked of the sets, its decisions of the code's table.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import count, product
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import pytest

from nvstore import Cost, Host, NotNewer, RevertRefused
from tests.daemon.fake import INCREMENT, STARTUP, FakeTpm, value_of
from vtpm.control.messages import PTM_BLOB_TYPE
from vtpm.daemon.device.custody import (
    Custody,
    Holding,
    Outcome,
    Relation,
    Stretch,
    custody_of,
    decide,
    give_away,
    keep,
)
from vtpm.daemon.device.device import Device
from vtpm.daemon.errors import DeviceError
from vtpm.daemon.handover import HostGate, ProviderForm, change_custody
from vtpm.state.clock import Instant

KINDS = (PTM_BLOB_TYPE.PERMANENT, PTM_BLOB_TYPE.VOLATILE)
VM = UUID("6c1f3d6e-54d0-4d6a-8f0e-3b1d4a7c9e21")
CHEAP = Cost(64, 1, 1)
RUNNING = ["command", "hand out", "hand out", "end"]
OFF = ["start", "start", "away", "keep", "come", "come", "come"]
"""What happens to a host, as often as that."""

PASSPHRASE = b"a long passphrase"


class Sent(NamedTuple):
    """A blob of the model."""

    top: int
    content: int
    claims: frozenset[int]
    truth: frozenset[int]


@dataclass(frozen=True)
class Place:
    """A host of the model; `made` are the stretches that it has ever numbered."""

    holding: Holding
    top: int = 0
    content: int = 0
    came: int = 0
    claims: frozenset[int] = frozenset()
    truth: frozenset[int] = frozenset()
    made: frozenset[int] = frozenset()

    def numbered(self, new: int) -> "Place":
        """With a stretch of its own."""
        made = self.made | {new}
        return replace(self, top=new, made=made, claims=self.claims | made)

    def gone_on(self, new: int) -> "Place":
        """After the first command of a stretch."""
        after = self.numbered(new)
        return replace(after, holding=Holding.HERE, content=new, truth=self.truth | {new}, came=0)

    def sent(self) -> Sent:
        """What is handed out."""
        return Sent(self.top, self.content, self.claims, self.truth)

    def relation_of(self, sent: Sent) -> Relation:
        """As the model has it."""
        stored = self.came if self.holding is Holding.ARRIVED else self.top
        if not sent.top or not stored:
            return Relation.UNKNOWN
        if sent.top == stored or (self.came and sent.top == self.came):
            return Relation.SAME
        return Relation.NEWER if stored in sent.claims else Relation.OTHER

    def outcome_of(self, sent: Sent) -> Outcome:
        """The code's decision for that."""
        return decide(
            self.holding, self.relation_of(sent), is_same=sent.content == self.content, is_later=False
        )

    def arrived(self, sent: Sent, outcome: Outcome, new: int) -> "Place":
        """With a blob that is used; where reverts are denied, only what is no revert is."""
        if outcome is Outcome.STAYS:
            return self
        after = replace(self, claims=sent.claims, truth=sent.truth, content=sent.content, came=sent.top)
        return replace(after.numbered(new), holding=Holding.ARRIVED)


@dataclass(frozen=True)
class Pair:
    """A host of the model, and the same with the code's own functions."""

    place: Place
    custody: Custody
    site: bytes
    generation: int = 1

    @property
    def here(self) -> Stretch:
        """What its next commit begins."""
        return Stretch(self.site, self.generation + 1)

    def with_custody(self, place: Place, custody: Custody) -> "Pair":
        """After a commit."""
        return Pair(place, custody, self.site, self.generation + 1)


def told(
    custody: Custody, change: Callable[[Mapping[str, bytes], Stretch], Mapping[str, bytes | None]]
) -> Custody:
    """What is stored after something was told of it."""
    stored = {name: blob for name, blob in custody.blob().items() if blob is not None}
    after = {**stored, **change(stored, Stretch(b"", 0))}
    return custody_of({name: blob for name, blob in after.items() if blob is not None})


class World(NamedTuple):
    """Two hosts, each in both ways, and up to so many blobs of each."""

    hosts: tuple[Pair, ...]
    blobs: tuple[tuple[Sent, Custody], ...] = ()

    def after(self, at: int, pair: Pair) -> "World":
        """With another host there."""
        return World((*self.hosts[:at], pair, *self.hosts[at + 1 :]), self.blobs)

    def steps(self, new: int) -> Iterator["World"]:
        """All that may happen next; the relation and the decision of both ways are compared."""
        for at, pair in enumerate(self.hosts):
            place, custody = pair.place, pair.custody
            if place.holding in {Holding.HERE, Holding.ARRIVED}:
                gone_on = custody.gone_on(pair.here)
                yield self.after(at, pair.with_custody(place.gone_on(new), gone_on))
                if len(self.blobs) < 2:
                    handed = (place.sent(), custody_of(custody.part()))
                    yield World(self.hosts, (*self.blobs, handed))
                given = replace(place, holding=Holding.AWAY, came=0)
                yield self.after(at, pair.with_custody(given, told(custody, give_away)))
            if place.holding is Holding.ARRIVED:
                kept = replace(place, holding=Holding.HERE)
                yield self.after(at, pair.with_custody(kept, told(custody, keep)))
            for sent, said in self.blobs:
                yield from self.arrival(at, sent, said, new)

    def arrival(self, at: int, sent: Sent, said: Custody, new: int) -> Iterator["World"]:
        """A blob that comes, where reverts are denied."""
        pair = self.hosts[at]
        place, custody = pair.place, pair.custody
        if place.holding is not Holding.EXPECTED:
            assert custody.relation_of(said) is place.relation_of(sent)
        outcome = place.outcome_of(sent)
        assert custody.outcome_of(said, is_same=sent.content == place.content) is outcome
        if outcome in {Outcome.REVERTS, Outcome.REFUSED}:
            return
        assert not place.content or place.content in sent.truth, (
            "what is in force follows from what was there"
        )
        after = custody if outcome is Outcome.STAYS else custody.after_arrival(said, pair.here)
        yield self.after(at, pair.with_custody(place.arrived(sent, outcome, new), after))


def begun(count_of_hosts: int) -> World:
    """The TPM at the first host, and the others expect it."""
    one = frozenset({1})
    first = Place(Holding.HERE, 1, 1, 0, one, one, one)
    site = bytes(16)
    expecting = Place(Holding.EXPECTED), Custody(Holding.EXPECTED)
    others = [Pair(*expecting, bytes((number,)) * 16) for number in range(1, count_of_hosts)]
    return World((Pair(first, Custody(lineage=(Stretch(site, 1),)), site), *others))


@pytest.mark.parametrize(("hosts", "depth"), [(2, 7), (3, 6)])
def test_every_trace(hosts: int, depth: int) -> None:
    """In every trace up to a depth, the code's functions say what the sets of stretches say."""
    reached, edge = 0, {begun(hosts)}
    for new in range(2, depth + 2):
        edge = {after for world in edge for after in world.steps(new)}
        reached += len(edge)
    assert reached > 3_000


@pytest.mark.parametrize("seed", range(20))
def test_long_traces(seed: int) -> None:
    """So they do in long ones, over four hosts."""
    draw, world = random.Random(seed), begun(4)
    for new in range(2, 400):
        world = draw.choice([*world.steps(new), world])
        if len(world.blobs) == 2 and not draw.randrange(4):
            world = World(world.hosts, world.blobs[draw.randrange(2) :][:1])


@dataclass
class Site:
    """A real host with its device, and the same in the model."""

    host: Host
    place: Place
    running: Device | None = None
    begins: bool = False
    values: dict[int, int] = field(default_factory=dict)

    def device(self, given: Mapping[PTM_BLOB_TYPE, bytes] | None = None) -> Device:
        """A run, as the daemon begins it."""
        device = Device(
            "guest",
            FakeTpm,
            lambda: self.host.open_state("guest"),
            form=ProviderForm(self.host, VM),
            gate=HostGate(self.host, VM),
            clock=lambda: Instant(0),
        )
        try:
            for kind, blob in (given or {}).items():
                device.set_state_blob(kind, blob)
            device.init(delete_volatile=given is not None)
        except BaseException:
            device.close()
            raise
        return device


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[list[Site]]:
    """Three hosts with one provider, which deny reverts; the TPM is at the first one."""
    found: list[Site] = []
    one = frozenset({1})
    for name in ("first", "second", "third"):
        host = Host(tmp_path / name, passphrase_cost=CHEAP, backup_cost=CHEAP)
        if not found:
            host.providers.init("main")
            host.providers.backup("main", tmp_path / "backup", PASSPHRASE)
            host.create_state(VM, "guest", {"permanent": b"0"}, allow_unverified=True).close()
            site = Site(host, Place(Holding.HERE, 1, 1, 0, one, one, one))
        else:
            host.providers.restore(tmp_path / "backup", PASSPHRASE)
            blobs = {key: blob for key, blob in Custody(Holding.EXPECTED).blob().items() if blob}
            host.create_state(VM, "guest", blobs, allow_unverified=True).close()
            site = Site(host, Place(Holding.EXPECTED))
        host.set_policy(VM, reverts=False)
        found.append(site)
    yield found
    for site in found:
        if site.running is not None:
            site.running.close()


@pytest.mark.parametrize("seed", range(5))
def test_devices(sites: list[Site], seed: int) -> None:
    """Devices with their stores go from holding to holding as the model does, and count on from there."""
    draw, numbers = random.Random(seed), count(2)
    blobs: list[tuple[Sent, dict[PTM_BLOB_TYPE, bytes]]] = []
    values = {1: 0}
    start(sites[0])
    command(sites[0], next(numbers), values)
    seen = set()
    for _ in range(150):
        site = draw.choice(sites)
        act = draw.choice(RUNNING if site.running is not None else OFF)
        if act == "start":
            start(site)
        elif act == "command" and site.running is not None:
            command(site, next(numbers), values)
        elif act == "hand out" and site.running is not None:
            device = site.running
            if site.begins and site.place.holding is Holding.HERE and not device._begins:
                continue  # a start that has done nothing: its stretch begins with what it hands out
            sent = {kind: device.form.wrap(device.state_blob(kind)) for kind in KINDS}
            blobs = [*blobs[-3:], (site.place.sent(), sent)]
            site.begins = True
        elif act == "end" and site.running is not None:
            end(site, next(numbers), values)
        elif act in {"away", "keep"} and blobs:
            tell(site, act)
        elif act == "come" and blobs:
            seen.add(come(site, *draw.choice(blobs), next(numbers)))
        if not any(one.running or one.place.holding is Holding.HERE for one in sites):
            take_back(
                draw.choice([one for one in sites if one.place.holding is not Holding.EXPECTED]),
                next(numbers),
            )
        holding = custody_of(site.host.read_state("guest")).holding
        assert holding is site.place.holding
    assert {Outcome.ARRIVES, Outcome.REVERTS} <= seen


def start(site: Site) -> None:
    """A start with power, where the holding allows it."""
    if site.place.holding is not Holding.HERE:
        with pytest.raises(DeviceError):
            site.device()
        return
    site.running = site.device()
    site.running.execute(STARTUP)
    site.begins = True


def command(site: Site, new: int, values: dict[int, int]) -> None:
    """A command that changes the TPM."""
    assert site.running is not None
    value = value_of(site.running.execute(INCREMENT))
    assert value == values[site.place.content] + 1
    if site.begins:
        site.place = site.place.gone_on(new)
    site.begins = False
    values[site.place.content] = value


def end(site: Site, new: int, values: dict[int, int]) -> None:
    """The end of a run, whose stretch may begin with it."""
    assert site.running is not None
    is_unused = site.begins and not site.running._begins
    site.running.close()
    site.running = None
    if is_unused:  # it was started, and nothing else: what begins with its first change is written now
        before = site.place.content
        site.place = site.place.gone_on(new)
        values[new] = values[before]
    site.begins = False


def tell(site: Site, what: str) -> None:
    """What a hypervisor tells, true or not."""
    holding = site.place.holding
    change = {"away": give_away, "keep": keep}[what]
    if what == "away" and holding is Holding.EXPECTED:
        return
    with site.host.open_state("guest") as store:
        store.commit(change(store.load(), Stretch(store.incarnation, store.generation + 1)))
    if what == "away" and holding is not Holding.AWAY:
        site.place = replace(site.place, holding=Holding.AWAY, came=0)
    elif what == "keep" and holding is Holding.ARRIVED:
        site.place = replace(site.place, holding=Holding.HERE)


def take_back(site: Site, new: int) -> None:
    """An operator's word, where nobody can go on without one."""
    change_custody(site.host, "guest", "reclaim", "the test goes on")
    site.place = replace(site.place.numbered(new), holding=Holding.HERE, came=0)


def come(site: Site, sent: Sent, stream: Mapping[PTM_BLOB_TYPE, bytes], new: int) -> Outcome:
    """A blob that anybody brings."""
    outcome = site.place.outcome_of(sent)
    refusal = {Outcome.REVERTS: RevertRefused, Outcome.REFUSED: NotNewer}.get(outcome)
    if refusal is not None:
        with pytest.raises(refusal):
            site.device(stream)
        return outcome
    site.running = site.device(stream)
    site.place = site.place.arrived(sent, outcome, new)
    site.begins = True
    return outcome


def test_table() -> None:
    """Where reverts are denied, only what follows from what is stored, or is it, takes its place."""
    for holding, relation, is_same, is_later in product(Holding, Relation, (False, True), (False, True)):
        outcome = decide(holding, relation, is_same=is_same, is_later=is_later)
        is_taken = outcome in {Outcome.STAYS, Outcome.ARRIVES}
        if holding is Holding.EXPECTED:
            assert outcome is Outcome.ARRIVES
        elif relation is Relation.OTHER:
            assert not is_taken
        elif holding is Holding.AWAY:
            assert is_taken is (relation is Relation.NEWER)
