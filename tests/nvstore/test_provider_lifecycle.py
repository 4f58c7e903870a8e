"""The life of a key provider: which steps are possible when, and what each of them refuses to lose."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from nvstore import (
    Host,
    HostTpmRequired,
    KeyMissing,
    NvstoreError,
    ProviderExists,
    ProviderInUse,
    ProviderNotActive,
    ProviderUnverified,
    StepRefused,
    TooEarly,
    WrongKey,
)
from nvstore.provider.lifecycle import TRANSITIONS, USABLE, State, Step
from tests.nvstore.conftest import (
    BLOBS,
    CHEAP,
    OTHER,
    PASSPHRASE,
    VM,
    as_first_version,
    host_at,
    rewrite,
    verify,
)

DAY = 86400.0


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1.7e9

    def __call__(self) -> float:
        """The time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The time on this host."""
    return Clock()


@pytest.fixture
def timed(tmp_path: Path, clock: Clock) -> Host:
    """A host with that clock and a provider of which there is a verified backup."""
    host = Host(tmp_path / "timed", clock=clock, passphrase_cost=CHEAP, backup_cost=CHEAP)
    host.providers.init("main")
    verify(host, "main", tmp_path / "timed.backup")
    return host


class TestTable:
    """The one table of transitions."""

    def test_every_state_is_reached(self) -> None:
        """Each state but the first follows from some step, and each but the last can be left."""
        reached = {after for steps in TRANSITIONS.values() for after in steps.values()}
        left = {before for steps in TRANSITIONS.values() for before in steps}
        assert reached == set(State) - {State.CREATED}
        assert left == set(State) - {State.DESTROYED}

    def test_steps(self) -> None:
        """Every step is in it."""
        assert set(TRANSITIONS) == set(Step)

    def test_the_way_to_destruction(self) -> None:
        """Keys are destroyed from one state only, and no usable provider is one step from being deleted."""
        assert set(TRANSITIONS[Step.DESTROY]) == {State.PENDING_DELETION}
        assert not set(TRANSITIONS[Step.SCHEDULE_DELETION]) & USABLE

    @pytest.mark.parametrize("state", list(State))
    def test_steps_that_are_not_possible(self, host: Host, directory: Path, state: State) -> None:
        """Every operation that the table does not allow in a state is refused, and names what it allows."""
        path = directory / "providers/main.provider"
        content = path.read_bytes()
        operations = {
            Step.DISABLE: host.steps.disable,
            Step.ENABLE: host.steps.enable,
            Step.SCHEDULE_DELETION: host.steps.schedule_deletion,
            Step.CANCEL_DELETION: host.steps.cancel_deletion,
            Step.DESTROY: host.steps.destroy,
        }
        for step, operation in operations.items():
            path.write_bytes(content)
            rewrite(host, "main", state=state.value)
            document = json.loads(path.read_text())
            if state in TRANSITIONS[step]:
                expected = TRANSITIONS[step][state]
                after = State.ACTIVE if expected is State.VERIFIED else expected
                operation("main")
                assert host.providers.show("main").state == after.value
            else:
                with pytest.raises(StepRefused, match=f"{state.value}, and {step.value}"):
                    operation("main")
                assert json.loads(path.read_text()) == document


class TestNewVms:
    """New VMs are made under an active provider only; those that are there keep working."""

    def test_disabled(self, host: Host) -> None:
        """A disabled provider makes no new VMs, not even unverified ones; its VMs open and write."""
        host.create_state(VM, "guest", BLOBS).close()
        host.steps.disable("main")
        for allow_unverified in (False, True):
            with pytest.raises(ProviderNotActive, match="disabled"):
                host.create_state(OTHER, "other", BLOBS, allow_unverified=allow_unverified)
        with host.open_state(VM) as store:
            store.commit({"a": b"1"})
        host.steps.enable("main")
        assert host.providers.show("main").state == "active"
        host.create_state(OTHER, "other", BLOBS).close()

    def test_defaults_of_groups(self, host: Host, tmp_path: Path) -> None:
        """A group of VMs can have a provider of its own; all others have the default."""
        host.providers.init("finance")
        verify(host, "finance", tmp_path / "finance.backup")
        host.providers.set_default("finance", group="accounting")
        assert host.providers.show("finance").groups == ["accounting"]
        host.create_state(VM, "a", BLOBS, group="accounting").close()
        host.create_state(OTHER, "b", BLOBS, group="web").close()
        host.create_state(UUID(int=3), "c", BLOBS, group="accounting", provider="main").close()
        assert [(s.name, s.provider) for s in host.list_states()] == [
            ("a", "finance"),
            ("b", "main"),
            ("c", "main"),
        ]
        assert "group accounting" in host.providers.show("finance").lines()[0]


class TestDeletion:
    """Keys are destroyed late, revocably until then, and never while something needs them."""

    def test_refused_while_needed(self, host: Host) -> None:
        """A VM whose state needs the key keeps it, and is named."""
        host.create_state(VM, "guest", BLOBS).close()
        host.steps.disable("main")
        with pytest.raises(ProviderInUse, match="guest"):
            host.steps.schedule_deletion("main")
        host.delete_state(VM)
        host.steps.schedule_deletion("main")
        assert host.providers.show("main").state == "pending-deletion"

    def test_needed_by_what_cannot_be_read(self, host: Host, directory: Path) -> None:
        """A damaged state still needs its provider."""
        host.create_state(VM, "guest", BLOBS).close()
        (directory / f"states/{VM}.state").write_bytes(b"damaged")
        host.steps.disable("main")
        with pytest.raises(ProviderInUse, match="guest"):
            host.steps.schedule_deletion("main")

    def test_needed_again_meanwhile(self, timed: Host, clock: Clock, tmp_path: Path) -> None:
        """A state that comes back before the keys are destroyed keeps them."""
        timed.create_state(VM, "guest", BLOBS).close()
        states = tmp_path / f"timed/states/{VM}.state"
        content = states.read_bytes()
        timed.delete_state(VM)
        timed.steps.disable("main")
        timed.steps.schedule_deletion("main")
        clock.now += 8 * DAY
        states.write_bytes(content)
        with pytest.raises(ProviderInUse, match=str(VM)):
            timed.steps.destroy("main")

    @pytest.mark.parametrize("days", [-1, 0, 6])
    def test_too_soon(self, host: Host, days: int) -> None:
        """Less than seven days are not possible."""
        host.steps.disable("main")
        with pytest.raises(TooEarly, match="7"):
            host.steps.schedule_deletion("main", days=days)
        assert host.providers.show("main").state == "disabled"

    def test_waiting_and_canceling(self, timed: Host, clock: Clock) -> None:
        """Until the time has come the keys stay, every status says so, and the deletion can be canceled."""
        timed.steps.disable("main")
        timed.steps.schedule_deletion("main", days=10)
        status = timed.providers.show("main")
        assert status.delete_after == "2023-11-24T22:13:20Z"
        assert any(status.delete_after in warning for warning in status.warnings)
        clock.now += 9.9 * DAY
        with pytest.raises(TooEarly, match=status.delete_after):
            timed.steps.destroy("main")
        timed.steps.cancel_deletion("main")
        assert timed.providers.show("main").state == "disabled"
        timed.steps.enable("main")
        assert timed.providers.show("main").state == "active"

    def test_destroyed(self, timed: Host, clock: Clock, tmp_path: Path) -> None:
        """The keys are gone, the name stays its own, and errors still name the backups that hold the key."""
        kdk_id = timed.providers.show("main").kdk_id
        timed.steps.disable("main")
        timed.steps.schedule_deletion("main")
        clock.now += 8 * DAY
        timed.steps.destroy("main")
        status = timed.providers.show("main")
        assert (status.state, status.keys, status.warnings) == ("destroyed", [], [])
        assert not (tmp_path / "timed/keys/main.key").exists()
        assert "box" not in (tmp_path / "timed/providers/main.provider").read_text()
        with pytest.raises(KeyMissing, match=f"{kdk_id}.*timed.backup"):
            timed.providers.key("main", bytes.fromhex(kdk_id))
        with pytest.raises(ProviderExists):
            timed.providers.init("main")

    def test_restored_after_destruction(self, timed: Host, clock: Clock, tmp_path: Path) -> None:
        """The backup brings a destroyed provider back."""
        kdk_id = timed.providers.show("main").kdk_id
        timed.steps.disable("main")
        timed.steps.schedule_deletion("main")
        clock.now += 8 * DAY
        timed.steps.destroy("main")
        assert not timed.providers.verify(tmp_path / "timed.backup", PASSPHRASE).recorded
        timed.providers.restore(tmp_path / "timed.backup", PASSPHRASE)
        status = timed.providers.show("main")
        assert (status.state, status.kdk_id, status.keys) == ("active", kdk_id, [kdk_id])

    def test_enabling_what_was_never_verified(self, tmp_path: Path) -> None:
        """A canceled deletion does not make up for a missing backup."""
        host = host_at(tmp_path / "h")
        host.providers.init("main")
        host.steps.schedule_deletion("main")
        host.steps.cancel_deletion("main")
        with pytest.raises(ProviderUnverified):
            host.steps.enable("main")


class TestWarnings:
    """A backup that was never verified, or is too old, is told wherever a status is told, and every day."""

    def test_on_every_status(self, timed: Host, clock: Clock) -> None:
        """Providers and VMs repeat it."""
        timed.create_state(VM, "guest", BLOBS).close()
        assert timed.show_state(VM).warnings == ()
        clock.now += 91 * DAY
        assert "91 days ago" in timed.providers.show("main").warnings[0]
        assert "91 days ago" in timed.show_state(VM).warnings[0]

    def test_alarms(self, timed: Host, clock: Clock, tmp_path: Path) -> None:
        """An alarm is raised again after 24 hours, in whatever process, until the cause is gone."""

        def alarms() -> list[str]:
            host = Host(tmp_path / "timed", clock=clock, passphrase_cost=CHEAP, backup_cost=CHEAP)
            return list(host.providers.raise_alarms())

        timed.providers.init("spare")
        assert alarms() == timed.providers.show("spare").warnings
        clock.now += DAY - 1
        assert alarms() == []
        clock.now += 1
        assert len(alarms()) == 1
        assert [e["op"] for e in timed.audit.entries()].count("alarm") == 2
        verify(timed, "spare", tmp_path / "spare.backup")
        clock.now += DAY
        assert alarms() == []


class TestForeignKeys:
    """A name never stands for two keys; the error says which key is needed and who holds it."""

    def test_restoring_another_key(self, host: Host, tmp_path: Path) -> None:
        """The key that is here, who holds it, and the key that was offered are named."""
        fresh = host_at(tmp_path / "fresh")
        fresh.providers.init("main")
        fresh.providers.backup("main", tmp_path / "ours.backup", PASSPHRASE)
        ours, theirs = fresh.providers.show("main").kdk_id, host.providers.show("main").kdk_id
        with pytest.raises(ProviderExists, match=f"{ours}.*ours.backup.*{theirs}"):
            fresh.providers.restore(tmp_path / "main.backup", PASSPHRASE)
        with pytest.raises(WrongKey, match=f"{ours}.*{theirs}.*ours.backup"):
            fresh.providers.verify(tmp_path / "main.backup", PASSPHRASE)

    def test_init_over_a_key(self, host: Host) -> None:
        """Who holds the key that is in the way is named."""
        with pytest.raises(ProviderExists, match=r"main\.backup"):
            host.providers.init("main")


class TestRequirement:
    """`require_host_tpm`"""

    def test_not_taken_back_by_a_backup(self, host: Host, tmp_path: Path) -> None:
        """A backup from before the requirement does not lift it."""
        rewrite(host, "main", require_host_tpm=True)
        with pytest.raises(HostTpmRequired):
            host.providers.restore(tmp_path / "main.backup", PASSPHRASE, key_file=tmp_path / "key")
        assert host.providers.show("main").require_host_tpm

    def test_a_verified_provider_waits_for_its_seal(self, host: Host) -> None:
        """Without the TPM it stays verified, says why, and makes no new VMs."""
        rewrite(host, "main", require_host_tpm=True, state="disabled")
        host.steps.enable("main")
        status = host.providers.show("main")
        assert status.state == "verified"
        assert "TPM" in status.warnings[0]
        with pytest.raises(ProviderNotActive, match="TPM"):
            host.create_state(VM, "guest", BLOBS)


class TestFile:
    """The provider's file."""

    @pytest.mark.parametrize(
        "change",
        [
            {"state": "sleeping"},
            {"rotation": {"successor": "zz"}},
            {"hosts": [{}]},
            {"keys": []},
            {"keys": [7]},
            {"retired": 7},
        ],
    )
    def test_malformed(self, host: Host, directory: Path, change: dict[str, Any]) -> None:
        """Fields that are not what they should be are named as damage."""
        path = directory / "providers/main.provider"
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
        with pytest.raises(NvstoreError) as raised:
            host.providers.show("main")
        assert raised.value.code == "provider-damaged"

    def test_of_the_first_version(self, host: Host, directory: Path) -> None:
        """A file without the fields that came later reads as it did, and is authenticated when it is used."""
        before = host.providers.show("main")
        path = as_first_version(host, "main")
        again = host_at(directory)
        backups = tuple(replace(backup, current=b"") for backup in before.backups)
        assert again.providers.show("main") == replace(
            before, unlocked=True, backups=backups, authenticated=False
        )
        again.create_state(VM, "guest", BLOBS).close()
        document = json.loads(path.read_text())
        assert (document["version"], document["default_for"]) == (2, [""])
        assert [seal["binding"] for key in document["keys"] for seal in key["seals"]] == [2]
        assert "provider-authenticate" in [entry["op"] for entry in again.audit.entries()]
        host_at(directory).open_state(VM).close()
