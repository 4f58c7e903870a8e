"""A virtual machine that boots, runs one job and powers off."""

import base64
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from pathlib import Path

from examples.guest import initramfs
from examples.guest.processes import ProgramFailedError, command_line, end

QEMU = "qemu-system-x86_64"
FINDING = re.compile(rb"finding ([a-z0-9_]+) ([A-Za-z0-9+/]*=*)")
ESCAPE_SEQUENCE = re.compile(r"\x1b\[[0-9;=?]*[A-Za-z]")
FIRMWARE_DIRECTORY = Path("/usr/share/OVMF")


class Firmware(Enum):
    """What runs before the kernel, and measures it."""

    SEABIOS = "SeaBIOS"
    OVMF = "OVMF"


class TpmDevice(Enum):
    """The guest's interface to its TPM: FIFO registers, or command and response buffers."""

    TIS = "tpm-tis"
    CRB = "tpm-crb"


class GuestError(ProgramFailedError):
    """The guest did not reach the end of its job; the message carries the end of its console."""


@dataclass
class Run:
    """What a guest told before it powered off."""

    findings: dict[str, bytes] = field(default_factory=dict)
    seconds_to_userspace: float = 0.0
    seconds: float = 0.0

    def text(self, name: str) -> str:
        """A finding that is text, without the blanks around it."""
        return self.findings[name].decode().strip()


@cache
def kernel() -> Path:
    """
    The newest of Debian's cloud kernels that is installed, or that .ci/setup unpacked into the cache.

    Raises FileNotFoundError with the remedy.
    """
    cached = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vtpm/kernel/boot"
    for directory in (Path("/boot"), cached):
        found = [path for path in directory.glob("vmlinuz-*-cloud-amd64") if os.access(path, os.R_OK)]
        if found:
            return max(found, key=lambda path: [int(number) for number in re.findall(r"\d+", path.name)])
    raise FileNotFoundError(f"no kernel for the guest in /boot or {cached}; run .ci/setup")


def _ovmf() -> tuple[Path, Path]:
    # The smaller build boots two seconds sooner under emulation; Debian 13 has the larger one alone.
    for size in ("", "_4M"):
        code, variables = (FIRMWARE_DIRECTORY / f"OVMF_{part}{size}.fd" for part in ("CODE", "VARS"))
        if code.exists() and variables.exists():
            return code, variables
    raise FileNotFoundError(f"no OVMF firmware in {FIRMWARE_DIRECTORY}; run .ci/setup")


@dataclass(frozen=True)
class Machine:
    """A virtual machine whose files are in a directory of its own."""

    directory: Path
    firmware: Firmware = Firmware.SEABIOS
    device: TpmDevice = TpmDevice.CRB
    accelerator: str = "tcg"
    additions: tuple[bytes, ...] = field(default=(), repr=False)
    """Archives with what the guest needs besides tpm2-tools."""
    disk: Path | None = None
    """The image of a disk, /dev/nvme0n1, whose driver is built into the kernel."""
    parameters: str = ""
    """What the kernel's command line says besides."""
    memory: int = 512
    """MiB."""

    def boot(
        self, job: str, tpm: Path | None, limit: float, on_finding: Callable[[str, bytes], None] | None = None
    ) -> Run:
        """
        Boot with the TPM of a control socket, run a shell script, power off; `limit` is in seconds.

        `on_finding` hears of each finding when the guest reports it.
        Raises GuestError when the guest or the job fails, or at the limit.
        """
        initrd = self.directory / "initramfs"
        initrd.write_bytes(initramfs.with_job(job, *self.additions))
        began = time.monotonic()
        run = Run()
        with (
            (self.directory / "qemu.log").open("wb") as log,
            subprocess.Popen(
                command_line(QEMU, *self._arguments(initrd, tpm)),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            ) as process,
        ):
            timer = threading.Timer(limit, process.kill)
            timer.start()
            try:
                self._listen(process, began, run, on_finding)
                process.wait()
            finally:
                timer.cancel()
                end(process)
        run.seconds = time.monotonic() - began
        self._check(process, run, limit)
        return run

    def power_on(self, tpm: Path, limit: float = 20.0) -> str:
        """Power the machine on, execute nothing and end; what QEMU complained of, or nothing."""
        done = subprocess.run(
            command_line(QEMU, *self._arguments(None, tpm), "-S", "-monitor", "stdio"),
            input=b"quit\n",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=limit,
            check=False,
        )
        return done.stderr.decode(errors="replace").strip()

    def _listen(
        self,
        process: subprocess.Popen[bytes],
        began: float,
        run: Run,
        on_finding: Callable[[str, bytes], None] | None,
    ) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            match = FINDING.fullmatch(line.rstrip(b"\r\n"))
            if match is None:
                continue
            name = match[1].decode()
            run.findings[name] = base64.b64decode(match[2])
            if name == "userspace":
                run.seconds_to_userspace = time.monotonic() - began
            if on_finding is not None:
                on_finding(name, run.findings[name])

    def _check(self, process: subprocess.Popen[bytes], run: Run, limit: float) -> None:
        if process.returncode == 0 and run.findings.get("exit_status") == b"0":
            return
        logs = [self.directory / name for name in ("qemu.log", "console.log")]
        said = "".join(log.read_text(errors="replace")[-2000:] for log in logs if log.exists())
        said = ESCAPE_SEQUENCE.sub("", said)
        what = (
            f"was killed after {limit:.0f} s" if run.seconds >= limit else f"ended with {process.returncode}"
        )
        raise GuestError(f"the guest {what}, its job with {run.findings.get('exit_status')!r}:\n{said}")

    def _arguments(self, initrd: Path | None, tpm: Path | None) -> list[str | Path]:
        arguments: list[str | Path] = [
            *("-machine", f"{self._chipset()},accel={self.accelerator}", "-m", str(self.memory)),
            *("-nodefaults", "-display", "none", "-no-reboot"),
            *self._firmware_arguments(),
        ]
        if initrd is not None:
            arguments += ["-serial", f"file:{self.directory}/console.log", "-serial", "stdio"]
            arguments += self._kernel_arguments(initrd)
        if self.disk is not None:
            arguments += ["-drive", f"if=none,id=disk,format=raw,file={self.disk}"]
            arguments += ["-device", "nvme,drive=disk,serial=1"]
        if tpm is not None:
            arguments += [
                "-chardev",
                f"socket,id=control,path={tpm}",
                "-tpmdev",
                "emulator,id=tpm,chardev=control",
            ]
            arguments += ["-device", f"{self.device.value},tpmdev=tpm"]
        return arguments

    def _chipset(self) -> str:
        return "q35"

    def _firmware_arguments(self) -> list[str | Path]:
        return [] if self.firmware is Firmware.SEABIOS else self.flash(*_ovmf())

    def _kernel_arguments(self, initrd: Path) -> list[str | Path]:
        """QEMU hands the kernel to the firmware."""
        return ["-kernel", kernel(), "-initrd", initrd, "-append", self.kernel_command_line()]

    def kernel_command_line(self) -> str:
        """What the kernel is told."""
        return f"console=ttyS0 quiet panic=-1 {self.parameters}".strip()

    def flash(self, code: Path, variables: Path) -> list[str | Path]:
        """Firmware in flash memory, with variables of this machine's own."""
        copy = self.directory / "firmware-variables"
        if not copy.exists():
            shutil.copy(variables, copy)
        return [
            *("-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={code}"),
            *("-drive", f"if=pflash,format=raw,unit=1,file={copy}"),
        ]


def _has_virtualization() -> bool:
    return re.search(r"^flags\s*:.* (vmx|svm)\b", Path("/proc/cpuinfo").read_text(), re.MULTILINE) is not None


def choose_accelerator(directory: Path) -> str:
    """KVM where a guest really runs under it, which an openable /dev/kvm does not prove; else emulation."""
    if not (os.access("/dev/kvm", os.R_OK | os.W_OK) and _has_virtualization()):
        return "tcg"
    try:
        Machine(directory, accelerator="kvm").boot("true", None, limit=5)
    except GuestError:
        return "tcg"
    return "kvm"
