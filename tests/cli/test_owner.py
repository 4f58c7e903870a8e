"""Root works on the state of a service with a user of its own: what is made is the service's."""

import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from nvstore import Cost, Host, UnsafeFile
from nvstore.owned import Owner, files_of
from tests.cli.test_vm import Installation

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
