"""A machine that boots as installed ones do: firmware with Secure Boot, shim, grub, signed kernel."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from examples.guest.machine import Machine, kernel

FIRMWARE = tuple(
    (Path(f"/usr/share/OVMF/OVMF_CODE{size}.ms.fd"), Path(f"/usr/share/OVMF/OVMF_VARS{size}.ms.fd"))
    for size in ("_4M", "")
)
"""OVMF that has Microsoft's keys enrolled, so that Secure Boot is on."""

LOADERS = {
    "usr/lib/shim/shimx64.efi.signed": "EFI/BOOT/BOOTX64.EFI",
    "usr/lib/shim/mmx64.efi.signed": "EFI/BOOT/mmx64.efi",
    "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed": "EFI/BOOT/grubx64.efi",
}
"""Debian's files, and where a system partition has them."""

CONFIGURATION = """set timeout=0
serial --unit=0 --speed=115200
terminal_output serial
search --file --set=root /vmlinuz
linux /vmlinuz {command_line}
initrd /initrd
boot
"""


def firmware() -> tuple[Path, Path]:
    """Code and variables of the firmware; FileNotFoundError with the remedy."""
    for code, variables in FIRMWARE:
        if code.exists() and variables.exists():
            return code, variables
    raise FileNotFoundError("no OVMF with Microsoft's keys in /usr/share/OVMF; install Debian's package ovmf")


def loaders() -> dict[Path, str]:
    """
    Debian's signed boot loaders, installed or unpacked into the cache by .ci/setup, and their places.

    Raises FileNotFoundError with the remedy.
    """
    cached = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vtpm/secure-boot"
    for root in (Path("/"), cached):
        if all((root / name).exists() for name in LOADERS):
            return {root / name: place for name, place in LOADERS.items()}
    raise FileNotFoundError(f"no signed shim and grub in /usr/lib or {cached}; run .ci/setup --conformance")


def make_system_partition(directory: Path, initrd: Path, command_line: str) -> Path:
    """A directory with the files of an EFI system partition, which QEMU shows to a guest as a disk."""
    partition = directory / "system-partition"
    shutil.rmtree(partition, ignore_errors=True)
    files = loaders() | {kernel(): "vmlinuz", initrd: "initrd"}
    for source, place in files.items():
        (partition / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, partition / place)
    configuration = partition / "EFI/debian/grub.cfg"
    configuration.parent.mkdir()
    configuration.write_text(CONFIGURATION.format(command_line=command_line))
    return partition


@dataclass(frozen=True)
class SecureMachine(Machine):
    """A machine whose firmware checks what it starts, which is not the kernel but its boot loader."""

    memory: int = 1024

    def _chipset(self) -> str:
        return "q35,smm=on"

    def _firmware_arguments(self) -> list[str | Path]:
        return [*("-global", "driver=cfi.pflash01,property=secure,value=on"), *self.flash(*firmware())]

    def _kernel_arguments(self, initrd: Path) -> list[str | Path]:
        partition = make_system_partition(self.directory, initrd, self.kernel_command_line())
        return [
            *("-drive", f"if=none,id=system,format=raw,readonly=on,file=fat:{partition}"),
            *("-device", "virtio-blk-pci,drive=system,bootindex=0"),
        ]
