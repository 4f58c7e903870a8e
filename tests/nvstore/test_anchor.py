"""The TPM of the host remembers what no disk can put back."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import UUID

import pytest

import nvstore.registry
from nvstore import AnchorMissing, FileStore, Host, RolledBack
from nvstore.keys import Prf
from nvstore.state.anchor import Anchored, auth_of, handle_of
from nvstore.testing import FaultyFiles, Image, PowerLoss
from tests.nvstore.conftest import BLOBS, VM, host_at, verify
from tests.nvstore.test_crash import disk, host_on  # noqa: F401 - a fixture
from tests.nvstore.test_provider_tpm import HostTpm

REASON = "ticket 17"
MEMORY: dict[tuple[str, UUID], tuple[Anchored, bytes]] = {}
"""What TPMs that do not exist remember."""


class MemoryAnchor:
    """A TPM that does not exist."""

    def __init__(self, tcti: str) -> None:
        self._tcti = tcti

    def read(self, vm: UUID, key: Prf) -> Anchored:
        """See Anchor."""
        if (self._tcti, vm) not in MEMORY:
            raise AnchorMissing(vm, self._tcti)
        anchored, auth = MEMORY[self._tcti, vm]
        assert auth == auth_of(key)
        return anchored

    def write(self, anchored: Anchored, key: Prf, *, anew: bool = False) -> None:
        """See Anchor."""
        if (before := MEMORY.get((self._tcti, anchored.vm))) and not anew:
            assert before[1] == auth_of(key)
        MEMORY[self._tcti, anchored.vm] = anchored, auth_of(key)

    def remove(self, vm: UUID) -> None:
        """See Anchor."""
        MEMORY.pop((self._tcti, vm), None)

    def remembers(self, vm: UUID) -> bool:
        """See Anchor."""
        return (self._tcti, vm) in MEMORY


class Remembering:
    """A TPM for the host, and how it is lost."""

    def __init__(self, tcti: Callable[[], str], replace: Callable[[], None]) -> None:
        self.tcti, self.replace = tcti, replace


@pytest.fixture(
    params=[
        "memory",
        pytest.param("swtpm", marks=pytest.mark.slow),
        pytest.param("vtpm", marks=pytest.mark.slow),
    ]
)
def tpm(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Remembering]:
    """What remembers: a double, swtpm, and this project's simulator."""
    if request.param == "memory":
        monkeypatch.setattr(nvstore.registry, "TpmAnchor", MemoryAnchor)
        MEMORY.clear()
        yield Remembering(lambda: "memory", MEMORY.clear)
        return
    pytest.importorskip("tpm2_pytss", reason="tpm2-pytss is not installed")
    with ExitStack() as stack:
        real = HostTpm(request.param, tmp_path, stack)
        yield Remembering(lambda: real.tcti, real.replace)


@pytest.fixture
def anchored(host: Host, state: Path, tpm: Remembering) -> Path:
    """The file of a state at generation 6 that is anchored."""
    host.set_anchor("guest", tpm.tcti())
    return state


def crash(store: FileStore) -> None:
    """End as a killed process does: nothing more is written."""
    store._release()


class TestDisk:
    """The whole disk is put back, marks included"""

    def test_after_close(self, host: Host, anchored: Path, directory: Path, tmp_path: Path) -> None:
        """An older copy is refused, and the newest one opens."""
        shutil.copytree(directory, tmp_path / "old")
        with host.open_state(VM) as store:
            store.commit({"a": b"1"})
        shutil.copytree(directory, tmp_path / "new")
        shutil.rmtree(directory)
        shutil.copytree(tmp_path / "old", directory)
        with pytest.raises(RolledBack, match="the TPM of this host has seen generation 7"):
            host_at(directory).open_state(VM)
        shutil.rmtree(directory)
        shutil.copytree(tmp_path / "new", directory)
        with host_at(directory).open_state(VM) as store:
            assert (store.generation, store.load()["a"]) == (7, b"1")
        assert anchored.exists()

    def test_after_crash(self, host: Host, anchored: Path, directory: Path, tmp_path: Path) -> None:
        """A copy from before a run that crashed is refused; the state itself opens."""
        shutil.copytree(directory, tmp_path / "old")
        store = host.open_state(VM)
        store.commit({"a": b"1"})
        crash(store)
        shutil.copytree(directory, tmp_path / "new")
        shutil.rmtree(directory)
        shutil.copytree(tmp_path / "old", directory)
        with pytest.raises(RolledBack):
            host_at(directory).open_state(VM)
        shutil.rmtree(directory)
        shutil.copytree(tmp_path / "new", directory)
        with host_at(directory).open_state(VM) as store:
            assert store.load()["a"] == b"1"
        assert anchored.exists()


class TestLife:
    """What an operator does"""

    def test_runs(self, host: Host, anchored: Path) -> None:
        """Runs that write, and runs that do not, follow each other."""
        for number in range(3):
            host.open_state(VM).close()
            with host.open_state(VM) as store:
                store.commit({"a": bytes([number])})
        assert host.verify_state(VM).freshness == "host's mark, host's TPM"
        assert anchored.exists()

    def test_replaced_tpm(self, host: Host, anchored: Path, tpm: Remembering) -> None:
        """A TPM that remembers nothing is an error; the operator says that the state is the newest."""
        tpm.replace()
        with pytest.raises(AnchorMissing):
            host.open_state(VM)
        host.set_anchor(VM, tpm.tcti())
        with host.open_state(VM) as store:
            store.commit({"a": b"1"})
        assert anchored.exists()

    def test_off(self, host: Host, anchored: Path, tpm: Remembering) -> None:
        """An anchor can be given up."""
        host.set_anchor(VM, "")
        tpm.replace()
        host.open_state(VM).close()
        assert host.show_state(VM).freshness == "host's mark"
        assert anchored.exists()

    def test_revert(self, host: Host, anchored: Path) -> None:
        """A granted revert is remembered as what is newest."""
        host.revert_state(VM, generation=3, reason=REASON)
        with host.open_state(VM) as store:
            assert store.generation == 7
        assert anchored.exists()

    def test_delete(self, host: Host, anchored: Path, tpm: Remembering) -> None:
        """Nothing is remembered of a VM that is gone."""
        host.delete_state(VM)
        host.create_state(VM, "guest", BLOBS).close()
        host.set_anchor(VM, tpm.tcti())
        host.open_state(VM).close()
        assert anchored.exists()

    def test_another_key(self, host: Host, anchored: Path, tmp_path: Path) -> None:
        """A state that moves to another provider stays anchored."""
        host.providers.init("second")
        verify(host, "second", tmp_path / "second.backup")
        with host.open_state(VM) as store:
            store.rekey(provider="second")
        with host.open_state(VM) as store:
            store.commit({"a": b"1"})
            assert store.provider == "second"
        assert anchored.exists()


@pytest.mark.slow
def test_power_loss_at_every_operation(
    disk: Image,  # noqa: F811 - the fixture
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whenever power is lost, the state opens: what the TPM remembers never leads or lags too far."""
    monkeypatch.setattr(nvstore.registry, "TpmAnchor", MemoryAnchor)
    MEMORY.clear()
    files = FaultyFiles(disk)
    host = host_on(files)
    host.create_state(VM, "guest", {"a": b"0"}).close()
    host.set_anchor(VM, "memory")
    image, before = next(files.images()), dict(MEMORY)

    def run(at: int | None) -> FaultyFiles:
        MEMORY.clear()
        MEMORY.update(before)
        crashed = FaultyFiles(image, power_loss_at=at)
        try:
            running = host_on(crashed, seed=2)
            for number in range(2):
                with running.open_state(VM) as store:
                    store.commit({"a": b"%d" % number})
                    store.commit({"a": b"%d again" % number})
        except PowerLoss:
            assert at is not None
        return crashed

    opened = 0
    for at in range(len(run(None).operations)):
        crashed = run(at)
        remembered = dict(MEMORY)
        for found in crashed.images(seed=at, tears=8, limit=32):
            MEMORY.clear()
            MEMORY.update(remembered)
            with host_on(FaultyFiles(found), seed=3).open_state(VM) as store:
                store.commit({"after": b"the crash"})
            opened += 1
    assert opened > 50


def test_handles() -> None:
    """Every VM's Index is in the range for owners."""
    for number in range(100):
        assert 0x01800000 <= handle_of(UUID(int=number)) <= 0x01BFFFFF
