"""Whatever is wrong, every command says what it is and what to do, and none ends with a traceback."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import click
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nvstore import Cost, Host
from tests.cli.tree import ENDLESS, LEAVES, Told, is_path, run, words_of
from vtpm.engine.tpm import Tpm

CHEAP = Cost(64, 1, 1)
PASSPHRASE = b"correct horse battery"
VM = UUID(int=5)
ENDING = sorted(LEAVES.keys() - ENDLESS)
HARMLESS = {
    "audit show",
    "audit verify",
    "compat-dir",
    "doctor",
    "list",
    "profile list",
    "provider list",
    "stop",
}
"""Commands that need nothing."""

Value = Callable[[click.Parameter], str | None]


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory with an active provider and a VM that has no keys."""
    directory = tmp_path_factory.mktemp("mistakes") / "state"
    host = Host(directory, passphrase_cost=CHEAP, backup_cost=CHEAP)
    host.providers.init("main")
    host.providers.backup("main", directory / "main.backup", PASSPHRASE)
    host.providers.verify(directory / "main.backup", PASSPHRASE)
    host.create_state(VM, "guest", Tpm.manufacture(os.urandom).snapshot()).close()
    host.vault.put("authority", b'{"kind": "key", "pem": "none"}')
    return directory


class Desk:
    """Where an operator works: a copy of the installation, and files that are not what they should be."""

    def __init__(self, origin: Path | None, place: Path) -> None:
        self._origin, self._place = origin, place
        place.mkdir(exist_ok=True)
        self.missing = place / "missing"
        self.garbage = place / "garbage"
        self.garbage.write_bytes(b"\0no such thing\xff" * 40)
        self.garbage.chmod(0o600)

    def state(self) -> Path:
        """A fresh copy of the installation, or an empty directory."""
        state = self._place / "state"
        shutil.rmtree(state, ignore_errors=True)
        if self._origin is None:
            state.mkdir()
        else:
            shutil.copytree(self._origin, state)
        return state

    def run(self, words: list[str], state: Path) -> Told:
        """Run a command on a state directory."""
        places = ["--state-dir", str(state), "--run-dir", str(self._place / "run")]
        home = str(self._place / "home")
        return run([*places, *words], XDG_DATA_HOME=home, XDG_STATE_HOME=home, HOME=home)

    def named(self, parameter: click.Parameter) -> str:
        """What is there, by its kind, and a file that is none."""
        if is_path(parameter):
            return str(self.garbage)
        if isinstance(parameter.type, click.IntRange):
            return "3"
        if parameter.name == "kdk_id":
            return "00" * 16
        if isinstance(parameter.type, click.Choice):
            return str(parameter.type.choices[0])
        return "main" if parameter.name in {"name", "provider"} else "guest"


def check(told: Told, *, may_succeed: bool) -> None:
    """The status and the message fit each other, and the message has cause and remedy."""
    assert "Traceback" not in told.err
    if told.status == 0:
        assert may_succeed, told
        return
    if told.status == 2 and told.err.startswith("Usage:"):
        assert "Error: " in told.err
        return
    if told.err == "":  # what was found is the answer: doctor, check, state verify
        assert told.out
        return
    message = told.err[told.err.index("vtpm: ") :].removeprefix("vtpm: ").strip()
    assert len(message) > 20
    assert any(sign in message for sign in ("; ", ": ", "not rekeyed")), message


@pytest.mark.slow
@pytest.mark.parametrize("command", ENDING)
class TestEveryCommand:
    """Each command of the tree, in each kind of trouble"""

    def test_nothing_there(self, command: str, tmp_path: Path) -> None:
        """On a host without providers and VMs, what is named is not there."""
        desk = Desk(None, tmp_path)
        value: Value = lambda p: str(desk.missing) if is_path(p) else "3" if p.name == "days" else "nobody"  # noqa: E731
        told = desk.run(words_of(command, value), desk.state())
        check(told, may_succeed=command in HARMLESS | {"provider init", "provider enroll"})

    def test_wrong_names(self, command: str, installation: Path, tmp_path: Path) -> None:
        """A name, and a UUID, that nothing has."""
        desk = Desk(installation, tmp_path)
        for name in ("nobody", str(UUID(int=77)), "../guest", "", "\u00e9\n"):
            value: Value = lambda p, name=name: str(desk.missing) if is_path(p) else name  # type: ignore[misc] # noqa: E731
            told = desk.run(words_of(command, value), desk.state())
            check(told, may_succeed=True)
            if told.status == 0:
                assert not any(p.name in {"vm", "origin"} and p.required for p in LEAVES[command].params) or (
                    command == "create"
                )

    def test_wrong_files(self, command: str, installation: Path, tmp_path: Path) -> None:
        """A file that holds something else, and a directory where a file is wanted; what is there stays."""
        desk = Desk(installation, tmp_path)
        before = desk.garbage.read_bytes()
        for path in (desk.garbage, tmp_path, desk.missing):
            value: Value = lambda p, path=path: str(path) if is_path(p) else desk.named(p)  # type: ignore[misc] # noqa: E731
            check(desk.run(words_of(command, value), desk.state()), may_succeed=True)
            assert desk.garbage.read_bytes() == before

    @pytest.mark.parametrize(
        "what",
        ["providers/*", "vms/*.vm", "states/*.state", "marks/*", "keys/*", "vault/*.secret", "audit/*"],
    )
    @pytest.mark.parametrize("content", [b'{"format": 3}', b"\xff" * 5000])
    def test_corrupt(
        self, command: str, installation: Path, tmp_path: Path, what: str, content: bytes
    ) -> None:
        """A file of the host's that was damaged."""
        desk = Desk(installation, tmp_path)
        state = desk.state()
        for path in state.glob(what):
            path.write_bytes(content)
        check(desk.run(words_of(command, desk.named), state), may_succeed=True)

    def test_busy(self, command: str, installation: Path, tmp_path: Path) -> None:
        """Another process has the state open."""
        desk = Desk(installation, tmp_path)
        state = desk.state()
        with Host(state).open_state("guest") as store:
            check(desk.run(words_of(command, desk.named), state), may_succeed=True)
            assert store.load()

    def test_locked(self, command: str, installation: Path, tmp_path: Path) -> None:
        """The provider is sealed by a passphrase that nobody gave."""
        desk = Desk(installation, tmp_path)
        state = desk.state()
        Host(state, passphrase_cost=CHEAP).providers.reseal("main", passphrase=PASSPHRASE)
        check(desk.run(words_of(command, desk.named), state), may_succeed=True)

    def test_place(self, command: str, tmp_path: Path) -> None:
        """The state directory is a file, or others may write to it."""
        desk = Desk(None, tmp_path)
        told = desk.run(words_of(command, desk.named), desk.garbage)
        assert told.status == 2
        assert str(desk.garbage) in told.err
        state = desk.state()
        state.chmod(0o777)
        check(desk.run(words_of(command, desk.named), state), may_succeed=True)

    def test_help(self, command: str) -> None:
        """Help names the command, says what it does in a sentence, and what each option is for."""
        told = run([*command.split(), "--help"])
        assert told.status == 0
        assert f" {command} " in told.out
        assert LEAVES[command].get_short_help_str(200).rstrip(".")
        for parameter in LEAVES[command].params:
            if isinstance(parameter, click.Option):
                assert parameter.help or parameter.hidden, f"{command} {parameter.opts[0]}"


POOL = [
    "guest",
    "main",
    "nobody",
    "",
    "0",
    "3",
    "-1",
    "x" * 300,
    "a/b",
    "\u00e9",
    "/dev/null",
    "{missing}",
    "{garbage}",
]
AVOIDED = {"passphrase_fd", "pin_fd", "seal_passphrase_fd", "tpm", "systemd_creds", "tcti", "tpm_tcti", "uri"}
"""Options that reach past this process: descriptors, the host's TPM and services, libvirt."""


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), command=st.sampled_from(ENDING))
def test_any_words(
    data: st.DataObject, command: str, installation: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any values for arguments and for any of the options."""
    monkeypatch.chdir(tmp_path)  # some of the words become names of files
    desk = Desk(installation, tmp_path)
    words = command.split()
    for parameter in LEAVES[command].params:
        if parameter.name in AVOIDED:
            continue
        value = st.sampled_from(POOL).map(
            lambda text: text.format(missing=desk.missing, garbage=desk.garbage)
        )
        if isinstance(parameter, click.Argument):
            words.append(data.draw(value))
        elif data.draw(st.booleans()):
            words.append(parameter.opts[0])
            if isinstance(parameter, click.Option) and not parameter.is_flag:
                words.append(data.draw(value))
    told = desk.run(words, desk.state())
    assert "Traceback" not in told.err
    assert told.status == 0 or told.err or told.out


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_no_permission(installation: Path) -> None:
    """Another user's state directory: the message says whose rights are needed."""
    program = (
        "import os, sys\n"
        "from vtpm.cli.main import main\n"
        "import vtpm.cli.vm, vtpm.cli.errors, nvstore, vtpm.daemon.admin\n"
        "os.setuid(65534)\n"
        "sys.argv = ['vtpm', '--state-dir', sys.argv[1], 'list']\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(installation)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "permission denied; run as the user who owns it" in done.stderr


@pytest.mark.slow
def test_nobody_reads(installation: Path) -> None:
    """Where the reader of a pipe has gone, nothing is said and nothing breaks."""
    vtpm = Path(sys.executable).with_name("vtpm")
    command = f"{vtpm} --state-dir {installation} audit show | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr == ""


@pytest.mark.slow
def test_completion() -> None:
    """The shell completes the names of commands."""
    vtpm = Path(sys.executable).with_name("vtpm")
    words = {"COMP_WORDS": "vtpm provider ro", "COMP_CWORD": "2", "_VTPM_COMPLETE": "bash_complete"}
    done = subprocess.run([vtpm], env={**os.environ, **words}, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["plain,rotate"]
