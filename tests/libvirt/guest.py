"""A domain whose guest executes what the test sends it, and how the test talks to it."""

import base64
import re
import shutil
import socket
import time
from pathlib import Path
from uuid import UUID

from examples.guest.initramfs import with_job
from examples.guest.machine import kernel
from examples.guest.processes import ProgramFailedError

JOB = """
stty -F /dev/ttyS1 -echo
exec 4</dev/ttyS1
while read -r name line <&4; do
    out=$(eval "$line" 2>&1)
    report "$name" "$? $out"
done
"""

DEFINITION = """<domain type='qemu'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <memory unit='MiB'>256</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>{directory}/kernel</kernel>
    <initrd>{directory}/initramfs</initrd>
    <cmdline>console=ttyS0 quiet panic=-1</cmdline>
  </os>
  <features><acpi/></features>
  <on_reboot>restart</on_reboot>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='{directory}/disk.qcow2'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <controller type='usb' model='none'/>
    <serial type='file'><source path='{place}/console.log'/><target port='0'/></serial>
    <serial type='unix'><source mode='bind' path='{place}/control'/><target port='1'/></serial>
    <memballoon model='none'/>
    {tpm}
  </devices>
</domain>
"""

ANSWER = re.compile(rb"finding (\S+) ([A-Za-z0-9+/]*=*)\r?\n")
BOOTED_WITHIN = 90.0
ANSWERED_WITHIN = 60.0
ASKED_AGAIN = 0.5
"""Seconds after which a guest that may still boot is asked again."""


class GuestSilentError(ProgramFailedError):
    """The guest did not answer in time; the message carries the end of its console."""


def prepare_guest(directory: Path) -> None:
    """What a guest boots from, where libvirt may hand it to QEMU's user."""
    directory.mkdir(mode=0o755)
    shutil.chown(directory, "libvirt-qemu", "libvirt-qemu")
    shutil.copy(kernel(), directory / "kernel")
    (directory / "initramfs").write_bytes(with_job(JOB))


class Guest:
    """The guest of a domain: one command after the other, each with what it printed."""

    def __init__(self, directory: Path, place: str = "") -> None:
        self.directory = self.seen = directory
        """`seen` is where the test sees the console and the control socket, which QEMU has in `place`."""
        self._place = place or str(directory)
        self._count = 0
        self._socket: socket.socket | None = None
        self._received = b""

    def definition(self, name: str, uuid: UUID, tpm: str = "") -> str:
        """The definition of its domain."""
        return DEFINITION.format(name=name, uuid=uuid, directory=self.directory, place=self._place, tpm=tpm)

    def wait_until_booted(self, limit: float = BOOTED_WITHIN) -> None:
        """Wait until the guest, of a new or an earlier run of its domain, does what it is told."""
        self.disconnect()
        deadline = time.monotonic() + limit
        while not self._ask("true", ASKED_AGAIN):
            if time.monotonic() > deadline:
                raise GuestSilentError(f"the guest does not boot:\n{self.console()}")

    def run(self, command: str) -> str:
        """What a command printed in the guest; GuestSilentError if it failed there, or did not end."""
        answer = self._ask(command, ANSWERED_WITHIN)
        if answer is None:
            raise GuestSilentError(f"no answer to {command!r}:\n{self.console()}")
        status, _, said = answer.partition(" ")
        if status != "0":
            raise GuestSilentError(f"{command!r} ended with {status}: {said}")
        return said.strip()

    def send(self, command: str) -> None:
        """Have a command executed that may never end."""
        self._send(command)

    def disconnect(self) -> None:
        """Forget the connection, which does not outlive QEMU's process."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self._received = None, b""

    def console(self) -> str:
        """The end of the console."""
        path = self.seen / "console.log"
        return path.read_text(errors="replace")[-2000:] if path.exists() else ""

    def _send(self, command: str) -> str:
        self._count += 1
        name = f"a{self._count}"
        if self._socket is None:
            sock = socket.socket(socket.AF_UNIX)
            try:
                sock.connect(str(self.seen / "control"))
            except OSError:
                sock.close()
                raise
            self._socket = sock
        self._socket.sendall(f"{name} {command}\n".encode())
        return name

    def _ask(self, command: str, limit: float) -> str | None:
        """The status and the output of a command; None if it has not ended in time."""
        deadline = time.monotonic() + limit
        try:
            name = self._send(command)
            assert self._socket is not None
            while (left := deadline - time.monotonic()) > 0:
                self._socket.settimeout(left)
                part = self._socket.recv(1 << 16)
                if not part:
                    break
                self._received += part
                for found in ANSWER.finditer(self._received):
                    if found[1].decode() == name:
                        return base64.b64decode(found[2]).decode(errors="replace")
        except TimeoutError:
            return None
        except OSError:
            pass
        self.disconnect()
        time.sleep(max(0.0, min(ASKED_AGAIN, deadline - time.monotonic())))
        return None
