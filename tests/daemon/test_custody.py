"""A run that goes on elsewhere goes on nowhere else: vtpm/daemon/device/custody.py."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from uuid import UUID

import pytest

from nvstore import Cost, Host, InTheClear, NotNewer, RevertRefused
from tests.daemon.fake import INCREMENT, READ, STARTUP, FakeTpm, LastingStore, value_of
from vtpm.control import blobs
from vtpm.control.messages import PTM_BLOB_TYPE
from vtpm.daemon.clock import since_1970
from vtpm.daemon.device.custody import (
    CUSTODY,
    MAX_LINEAGE,
    Admitted,
    Custody,
    Holding,
    Stretch,
    Word,
    custody_of,
    following,
    give_away,
    keep,
    reclaim,
)
from vtpm.daemon.device.device import Device
from vtpm.daemon.device.stateblobs import powered_off
from vtpm.daemon.errors import DeviceError
from vtpm.daemon.handover import HandoverError, HostGate, ProviderForm, admit
from vtpm.state.clock import Instant

KINDS = (PTM_BLOB_TYPE.PERMANENT, PTM_BLOB_TYPE.VOLATILE)
VM = UUID("6c1f3d6e-54d0-4d6a-8f0e-3b1d4a7c9e21")
PASSPHRASE = b"a long passphrase"
CHEAP = Cost(64, 1, 1)
Blobs = Mapping[PTM_BLOB_TYPE, bytes]


class Site:
    """A host with the state of one VM."""

    def __init__(self, directory: Path, state: Mapping[str, bytes], like: "Site | None" = None) -> None:
        self.host = Host(directory, passphrase_cost=CHEAP, backup_cost=CHEAP)
        if like is None:
            self.host.providers.init("main")
        else:
            like.host.providers.backup("main", directory / "backup", PASSPHRASE)
            self.host.providers.restore(directory / "backup", PASSPHRASE)
        self.host.create_state(VM, "guest", state, allow_unverified=True).close()
        self.running: Device | None = None

    def device(self, *, given: Blobs | None = None) -> Device:
        """A run, from what is stored or given."""
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
        self.running = device
        return device

    def started(self) -> Device:
        """A run that starts with power."""
        device = self.device()
        device.execute(STARTUP)
        return device

    def commit(self, change: object) -> None:
        """Change who has the TPM."""
        with self.host.open_state("guest") as store:
            here = Stretch(store.incarnation, store.generation + 1)
            store.commit(change(store.load(), here))  # type: ignore[operator]

    @property
    def custody(self) -> tuple[Holding, int]:
        """Who has it, and how often it has moved."""
        return custody_of(self.host.read_state("guest"))[:2]

    @property
    def holding(self) -> Holding:
        """Who has it."""
        return self.custody[0]

    def arrivals(self) -> list[tuple[str, str]]:
        """What came, and how that ended, as the audit log has it."""
        entries = [entry for entry in self.host.audit.entries() if entry["op"] == "arrive"]
        return [(entry.get("outcome", ""), entry["result"]) for entry in entries]

    def reverts(self) -> int:
        """How often a revert was noted."""
        return sum(entry["op"] == "revert" for entry in self.host.audit.entries())


def saved(device: Device) -> Blobs:
    """What goes into the stream, after which QEMU ends."""
    return {kind: device.form.wrap(device.state_blob(kind)) for kind in KINDS}


@pytest.fixture
def first(tmp_path: Path) -> Iterator[Site]:
    """The host where the VM is, and that lets nobody revert it."""
    site = Site(tmp_path / "first", {"permanent": b"0"})
    site.host.set_policy("guest", reverts=False)
    yield site
    if site.running is not None:
        site.running.close()


@pytest.fixture
def second(tmp_path: Path, first: Site) -> Iterator[Site]:
    """The host that expects it."""
    expected = Custody(Holding.EXPECTED).blob()
    site = Site(tmp_path / "second", {name: blob for name, blob in expected.items() if blob}, first)
    site.host.set_policy("guest", reverts=False)
    yield site
    if site.running is not None:
        site.running.close()


@pytest.fixture
def third(tmp_path: Path, first: Site) -> Iterator[Site]:
    """Another one that expects it."""
    expected = Custody(Holding.EXPECTED).blob()
    site = Site(tmp_path / "third", {name: blob for name, blob in expected.items() if blob}, first)
    yield site
    if site.running is not None:
        site.running.close()


def move(source: Site, target: Site) -> Blobs:
    """Migrate, as libvirt and its hooks do, to a guest that uses its TPM there; what went over."""
    assert source.running is not None
    stream = saved(source.running)
    target.device(given=stream)
    source.running.close()
    source.commit(give_away)
    assert target.running is not None
    target.running.execute(READ)
    return stream


class TestMigration:
    """The run goes on at one host"""

    def test_there(self, first: Site, second: Site) -> None:
        """The destination goes on where the source was, which no longer starts; no revert is noted."""
        first.started().execute(INCREMENT)
        move(first, second)

        assert second.running is not None
        assert value_of(second.running.execute(READ)) == 1
        assert (first.custody, second.custody) == ((Holding.AWAY, 0), (Holding.HERE, 1))
        assert second.arrivals() == [("arrives", "done")]
        with pytest.raises(DeviceError, match="went to another host with its run"):
            first.started()
        assert (first.reverts(), second.reverts()) == (0, 0)

    def test_back_and_there_again(self, first: Site, second: Site) -> None:
        """It comes back, and goes again, with what it became; a policy against reverts is no obstacle."""
        first.started()
        for source, target in ((first, second), (second, first), (first, second)):
            assert source.running is not None
            source.running.execute(INCREMENT)
            move(source, target)

        assert second.running is not None
        assert value_of(second.running.execute(READ)) == 3
        second.running.close()
        assert second.custody == (Holding.HERE, 3)
        second.started()

    def test_unnoted(self, first: Site, second: Site) -> None:
        """A host that was never told that the TPM went knows the newer stay when it comes back."""
        device = first.started()
        stream = saved(device)
        device.close()
        second.device(given=stream).execute(INCREMENT)
        move(second, first)

        assert first.running is not None
        assert value_of(first.running.execute(READ)) == 1
        assert first.reverts() == 0

    def test_older(self, first: Site, second: Site) -> None:
        """What the source has saved before is not used after the TPM went, whatever the policy of reverts."""
        first.started()
        stream = move(first, second)
        first.host.set_policy("guest", reverts=True)

        with pytest.raises(NotNewer, match="does not follow"):
            first.device(given=stream)
        assert first.arrivals() == [("refused", "not-newer")]

    def test_older_at_destination(self, first: Site, second: Site) -> None:
        """At the destination, what is from before it came is a revert."""
        first.started()
        stream = move(first, second)
        assert second.running is not None
        second.running.execute(INCREMENT)
        second.running.close()

        with pytest.raises(RevertRefused):
            second.device(given=stream)
        second.host.set_policy("guest", reverts=True)
        assert value_of(second.device(given=stream).execute(READ)) == 0


class TestAttacks:
    """What was stored comes back by no way, where reverts are denied"""

    def test_by_a_second_host(self, first: Site, second: Site) -> None:
        """An older state does not become newer by a stay elsewhere."""
        device = first.started()
        older = saved(device)
        device.execute(INCREMENT)
        device.close()
        with pytest.raises(RevertRefused):
            first.device(given=older)

        second.device(given=older).execute(READ)
        assert second.running is not None
        laundered = saved(second.running)
        with pytest.raises(RevertRefused):
            first.device(given=laundered)
        assert value_of(first.started().execute(INCREMENT)) == 2
        assert first.arrivals() == [("reverts", "revert-refused")] * 2
        assert second.arrivals() == [("arrives", "done")]

    def test_by_the_second_host_after_it_went(self, first: Site, second: Site, third: Site) -> None:
        """Nor does it where the TPM was given away since."""
        device = first.started()
        older = saved(device)
        device.execute(INCREMENT)
        move(first, second)
        third.device(given=older).execute(READ)
        assert third.running is not None
        with pytest.raises(NotNewer):
            first.device(given=saved(third.running))
        assert second.running is not None
        second.running.close()
        stream = saved(third.running)
        with pytest.raises(RevertRefused):
            second.device(given=stream)
        assert first.holding is Holding.AWAY

    def test_started_in_between(self, first: Site, second: Site) -> None:
        """Nor after a start that had no time to say so."""
        device = first.started()
        older = saved(device)
        device.close()
        second.device(given=older).execute(READ)
        first.started().execute(INCREMENT)
        assert first.running is not None
        first.running.close()
        assert second.running is not None
        with pytest.raises(RevertRefused):
            first.device(given=saved(second.running))

    def test_used_twice(self, first: Site) -> None:
        """A saved run goes on once, even if it has changed nothing that is permanent."""
        device = first.started()
        state = saved(device)
        device.close()
        first.device(given=state).close()
        first.device(given=state).execute(READ)
        assert first.running is not None
        first.running.close()
        with pytest.raises(RevertRefused):
            first.device(given=state)

    @pytest.mark.parametrize("moves", [0, 1, 1 << 31])
    @pytest.mark.parametrize("holding", list(Holding))
    def test_in_the_clear(self, first: Site, moves: int, holding: Holding) -> None:
        """Nobody's state takes the place of the TPM, whatever it says of itself."""
        if holding is not Holding.HERE:
            first.commit(lambda _stored, _here: Custody(holding).blob())
        before = first.host.read_state("guest")
        forged = blobs.pack(PTM_BLOB_TYPE.PERMANENT, {"permanent": b"66", **Custody(moves=moves).part()})
        with pytest.raises(InTheClear, match=f"vtpm state admit {VM} --in-the-clear --reason"):
            first.device(given={PTM_BLOB_TYPE.PERMANENT: forged})
        assert first.host.read_state("guest") == before
        assert first.arrivals() == [("", "in-the-clear")]

    def test_a_run_in_the_clear(self, first: Site) -> None:
        """Nor is a run, beside what is stored."""
        run = blobs.pack(PTM_BLOB_TYPE.VOLATILE, {"ram": b"66"})
        with pytest.raises(InTheClear):
            first.device(given={PTM_BLOB_TYPE.VOLATILE: run})


class TestAdmitted:
    """What an operator admits, once"""

    @staticmethod
    def clear(value: bytes = b"7") -> Blobs:
        """A save file of before."""
        return {PTM_BLOB_TYPE.PERMANENT: blobs.pack(PTM_BLOB_TYPE.PERMANENT, {"permanent": value})}

    def test_in_the_clear(self, first: Site) -> None:
        """One state in the clear, where reverts are allowed; the next one is refused again."""
        first.host.set_policy("guest", reverts=True)
        admit(first.host, "guest", reason="from before", in_the_clear=True)
        first.device(given=self.clear()).close()
        assert powered_off(first.host.read_state("guest")) == {"permanent": b"7"}
        with pytest.raises(InTheClear):
            first.device(given=self.clear())
        assert first.arrivals() == [("reverts", "done"), ("", "in-the-clear")]
        assert first.reverts() == 1

    def test_not_a_revert(self, first: Site) -> None:
        """That admits no revert where those are denied; the word is still good after that."""
        admit(first.host, "guest", reason="from before", in_the_clear=True)
        with pytest.raises(RevertRefused):
            first.device(given=self.clear())
        admit(first.host, "guest", reason="from before", in_the_clear=True, revert=True)
        first.device(given=self.clear()).close()
        assert powered_off(first.host.read_state("guest")) == {"permanent": b"7"}

    def test_revert(self, first: Site) -> None:
        """One older state, whatever the policy; it stays denied after that."""
        device = first.started()
        older = saved(device)
        device.execute(INCREMENT)
        device.close()
        admit(first.host, "guest", reason="the upgrade failed", revert=True)
        assert value_of(first.device(given=older).execute(INCREMENT)) == 1
        assert first.running is not None
        first.running.close()
        with pytest.raises(RevertRefused):
            first.device(given=older)
        noted = [entry for entry in first.host.audit.entries() if entry["op"] == "admit"]
        assert [(entry["reason"], entry["revert"]) for entry in noted] == [("the upgrade failed", "True")]

    def test_given_away(self, first: Site, second: Site) -> None:
        """One that does not follow from what was given away."""
        first.started()
        stream = move(first, second)
        admit(first.host, "guest", reason="that host burnt down", revert=True)
        first.device(given=stream).execute(READ)
        assert first.holding is Holding.HERE

    def test_expires(self, first: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is good for so many minutes."""
        admit(first.host, "guest", reason="from before", in_the_clear=True, revert=True, minutes=5)
        later = since_1970() + 5 * 60_000 + 2000
        monkeypatch.setattr("vtpm.daemon.device.bringup.Loader.now", lambda _self: later // 1000)
        with pytest.raises(InTheClear):
            first.device(given=self.clear())

    @pytest.mark.parametrize(
        "words", [{}, {"revert": True, "minutes": 0}, {"revert": True, "minutes": 1 << 20}]
    )
    def test_unclear(self, first: Site, words: dict[str, int]) -> None:
        """It says what is admitted, and for how long."""
        with pytest.raises(HandoverError, match="--"):
            admit(first.host, "guest", reason="why", **words)


class TestFailure:
    """A migration that fails leaves the TPM where it was"""

    def test_not_expected_to_start(self, second: Site) -> None:
        """A TPM that never came does not start."""
        with pytest.raises(DeviceError, match="has not come to this host yet"):
            second.device()

    def test_late(self, first: Site, second: Site) -> None:
        """The source goes on; the destination, whose guest never ran, starts only with the next try."""
        device = first.started()
        second.device(given=saved(device)).close()

        assert value_of(device.execute(INCREMENT)) == 1
        assert second.custody == (Holding.ARRIVED, 1)
        with pytest.raises(DeviceError, match="a migration that may have failed"):
            second.device()
        move(first, second)
        assert second.running is not None
        assert value_of(second.running.execute(READ)) == 1
        assert second.reverts() == 0

    def test_used(self, first: Site, second: Site) -> None:
        """The first command at the destination makes the TPM its own."""
        device = first.started()
        arrived = second.device(given=saved(device))
        assert second.holding is Holding.ARRIVED

        arrived.execute(READ)
        assert second.custody == (Holding.HERE, 1)

    def test_reset(self, first: Site, second: Site) -> None:
        """So does a reset."""
        arrived = second.device(given=saved(first.started()))
        arrived.stop()
        arrived.init()
        assert second.holding is Holding.HERE

    @pytest.mark.parametrize("is_loaded", [True, False])
    def test_idle(self, first: Site, second: Site, *, is_loaded: bool) -> None:
        """So does the hypervisor's word that the guest went on, whose TPM was idle."""
        arrived = second.device(given=saved(first.started()))
        if is_loaded:
            arrived.keep()
            arrived.close()
        else:
            arrived.close()
            second.commit(keep)
        assert second.custody == (Holding.HERE, 1)
        second.device()

    def test_kept_when_full(self, first: Site) -> None:
        """Where the store takes no changes, that waits for the next one that it takes."""
        store = Full({CUSTODY: Custody(Holding.EXPECTED).blob()[CUSTODY] or b""})
        device = Device("guest", FakeTpm, lambda: store, clock=lambda: Instant(0))
        source = first.started()
        for kind in KINDS:
            device.set_state_blob(kind, source.state_blob(kind))
        device.init()

        store.is_full = True
        device.execute(READ)
        assert custody_of(store.load()).holding is Holding.ARRIVED
        store.is_full = False
        device.execute(INCREMENT)
        assert custody_of(store.load())[:2] == (Holding.HERE, 1)


class Full(LastingStore):
    """A store that is full at times."""

    is_full = False

    def commit(self, changes: Mapping[str, bytes | None]) -> None:
        """Refuse when full."""
        if self.is_full:
            raise OSError(28, "No space left on device")
        super().commit(changes)


class TestReclaim:
    """What is stored, on an operator's word"""

    def test_taken(self, first: Site, second: Site) -> None:
        """It starts again; what comes from the other host afterwards is a revert."""
        first.started()
        move(first, second)
        first.commit(reclaim)

        first.started().close()
        assert second.running is not None
        second.running.execute(INCREMENT)
        with pytest.raises(RevertRefused):
            first.device(given=saved(second.running))

    def test_nothing_to_take(self, first: Site, second: Site) -> None:
        """Where the TPM is, or nothing of it, there is nothing to reclaim."""
        for site, said in ((first, "nothing has to be reclaimed"), (second, "it has not come yet")):
            with pytest.raises(DeviceError, match=said):
                site.commit(reclaim)

    def test_twice(self, first: Site, second: Site) -> None:
        """It is given away once; what never came cannot be."""
        first.started()
        move(first, second)
        first.commit(give_away)
        assert first.custody == (Holding.AWAY, 0)
        assert second.running is not None
        second.running.close()
        second.commit(keep)
        assert second.custody == (Holding.HERE, 1)


class TestForm:
    """What is kept"""

    def test_kept(self, first: Site) -> None:
        """A stretch is written with the first change, or before its state leaves; blobs carry no more."""
        device = first.started()
        assert CUSTODY not in first.host.read_state("guest")
        device.execute(INCREMENT)
        custody = custody_of(first.host.read_state("guest"))
        assert len(custody.lineage) == 1
        permanent, _ = blobs.unpack(PTM_BLOB_TYPE.PERMANENT, device.state_blob(PTM_BLOB_TYPE.PERMANENT))
        assert custody_of(permanent) == custody

    @pytest.mark.parametrize(
        "custody",
        [
            Custody(),
            Custody(Holding.AWAY, 3),
            Custody(
                Holding.ARRIVED, 1, (Stretch(bytes(16), 5), Stretch(b"b" * 16, 1)), Stretch(bytes(16), 5)
            ),
            Custody(word=Word(Admitted.IN_THE_CLEAR | Admitted.REVERT, 1 << 40)),
        ],
    )
    def test_there_and_back(self, custody: Custody) -> None:
        """What is written is read."""
        kept = {name: blob for name, blob in custody.blob().items() if blob is not None}
        assert custody_of(kept) == custody

    def test_first_version(self) -> None:
        """So is what an earlier version has written."""
        assert custody_of({CUSTODY: bytes.fromhex("00010300000007")}) == Custody(Holding.AWAY, 7)
        assert Custody(moves=7).first_part() == {CUSTODY: bytes.fromhex("00010000000007")}

    def test_bounded(self) -> None:
        """A lineage has the last stretch of each host, and forgets the host of longest ago."""
        lineage: tuple[Stretch, ...] = ()
        for number in range(300):
            lineage = following(lineage, Stretch(number.to_bytes(16), number))
        assert len(lineage) == MAX_LINEAGE
        again = following(lineage, Stretch(lineage[0].site, 1000))
        assert (len(again), again[-1].number, again[0]) == (MAX_LINEAGE, 1000, lineage[1])

    @pytest.mark.parametrize(
        "octets", [b"", b"\0\x02\0\0\0\0\0", b"\0\x03" + bytes(16), b"\0\x01\x04\0\0\0\0", bytes(8)]
    )
    def test_unknown(self, octets: bytes) -> None:
        """What is not known is an error."""
        with pytest.raises(DeviceError, match="update this host first"):
            custody_of({CUSTODY: octets})

    def test_suspended(self, first: Site, second: Site) -> None:
        """A run that STORE_VOLATILE kept goes on at the host that it has come to."""
        first.started()
        move(first, second)
        device = second.running
        assert device is not None
        device.execute(INCREMENT)
        device.store_volatile()
        device.close()

        assert value_of(second.device().execute(READ)) == 1
