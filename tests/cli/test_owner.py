"""Root works on the state of a service with a user of its own: what is made is the service's."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from nvstore import Cost, Host, UnsafeFile
from nvstore.courier import Named, act_as_owner, named_in
from nvstore.files import read_file, replace_file
from nvstore.owned import Owner, files_of
from tests.cli.test_vm import VTPM, Installation

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can work in another user's name")
CHEAP = Cost(64, 1, 1)


@pytest.fixture
def nobody() -> "pwd.struct_passwd":
    """A user who is not root."""
    return pwd.getpwnam("nobody")


@pytest.fixture
def place(nobody: "pwd.struct_passwd") -> Iterator[Path]:
    """A directory that all can reach, and in it the state directory of that user."""
    made = Path(tempfile.mkdtemp(prefix="vtpm-owner-"))
    made.chmod(0o755)
    (made / "state").mkdir(mode=0o700)
    os.chown(made / "state", nobody.pw_uid, nobody.pw_gid)
    yield made
    shutil.rmtree(made)


def owners(directory: Path) -> set[int]:
    """Whose the files and directories in a directory are."""
    return {path.lstat().st_uid for path in directory.rglob("*")}


@pytest.mark.slow
def test_commands(place: Path, nobody: "pwd.struct_passwd") -> None:
    """Every command that writes leaves files of the service; what root names elsewhere is read as root."""
    installation = Installation(place)
    secret = ["--passphrase-file", str(installation.passphrase)]
    assert installation.passphrase.stat().st_uid == 0
    backup = place / "main.backup"
    installation.run("provider", "init", "main")
    installation.run("provider", "backup", "main", "--out", str(backup), *secret)
    installation.run("provider", "verify", str(backup), *secret)
    installation.run("create", "guest")
    installation.run("state", "snapshot", "guest")
    installation.run("state", "clone", "guest", "second", "--how", "fork")
    installation.run("state", "policy", "guest", "--reverts", "deny")
    installation.run("ek", "renew", "guest")
    installation.run("lockout-reset", "guest")
    installation.run("provider", "rotate", "main")
    installation.run("provider", "rotate", "main", "--abandon")
    installation.run("provider", "enroll")
    installation.run("delete", "second", "--yes")

    assert owners(place / "state") == {nobody.pw_uid}
    assert (place / "state/snapshots").exists()
    assert backup.stat().st_uid == 0


@pytest.mark.slow
def test_server(place: Path, nobody: "pwd.struct_passwd") -> None:
    """A daemon that root starts runs as the service, for good, and answers who came to be it as well."""
    installation = Installation(place)
    installation.run("provider", "init", "main")
    installation.run("create", "guest", "--allow-unverified")
    command = [str(VTPM), *installation.places, "serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as daemon:
        try:
            assert daemon.stdout is not None
            assert daemon.stdout.readline().startswith("ready")
            status = Path(f"/proc/{daemon.pid}/status").read_text()
            facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
            assert facts["Uid"].split() == [str(nobody.pw_uid)] * 4
            assert facts["Gid"].split() == [str(nobody.pw_gid)] * 4
            assert {facts[name].strip("0") for name in ("CapEff", "CapPrm", "CapInh")} == {""}
            assert "0" not in facts["Groups"].split()
            assert '"running": false' in installation.run("show", "guest", "--json")
        finally:
            daemon.terminate()
    assert owners(place / "state") == {nobody.pw_uid}


class TestNamed:
    """Which files elsewhere are reached with the caller's rights."""

    SERVICE = Path("/var/lib/vtpm")

    def named(self, *words: str) -> Named:
        """Return what a command line names."""
        return Named(named_in(words), self.SERVICE)

    @pytest.mark.parametrize(
        "path", ["/root/main.backup", "/root/main.backup.new", "/root/shares/a", "/root/./x/../main.backup"]
    )
    def test_named(self, path: str) -> None:
        """A file that is named, the file that replaces it, and what is in a named directory."""
        assert Path(path) in self.named("backup", "--out", "/root/main.backup", "--shares-dir=/root/shares")

    @pytest.mark.parametrize(
        "path",
        [
            "/root/main.backup2",
            "/root",
            "/etc/shadow",
            "/root/main.backup/../shadow",
            "/var/lib/vtpm/keys/main.key",
            "/var/lib/vtpm/../vtpm/x",
            "/var/lib/other",
        ],
    )
    def test_not_named(self, path: str) -> None:
        """Nothing else, and nothing of the service's, though its directory and those above are named."""
        words = ["--state-dir", "/var/lib/vtpm", "/var/lib/vtpm/keys/main.key", "/var/lib", "/", "--out"]
        assert Path(path) not in self.named(*words, "/root/main.backup")

    def test_relative(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """Words are paths from the working directory, also behind an equals sign."""
        monkeypatch.chdir(tmp_path)
        named = self.named("--out=a", "b")
        assert tmp_path / "a" in named
        assert tmp_path / "b" in named
        assert tmp_path / "c" not in named


def test_the_courier(place: Path, nobody: "pwd.struct_passwd") -> None:
    """A process that became the service for good reaches what was named, and can be made to reach no more."""
    mine = place / "mine"
    mine.mkdir(mode=0o700)
    (mine / "named").write_bytes(b"named")
    (mine / "named").chmod(0o600)
    (mine / "secret").write_bytes(b"secret")
    (mine / "link").symlink_to(mine / "secret")
    pid = os.fork()
    if pid == 0:  # pragma: no cover - another process
        status = 1
        try:
            files = act_as_owner(place / "state", [str(mine / "named"), str(mine / "made")])
            assert files is not None
            assert os.getresuid() == (nobody.pw_uid,) * 3
            assert read_file(files, mine / "named") == b"named"
            replace_file(files, mine / "made", b"made")
            with pytest.raises(PermissionError):
                os.setuid(0)
            for reach in (
                lambda: read_file(files, mine / "secret"),
                lambda: files.entries(mine),
                lambda: files.remove(mine / "secret"),
                lambda: files.rename(mine / "named", mine / "secret"),
                lambda: files._courier.ask("read", mine / "secret"),
                lambda: files._courier.ask("rename", mine / "named", mine / "secret"),
                lambda: files._courier.ask("chmod", mine / "named"),
            ):
                with pytest.raises(PermissionError):
                    reach()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
    assert (mine / "made").read_bytes() == b"made"
    assert (mine / "made").stat().st_uid == 0
    assert (mine / "secret").read_bytes() == b"secret"


def test_as_the_service(place: Path, nobody: "pwd.struct_passwd") -> None:
    """The service itself opens what root has made."""
    host = Host(place / "state", passphrase_cost=CHEAP, backup_cost=CHEAP)
    host.providers.init("main")
    vm = "6c1f3d6e-54d0-4d6a-8f0e-3b1d4a7c9e21"
    host.create_state(vm, "guest", {"a": b"1"}, allow_unverified=True).close()
    pid = os.fork()
    if pid == 0:  # pragma: no cover - another process
        status = 1
        try:
            os.setgid(nobody.pw_gid)
            os.setuid(nobody.pw_uid)
            with Host(place / "state").open_state("guest") as store:
                store.commit({"a": b"2"})
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
    with host.open_state("guest") as store:
        assert store.load() == {"a": b"2"}


def test_link(place: Path, nobody: "pwd.struct_passwd") -> None:
    """A link of the service's leads root nowhere that the service may not write."""
    target = place / "roots"
    target.mkdir(mode=0o755)
    (place / "state/vms").symlink_to(target)
    with pytest.raises(UnsafeFile):
        Host(place / "state")
    files = files_of(place / "state")
    with pytest.raises(PermissionError):
        files.create(place / "state/vms/x")
    assert list(target.iterdir()) == []
    owner = Owner.of(place / "state")
    assert owner == (nobody.pw_uid, nobody.pw_gid)


def test_own(tmp_path: Path) -> None:
    """On a directory of root's, and on one that is not there, root acts as root."""
    assert Owner.of(tmp_path) is None
    assert Owner.of(tmp_path / "none") is None
