"""The machine that Windows 11 asks for: q35, OVMF with Secure Boot and SMM, tpm-crb, two processors."""

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from examples.guest.processes import command_line, end, wait_for_socket
from examples.guest.secure_boot import firmware

QEMU = "qemu-system-x86_64"
DISK_SIZE = "64G"
LIMIT = 30.0


class Monitor:
    """QEMU's monitor (QMP)."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(LIMIT)
        self._socket.connect(str(path))
        self._stream = self._socket.makefile("rwb")
        self._stream.readline()
        self.execute("qmp_capabilities")

    def execute(self, command: str, **arguments: Any) -> Any:
        """What a command returns."""
        self._stream.write(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        self._stream.flush()
        while True:
            answer = json.loads(self._stream.readline())
            if "error" in answer:
                raise RuntimeError(f"{command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]

    def press(self, key: str) -> None:
        """Press a key and let go of it."""
        self.execute("send-key", keys=[{"type": "qcode", "data": key}])

    def close(self) -> None:
        """Disconnect."""
        self._stream.close()
        self._socket.close()


@dataclass(frozen=True)
class Machine:
    """A machine whose files are in a directory of its own."""

    directory: Path
    tpm: Path
    """The TPM's control socket."""
    accelerator: str = "tcg"
    memory: int = 4096
    """MiB; Windows 11 needs 4096."""
    iso: Path | None = None
    """What Windows is installed from."""
    answers: Path | None = None
    """A directory whose files are on a USB stick."""
    disk: Path | None = None

    @property
    def serial(self) -> Path:
        """What the guest writes to its first serial port."""
        return self.directory / "serial.log"

    @contextmanager
    def running(self) -> Iterator[tuple["subprocess.Popen[bytes]", Monitor]]:
        """The machine while it runs, and its monitor."""
        path, log = self.directory / "monitor", self.directory / "qemu.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command_line(QEMU, *self.arguments(), "-qmp", f"unix:{path},server=on,wait=off"),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            wait_for_socket(path, process, log)
            monitor = Monitor(path)
            try:
                yield process, monitor
            finally:
                monitor.close()
        finally:
            end(process)

    def make_disk(self) -> None:
        """Make the disk, unless there is one."""
        assert self.disk is not None
        if not self.disk.exists():
            program = shutil.which("qemu-img")
            if program is None:
                raise FileNotFoundError("qemu-img is not installed; install Debian's package qemu-utils")
            subprocess.run([program, "create", "-q", "-f", "qcow2", self.disk, DISK_SIZE], check=True)

    def arguments(self) -> list[str]:
        """QEMU's command line; devices are those that Windows has drivers for."""
        code, variables = firmware()
        own = self.directory / "variables.fd"
        if not own.exists():
            shutil.copy(variables, own)
        arguments = [
            *("-machine", f"q35,smm=on,accel={self.accelerator}", "-m", str(self.memory), "-smp", "2"),
            *("-cpu", "host" if self.accelerator == "kvm" else "max"),
            *("-nodefaults", "-display", "none", "-vga", "std", "-rtc", "base=localtime"),
            *("-global", "driver=cfi.pflash01,property=secure,value=on"),
            *("-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={code}"),
            *("-drive", f"if=pflash,format=raw,unit=1,file={own}"),
            *("-chardev", f"socket,id=control,path={self.tpm}"),
            *("-tpmdev", "emulator,id=tpm,chardev=control", "-device", "tpm-crb,tpmdev=tpm"),
            *("-device", "qemu-xhci", "-device", "usb-tablet"),
            *("-serial", f"file:{self.serial}"),
        ]
        if self.disk is not None:
            arguments += ["-drive", f"if=none,id=disk,format=qcow2,file={self.disk}"]
            arguments += ["-device", "ide-hd,drive=disk,bus=ide.0,bootindex=2"]
        if self.iso is not None:
            arguments += ["-drive", f"if=none,id=iso,media=cdrom,readonly=on,format=raw,file={self.iso}"]
            arguments += ["-device", "ide-cd,drive=iso,bus=ide.1,bootindex=1"]
        if self.answers is not None:
            arguments += ["-drive", f"if=none,id=answers,format=raw,readonly=on,file=fat:{self.answers}"]
            arguments += ["-device", "usb-storage,drive=answers,removable=on"]
        return arguments
