"""A domain with a TPM behind it, and what its guest has put into that TPM."""

import base64
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from examples.guest.processes import server
from tests.libvirt.daemon import QEMU_USER, Libvirt
from tests.libvirt.guest import Guest, prepare_guest

VTPM = Path(sys.executable).with_name("vtpm")
EVENTUALLY = 60.0
INDEX = "0x1500016"
PCR = "sha256:16"
DIGEST = "5a" * 32
ROAMING = "/run/libvirt/guest"
"""Where QEMU has the sockets of a guest that may migrate: each libvirt has its own there."""


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Wait until something is so; AssertionError if it does not become so."""
    deadline = time.monotonic() + EVENTUALLY
    while not condition():
        assert time.monotonic() < deadline, f"not within {EVENTUALLY} s: {what}"
        time.sleep(0.05)


def programs() -> Path:
    """Where this project's programs are that come in swtpm's place."""
    done = subprocess.run([VTPM, "compat-dir"], capture_output=True, text=True, check=True)
    return Path(done.stdout.strip())


def place_of(libvirt: Libvirt) -> Path:
    """Where a test sees `ROAMING` of a libvirt."""
    place = libvirt.directory / "run/guest"
    place.mkdir(exist_ok=True)
    shutil.chown(place, QEMU_USER, QEMU_USER)
    return place


class Vm:
    """One domain, its guest, and how often the guest has counted."""

    def __init__(
        self, libvirt: Libvirt, directory: Path, name: str, tpm: str = "", *, roams: bool = False
    ) -> None:
        self.libvirt, self.name, self.uuid = libvirt, name, uuid.uuid4()
        self.guest = Guest(directory / name, ROAMING if roams else "")
        if roams:
            self.guest.seen = place_of(libvirt)
        prepare_guest(self.guest.directory)
        disk = ["qemu-img", "create", "-q", "-f", "qcow2", str(self.guest.directory / "disk.qcow2"), "16M"]
        subprocess.run(disk, check=True)
        self.file = self.guest.directory / "definition.xml"
        self.file.write_text(self.guest.definition(name, self.uuid, tpm))
        self.count = 0
        self.define()

    def define(self) -> None:
        """Define it, at first and after it was undefined."""
        self.libvirt.virsh("define", str(self.file))

    def migrate(self, target: Libvirt, *options: str, status: int = 0) -> str:
        """Migrate it while it runs; what virsh says. The test follows it if that succeeds."""
        words = ["--live", "--persistent", "--unsafe", "--migrateuri", "tcp://127.0.0.1", *options]
        place = place_of(target)
        said = self.libvirt.virsh("migrate", *words, self.name, target.uri, status=status)
        if not status:
            self.guest.disconnect()
            self.libvirt, self.guest.seen = target, place
        return said

    def state(self) -> str:
        """What libvirt says that it does."""
        return self.libvirt.virsh("domstate", self.name)

    def start(self) -> None:
        """Start it, and wait until its guest does what it is told."""
        self.libvirt.virsh("start", self.name)
        self.guest.wait_until_booted()

    def power_off(self) -> None:
        """Have the guest power itself off."""
        self.guest.send("poweroff -f")
        self.wait_until_off()

    def destroy(self) -> None:
        """Take its power away."""
        self.libvirt.virsh("destroy", self.name)
        self.guest.disconnect()

    def wait_until_off(self) -> None:
        """Wait until libvirt has seen its end."""
        wait_for(lambda: self.state() == "shut off", f"{self.name} is off")
        self.guest.disconnect()

    def kill(self) -> None:
        """Kill QEMU, as the kernel does that is out of memory."""
        os.kill(self.process(), signal.SIGKILL)
        self.wait_until_off()

    def process(self, program: str = "qemu-system-x86_64") -> int:
        """The process of QEMU, or of its emulator, which may be a script."""
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = path.read_bytes()
            except OSError:
                continue
            first = {word.rpartition(b"/")[2] for word in line.split(b"\0")[:3]}
            if program.encode() in first and str(self.uuid).encode() in line:
                return int(path.parent.name)
        raise AssertionError(f"{self.name} has no process of {program}")

    def begin_to_count(self) -> None:
        """Define the NV counter, whose value must never get lost."""
        attributes = "ownerread|ownerwrite|authread|authwrite|nt=0x1"
        self.guest.run(f"tpm2_nvdefine -Q -C o -s 8 -a '{attributes}' {INDEX}")
        self.increment()

    def increment(self) -> None:
        """Count once, which is durable when the guest has its answer."""
        self.guest.run(f"tpm2_nvincrement -Q -C o {INDEX}")
        self.count = self.counted()

    def counted(self) -> int:
        """The counter, as the guest reads it."""
        return int.from_bytes(base64.b64decode(self.guest.run(f"tpm2_nvread -C o -s 8 {INDEX} | base64")))

    def extend(self) -> None:
        """Measure something into a PCR that firmware and kernel leave alone."""
        self.guest.run(f"tpm2_pcrextend 16:sha256={DIGEST}")

    def pcr(self) -> bytes:
        """That PCR."""
        said = self.guest.run(f"tpm2_pcrread -Q -o /tmp/pcr {PCR} && base64 /tmp/pcr")
        return base64.b64decode(said)


class Tpms:
    """An installation of `vtpm`, whose daemon can be ended and started again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(mode=0o711, exist_ok=True)
        self.run_dir = directory / "run"
        self.command = [
            str(VTPM),
            "--state-dir",
            str(directory / "state"),
            "--run-dir",
            str(directory / "run"),
        ]
        self._daemon = ExitStack()
        self.process: subprocess.Popen[bytes] | None = None

    def run(self, *words: str, status: int = 0, output: bool = False) -> str:
        """Run a command to its expected end; what it said, or printed if `output`."""
        command = [*self.command, *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr if status and not output else done.stdout

    def serve(self, *access: str) -> None:
        """Start the daemon; when it answers, its sockets are there, and QEMU's user may connect to them."""
        program, *words = self.command
        words += ["serve", *(access or ("--owner", QEMU_USER))]
        self.process = self._daemon.enter_context(
            server(self.directory, self.run_dir / ".daemon", Path(program), *words)
        )
        self.run("list")

    def replace(self) -> None:
        """Have another daemon take over, as for an update."""
        old = self.process
        assert old is not None
        self.serve("--owner", QEMU_USER, "--replace")
        assert old.wait(60) == 0

    def end(self) -> None:
        """End the daemon in order."""
        self._daemon.close()

    def kill(self) -> None:
        """Kill the daemon."""
        assert self.process is not None
        self.process.kill()
        self._daemon.close()

    def is_connected(self, name: str) -> bool:
        """Is QEMU connected to the TPM of a VM?"""
        return '"connected": true' in self.run("show", name, "--json")

    def reverts(self) -> list[str]:
        """The audit log's lines of reverts."""
        return [line for line in self.run("audit", "show").splitlines() if "  revert: " in line]


@contextmanager
def serving(directory: Path) -> Iterator[Tpms]:
    """An installation with its daemon."""
    tpms = Tpms(directory)
    tpms.run("provider", "init", "main")
    tpms.serve()
    try:
        yield tpms
    finally:
        tpms.end()
