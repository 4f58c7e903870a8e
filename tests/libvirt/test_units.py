"""The units of examples/systemd: what systemd says of them, and that they deny nothing that is needed."""

import contextlib
import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from examples.guest.processes import end, wait_for_socket

pytestmark = pytest.mark.libvirt

UNITS = Path(__file__).parents[2] / "examples/systemd"
VTPM = Path(sys.executable).with_name("vtpm")
PR_SET_MDWE = 65
"""Linux, include/uapi/linux/prctl.h: what MemoryDenyWriteExecute= uses where the kernel has it."""

INIT = bytes.fromhex("0000000200000000")
SHUTDOWN = bytes.fromhex("00000003")
STARTUP = bytes.fromhex("80010000000c000001440000")
GET_RANDOM = bytes.fromhex("80010000000c0000017b0010")


def run(*words: str | Path) -> str:
    """What a program of systemd's said; it must end well."""
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed; run .ci/setup --libvirt")
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units, for the program where it is here."""
    for unit in (*UNITS.glob("*.service"), *UNITS.glob("*.socket")):
        (tmp_path / unit.name).write_text(unit.read_text().replace("/opt/vtpm/bin/vtpm", str(VTPM)))
    return tmp_path


def test_verify(units: Path) -> None:
    """Systemd knows every setting, and finds the programs."""
    shutil.copy(units / "vtpm-vm@.socket", units / "vtpm-vm@guest.socket")
    names = [units / name for name in ("vtpm.socket", "vtpm-vm@guest.socket")]
    run("systemd-analyze", "verify", *units.glob("*.service"), *names)


@pytest.mark.parametrize(("unit", "exposure"), [("vtpm.service", 10), ("vtpm-libvirt.service", 20)])
def test_exposure(units: Path, unit: str, exposure: int) -> None:
    """The services are confined, by systemd's own measure, in tenths of 10."""
    run("systemd-analyze", "security", "--offline=true", f"--threshold={exposure}", units / unit)


def test_users(tmp_path: Path) -> None:
    """The daemon gets a user, its directories, and QEMU's user its group."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(
        "root:x:0:0::/root:/bin/sh\nlibvirt-qemu:x:64055:64055::/:/bin/false\n"
    )
    (tmp_path / "etc/group").write_text("root:x:0:\nlibvirt-qemu:x:64055:\n")

    run("systemd-sysusers", f"--root={tmp_path}", UNITS / "sysusers.conf")
    user = re.search(r"^vtpm:x:(\d+):(\d+):", (tmp_path / "etc/passwd").read_text(), re.MULTILINE)
    assert user is not None
    assert f"vtpm:x:{user[2]}:libvirt-qemu\n" in (tmp_path / "etc/group").read_text()

    run("systemd-tmpfiles", "--create", f"--root={tmp_path}", UNITS / "tmpfiles.conf")
    for name, mode in (("run/vtpm", 0o711), ("var/lib/vtpm", 0o700)):
        facts = (tmp_path / name).stat()
        assert (facts.st_mode & 0o777, facts.st_uid, facts.st_gid) == (mode, int(user[1]), int(user[2]))


def settings(unit: str, name: str) -> list[str]:
    """The values of a setting, in order."""
    return re.findall(rf"^{name}=(.*)$", (UNITS / unit).read_text(), re.MULTILINE)


def members(group: str) -> set[str]:
    """The system calls of a group, those of groups within it included; of a call, itself."""
    if not group.startswith("@"):
        return {group}
    listing = run("systemd-analyze", "syscall-filter", group).splitlines()
    found = [line.strip() for line in listing[1:] if line.strip() and not line.strip().startswith("#")]
    return set().union(*map(members, found))


def allowed_calls(unit: str) -> set[str]:
    """The system calls that the filters of a unit leave."""
    calls: set[str] = set()
    for line in settings(unit, "SystemCallFilter"):
        named = set().union(*map(members, line.removeprefix("~").split()))
        calls = calls - named if line.startswith("~") else calls | named
    return calls


def deny_write_and_execute() -> None:
    """Let the program that follows have no memory that is both writable and executable."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_MDWE, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "the kernel lacks PR_SET_MDWE")


def exchange(path: Path) -> bytes:
    """Do to a TPM what QEMU does in a short run; the response to GetRandom."""
    ours, theirs = socket.socketpair()
    with socket.socket(socket.AF_UNIX) as control, ours:
        control.settimeout(30)
        ours.settimeout(30)
        control.connect(str(path))
        socket.send_fds(control, [b"\0\0\0\x10"], [theirs.fileno()])
        theirs.close()
        assert control.recv(4) == bytes(4)
        control.sendall(INIT)
        assert control.recv(4) == bytes(4)
        ours.sendall(STARTUP)
        assert ours.recv(100)[6:] == bytes(4)
        ours.sendall(GET_RANDOM)
        response = ours.recv(100)
        control.sendall(SHUTDOWN)
        assert control.recv(4) == bytes(4)
        return response


def test_nothing_needed_is_denied(tmp_path: Path) -> None:
    """The daemon serves, and takes over from another one, with the system calls and memory of its unit."""
    places = ["--state-dir", str(tmp_path / "state"), "--run-dir", str(tmp_path / "run")]
    for words in (["provider", "init", "main"], ["create", "guest", "--bare", "--allow-unverified"]):
        subprocess.run([VTPM, *places, *words], check=True, capture_output=True, timeout=60)
    group = subprocess.run(["id", "-gn"], check=True, capture_output=True, text=True).stdout.strip()
    command = ["strace", "-ff", "-qq", "-o", str(tmp_path / "calls"), str(VTPM), *places, "serve"]
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified,
        (tmp_path / "log").open("wb") as log,
    ):
        notified.bind(str(tmp_path / "notify"))
        notified.settimeout(60)

        def serve(*words: str) -> "subprocess.Popen[bytes]":
            return subprocess.Popen(
                [*command, "--group", group, "--mode", "0660", *words],
                stdout=log,
                stderr=log,
                env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")},
                preexec_fn=deny_write_and_execute,  # noqa: PLW1509 - no thread runs beside this test
            )

        with serve() as process:
            try:
                wait_for_socket(tmp_path / "run/.daemon", process, tmp_path / "log")
                assert notified.recv(100) == b"READY=1"
                response = exchange(tmp_path / "run/guest.sock")
                with serve("--replace", "--background") as starter:
                    assert process.wait(60) == 0
                    told = {notified.recv(100).decode(), notified.recv(100).decode()}
                    (main,) = told - {"READY=1"}
                    assert exchange(tmp_path / "run/guest.sock")[:12] == response[:12]
                    os.kill(int(main.removeprefix("MAINPID=")), signal.SIGTERM)
                    assert starter.wait(60) == 0
            finally:
                with contextlib.suppress(ProcessLookupError):
                    end(process)
    calls = "".join(path.read_text() for path in tmp_path.glob("calls.*"))
    used = set(re.findall(r"^(\w+)\(", calls, re.MULTILINE))

    assert len(response) == 10 + 2 + 16
    assert {"fdatasync", "bind", "prctl", "setsid", "pidfd_open"} <= used
    assert used - allowed_calls("vtpm.service") == set()
