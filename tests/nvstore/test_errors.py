"""What is wrong with a state has a name, a cause and a remedy; and nothing is ever made anew silently."""

import dataclasses
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest

from nvstore import (
    AlteredState,
    CorruptState,
    FileStore,
    ForeignState,
    Forked,
    Host,
    KeyFileDamaged,
    KeyFileMissing,
    KeyMissing,
    Locked,
    MarkDamaged,
    MarkMissing,
    NvstoreError,
    RolledBack,
    StateExists,
    StateMissing,
    SuiteRefused,
    UnknownState,
    UnsafeFile,
    WrongKey,
)
from nvstore import errors as named
from nvstore.state.record import PAGE, read_record
from nvstore.state.ring import read_ring
from tests.nvstore.conftest import BLOBS, OTHER, PASSPHRASE, VM, host_at, verify

NEWEST = {**BLOBS, "nv/01800001": bytes([5]) * 100}
LAST = 5


def offset_of(state: Path, generation: int) -> int:
    """Where the record of a generation begins."""
    return read_ring(state.read_bytes()).offset(generation)


def patch(path: Path, offset: int, octets: bytes) -> None:
    """Write over some octets of a file."""
    content = bytearray(path.read_bytes())
    content[offset : offset + len(octets)] = octets
    path.write_bytes(content)


class TestMissing:
    """A state that the host has seen and that is gone."""

    def test_an_acknowledged_state(self, host: Host, state: Path) -> None:
        """Its absence is an error, for opening and for creating anew."""
        state.unlink()
        with pytest.raises(StateMissing, match=f"{VM}.*generation {LAST}"):
            host.open_state(VM)
        with pytest.raises(StateExists, match=f"generation {LAST}"):
            host.create_state(VM, "guest", BLOBS)
        assert host.show_state("guest").problem == "state-missing"

    def test_what_never_was(self, host: Host) -> None:
        """A VM of which the host knows nothing is another error."""
        with pytest.raises(UnknownState):
            host.open_state(OTHER)
        with pytest.raises(UnknownState):
            host.open_state("nobody")

    def test_a_state_is_not_made_twice(self, host: Host, state: Path) -> None:
        """Creating where a state is changes nothing."""
        before = state.read_bytes()
        with pytest.raises(StateExists):
            host.create_state(VM, "guest", {})
        with pytest.raises(StateExists):
            host.create_state(OTHER, "guest", {})
        assert state.read_bytes() == before

    def test_deleting_makes_room(self, host: Host, state: Path) -> None:
        """Only an explicit deletion lets a VM have a new state."""
        host.delete_state("guest")
        assert not state.exists()
        assert host.list_states() == []
        host.create_state(VM, "guest", {"a": b"1"}).close()


class TestRolledBack:
    """A state older than what the host has acknowledged."""

    def test_an_older_file(self, host: Host, state: Path, tmp_path: Path) -> None:
        """A copy made before the last commit is refused, with both generations in the message."""
        copy = shutil.copy(state, tmp_path / "old")
        with host.open_state(VM) as store:
            store.commit({"a": b"newer"})
        shutil.copy(copy, state)
        with pytest.raises(RolledBack, match=f"generation {LAST}.*generation {LAST + 1}"):
            host.open_state(VM)
        assert host.show_state(VM).problem == "rolled-back"

    def test_after_the_process_was_killed(self, host: Host, state: Path, tmp_path: Path) -> None:
        """The mark counts commits of a store that was never closed."""
        copy = shutil.copy(state, tmp_path / "old")
        store = host.open_state(VM)
        store.commit({"a": b"newer"})
        store._lock.release()
        shutil.copy(copy, state)
        with pytest.raises(RolledBack):
            host.open_state(VM)

    def test_an_emptied_slot(self, host: Host, state: Path) -> None:
        """Erasing the newest record brings no older one back."""
        ring = read_ring(state.read_bytes())
        patch(state, ring.offset(LAST), bytes(ring.slot_size))
        with pytest.raises(RolledBack):
            host.open_state(VM)


class TestForked:
    """A state that was continued elsewhere."""

    def elsewhere(self, directory: Path, tmp_path: Path, commits: int) -> Path:
        """Copy a host, and let the copy go on; return its state."""
        other = tmp_path / "elsewhere"
        shutil.copytree(directory, other)
        with host_at(other).open_state(VM) as store:
            for i in range(commits):
                store.commit({"elsewhere": b"%d" % i})
        return other / "states" / f"{VM}.state"

    @pytest.mark.parametrize("commits", [1, 2, 9])
    def test_continued_only_elsewhere(
        self, host: Host, state: Path, directory: Path, tmp_path: Path, commits: int
    ) -> None:
        """Newer generations that this host did not write are refused, however many."""
        shutil.copy(self.elsewhere(directory, tmp_path, commits), state)
        with pytest.raises(Forked, match="opening that this host did not make"):
            host.open_state(VM)

    def test_continued_here_and_elsewhere(
        self, host: Host, state: Path, directory: Path, tmp_path: Path
    ) -> None:
        """The same generation with another content is refused."""
        foreign = self.elsewhere(directory, tmp_path, 2)
        with host.open_state(VM) as store:
            store.commit({"here": b"1"})
            store.commit({"here": b"2"})
        shutil.copy(foreign, state)
        with pytest.raises(Forked, match="another content"):
            host.open_state(VM)
        assert host.show_state(VM).problem == "forked"


class TestForeign:
    """States of other VMs."""

    def test_files_swapped(self, host: Host, state: Path, directory: Path) -> None:
        """The file of another VM of the same host and provider is refused, in both directions."""
        host.create_state(OTHER, "other", BLOBS).close()
        other = directory / "states" / f"{OTHER}.state"
        mine, theirs = state.read_bytes(), other.read_bytes()
        state.write_bytes(theirs)
        other.write_bytes(mine)
        with pytest.raises(ForeignState, match=f"{VM}.*{OTHER}"):
            host.open_state(VM)
        with pytest.raises(ForeignState, match=f"{OTHER}.*{VM}"):
            host.open_state(OTHER)

    def test_records_transplanted(self, host: Host, state: Path, directory: Path) -> None:
        """Another VM's record in this VM's file is nothing that can be opened."""
        host.create_state(OTHER, "other", BLOBS).close()
        theirs = (directory / "states" / f"{OTHER}.state").read_bytes()
        ring = read_ring(theirs)
        record = theirs[ring.offset(1) : ring.offset(1) + ring.slot_size]
        for generation in range(2, 6):
            patch(state, ring.offset(generation), record)
        with pytest.raises(ForeignState, match=str(OTHER)):
            host.open_state(VM)

    def test_an_earlier_incarnation(self, host: Host, state: Path) -> None:
        """The file of a deleted VM does not become the state of a new one with its UUID."""
        before = state.read_bytes()
        host.delete_state(VM)
        host.create_state(VM, "guest", BLOBS).close()
        state.write_bytes(before)
        with pytest.raises(ForeignState, match="same UUID"):
            host.open_state(VM)


class TestDamage:
    """Damaged and altered files: an error or the right content, never another content."""

    def open_or_refuse(self, host: Host) -> str:
        """Open; return the code of the error, or nothing if the content is the acknowledged one."""
        try:
            with host.open_state(VM) as store:
                assert store.load() == NEWEST
        except NvstoreError as error:
            return error.code
        return ""

    def test_every_octet_of_the_record(self, host: Host, state: Path) -> None:
        """Whatever octet of the newest record changes, it is refused as damaged or altered."""
        content = state.read_bytes()
        begin = offset_of(state, LAST)
        record = read_record(content[begin : begin + PAGE])
        found = set()
        for i in [
            *range(600),
            *range(600, len(record.octets) - 20, 41),
            *range(len(record.octets) - 20, PAGE),
        ]:
            patch(state, begin + i, bytes([content[begin + i] ^ 0x40]))
            code = self.open_or_refuse(host)
            assert code == ("corrupt-state" if i < record.header_size else "altered-state"), i
            found.add(code)
            state.write_bytes(content)
        assert found == {"corrupt-state", "altered-state"}
        assert self.open_or_refuse(host) == ""

    def test_every_octet_of_the_superblock(self, host: Host, state: Path) -> None:
        """A damaged superblock is refused; what it does not use is not read."""
        content = state.read_bytes()
        for i in range(64):
            patch(state, i, bytes([content[i] ^ 1]))
            assert self.open_or_refuse(host) == ("corrupt-state" if i < 40 else ""), i
            state.write_bytes(content)

    def test_every_octet_of_the_mark(self, host: Host, state: Path, directory: Path) -> None:
        """A damaged place gives way to another place, or the mark is refused."""
        assert state.exists()
        mark = directory / "marks" / f"{VM}.mark"
        content = mark.read_bytes()
        for i in range(len(content)):
            mark.write_bytes(content[:i] + bytes([content[i] ^ 1]) + content[i + 1 :])
            assert self.open_or_refuse(host) in {"", "mark-damaged"}, i
        mark.write_bytes(bytes(len(content)))
        with pytest.raises(MarkDamaged):
            host.open_state(VM)

    @pytest.mark.parametrize("cut", [0, 1, 39, 40, 4095, 4096, 4097, 20_480, 40_000, 69_631])
    def test_truncated(self, host: Host, state: Path, cut: int) -> None:
        """A shorter file is damaged, wherever it ends; so is a longer one."""
        content = state.read_bytes()
        assert cut < len(content)
        state.write_bytes(content[:cut])
        with pytest.raises(CorruptState):
            host.open_state(VM)
        state.write_bytes(content + b"\0")
        with pytest.raises(CorruptState, match="octets instead of"):
            host.open_state(VM)

    def test_history_damaged(self, host: Host, state: Path) -> None:
        """Damage to older records does not touch the newest."""
        for generation in (2, 3, 4):
            patch(state, offset_of(state, generation) + 5, b"\xff" * 2000)
        assert self.open_or_refuse(host) == ""


FIELDS = {
    "suite": (8, 2, SuiteRefused),
    "kind": (10, 2, SuiteRefused),
    "header size": (12, 4, CorruptState),
    "box size": (16, 8, AlteredState),
    "generation": (24, 8, AlteredState),
    "previous": (32, 48, AlteredState),
    "written": (80, 8, AlteredState),
    "kdk_id": (88, 16, KeyMissing),
    "VM": (104, 16, ForeignState),
    "incarnation": (120, 16, ForeignState),
    "open epoch": (136, 8, AlteredState),
    "opening": (144, 16, AlteredState),
    "vm salt": (160, 32, AlteredState),
    "wrapped DEK": (192, 112, AlteredState),
    "provider": (305, 4, AlteredState),
}


class TestAttack:
    """Somebody who can write the file, and corrects the checksum."""

    @pytest.mark.parametrize("field", FIELDS)
    def test_every_field_of_the_header(self, host: Host, state: Path, field: str) -> None:
        """Each altered field maps to its error; none is believed."""
        at, size, error = FIELDS[field]
        begin = offset_of(state, LAST)
        header_size = read_record(state.read_bytes()[begin:]).header_size
        octets = bytearray(state.read_bytes()[begin : begin + header_size - 4])
        for i in range(at, at + size) if size > 8 else [at + size - 1]:
            altered = octets.copy()
            altered[i] ^= 0x20
            patch(state, begin, bytes(altered) + struct.pack(">I", zlib.crc32(altered)))
            with pytest.raises(error):
                host.open_state(VM)

    def test_generations_swapped(self, host: Host, state: Path) -> None:
        """An older record renumbered or moved to the newest slot is not the newest."""
        content, begin = state.read_bytes(), offset_of(state, LAST)
        older = content[offset_of(state, 4) :][:PAGE]
        patch(state, begin, older)
        with pytest.raises(RolledBack):
            host.open_state(VM)
        header_size = read_record(older).header_size
        renumbered = bytearray(older[: header_size - 4])
        renumbered[24:32] = struct.pack(">Q", LAST)
        patch(state, begin, bytes(renumbered) + struct.pack(">I", zlib.crc32(renumbered)))
        with pytest.raises(AlteredState):
            host.open_state(VM)

    def test_the_ring_made_smaller(self, host: Host, state: Path) -> None:
        """A superblock that hides the newest record is no way back."""
        ring = read_ring(state.read_bytes())
        smaller = ring._replace(slots=2)
        older = state.read_bytes()[ring.offset(4) :][: ring.slot_size]
        state.write_bytes(smaller.encode() + older + bytes(ring.slot_size))
        with pytest.raises(RolledBack):
            host.open_state(VM)

    def test_a_mark_rewritten(self, host: Host, state: Path, directory: Path) -> None:
        """A mark that says less is refused without the key."""
        assert state.exists()
        mark = directory / "marks" / f"{VM}.mark"
        content = bytearray(mark.read_bytes())
        for begin in (0, 512, 1024):
            content[begin + 95] = 1  # the low octet of the generation
            end = begin + 152 + 64
            content[end : end + 4] = struct.pack(">I", zlib.crc32(content[begin:end]))
        mark.write_bytes(content)
        with pytest.raises(MarkDamaged, match="altered"):
            host.open_state(VM)

    def test_a_mark_removed(self, host: Host, state: Path, directory: Path) -> None:
        """Without a mark a state is opened only when the operator adopts it."""
        assert state.exists()
        (directory / "marks" / f"{VM}.mark").unlink()
        with pytest.raises(MarkMissing):
            host.open_state(VM)
        assert host.show_state(VM).problem == "mark-missing"
        with host.open_state(VM, adopt=True) as store:
            assert store.load() == NEWEST
            store.commit({"a": b"1"})
        host.open_state(VM).close()


class TestKeys:
    """Keys that are missing or wrong."""

    def test_key_missing(self, host: Host, state: Path, directory: Path, tmp_path: Path) -> None:
        """The message says which key, of which provider, and which backup holds it."""
        kdk_id = host.providers.show("main").kdk_id
        (directory / "providers/main.provider").rename(tmp_path / "gone")
        fresh = host_at(directory)
        with pytest.raises(KeyMissing, match=f"{kdk_id}.*'main'.*no backup"):
            fresh.open_state(VM)
        fresh.providers.init("main", key_file=tmp_path / "other.key")
        with pytest.raises(KeyMissing, match=f"{kdk_id}.*another key, {fresh.providers.show('main').kdk_id}"):
            fresh.open_state(VM)
        assert state.exists()

    def test_key_missing_names_the_backups(
        self, host: Host, state: Path, tmp_path: Path, directory: Path
    ) -> None:
        """A backup that this host verified is named when the provider has lost the key."""
        assert state.exists()
        path = directory / "providers/main.provider"
        text, old = path.read_text(), host.providers.show("main").kdk_id
        host.providers.init("spare")
        spare = (directory / "providers/spare.provider").read_text()
        new = host.providers.show("spare").kdk_id
        keys = text[: text.index('"backups"')].replace(old, new)
        path.write_text(keys + text[text.index('"backups"') :])
        (directory / "providers/spare.provider").unlink()
        assert new in spare
        with pytest.raises(KeyMissing, match=f"{old}.*{tmp_path / 'main.backup'}.*verified"):
            host_at(directory).open_state(VM)

    def test_retired_key(self, host: Host, state: Path, tmp_path: Path) -> None:
        """A state from before its key was retired names that key and the backup that still holds it."""
        old_state = state.read_bytes()
        old = host.providers.show("main").kdk_id
        new = host.rotations.begin("main").hex()
        verify(host, "main", tmp_path / "second.backup")
        host.rotations.promote("main")
        host.rekeying.rekey([VM], deep=True)
        host.rotations.finish("main")
        host.rotations.retire("main", bytes.fromhex(old))
        new_state = state.read_bytes()
        state.write_bytes(old_state)
        for opener in (host, host_at(host.directory)):
            with pytest.raises(KeyMissing, match=f"{old}.*{tmp_path / 'main.backup'}"):
                opener.open_state(VM)
        assert state.read_bytes() == old_state
        state.write_bytes(new_state)
        with host.open_state(VM) as store:
            assert store.load() == NEWEST
        assert host.providers.show("main").keys == [new]

    def test_wrong_key_file(self, state: Path, directory: Path) -> None:
        """A key file of other content is named as the wrong key."""
        assert state.exists()
        (directory / "keys/main.key").write_text("00" * 32 + "\n")
        with pytest.raises(WrongKey, match=r"main\.key"):
            host_at(directory).open_state(VM)

    def test_key_file_missing_or_damaged(self, state: Path, directory: Path) -> None:
        """A key file that is gone or no key file says so."""
        key_file = directory / "keys/main.key"
        key_file.write_text("no key\n")
        with pytest.raises(KeyFileDamaged):
            host_at(directory).open_state(VM)
        key_file.unlink()
        with pytest.raises(KeyFileMissing):
            host_at(directory).open_state(VM)
        assert state.exists()

    def test_the_same_key_file_that_others_can_read(self, state: Path, directory: Path) -> None:
        """A key file is refused when its mode lets others read it."""
        assert state.exists()
        (directory / "keys/main.key").chmod(0o640)
        with pytest.raises(UnsafeFile, match="chmod 600"):
            host_at(directory).open_state(VM)

    def test_another_host_without_the_key(self, state: Path, tmp_path: Path) -> None:
        """A state copied to another host needs its provider there, under whatever name."""
        elsewhere = host_at(tmp_path / "elsewhere")
        elsewhere.providers.init("main")
        verify(elsewhere, "main", tmp_path / "elsewhere.backup")
        shutil.copy(state, tmp_path / "elsewhere/states" / state.name)
        with pytest.raises(KeyMissing):
            elsewhere.open_state(VM, adopt=True)
        elsewhere.providers.restore(tmp_path / "main.backup", PASSPHRASE, name="main-of-old-host")
        with elsewhere.open_state(VM, adopt=True) as store:
            assert store.load() == NEWEST


class TestLocked:
    """One opener for a state."""

    def test_a_second_opener(self, host: Host, store: FileStore, directory: Path) -> None:
        """It learns which process has the state open; so do creation and deletion."""
        again: list[Callable[[], object]] = [
            lambda: host.open_state(VM),
            lambda: host_at(directory).open_state("guest"),
            lambda: host.delete_state(VM),
        ]
        for attempt in again:
            with pytest.raises(Locked, match=r"in use by process \d+ on "):
                attempt()
        assert "process" in host.show_state(VM).owner
        store.close()
        host.open_state(VM).close()
        assert host.show_state(VM).owner == ""

    def test_a_failed_opening_lets_go(self, host: Host, state: Path) -> None:
        """An opener that was refused keeps no lock."""
        content = state.read_bytes()
        state.write_bytes(b"")
        with pytest.raises(CorruptState):
            host.open_state(VM)
        state.write_bytes(content)
        host.open_state(VM).close()


class TestFiles:
    """Files and directories are for their owner alone."""

    def test_modes(self, state: Path, directory: Path) -> None:
        """Files are 0600 and directories 0700, whatever the umask."""
        assert state.exists()
        for path in [directory, *directory.rglob("*")]:
            assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path

    def test_links_are_not_followed(self, host: Host, state: Path, tmp_path: Path) -> None:
        """A state that is a symbolic link is refused."""
        state.rename(tmp_path / "moved")
        state.symlink_to(tmp_path / "moved")
        with pytest.raises(UnsafeFile, match="symbolic link"):
            host.open_state(VM)

    def test_a_directory_that_others_can_write(self, tmp_path: Path) -> None:
        """A host refuses to keep anything where others can put files."""
        (tmp_path / "open").mkdir(mode=0o777)
        (tmp_path / "open").chmod(0o777)
        with pytest.raises(UnsafeFile, match="chmod 700"):
            host_at(tmp_path / "open")

    def test_no_secret_on_disk(self, host: Host, directory: Path) -> None:
        """No blob and no key stands in any file in the clear, nor in what objects say of themselves."""
        marker = b"this is a very secret marker"
        with host.create_state(VM, "guest", {"secret-name": marker}) as store:
            store.commit({"secret-name": marker + b"2", "large": marker * 3000})
            kdk = host.providers.key("main", bytes.fromhex(host.providers.show("main").kdk_id))
            shown = repr((store, store._opening, host, host.providers, store._blobs, store._mark_key))
        for path in directory.rglob("*"):
            if path.is_file():
                content = path.read_bytes()
                for secret in (marker, b"secret-name", kdk, kdk.hex().encode()):
                    assert secret not in content, path
        for told in (marker.decode(), "secret-name", kdk.hex(), repr(kdk)):
            assert told not in shown


def test_every_error_has_code_cause_and_remedy() -> None:
    """Codes are unique and stable: programs decide by them."""
    classes = [c for c in vars(named).values() if isinstance(c, type) and issubclass(c, NvstoreError)]
    codes = [c.code for c in classes if hasattr(c, "code")]
    assert len(codes) == len(set(codes)) == len(classes) - 2
    error = RolledBack(UUID(int=1), 3, 9)
    assert str(error) == f"{error.cause}; {error.remedy}"
    assert dataclasses.is_dataclass(error) is False
