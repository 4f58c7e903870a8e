"""The state's own word: whatever somebody does to the index, or puts back, changes nothing in silence."""

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import nvstore.registry
from nvstore import (
    AnchorLeft,
    FileStore,
    Host,
    KeyMissing,
    NameDiffers,
    NvstoreError,
    RevertRefused,
    RolledBack,
    UnknownState,
)
from nvstore.doctor import examine
from nvstore.state.ring import read_ring
from nvstore.state.stream import FRONT
from nvstore.tcti import ANCHOR
from tests.nvstore.conftest import BLOBS, OTHER, VM, host_at, verify
from tests.nvstore.test_anchor import MEMORY, MemoryAnchor

TCTI = "device:/dev/tpmrm0"
FIELDS = {
    "name": "another",
    "provider": "evil",
    "created": "1999-01-01T00:00:00Z",
    "allow_unverified": True,
    "reverts": True,
    "group": "others",
    "lineage": "copy of something",
    "anchor": "",
    "anchored_since": 99,
}


@pytest.fixture(autouse=True)
def tpm(monkeypatch: pytest.MonkeyPatch) -> None:
    """A TPM of the host, in memory."""
    monkeypatch.setattr(nvstore.registry, "TpmAnchor", MemoryAnchor)
    MEMORY.clear()


@pytest.fixture
def strict(host: Host, state: Path) -> Path:
    """The registration of a state that is anchored, and denies reverts."""
    assert state.exists()
    host.set_policy(VM, reverts=False)
    host.set_anchor(VM, TCTI)
    return host.directory / f"vms/{VM}.vm"


def alter(path: Path, **fields: Any) -> None:
    """Change fields of a registration's file, as whoever has the disk can."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def mended(host: Host) -> list[str]:
    """Return which fields of the index were noted as wrong."""
    return [entry["differed"] for entry in host.audit.entries() if entry["op"] == "index"]


@pytest.mark.parametrize("field", FIELDS)
def test_a_field(host: Host, strict: Path, field: str) -> None:
    """The state's word counts, the index is put right, and the audit log says what differed."""
    before = strict.read_bytes()
    alter(strict, **{field: FIELDS[field]})
    if field == "name":
        with pytest.raises(NameDiffers):
            host_at(host.directory).verify_state(VM)
        with pytest.raises(NameDiffers):
            host_at(host.directory).open_state(VM)
    else:
        assert host_at(host.directory).index_differences(VM) == [field]
        assert field in str(host_at(host.directory).inspect_state(VM).warnings)
    with host_at(host.directory).open_state(VM) as store:
        said = store.registration
        assert (said.name, said.provider, said.reverts, said.anchor) == ("guest", "main", False, TCTI)
    assert strict.read_bytes() == before
    assert mended(host) == [field]


def test_removed_or_broken(host: Host, strict: Path) -> None:
    """A registration that is gone, or that is none, comes back from the state."""
    before = strict.read_bytes()
    for content in (None, b"", b"{", b'{"format": "nvstore vm"}'):
        strict.unlink()
        if content is not None:
            strict.write_bytes(content)
            strict.chmod(0o600)
        with host_at(host.directory).open_state(VM) as store:
            assert store.registration.name == "guest"
        assert strict.read_bytes() == before
    assert mended(host) == ["all"] * 4


def test_names_swapped(host: Host, state: Path) -> None:
    """No name opens another VM's state: it is refused, and the index is put right for both."""
    assert state.exists()
    host.create_state(OTHER, "other", {"other": b"1"}).close()
    alter(host.directory / f"vms/{VM}.vm", name="other")
    alter(host.directory / f"vms/{OTHER}.vm", name="guest")
    names = host.directory / "vms/names"
    files = sorted(path for path in names.iterdir() if path.stat().st_size)
    contents = [path.read_bytes() for path in files]
    for path, content in zip(files, reversed(contents), strict=True):
        path.write_bytes(content)
    with pytest.raises(NameDiffers):
        host_at(host.directory).open_state("guest")
    with host_at(host.directory).open_state("guest") as store:
        assert store.vm == VM
    with host_at(host.directory).open_state("other") as store:
        assert store.vm == OTHER


def test_registrations_swapped(host: Host, state: Path) -> None:
    """So with the files as they are, under each other's name."""
    assert state.exists()
    host.create_state(OTHER, "other", {"other": b"1"}).close()
    one, other = (host.directory / f"vms/{vm}.vm" for vm in (VM, OTHER))
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    for name, vm in (("guest", VM), ("other", OTHER)):
        for _ in range(2):
            try:
                with host_at(host.directory).open_state(name) as store:
                    assert store.vm == vm
            except (NameDiffers, UnknownState):
                continue
        with host_at(host.directory).open_state(name) as store:
            assert store.vm == vm


def test_what_leaves_is_under_the_state_s_provider(host: Host, strict: Path, tmp_path: Path) -> None:
    """A provider that somebody wrote into the index seals nothing; a policy is not forgotten."""
    host.providers.init("evil")
    verify(host, "evil", tmp_path / "evil.backup")
    alter(strict, provider="evil", reverts=True)
    for other in (host, host_at(host.directory)):
        sealed = other.transfers.wrap(VM, b"content")
        assert FRONT.unpack_from(sealed)[2] == bytes.fromhex(host.providers.show("main").kdk_id)
        assert other.transfers.unwrap(VM, sealed).denies_reverts


def test_policy(host: Host, strict: Path) -> None:
    """A policy is not lifted by the index, nor by an old copy of the file, nor with the state broken."""
    alter(strict, reverts=True)
    with pytest.raises(RevertRefused):
        host_at(host.directory).revert_state(VM, generation=3, reason="r")
    with pytest.raises(RevertRefused):
        host_at(host.directory).admit_revert(VM)
    state = host.directory / f"states/{VM}.state"
    content = bytearray(state.read_bytes())
    content[4096:8192] = b"\xff" * 4096
    state.write_bytes(content)
    with pytest.raises(RevertRefused):
        host_at(host.directory).revert_state(VM, generation=3, reason="r")


def test_changes_while_open(host: Host, state: Path) -> None:
    """What an operator changes is in the state first, also where this process has it open."""
    assert state.exists()
    with host.open_state(VM) as store:
        host.set_policy(VM, reverts=False)
        host.rename(VM, "renamed")
        host.set_anchor(VM, TCTI)
        assert (store.registration.reverts, store.registration.name) == (False, "renamed")
        assert host.verify_state(VM).name == "renamed"
        store.commit({"a": b"1"})
    (host.directory / f"vms/{VM}.vm").unlink()
    with host_at(host.directory).open_state(VM) as store:
        said = store.registration
        assert (said.name, said.reverts, said.anchor) == ("renamed", False, TCTI)
        assert said.anchored_since > 5


def test_an_interrupted_renaming(host: Host, state: Path) -> None:
    """Between state and index, the state has the new name: the next opening is refused, then all is right."""
    assert state.exists()
    path = host.directory / f"vms/{VM}.vm"
    before = path.read_bytes()
    host.rename(VM, "renamed")
    path.write_bytes(before)
    with pytest.raises(NameDiffers):
        host_at(host.directory).open_state(VM)
    with host_at(host.directory).open_state("renamed") as store:
        assert store.vm == VM


class TestAnchor:
    """An anchor that files do not drop."""

    def later(self, host: Host, tmp_path: Path) -> Path:
        """Copy the directory, write on, and return the copy."""
        shutil.copytree(host.directory, tmp_path / "old")
        with host.open_state(VM) as store:
            for number in range(3):
                store.commit({"a": bytes([number])})
        return tmp_path / "old"

    def test_old_files(self, host: Host, strict: Path, tmp_path: Path) -> None:
        """Old copies of state, mark and registration, in every combination, open nothing old."""
        old = self.later(host, tmp_path)
        shutil.copytree(host.directory, tmp_path / "new")
        parts = [f"states/{VM}.state", f"marks/{VM}.mark", f"vms/{VM}.vm"]
        for count, edited in itertools.product(range(1, 4), ("as it is", "edited", "removed")):
            for chosen in itertools.combinations(parts, count):
                for part in parts:
                    origin = old if part in chosen else tmp_path / "new"
                    shutil.copyfile(origin / part, host.directory / part)
                if edited == "edited":
                    alter(strict, anchor="", anchored_since=0)
                elif edited == "removed":
                    strict.unlink()
                for look in ("open", "verify"):
                    other = host_at(host.directory)
                    try:
                        if look == "verify":
                            other.verify_state(VM)
                        else:
                            other.open_state(VM).close()
                    except NvstoreError:
                        assert parts[0] in chosen or parts[1] in chosen
                    else:
                        assert parts[0] not in chosen
                        assert other.show_state(VM).generation == 10

    def test_before_it_was_anchored(
        self, host: Host, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A copy from before is refused where the host's configuration names its TPM."""
        assert state.exists()
        shutil.copytree(host.directory, tmp_path / "old")
        host.set_anchor(VM, TCTI)
        shutil.rmtree(host.directory)
        shutil.copytree(tmp_path / "old", host.directory)
        monkeypatch.setenv(ANCHOR, TCTI)
        for _ in range(2):
            with pytest.raises(AnchorLeft):
                host_at(host.directory).open_state(VM)
            with pytest.raises(AnchorLeft):
                host_at(host.directory).verify_state(VM)
        host_at(host.directory).set_anchor(VM, "")
        assert not MEMORY
        host_at(host.directory).open_state(VM).close()

    def test_deleted(self, host: Host, strict: Path) -> None:
        """Deleting a VM forgets it in the TPM, whatever the index says."""
        alter(strict, anchor="")
        host_at(host.directory).delete_state(VM)
        assert not MEMORY

    def test_said(self, host: Host, strict: Path, tmp_path: Path) -> None:
        """Verify and doctor say what opening would say."""
        assert strict.exists()
        old = self.later(host, tmp_path)
        shutil.rmtree(host.directory)
        shutil.copytree(old, host.directory)
        other = host_at(host.directory)
        with pytest.raises(RolledBack, match="TPM"):
            other.verify_state(VM)
        assert other.inspect_state(VM).problem == "rolled-back"
        assert examine(other).vms[0].state == "rolled-back"


class TestUpgrade:
    """A state of an earlier version; see also TestGolden."""

    def test_it_is_noted(self, tmp_path: Path) -> None:
        """At the first write it takes its registration from the file, and the audit log says so."""
        from tests.nvstore.test_format import TestGolden  # noqa: PLC0415 - only here

        root = TestGolden().unpacked(tmp_path)
        host = host_at(root)
        host.open_state("golden").close()
        assert [e for e in host.audit.entries() if e["op"] == "upgrade"] == []
        with host.open_state("golden") as store:
            store.commit({"new": b"1"})
            store.commit({"new": b"2"})
            vm = store.vm
        (entry,) = [e for e in host.audit.entries() if e["op"] == "upgrade"]
        assert (entry["name"], entry["vm"]) == ("golden", str(vm))
        alter(root / f"vms/{vm}.vm", reverts=False)
        with host_at(root).open_state("golden") as store:
            assert store.registration.reverts
            assert store.load()["new"] == b"2"


class Doubting:
    """The providers of a host, in whose eyes no key succeeds another, or one is out of a file that is not."""

    def __init__(self, host: Host, *, authentic: bool = True) -> None:
        self._providers, self._authentic = host.providers, authentic
        self.asked: list[tuple[str, bytes, bytes]] = []

    def key(self, provider: str, kdk_id: bytes) -> bytes:
        """See KeySource."""
        return self._providers.key(provider, kdk_id)

    def current(self, provider: str) -> bytes:
        """See KeySource."""
        return self._providers.current(provider)

    def check_succession(self, provider: str, before: bytes, after: bytes) -> None:
        """See KeySource."""
        self.asked.append((provider, before, after))
        if before != after:
            raise KeyMissing(after, provider, None, [])

    def check_authenticated(self, provider: str, kdk_id: bytes) -> None:
        """See KeySource."""
        if not self._authentic:
            raise KeyMissing(kdk_id, provider, None, [])


class TestSuccession:
    """No record is written under a key that does not succeed the state's own."""

    def rotate(self, host: Host, tmp_path: Path) -> tuple[bytes, bytes]:
        """Rotate the provider; the old key's id and the new one's."""
        old = bytes.fromhex(host.providers.show("main").kdk_id)
        host.rotations.begin("main")
        verify(host, "main", tmp_path / "rotated.backup")
        host.rotations.promote("main")
        return old, host.providers.current("main")

    @pytest.mark.usefixtures("state")
    def test_refused(self, host: Host, tmp_path: Path) -> None:
        """The commit ends with the error, nothing is written, and the state opens as it was."""
        before, after = self.rotate(host, tmp_path)
        keys = Doubting(host)
        path = host.directory / f"states/{VM}.state"
        content = path.read_bytes()
        place = host._registry.place(VM)
        with FileStore.open(place, VM, keys) as store:
            for _ in range(2):
                with pytest.raises(KeyMissing):
                    store.commit({"a": b"1"})
            with pytest.raises(KeyMissing):
                store.rekey()
            with pytest.raises(KeyMissing):
                store.rekey(deep=True, provider="main")
        assert keys.asked[0] == ("main", before, after)
        assert path.read_bytes() == content
        with host.open_state(VM) as store:
            assert store.kdk_id == before

    @pytest.mark.usefixtures("state")
    def test_a_file_that_nothing_protects(self, host: Host) -> None:
        """A state with metadata does not open with it."""
        with pytest.raises(KeyMissing):
            FileStore.open(host._registry.place(VM), VM, Doubting(host, authentic=False))


def test_repair_keeps_what_is_noted(host: Host, strict: Path) -> None:
    """A repair takes the registration of the newest record, not the file's or an older one's."""
    with host.open_state(VM) as store:
        host.rename(VM, "renamed")
        store.commit({"a": b"1"})
    alter(strict, name="evil", provider="evil", anchor="", reverts=True)
    state = host.directory / f"states/{VM}.state"
    content = bytearray(state.read_bytes())
    ring = read_ring(bytes(content))
    content[ring.offset(9) + 500] ^= 1
    state.write_bytes(content)
    host_at(host.directory).repair_state(VM, reason="a disk error")
    with host_at(host.directory).open_state("renamed") as store:
        said = store.registration
        assert (said.name, said.provider, said.anchor, said.reverts) == ("renamed", "main", TCTI, False)
        assert store.generation == 10


def test_blobs_are_all(host: Host, state: Path) -> None:
    """Metadata are no blobs."""
    assert state.exists()
    with host.open_state(VM) as store:
        assert set(store.load()) == set(BLOBS)
