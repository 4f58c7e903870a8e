"""The state of a TPM in one file: `--tpmstate backend-uri=file://`."""

import os
import subprocess
from pathlib import Path

import pytest

from nvstore.files import LockHeld, replace_file
from tests.compat.runs import LIMIT, serving
from tests.differential.judge import HAS_SWTPM
from vtpm import Tpm
from vtpm.compat.arguments import ArgumentError, parse, state_uri
from vtpm.compat.container import AREAS, BASE, CAPACITY, MAGIC, ContainerError, ContainerFiles
from vtpm.compat.description import states
from vtpm.compat.directory import make_directory
from vtpm.compat.foreign_state import take_over
from vtpm.compat.storage import StateFile, is_foreign, storage_of
from vtpm.daemon.device.stateblobs import powered_off
from vtpm.daemon.directory import DirectoryError
from vtpm.libtpms import file, linear
from vtpm.libtpms.exporting import export_state
from vtpm.state.profile import SWTPM_COMPATIBLE

INNER = Path("/inner")


def contents(path: Path) -> dict[str, bytes]:
    files = ContainerFiles(path)
    return {name: files.open_to_read(INNER / name).read(0, CAPACITY) for name in files.entries(INNER)}


def put(path: Path, name: str, content: bytes) -> None:
    files = ContainerFiles(path, create=True)
    lock = files.lock(INNER / "lock")
    replace_file(files, INNER / name, content)
    lock.release()


class TestFiles:
    """nvstore's files within one"""

    def test_there_again(self, tmp_path: Path) -> None:
        """What was flushed is there for the next opener; nobody else can read the file."""
        place = tmp_path / "state"
        put(place, "a", b"first")
        put(place, "b", b"second")
        put(place, "a", b"third")
        assert contents(place) == {"a": b"third", "b": b"second"}
        assert place.stat().st_mode & 0o777 == 0o600

    def test_operations(self, tmp_path: Path) -> None:
        """Files grow, shrink, are renamed and removed as those of a file system."""
        files = ContainerFiles(tmp_path / "state", create=True)
        made = files.create(INNER / "a")
        made.write(4, [b"ab", b"cd"])
        made.truncate(6)
        assert (made.size(), made.read(3, 9)) == (6, b"\0ab")
        with pytest.raises(FileExistsError):
            files.create(INNER / "a")
        files.rename(INNER / "a", INNER / "b")
        assert files.exists(INNER / "b")
        files.remove(INNER / "b")
        files.remove(INNER / "b")
        for action in (files.open, files.open_to_read, lambda path: files.rename(path, path)):
            with pytest.raises(FileNotFoundError):
                action(INNER / "b")

    @pytest.mark.parametrize("torn", [0, 1, 20, 4000])
    def test_torn_write(self, tmp_path: Path, torn: int) -> None:
        """A flush that power interrupts leaves what was flushed before."""
        place = tmp_path / "state"
        put(place, "a", b"first")
        before = place.read_bytes()
        files = ContainerFiles(place)
        files.open(INNER / "a").write(0, [bytes(range(256)) * 32])
        files.save()
        after = place.read_bytes()
        (at,) = (at for at in AREAS if after[at : at + 4096] != before[at : at + 4096])
        place.write_bytes(before[:at] + after[at : at + torn] + before[at + torn :].ljust(CAPACITY, b"\0"))
        assert contents(place) == {"a": b"first"}
        put(place, "a", b"third")
        assert contents(place) == {"a": b"third"}

    def test_outgrown(self, tmp_path: Path) -> None:
        """What does not fit is refused, and what was there stays."""
        place = tmp_path / "state"
        put(place, "a", b"first")
        files = ContainerFiles(place)
        lock = files.lock(INNER / "lock")
        with pytest.raises(OSError, match="outgrown"):
            replace_file(files, INNER / "b", bytes(CAPACITY))
        del lock
        assert contents(place) == {"a": b"first"}

    def test_lock(self, tmp_path: Path) -> None:
        """One opener holds the file, however many locks within it; others are told who."""
        place = tmp_path / "state"
        first, second = ContainerFiles(place, create=True), ContainerFiles(place, create=True)
        locks = [first.lock(INNER / name) for name in ("a", "b")]
        with pytest.raises(LockHeld, match=f'"pid": {os.getpid()}'):
            first.lock(INNER / "a")
        locks.pop().release()
        with pytest.raises(LockHeld, match=f'"pid": {os.getpid()}'):
            second.lock(INNER / "c")
        assert f'"pid": {os.getpid()}' in second.owner(INNER / "c")
        replace_file(first, INNER / "x", b"later")
        assert os.path.samestat(os.fstat(locks[0].fileno()), (tmp_path / "state").stat())
        with pytest.raises(LockHeld):
            second.share_lock(INNER / "a", locks[0].fileno())
        locks.pop().release()
        assert second.owner(INNER / "c") == ""
        second.lock(INNER / "c")
        assert second.exists(INNER / "x")

    def test_refused(self, tmp_path: Path) -> None:
        """No file, a link, a directory, and a file of a newer release."""
        with pytest.raises(ContainerError, match="No such file"):
            ContainerFiles(tmp_path / "none")
        (tmp_path / "link").symlink_to(tmp_path / "none")
        for name in ("link", "."):
            with pytest.raises(ContainerError, match="name a file or block device"):
                ContainerFiles(tmp_path / name)
        with pytest.raises(ContainerError, match="is no file or block device"):
            ContainerFiles(Path(os.devnull))
        place = tmp_path / "state"
        put(place, "a", b"first")
        octets = place.read_bytes()
        at = AREAS[0]
        assert octets[at : at + 8] == MAGIC
        place.write_bytes(octets[: at + 9] + b"\x02" + octets[at + 10 :])
        with pytest.raises(ContainerError, match="newer release"):
            ContainerFiles(place)


class TestStorage:
    """A TPM in a file"""

    def test_kept(self, tmp_path: Path) -> None:
        """Made once, then opened; its size is told, and it can be forgotten."""
        storage = StateFile(tmp_path / "state")
        assert storage.size() is None
        made = Tpm.manufacture(bytes, SWTPM_COMPATIBLE)
        for initial in (made.snapshot, dict):
            store = storage.opener(b"passphrase", initial)()
            assert Tpm.restore(powered_off(store.load()), bytes).owner.seed == made.owner.seed
            store.commit({"suspended": os.urandom(4)})
            store.close()
        assert storage.size()
        told = states(parse(["--tpmstate", f"backend-uri=file://{storage.path}"]))
        assert '"name": "permall"' in told
        storage.forget()
        assert storage.size() is None
        assert not is_foreign(storage)

    def test_guarded(self, tmp_path: Path) -> None:
        """The file begins as one of a swtpm of the future, which no swtpm formats."""
        storage = StateFile(tmp_path / "state")
        storage.opener()().close()
        assert storage.path.read_bytes().startswith(linear.GUARD)
        assert not is_foreign(storage)

    def test_taken_over(self, tmp_path: Path) -> None:
        """Swtpm's state in the file is taken over once, and stays as it is."""
        storage = StateFile(tmp_path / "state")
        made = Tpm.manufacture(bytes, SWTPM_COMPATIBLE)
        content = file.wrap(export_state(made.snapshot(), bytes).state)
        header = linear.HEADER.pack(linear.MAGIC, 1, 0, linear.SIZE)
        header += linear.ENTRY.pack(linear.SIZE, len(content), 65536)
        octets = header.ljust(linear.SIZE, b"\0") + content
        storage.path.write_bytes(octets)
        assert is_foreign(storage)
        for _ in range(2):
            store = storage.opener(None, lambda: take_over(storage, SWTPM_COMPATIBLE, None))()
            assert Tpm.restore(store.load(), bytes).owner.seed == made.owner.seed
            store.close()
        assert storage.path.read_bytes().startswith(octets)
        assert not is_foreign(storage)

    @pytest.mark.parametrize("end", [BASE + 1, 1 << 31])
    def test_too_large(self, tmp_path: Path, end: int) -> None:
        """States of swtpm that leave no room are refused before anything is written."""
        storage = StateFile(tmp_path / "state")
        header = linear.HEADER.pack(linear.MAGIC, 1, 0, linear.SIZE)
        octets = (header + linear.ENTRY.pack(0, 0, end)).ljust(linear.SIZE, b"\0")
        storage.path.write_bytes(octets)
        with pytest.raises(ContainerError, match=f"more than {BASE} octets"):
            storage.opener()()
        assert storage.path.read_bytes() == octets

    def test_something_else(self, tmp_path: Path) -> None:
        """A file with something else in it is refused, and kept."""
        storage = StateFile(tmp_path / "state")
        storage.path.write_text("a letter")
        with pytest.raises(ContainerError, match="no TPM's state"):
            storage.opener()()
        assert storage.path.read_text() == "a letter"

    @pytest.mark.parametrize("uri", ["file://", "dir://", "rbd://pool", "/path"])
    def test_uri(self, uri: str) -> None:
        """Only files and directories are there."""
        with pytest.raises(ArgumentError, match="dir:// and file:// with a path"):
            state_uri(parse(["--tpmstate", f"backend-uri={uri}"]))

    def test_uri_of_file(self) -> None:
        """A file is named by its path."""
        storage = storage_of(state_uri(parse(["--tpmstate", "backend-uri=file:///s"])))
        assert isinstance(storage, StateFile)
        assert storage.path == Path("/s")


@pytest.mark.slow
class TestProcesses:
    """The programs on a file"""

    def test_set_up_and_run(self, tmp_path: Path) -> None:
        """swtpm_setup makes it, swtpm runs it, keeps it, and lets nobody else in meanwhile."""
        programs, place = make_directory([tmp_path / "programs"]), tmp_path / "state"
        setup = [
            str(programs / "swtpm_setup"),
            "--tpm2",
            "--tpmstate",
            f"file://{place}",
            "--config",
            "/dev/null",
        ]
        done = subprocess.run([*setup, "--not-overwrite"], check=True, timeout=LIMIT, capture_output=True)
        assert b"Ending vTPM manufacturing" in done.stdout
        done = subprocess.run([*setup, "--not-overwrite"], check=True, timeout=LIMIT, capture_output=True)
        assert b"Not overwriting" in done.stdout
        sizes = set()
        for _ in range(2):
            with serving(programs, place) as server:
                server.ioctl("-i")
                done = subprocess.run(
                    [*setup, "--overwrite"], check=False, timeout=LIMIT, capture_output=True
                )
                assert done.returncode == 1
                assert b"in use" in done.stderr
                server.shut_down()
            sizes.add(StateFile(place).size())
        assert len(sizes) == 1

    @pytest.mark.skipif(not HAS_SWTPM, reason="swtpm is not installed")
    def test_swtpm_refuses(self, tmp_path: Path) -> None:
        """Swtpm does not format this program's file."""
        storage = StateFile(tmp_path / "state")
        storage.opener()().close()
        before = storage.path.read_bytes()
        told = subprocess.run(["swtpm", "socket", "--print-capabilities"], check=True, capture_output=True)
        if b"nvram-backend-file" not in told.stdout:
            pytest.skip("the installed swtpm has no files")
        words = [
            "--tpmstate",
            f"backend-uri=file://{storage.path}",
            "--ctrl",
            f"type=unixio,path={tmp_path}/c",
        ]
        done = subprocess.run(
            ["swtpm", "socket", "--tpm2", *words, "--flags", "startup-clear"], check=False, timeout=LIMIT
        )
        assert done.returncode != 0
        assert storage.path.read_bytes() == before


class TestNotAnother:
    """No TPM is made in place of one that is gone"""

    @staticmethod
    def made(place: Path) -> None:
        """Make a TPM's store there."""
        store = StateFile(place).opener()()
        store.commit({"permanent": b"first"})
        store.close()

    @pytest.mark.parametrize("octets", [b"", MAGIC + b"\0\1", b"\xff" * 64])
    def test_damaged(self, tmp_path: Path, octets: bytes) -> None:
        """Areas that cannot be read are an error, and an operator may start over."""
        place = tmp_path / "state"
        self.made(place)
        with place.open("r+b") as damaged:
            for area in AREAS:
                damaged.seek(area)
                damaged.write(octets.ljust(CAPACITY // 2, b"\0"))
        before = place.read_bytes()
        with pytest.raises(ContainerError, match="swtpm_setup --overwrite"):
            StateFile(place).opener()()
        assert place.read_bytes() == before

        StateFile(place).forget()
        store = StateFile(place).opener()()
        assert store.load() == {}
        store.close()

    def test_first_flush(self, tmp_path: Path) -> None:
        """A file whose very first flush was interrupted never held a TPM."""
        place = tmp_path / "state"
        files = ContainerFiles(place, create=True)
        files.create(INNER / "a").write(0, [bytes(100)])
        files.save()
        with place.open("r+b") as torn:
            torn.write(bytes(len(linear.GUARD)))
            torn.seek(AREAS[1] + 40)
            torn.write(b"torn")
        self.made(place)

    def test_files_gone(self, tmp_path: Path) -> None:
        """A container whose log knows a TPM that is not there any more is an error."""
        place = tmp_path / "state"
        self.made(place)
        files = ContainerFiles(place)
        lock = files.hold()
        for part in ("states", "vms", "marks", "vms/names"):
            for name in files.entries(place / part):
                files.remove(place / part / name)
        lock.release()
        with pytest.raises(DirectoryError, match="audit log says that there was one"):
            StateFile(place).opener()()
