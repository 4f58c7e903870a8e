"""`swtpm` as programs start it: vtpm/compat/swtpm.py."""

import json
import os
import pwd
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from vtpm.compat.directory import make_directory
from vtpm.daemon.sockets import listen_tcp_pair, port_of

pytestmark = pytest.mark.slow

LIMIT = 20.0
STARTUP = bytes.fromhex("80010000000c000001440000")
GET_RANDOM = bytes.fromhex("80010000000c0000017b0008")


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The entry point."""
    return make_directory([tmp_path_factory.mktemp("compat")]) / "swtpm"


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        yield Path(name)


@contextmanager
def running(program: Path, *words: object, **options: object) -> Iterator["subprocess.Popen[bytes]"]:
    """A process of `swtpm socket`."""
    command = [str(program), "socket", "--tpm2", *map(str, words)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, **options) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.kill()


def connect_unix(path: Path) -> socket.socket:
    """Connect as soon as the socket is there."""
    deadline = time.monotonic() + LIMIT
    while True:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(LIMIT)
        try:
            sock.connect(str(path))
        except OSError:
            sock.close()
            assert time.monotonic() < deadline, f"no socket at {path}"
        else:
            return sock


def ask(sock: socket.socket, octets: str | bytes, count: int = 4) -> bytes:
    """A request and so many octets of its response."""
    sock.sendall(bytes.fromhex(octets) if isinstance(octets, str) else octets)
    response = b""
    while len(response) < count and (part := sock.recv(count - len(response))):
        response += part
    return response


def run(program: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run the program to its end."""
    return subprocess.run([program, *words], capture_output=True, text=True, timeout=LIMIT, check=False)


class TestProfile:
    """What a new TPM is: GetCapability (Part 3, 30.2)"""

    def test_algorithms(self, program: Path, place: Path) -> None:
        """After Camellia comes CMAC: as in libtpms 0.9 there is no SHA-3, which not all programs know."""
        ours, theirs = socket.socketpair()
        words = ["--server", f"type=tcp,fd={theirs.fileno()}", "--tpmstate", f"dir={place}"]
        flags = ["--flags", "not-need-init,startup-clear"]
        with ours, theirs, running(program, *words, *flags, pass_fds=[theirs.fileno()]):
            ours.settimeout(LIMIT)
            response = ask(ours, "8001000000160000017a 00000000 00000026 00000002", 31)
        assert [response[19:21].hex(), response[25:27].hex()] == ["0026", "003f"]

    def test_key_sizes(self, program: Path) -> None:
        """The sizes of RSA keys that are announced are those of the profile."""
        told = json.loads(run(program, "socket", "--tpm2", "--print-capabilities").stdout)
        sizes = [feature for feature in told["features"] if feature.startswith("rsa-keysize-")]
        assert sizes == [f"rsa-keysize-{size}" for size in (1024, 2048, 3072)]


class TestSocket:
    """The forms of the sockets"""

    def test_unix(self, program: Path, place: Path) -> None:
        """As libvirt starts it: QEMU passes the data channel, and SHUTDOWN ends the process."""
        path = place / "s"
        options = ["--tpmstate", f"dir={place}/state", "--ctrl", f"type=unixio,path={path},mode=0600"]
        with running(program, *options, "--terminate") as process, connect_unix(path) as control:
            assert path.stat().st_mode & 0o777 == 0o600
            ours, theirs = socket.socketpair()
            with ours, theirs:
                ours.settimeout(LIMIT)
                socket.send_fds(control, [bytes.fromhex("00000010")], [theirs.fileno()])
                assert control.recv(4) == bytes(4)
                assert ask(control, "0000000200000000") == bytes(4)
                assert ask(ours, STARTUP, 10)[6:] == bytes(4)
                assert ask(control, "00000003") == bytes(4)
                assert process.wait(LIMIT) == 0
        assert not path.exists()

    def test_tcp(self, program: Path, place: Path) -> None:
        """As test suites start it: ports, no INIT; a bare connection does no harm; SIGTERM ends it with 0."""
        data, control = listen_tcp_pair(0)
        port = port_of(data)
        data.close()
        control.close()
        options = ["--server", f"port={port}", "--ctrl", f"type=tcp,port={port + 1}"]
        with running(program, *options, "--tpmstate", f"dir={place}", "--flags", "not-need-init") as process:
            for _ in range(2):
                for number in (port, port + 1):
                    connect_tcp(number).close()
            with connect_tcp(port) as sock:
                assert ask(sock, STARTUP, 10)[6:] == bytes(4)
                assert len(ask(sock, bytes.fromhex("00000008000000000c") + GET_RANDOM, 28)) == 28
            process.send_signal(signal.SIGTERM)
            assert process.wait(LIMIT) == 0

    def test_passed(self, program: Path, place: Path) -> None:
        """As swtpm_setup starts it: both channels are passed, and the TPM is started."""
        pairs = [socket.socketpair() for _ in range(2)]
        (control, theirs_control), (data, theirs_data) = pairs
        descriptors = (theirs_control.fileno(), theirs_data.fileno())
        words = [
            "--ctrl",
            f"type=unixio,clientfd={descriptors[0]}",
            "--server",
            f"type=tcp,fd={descriptors[1]}",
        ]
        flags = ["--flags", "not-need-init,startup-clear", "--tpmstate", f"backend-uri=dir://{place}"]
        with running(program, *words, *flags, pass_fds=descriptors) as process:
            theirs_control.close()
            theirs_data.close()
            control.settimeout(LIMIT)
            data.settimeout(LIMIT)
            assert ask(data, GET_RANDOM, 20)[6:10] == bytes(4)
            assert ask(control, "00000003") == bytes(4)
            assert process.wait(LIMIT) == 0
        control.close()
        data.close()


def test_nothing_heavy_first() -> None:
    """The sockets are bound before what takes long to load: libvirt waits a second for them."""
    code = "import sys, vtpm.compat.swtpm; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "vtpm" in loaded
    assert not loaded & {"asyncio", "construct", "cryptography", "gmpy2", "nvstore", "uvloop"}


class TestLifetime:
    """Start and end"""

    @pytest.mark.parametrize("words", [["--terminate"], ["--ctrl-terminate"]])
    def test_terminate(self, program: Path, place: Path, words: list[str]) -> None:
        """It ends with the data channel, or with the control channel, if it is told so."""
        by_control = words == ["--ctrl-terminate"]
        path = place / "s"
        control_option = f"type=unixio,path={path}" + (",terminate" if by_control else "")
        options = ["--tpmstate", f"dir={place}", "--ctrl", control_option, *([] if by_control else words)]
        with running(program, *options) as process, connect_unix(path) as control:
            ours, theirs = socket.socketpair()
            socket.send_fds(control, [bytes.fromhex("00000010")], [theirs.fileno()])
            assert control.recv(4) == bytes(4)
            theirs.close()
            (control if by_control else ours).close()
            assert process.wait(LIMIT) == 0
            ours.close()

    def test_daemon(self, program: Path, place: Path) -> None:
        """--daemon returns once the TPM can be used; the pid file names the process, and goes with it."""
        path, pid_file = place / "s", place / "pid"
        words = ["--tpm2", "--tpmstate", f"dir={place}", "--ctrl", f"type=unixio,path={path}"]
        done = run(
            program, "socket", *words, "--daemon", "--pid", f"file={pid_file}", "--log", f"file={place}/log"
        )
        assert done.returncode == 0, done.stderr
        process = int(pid_file.read_text())
        assert Path(f"/proc/{process}/comm").read_text().strip() == "swtpm"
        with connect_unix(path) as control:
            assert ask(control, "0000000f", 8) == bytes(8)
            os.kill(process, signal.SIGTERM)
            assert control.recv(1) == b""
        deadline = time.monotonic() + LIMIT
        while pid_file.exists() or path.exists():
            assert time.monotonic() < deadline

    def test_same_state_again(self, program: Path, place: Path) -> None:
        """A state directory can be used again at once, even after SIGKILL."""
        path = place / "s"
        options = ["--tpmstate", f"dir={place}/state", "--ctrl", f"type=unixio,path={path}"]
        for _ in range(2):
            with running(program, *options) as process, connect_unix(path) as control:
                assert ask(control, "0000000200000000") == bytes(4)
                process.kill()
                process.wait(LIMIT)

    def test_passphrase(self, program: Path, place: Path) -> None:
        """A state that a passphrase seals is not opened by another one."""
        path = place / "s"
        options = ["--tpmstate", f"dir={place}/state", "--ctrl", f"type=unixio,path={path}"]
        expected = {"first passphrase": bytes(4), "other passphrase": bytes.fromhex("00000101")}
        for phrase, answer in expected.items():
            file = place / "phrase"
            file.write_text(phrase)
            file.chmod(0o600)
            key = ["--key", f"pwdfile={file},mode=aes-256-cbc", "--terminate"]
            with running(program, *options, *key) as process, connect_unix(path) as control:
                assert ask(control, "0000000200000000") == answer
                assert ask(control, "0000000f", 8)[4:] == bytes.fromhex("00000001")
                assert ask(control, "00000003") == bytes(4)
                assert process.wait(LIMIT) == 0


class TestMessages:
    """What it prints"""

    def test_capabilities(self, program: Path) -> None:
        """--print-capabilities is the JSON that libvirt reads."""
        told = json.loads(run(program, "socket", "--tpm2", "--print-capabilities").stdout)

        assert told["type"] == "swtpm"
        assert {"tpm-2.0", "cmdarg-pwd-fd", "rsa-keysize-2048"} <= set(told["features"])
        assert "tpm-1.2" not in told["features"]

    @pytest.mark.parametrize("words", [["--version"], ["socket", "--version"]])
    def test_version(self, program: Path, words: list[str]) -> None:
        """--version is one line, as swtpm's."""
        assert re.fullmatch(r"TPM emulator version [\d.]+ \(vtpm\)\n", run(program, *words).stdout)

    @pytest.mark.parametrize("words", [["chardev"], ["socket", "--tpm2", "--chroot", "/"], []])
    def test_refusal(self, program: Path, words: list[str]) -> None:
        """A refusal is one line on standard error, with status 1."""
        done = run(program, *words)

        assert done.returncode == 1
        assert done.stdout == ""
        assert len(done.stderr.splitlines()) == 1

    def test_state_of_swtpm(self, program: Path, place: Path) -> None:
        """A state of swtpm that cannot be read is not replaced by another TPM."""
        (place / "tpm2-00.permall").write_bytes(b"state")
        words = ["--tpm2", "--tpmstate", f"dir={place}", "--server", "type=unixio,path=s"]
        done = run(program, "socket", *words, "--flags", "not-need-init")

        assert done.returncode == 1
        assert "tpm2-00.permall: the file is too short" in done.stderr
        assert not list(place.glob("states/*.state"))

    def test_log(self, program: Path, place: Path) -> None:
        """What keeps the TPM from being started is in the log, which is what libvirt shows."""
        words = ["--tpmstate", f"dir={place}", "--ctrl", f"type=unixio,path={place}/s"]
        log = ["--log", f"file={place}/log"]
        done = run(program, "socket", "--tpm2", *words, *log, "--key", f"pwdfile={place}/none")

        assert done.returncode == 1
        assert f"--key pwdfile={place}/none: No such file" in (place / "log").read_text()

    def test_one_command(self, program: Path, place: Path) -> None:
        """--server disconnect: a connection ends with its first response, and another one can follow."""
        path = place / "d"
        words = ["--tpmstate", f"dir={place}", "--server", f"type=unixio,path={path},disconnect"]
        with running(program, *words, "--flags", "startup-clear"):
            for _ in range(2):
                with connect_unix(path) as data:
                    assert len(ask(data, GET_RANDOM, 100)) == 20

    def test_pcap(self, program: Path, place: Path) -> None:
        """--pcap: commands and responses are written to a private file."""
        path, file = place / "d", place / "p"
        words = [
            "--tpmstate",
            f"dir={place}",
            "--server",
            f"type=unixio,path={path}",
            "--pcap",
            f"file={file}",
        ]
        with running(program, *words, "--flags", "startup-clear"), connect_unix(path) as data:
            response = ask(data, GET_RANDOM, 20)
            assert response in file.read_bytes()
        assert file.stat().st_mode & 0o777 == 0o600

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
    def test_runas(self, place: Path) -> None:
        """--runas: the process is another user's, before its socket is made."""
        place.chmod(0o777)
        program = make_directory([place / "programs"]) / "swtpm"
        path = place / "s"
        words = [
            "--tpmstate",
            f"dir={place}/state",
            "--ctrl",
            f"type=unixio,path={path}",
            "--runas",
            "nobody",
        ]
        nobody = pwd.getpwnam("nobody").pw_uid
        try:
            subprocess.run([program, "--version"], user="nobody", capture_output=True, check=True)
        except (PermissionError, subprocess.CalledProcessError):
            pytest.skip("another user may not read this interpreter")
        with running(program, *words), connect_unix(path) as control:
            assert ask(control, "0000000200000000") == bytes(4)
            assert path.stat().st_uid == nobody


def connect_tcp(port: int) -> socket.socket:
    """Connect to a port as soon as somebody listens."""
    deadline = time.monotonic() + LIMIT
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), LIMIT)
        except OSError:
            assert time.monotonic() < deadline, f"nobody listens at {port}"
