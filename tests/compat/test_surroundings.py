"""Programs in swtpm's place in surroundings that swtpm's own survive, and where their failures are seen."""

import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from vtpm.compat.directory import make_directory
from vtpm.compat.ending import last_value
from vtpm.compat.setup_arguments import parse, read_configuration
from vtpm.daemon.authority import local
from vtpm.daemon.authority.local import AuthorityError, default_directory

LIMIT = 60
NOBODY = 65534
SHUTDOWN = struct.pack(">I", 3)
"""CMD_SHUTDOWN."""


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_directory([tmp_path_factory.mktemp("programs")])


@pytest.fixture
def state(tmp_path: Path) -> Path:
    path = tmp_path / "state"
    path.mkdir()
    return path


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A directory that other users reach: pytest's own are private."""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        yield Path(place)


@contextmanager
def without_rights() -> Iterator[None]:
    """Be a user for whom the modes of files count."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


def a_file(place: Path) -> Path:
    place.write_text("no directory")
    return place


def locked(place: Path) -> Path:
    place.mkdir(mode=0)
    return place


def a_loop(place: Path) -> Path:
    place.mkdir()
    (place / "swtpm_setup.conf").symlink_to("swtpm_setup.conf")
    return place


def a_directory(place: Path) -> Path:
    (place / "swtpm_setup.conf").mkdir(parents=True)
    return place


def too_long(place: Path) -> Path:
    return place / ("x" * 5000)


@pytest.mark.parametrize("make", [a_file, locked, a_loop, a_directory, too_long])
class TestConfiguration:
    """A place of the configuration that cannot be used"""

    def test_searched(self, make: Callable[[Path], Path], open_place: Path, monkeypatch: Any) -> None:
        """It is passed over for the next one."""
        (open_place / "home/.config").mkdir(parents=True)
        (open_place / "home/.config/swtpm_setup.conf").write_text("active_pcr_banks = sha384\n")
        monkeypatch.setenv("XDG_CONFIG_HOME", str(make(open_place / "wrong")))
        monkeypatch.setenv("HOME", str(open_place / "home"))

        with without_rights():
            assert read_configuration(parse([])) == {"active_pcr_banks": "sha384"}

    def test_set_up(self, make: Callable[[Path], Path], tmp_path: Path, programs: Path, state: Path) -> None:
        """A TPM is made."""
        home = str(make(tmp_path / "wrong"))
        done = subprocess.run(
            [programs / "swtpm_setup", "--tpm2", "--tpm-state", state],
            env={"HOME": home, "XDG_CONFIG_HOME": home},
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert list(state.glob("states/*.state"))


def test_octets_of_configuration(tmp_path: Path) -> None:
    """A configuration need not be text in UTF-8: file names are not, either."""
    place = tmp_path / "odd.conf"
    place.write_bytes(b"create_certs_tool = /opt/\xff\n")

    settings = read_configuration(parse(["--config", str(place)]))
    assert os.fsencode(settings["create_certs_tool"]) == b"/opt/\xff"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--nonsense"], "--nonsense is not an option of swtpm_setup"),
        (["--tpm2", "--cipher=rot13"], "--cipher rot13: not a cipher of swtpm"),
        (
            ["--tpm2", "--tpm-state", "/nowhere", "--config", "/nowhere/c"],
            "--config /nowhere/c: No such file",
        ),
        (["--tpm2", "--tpm-state", "/nowhere"], "/nowhere: there is no such directory"),
        (["--create-config-files", "never"], "give overwrite or skip-if-exist"),
    ],
)
@pytest.mark.parametrize("form", ["--logfile={}", "--logfile {}"])
def test_setup_fails(programs: Path, tmp_path: Path, form: str, words: list[str], said: str) -> None:
    """Whatever is wrong stands in the log that the command line names, and on standard error."""
    log = tmp_path / "log"
    command = [str(programs / "swtpm_setup"), *words, *form.format(log).split()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)

    assert done.returncode == 1
    assert said in log.read_text()
    assert done.stderr.startswith("swtpm_setup: ")
    assert done.stderr.count(said) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--nonsense"], "--nonsense is not an option of swtpm"),
        (["--tpm2", "--ctrl", "type=unixio,path={}/c"], "--tpmstate is required"),
        (
            ["--tpm2", "--tpmstate", "dir={}", "--ctrl", "type=carrier"],
            "--ctrl type=carrier: give unixio or tcp",
        ),
        (
            ["--tpm2", "--tpmstate", "dir={}", "--ctrl", "type=unixio,path={}/no/c"],
            "No such file or directory",
        ),
        (
            ["--tpm2", "--tpmstate", "dir={}", "--ctrl", "type=unixio,path={}/c", "--key", "file={}/no"],
            "--key file",
        ),
    ],
)
def test_swtpm_fails(programs: Path, state: Path, words: list[str], said: str) -> None:
    """The same for `swtpm`, before its sockets are there and after."""
    log = state / "log"
    given = [word.replace("{}", str(state)) for word in words]
    command = [str(programs / "swtpm"), "socket", *given, "--log", f"file={log},prefix=p "]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)

    assert done.returncode == 1
    assert log.read_text().startswith("p ")
    assert log.read_text().count(said) == 1
    assert done.stderr.count(said) == 1


DEFECT = """
import logging
from vtpm.compat.ending import obey
from vtpm.compat.setup import start_named_log

def run(words):
    return 1 // len(words[3:])

obey("program", run, (), start_named_log)
"""


def test_defect(tmp_path: Path) -> None:
    """The trace of an exception that nobody expected is in the log, and standard error is one line."""
    log = tmp_path / "log"
    command = [sys.executable, "-c", DEFECT, "--logfile", str(log)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)

    assert done.returncode == 1
    assert "Traceback" in log.read_text()
    assert "ZeroDivisionError" in log.read_text()
    assert len(done.stderr.splitlines()) == 1


def test_defect_without_log() -> None:
    """Without a log the trace is on standard error."""
    done = subprocess.run(
        [sys.executable, "-c", DEFECT], capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_log_that_is_full(programs: Path, state: Path) -> None:
    """A TPM is made although its log takes no line, and standard error says so once."""
    command = [str(programs / "swtpm_setup"), "--tpm2", "--tpm-state", str(state), "--logfile", "/dev/full"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)

    assert done.returncode == 0
    assert done.stderr == "the log cannot be written: [Errno 28] No space left on device\n"
    assert list(state.glob("states/*.state"))


CLOSED = [(0,), (1,), (2,), (0, 1, 2)]


def closing(numbers: tuple[int, ...]) -> Callable[[], None]:
    """What closes standard streams in a new process."""

    def close() -> None:
        for number in numbers:
            os.close(number)

    return close


@pytest.mark.parametrize("numbers", CLOSED)
def test_closed_streams(programs: Path, state: Path, numbers: tuple[int, ...]) -> None:
    """Without standard streams a TPM serves, and ends in order."""
    path = state / "control"
    with subprocess.Popen(
        [
            programs / "swtpm",
            "socket",
            "--tpm2",
            "--tpmstate",
            f"dir={state}",
            "--ctrl",
            f"type=unixio,path={path}",
        ],
        preexec_fn=closing(numbers),  # noqa: PLW1509 - this process has no threads then
    ) as process:
        try:
            deadline = time.monotonic() + LIMIT
            while not path.is_socket():
                assert process.poll() is None
                assert time.monotonic() < deadline, "no control socket"
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(LIMIT)
                client.connect(str(path))
                client.sendall(SHUTDOWN)
                assert client.recv(4) == bytes(4)
            assert process.wait(LIMIT) == 0
        finally:
            process.kill()


@pytest.mark.parametrize("numbers", CLOSED)
@pytest.mark.parametrize("words", [["--print-capabilities"], ["--version"], ["--nonsense"]])
def test_words_to_nobody(programs: Path, numbers: tuple[int, ...], words: list[str]) -> None:
    """What is printed where nobody listens harms nothing; the status is that of success or failure."""
    for program in ("swtpm_setup", "swtpm"):
        interface = ["socket"] if program == "swtpm" else []
        done = subprocess.run(
            [programs / program, *interface, *words],
            preexec_fn=closing(numbers),
            timeout=LIMIT,
            check=False,
            capture_output=True,
        )
        assert done.returncode == (1 if "--nonsense" in words else 0)
        assert b"Traceback" not in done.stdout + done.stderr


def test_signals_ignored(programs: Path, state: Path) -> None:
    """A process whose parent ignores the end of children makes a TPM."""
    done = subprocess.run(
        [programs / "swtpm_setup", "--tpm2", "--tpm-state", state, "--createek"],
        preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN),
        capture_output=True,
        timeout=LIMIT,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")


class TestAuthority:
    """Where the authority of a user is whose environment is another user's"""

    @pytest.fixture(autouse=True)
    def user(self, tmp_path: Path, monkeypatch: Any) -> None:
        """A user without rights or home, and a directory of swtpm's."""
        monkeypatch.delenv("VTPM_AUTHORITY_DIR", raising=False)
        monkeypatch.delenv("XDG_STATE_HOME", raising=False)
        monkeypatch.setenv("HOME", str(a_file(tmp_path / "wrong")))
        monkeypatch.setattr(os, "geteuid", lambda: 54321)
        monkeypatch.setattr(local, "SWTPM_AUTHORITY", tmp_path / "swtpm-localca")

    def test_home(self, tmp_path: Path, monkeypatch: Any) -> None:
        """A home that can be written to has it, and XDG_STATE_HOME goes before."""
        monkeypatch.setenv("HOME", str(tmp_path))
        assert default_directory() == tmp_path / ".local/state/vtpm/authority"
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        assert default_directory() == tmp_path / "state/vtpm/authority"

    def test_directory_of_swtpm(self, tmp_path: Path) -> None:
        """Without a home it is below the directory of swtpm's authority."""
        (tmp_path / "swtpm-localca").mkdir()
        assert default_directory() == tmp_path / "swtpm-localca/vtpm/authority"

    def test_made_before(self, tmp_path: Path, monkeypatch: Any) -> None:
        """One that is there is used, rather than a second one made where that is possible, too."""
        made = tmp_path / "swtpm-localca/vtpm/authority"
        made.mkdir(parents=True)
        (made / "authority.pem").touch()
        monkeypatch.setenv("HOME", str(tmp_path))
        assert default_directory() == made

    def test_nowhere(self, tmp_path: Path, monkeypatch: Any) -> None:
        """Where there is no such place, the error names the variable that gives one."""
        monkeypatch.setattr(local, "SWTPM_AUTHORITY", tmp_path / "wrong/authority")
        with pytest.raises(AuthorityError, match="set VTPM_AUTHORITY_DIR"):
            default_directory()


def test_last_value() -> None:
    """Options are found on command lines that cannot be parsed; the last one counts."""
    assert last_value("--log", ["--nonsense", "--log", "a", "-x", "--log=b"]) == "b"
    assert last_value("--log", ["--logfile", "a"]) is None
    assert last_value("--log", ["x", "--log"]) is None
