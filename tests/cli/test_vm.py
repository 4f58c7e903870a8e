"""`vtpm create`, `list`, `show`, `delete`, `provider` and `serve`, as an operator uses them."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nvstore import Host
from vtpm.daemon.admin import ask

pytestmark = pytest.mark.slow

VTPM = Path(sys.executable).with_name("vtpm")
LIMIT = 60.0


class Installation:
    """Directories of their own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.run_dir = directory / "run"
        self.places = ["--state-dir", str(directory / "state"), "--run-dir", str(self.run_dir)]
        self.passphrase = directory / "passphrase"
        self.passphrase.write_text("a long passphrase")
        self.passphrase.chmod(0o600)

    def run(self, *words: str, status: int = 0) -> str:
        """Run a command to its expected end; what it said."""
        done = subprocess.run(
            [VTPM, *self.places, *words], capture_output=True, text=True, timeout=LIMIT, check=False
        )
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr if status else done.stdout

    @contextmanager
    def serving(self, *words: str) -> Iterator["subprocess.Popen[str]"]:
        """The daemon."""
        command = [str(VTPM), *self.places, "serve", *words]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline().startswith("ready ")
                yield process
            finally:
                process.kill()


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    """A new installation."""
    return Installation(tmp_path)


@pytest.fixture
def unverified(installation: Installation) -> Installation:
    """An installation with a provider that was never backed up."""
    installation.run("provider", "init", "main")
    return installation


def test_provider(installation: Installation) -> None:
    """No TPM is made under a provider until its backup was written and read back."""
    assert "no provider" in installation.run("provider", "show", status=1)
    assert json.loads(installation.run("provider", "init", "main", "--json"))["state"] == "created"
    assert "verif" in installation.run("create", "vm", status=1)
    backup = str(installation.directory / "backup")
    secret = ["--passphrase-file", str(installation.passphrase)]
    installation.run("provider", "backup", "main", "--out", backup, *secret)
    installation.run("provider", "verify", backup, *secret)
    installation.run("create", "vm")

    assert [entry["state"] for entry in json.loads(installation.run("provider", "list", "--json"))] == [
        "active"
    ]


def test_passphrase_is_needed(installation: Installation) -> None:
    """Without a terminal, a passphrase comes from a file or a descriptor; it is never an argument."""
    told = installation.run("provider", "init", "main", "--passphrase", status=2)

    assert "--passphrase-file" in told


def test_life_of_a_vm(unverified: Installation) -> None:
    """A VM is created, listed, shown and deleted; a second one of the same name is refused."""
    made = json.loads(unverified.run("create", "vm", "--allow-unverified", "--json"))
    assert made["name"] == "vm"
    assert "already" in unverified.run("create", "vm", "--allow-unverified", status=1)
    assert json.loads(unverified.run("list", "--json"))[0]["vm"] == made["vm"]
    assert json.loads(unverified.run("show", "vm", "--json")) == made
    assert re.search(r"socket +\S+/run/vm\.sock", unverified.run("show", "vm"))
    unverified.run("delete", "vm", "--yes")
    assert unverified.run("list") == ""
    assert "vm" in unverified.run("show", "vm", status=1)


@pytest.mark.parametrize("name", [".daemon", "a/b", "", "x" * 81, "a b"])
def test_name(unverified: Installation, name: str) -> None:
    """A name that is no file's is refused."""
    unverified.run("create", name, "--allow-unverified", status=2)


def test_daemon(unverified: Installation) -> None:
    """A VM that is created is served at once, a deleted one no more; no socket outlives the daemon."""
    unverified.run("create", "first", "--allow-unverified")
    with unverified.serving("--mode", "0660") as process:
        unverified.run("create", "second", "--allow-unverified")
        assert sorted(ask(unverified.run_dir, "status")) == ["first", "second"]
        assert {path.stat().st_mode & 0o777 for path in unverified.run_dir.glob("*.sock")} == {0o660}
        assert {vm["running"] for vm in json.loads(unverified.run("list", "--json"))} == {False}
        unverified.run("delete", "first", "--yes")
        assert [path.name for path in unverified.run_dir.glob("*.sock")] == ["second.sock"]
        assert "vtpm serve --replace" in unverified.run("serve", status=1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT) == 0
    assert list(unverified.run_dir.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [["serve", "--mode", "rw"], ["serve", "--owner", "nobody-at-all"], ["serve", "--group", "none-such"]],
)
def test_usage(installation: Installation, words: list[str]) -> None:
    """A value that means nothing is named."""
    assert words[-1] in installation.run(*words, status=2)


def test_compat_directory(installation: Installation) -> None:
    """compat-dir prints a directory with a program named swtpm."""
    program = Path(installation.run("compat-dir").strip()) / "swtpm"

    assert subprocess.run([program, "--version"], capture_output=True, check=True).stdout


class TestProvisioning:
    """A TPM as a PC Client platform expects it, unless it is asked for bare"""

    def test_keys_and_certificates(self, installation: Installation) -> None:
        """Endorsement keys, certificates of the host's own authority, the storage root key, banks."""
        installation.run("provider", "init", "main")
        installation.run("create", "guest", "--allow-unverified", "--banks", "sha256")
        tpm = blobs_of(installation, "guest")
        assert {"object/81010001", "object/81010016", "object/81000001"} <= tpm.keys()
        assert {"nv/01c00002", "nv/01c00016", "nv/01c08000"} <= tpm.keys()
        authority = installation.directory / "state" / "authority"
        assert (authority / "authority.pem").exists()
        assert not (authority / "authority.key").exists()
        assert (installation.directory / "state/vault/authority.secret").stat().st_mode & 0o077 == 0

    def test_bare(self, installation: Installation) -> None:
        """Seeds alone."""
        installation.run("provider", "init", "main")
        installation.run("create", "guest", "--allow-unverified", "--bare")
        tpm = blobs_of(installation, "guest")
        assert not [name for name in tpm if name.startswith(("nv/", "object/"))]

    def test_errors(self, installation: Installation) -> None:
        """A bank that is not there, a platform that is not whole."""
        installation.run("provider", "init", "main")
        create = ["create", "guest", "--allow-unverified"]
        assert "the profile has sha1" in installation.run(*create, "--banks", "md5", status=2)
        assert "MAKER,MODEL,VERSION" in installation.run(*create, "--platform", "QEMU", status=2)
        assert "a bare TPM" in installation.run(*create, "--bare", "--banks", "sha1", status=2)


def blobs_of(installation: Installation, vm: str) -> dict[str, bytes]:
    """What the store holds of a TPM."""
    store = Host(installation.directory / "state").open_state(vm)
    try:
        return dict(store.load())
    finally:
        store.close()
