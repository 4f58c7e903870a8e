"""`swtpm_ioctl`: ours and swtpm's own, each with our server and with swtpm's."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from vtpm.compat.arguments import ArgumentError
from vtpm.compat.directory import make_directory
from vtpm.compat.ioctl_arguments import address_of, parse

LIMIT = 30.0
OURS, SWTPM = "ours", "swtpm's"
INFO = '{"TPMSpecification":{"family":"2.0","level":0,"revision":164}}\n'


class Programs:
    """A server that runs in a directory of its own, and the client."""

    def __init__(self, place: Path, server: str, client: str) -> None:
        ours = make_directory([place / "programs"])
        self.place = place
        self.server = self._path(server, "swtpm", ours)
        self.client = self._path(client, "swtpm_ioctl", ours)
        (place / "state").mkdir()
        where = ["--tpmstate", f"dir={place}/state", "--ctrl", f"type=unixio,path={place}/control"]
        self.process = subprocess.Popen([self.server, "socket", "--tpm2", *where], stderr=subprocess.PIPE)
        deadline = time.monotonic() + LIMIT
        while not (place / "control").is_socket():
            assert time.monotonic() < deadline, "no control socket"

    def _path(self, whose: str, name: str, ours: Path) -> str:
        found = shutil.which(name) if whose == SWTPM else str(ours / name)
        if found is None:
            pytest.skip(f"swtpm's own {name} is not installed")
        return found

    def run(self, *words: str, status: int = 0, stdin: bytes = b"") -> str:
        """Run the client to its expected end; what it printed."""
        done = subprocess.run(
            [self.client, *words, "--unix", str(self.place / "control")],
            input=stdin,
            capture_output=True,
            timeout=LIMIT,
            check=False,
        )
        assert done.returncode == status, done.stderr
        assert b"Traceback" not in done.stderr
        return (done.stderr if status else done.stdout).decode()


@pytest.fixture(params=[(OURS, OURS), (OURS, SWTPM), (SWTPM, OURS)], ids=" serves ".join)
def programs(request: pytest.FixtureRequest) -> Iterator[Programs]:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        started = Programs(Path(name), *request.param)
        try:
            yield started
        finally:
            started.process.kill()
            started.process.communicate()


@pytest.mark.slow
class TestPairs:
    """swtpm_ioctl.8, command by command"""

    def test_power(self, programs: Programs) -> None:
        """The TPM is powered on and off; what needs power is refused without; -s ends the process."""
        assert "PTM_GET_TPMESTABLISHED: 0xa" in programs.run("-e", status=1)
        programs.run("-i")
        assert programs.run("-e") == "tpmEstablished is 0\n"
        programs.run("--stop")
        assert "PTM_STORE_VOLATILE: 0xa" in programs.run("-v", status=1)
        programs.run("-s")
        assert programs.process.wait(LIMIT) == 0

    def test_queries(self, programs: Programs) -> None:
        """Capabilities, keys, sizes and the description are printed as scripts expect them."""
        said = programs.run("-c")
        assert said.startswith("ptm capability is 0x")
        assert int(said.split()[-1], 16) & 0xFFFF == 0xFFFF
        assert programs.run("-g") == "ptm configuration flags: 0x0\n"
        sizes = "TPM buffersize: {}\nminimum size  : 2808\nmaximum size  : 4096\n"
        assert programs.run("-b", "0") == sizes.format(4096)
        assert programs.run("-b", "4000") == sizes.format(4000)
        assert programs.run("--info", "1") == INFO
        assert programs.run("--info", "0x3").startswith(INFO.rstrip("}\n"))

    def test_measurement(self, programs: Programs) -> None:
        """A measurement sets the established bit, which only localities 3 and 4 clear."""
        programs.run("-i")
        programs.run("-h", "data")
        assert programs.run("-e") == "tpmEstablished is 1\n"
        assert "PTM_RESET_TPMESTABLISHED: 0x3d" in programs.run("-r", "2", status=1)
        programs.run("-r", "3")
        assert programs.run("-e") == "tpmEstablished is 0\n"
        programs.run("-h", "-", stdin=bytes(9000))
        assert programs.run("-e") == "tpmEstablished is 1\n"
        programs.run("-l", "4")
        programs.run("-C")

    def test_blobs(self, programs: Programs) -> None:
        """Blobs are saved into private files, and loaded while the TPM is off."""
        files = {kind: str(programs.place / kind) for kind in ("permanent", "volatile", "savestate")}
        programs.run("-i")
        for kind, file in files.items():
            programs.run("--save", kind, file)
            assert Path(file).stat().st_mode & 0o777 == 0o600
        assert Path(files["permanent"]).stat().st_size > 1000
        assert Path(files["savestate"]).stat().st_size == 0
        assert "PTM_SET_STATEBLOB: 0xa" in programs.run("--load", "permanent", files["permanent"], status=1)
        programs.run("--stop")
        programs.run("--load", "permanent", files["permanent"])
        programs.run("--load", "volatile", files["volatile"])
        programs.run("-i")
        programs.run("-v")

    def test_absent(self, programs: Programs) -> None:
        """A file that cannot be read, and a server that is gone, are named."""
        assert "/nonexistent" in programs.run("--load", "permanent", "/nonexistent", status=1)
        programs.run("-s")
        assert programs.process.wait(LIMIT) == 0
        assert "onnect" in programs.run("-c", status=1)


@pytest.mark.slow
def test_lock_storage() -> None:
    """The lock on the state can be taken, where the server has that command."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        programs = Programs(Path(name), OURS, OURS)
        try:
            programs.run("--lock-storage", "3")
            assert "TPM emulator control tool" in programs.run("--version")
            assert "--lock-storage" in programs.run("--help")
        finally:
            programs.process.kill()
            programs.process.communicate()


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["-i", "--unix", "s"], ("i", ())),
        (["--unix=s", "--save", "volatile", "file"], ("save", ("volatile", "file"))),
        (["-info", "0x10", "-unix", "s"], ("info", ("0x10",))),
        (["--info=1", "--unix", "s"], ("info", ("1",))),
        (["--unix", "s", "-h", "-"], ("h", ("-",))),
    ],
)
def test_spellings(words: list[str], command: tuple[str, tuple[str, ...]]) -> None:
    """One or two hyphens, and values in the same word or the next."""
    parsed = parse(words)
    assert (parsed.command, parsed.words) == command
    assert parsed.unix == "s"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("host:7", ("host", 7)),
        (":7", ("127.0.0.1", 7)),
        ("host", ("host", 6546)),
        (":", ("127.0.0.1", 6546)),
        ("[::1]:7", ("::1", 7)),
    ],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    """A host, a port, both or neither."""
    assert address_of(text) == address
    assert parse(["-c", "--tcp", text]).tcp == address


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no command"),
        (["-c"], "--unix"),
        (["-c", "-i", "--unix", "s"], "only one command"),
        (["-c", "/dev/vtpm-200"], "/dev/vtpm-200: a device is not supported"),
        (["-c", "--tpm-device", "/dev/vtpm-200"], "/dev/vtpm-200: a device is not supported"),
        (["-c", "--unix", "s", "--tcp", ":7"], "--unix"),
        (["-c=1", "--unix", "s"], "takes no value"),
        (["-q"], "-q is not an option"),
        (["-l", "5", "--unix", "s"], "from 0 to 4"),
        (["-b", "big", "--unix", "s"], "big: give a number"),
        (["--info", "0y", "--unix", "s"], "0y: give a number"),
        (["--save", "volatile", "--unix", "s"], "--save needs a type and a file"),
        (["--load", "state", "file", "--unix", "s"], "--load state"),
        (["-c", "--tcp", "host:port"], "port is not a port"),
        (["-c", "--tcp", ":65536"], "65536 is not a port"),
        (["-l"], "-l needs a value"),
    ],
)
def test_refusals(words: list[str], said: str) -> None:
    """What cannot be obeyed is named."""
    with pytest.raises(ArgumentError) as error:
        parse(words)
    assert said in str(error.value)
