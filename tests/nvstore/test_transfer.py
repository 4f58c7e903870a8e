"""States that leave and come: bundles, imports, clones, snapshots."""

import json
import shutil
from pathlib import Path
from uuid import UUID

import pytest

from nvstore import (
    AlteredState,
    BundleAltered,
    BundleDamaged,
    BundleExists,
    BundleMissing,
    BundleOfOther,
    ForeignState,
    Host,
    KeyMissing,
    NvstoreError,
    PassphraseNeeded,
    ProviderUnverified,
    RevertRefused,
    StateExists,
    UnknownState,
    WeakPassphrase,
    WrongPassphrase,
)
from tests.nvstore.conftest import BLOBS, OTHER, PASSPHRASE, VM, host_at, verify

REASON = "ticket 17"
NEWEST = {**BLOBS, "nv/01800001": bytes([5]) * 100}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Where a bundle may be written."""
    return tmp_path / "guest.bundle"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Host:
    """Another host, whose provider of the same name has another key."""
    other = host_at(tmp_path / "elsewhere")
    other.providers.init("main")
    verify(other, "main", tmp_path / "elsewhere.backup")
    return other


class TestExport:
    """A bundle of one VM"""

    @pytest.mark.parametrize("passphrase", [None, PASSPHRASE])
    def test_report(self, host: Host, state: Path, bundle: Path, passphrase: bytes | None) -> None:
        """It says what it is, opens again, and holds no plaintext."""
        assert state.exists()
        report = host.transfers.export("guest", bundle, passphrase)

        assert (report.vm, report.name, report.generation, report.blobs) == (str(VM), "guest", 5, 2)
        assert report.protection == ("provider" if passphrase is None else "passphrase")
        assert host.transfers.test(bundle, passphrase) == report
        assert bundle.stat().st_mode & 0o777 == 0o600
        content = bundle.read_bytes()
        for secret in (BLOBS["permanent"], bytes([5]) * 100, b"permanent", b"nv/01800001"):
            assert secret not in content
            assert secret.hex().encode() not in content

    def test_in_use(self, host: Host, state: Path, bundle: Path) -> None:
        """A VM that runs is exported as it is durable at that moment."""
        assert state.exists()
        with host.open_state(VM) as store:
            store.commit({"a": b"1"})
            assert host.transfers.export(VM, bundle).generation == 6

    def test_refused(self, host: Host, state: Path, bundle: Path) -> None:
        """No file is overwritten, no weak passphrase taken, no damaged state exported as if it were whole."""
        host.transfers.export(VM, bundle)
        before = bundle.read_bytes()
        with pytest.raises(BundleExists):
            host.transfers.export(VM, bundle)
        with pytest.raises(WeakPassphrase):
            host.transfers.export(VM, bundle.with_name("weak"), b"short")
        with pytest.raises(UnknownState):
            host.transfers.export("nobody", bundle.with_name("nobody"))
        content = bytearray(state.read_bytes())
        content[4096 + 5 % 4 * 16384 + 2000] ^= 1
        state.write_bytes(content)
        with pytest.raises(AlteredState):
            host.transfers.export(VM, bundle.with_name("altered"))
        assert bundle.read_bytes() == before
        assert not bundle.with_name("weak").exists()
        assert not bundle.with_name("altered").exists()


class TestAttacks:
    """A bundle that is not what was written"""

    @pytest.mark.parametrize("passphrase", [None, PASSPHRASE])
    def test_every_field(self, host: Host, state: Path, bundle: Path, passphrase: bytes | None) -> None:
        """No field can be changed, and none removed."""
        assert state.exists()
        host.transfers.export(VM, bundle, passphrase)
        document = json.loads(bundle.read_bytes())
        changed = {
            "vm": str(OTHER),
            "name": "other",
            "provider": "other",
            "kdk_id": "00" * 16,
            "incarnation": "00" * 16,
            "generation": 4,
            "exported": "2020-01-01T00:00:00Z",
            "host": "other",
            "format": "nvstore vm",
            "version": 2,
            "box": document["box"][:-2] + f"{int(document['box'][-2:], 16) ^ 1:02x}",
        }
        if passphrase:
            changed["argon2id"] = {**document["argon2id"], "iterations": 2}
        assert changed.keys() == document.keys()
        for name, value in changed.items():
            bundle.write_text(json.dumps({**document, name: value}))
            with pytest.raises((BundleAltered, BundleDamaged, KeyMissing, WrongPassphrase)):
                host.transfers.test(bundle, passphrase)
            bundle.write_text(json.dumps({key: old for key, old in document.items() if key != name}))
            with pytest.raises((BundleDamaged, BundleAltered)):
                host.transfers.test(bundle, passphrase)

    @pytest.mark.parametrize(
        ("content", "error"),
        [(b"", BundleDamaged), (b"{", BundleDamaged), (b"[]", BundleDamaged), (b"\xff" * 9, BundleDamaged)],
    )
    def test_no_bundle(self, host: Host, bundle: Path, content: bytes, error: type[NvstoreError]) -> None:
        """Any octets end in an error with a name."""
        bundle.write_bytes(content)
        with pytest.raises(error):
            host.transfers.test(bundle)

    def test_missing(self, host: Host, bundle: Path) -> None:
        """So does no file."""
        with pytest.raises(BundleMissing):
            host.transfers.test(bundle)

    def test_passphrase(self, host: Host, state: Path, bundle: Path) -> None:
        """Without the right passphrase nothing opens, provider or not."""
        assert state.exists()
        host.transfers.export(VM, bundle, PASSPHRASE)
        with pytest.raises(PassphraseNeeded):
            host.transfers.test(bundle)
        with pytest.raises(WrongPassphrase):
            host.transfers.test(bundle, b"another passphrase")


class TestImport:
    """A bundle becomes a state"""

    def test_elsewhere(self, host: Host, state: Path, bundle: Path, elsewhere: Host) -> None:
        """Under a passphrase it goes to a host that does not know its provider; its origin is noted."""
        assert state.exists()
        host.transfers.export(VM, bundle, PASSPHRASE)
        with elsewhere.transfers.import_state(bundle, PASSPHRASE) as store:
            assert (store.load(), store.generation) == (NEWEST, 1)
        assert elsewhere.show_state("guest").vm == VM
        entry = elsewhere.audit.entries()[-1]
        assert (entry["op"], entry["result"]) == ("import", "done")
        assert f"VM {VM}, generation 5" in entry["lineage"]

    def test_foreign_provider(self, host: Host, state: Path, bundle: Path, elsewhere: Host) -> None:
        """Under a provider it needs that very key: one of the same name is refused, and the key is named."""
        assert state.exists()
        report = host.transfers.export(VM, bundle)
        with pytest.raises(KeyMissing) as raised:
            elsewhere.transfers.import_state(bundle)
        assert report.kdk_id in str(raised.value)
        assert "has another key" in raised.value.cause
        assert elsewhere.list_states() == []

    def test_existing(self, host: Host, state: Path, bundle: Path) -> None:
        """A state is not replaced; as another VM it can be imported beside."""
        assert state.exists()
        host.transfers.export(VM, bundle)
        with pytest.raises(StateExists):
            host.transfers.import_state(bundle)
        host.transfers.import_state(bundle, vm=OTHER, name="second").close()
        with host.open_state("second") as store:
            assert store.load() == NEWEST

    def test_after_loss(self, host: Host, state: Path, bundle: Path) -> None:
        """A deleted VM comes back from its bundle; its old state file does not come back with it."""
        host.transfers.export(VM, bundle)
        old = state.read_bytes()
        host.delete_state(VM)
        host.transfers.import_state(bundle).close()
        state.write_bytes(old)
        with pytest.raises(ForeignState):
            host.open_state(VM)

    def test_unverified(self, host: Host, state: Path, bundle: Path, tmp_path: Path) -> None:
        """It is a new state of its host, with what is asked of new ones."""
        assert state.exists()
        host.transfers.export(VM, bundle, PASSPHRASE)
        fresh = host_at(tmp_path / "fresh")
        fresh.providers.init("main")
        with pytest.raises(ProviderUnverified):
            fresh.transfers.import_state(bundle, PASSPHRASE)
        fresh.transfers.import_state(bundle, PASSPHRASE, allow_unverified=True).close()


class TestRevert:
    """Back to a bundle of the same VM"""

    def test_content(self, host: Host, state: Path, bundle: Path) -> None:
        """All blobs are those of the bundle, under the next number, and the audit log says why."""
        host.transfers.export(VM, bundle)
        with host.open_state(VM) as store:
            store.commit({"later": b"1", "permanent": None})
        newer = state.read_bytes()
        assert host.transfers.revert(VM, bundle, reason=REASON) == 7
        with host.open_state(VM) as store:
            assert store.load() == NEWEST
        entry = next(entry for entry in host.audit.entries() if entry["op"] == "revert")
        assert (entry["reason"], entry["from"], entry["generation"]) == (REASON, "5", "7")
        state.write_bytes(newer)
        with pytest.raises(NvstoreError):
            host.open_state(VM)

    def test_refused(self, host: Host, state: Path, bundle: Path) -> None:
        """Not against the policy, not to another VM's state."""
        assert state.exists()
        host.transfers.export(VM, bundle)
        host.create_state(OTHER, "other", BLOBS).close()
        with pytest.raises(BundleOfOther):
            host.transfers.revert("other", bundle, reason=REASON)
        host.set_policy(VM, reverts=False)
        with pytest.raises(RevertRefused):
            host.transfers.revert(VM, bundle, reason=REASON)
        assert [entry["result"] for entry in host.audit.entries()][-1] == "revert-refused"
        with host.open_state(VM) as store:
            assert store.generation == 6  # with the policy


def test_clone(host: Host, state: Path, directory: Path, tmp_path: Path) -> None:
    """A clone has its own keys and incarnation, and a note of where it came from."""
    clone = UUID(int=77)
    with host.open_state(VM):
        host.transfers.clone("guest", clone, "clone", "fork", lambda blobs: {**blobs, "mine": b"1"}).close()
    with host.open_state("clone") as store, host.open_state(VM) as origin:
        assert store.load() == {**NEWEST, "mine": b"1"}
        assert store.incarnation != origin.incarnation
    lineage = json.loads((directory / "vms" / f"{clone}.vm").read_text())["lineage"]
    assert lineage == f"fork of VM guest ({VM}), generation 5"
    shutil.copy(state, directory / "states" / f"{clone}.state")
    with pytest.raises(ForeignState):
        host.open_state("clone")
    with pytest.raises(StateExists):
        host.transfers.clone("guest", VM, "guest", "copy", dict)
    assert not list(tmp_path.glob("*.new"))


class TestBundlesUnder:
    """Which bundles are lost with a key"""

    def test_named(self, host: Host, tmp_path: Path) -> None:
        """Those under the key that are where they were; not those under a passphrase or another key."""
        host.create_state(VM, "guest", BLOBS).close()
        kdk_id = bytes.fromhex(host.show_state("guest").kdk_id)
        for name in ("kept", "moved", "replaced"):
            host.transfers.export("guest", tmp_path / name)
        host.transfers.export("guest", tmp_path / "passphrase", PASSPHRASE)
        (tmp_path / "moved").rename(tmp_path / "elsewhere")
        (tmp_path / "replaced").write_bytes(b"something else")

        assert host.transfers.bundles_under([kdk_id]) == [tmp_path / "kept"]
        assert host.transfers.bundles_under([bytes(16)]) == []
