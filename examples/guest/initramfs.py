"""An initramfs with busybox, tpm2-tools and a job to run, built from the programs of this machine."""

import gzip
import re
import shutil
import stat
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path

INIT = Path(__file__).with_name("init.sh")

# The tcti is loaded by name while tpm2 runs, so that no list of linked libraries shows it.
LOADED_AT_RUN_TIME = ("libtss2-tcti-device.so.0",)


class Archive:
    """A cpio archive in the "newc" format (Linux, Documentation/driver-api/early-userspace/buffer-format)."""

    def __init__(self) -> None:
        self._octets = bytearray()
        self._names: set[str] = set()

    def add(self, name: str, content: bytes, mode: int = stat.S_IFREG | 0o755, device: int = 0) -> None:
        """Append one entry, and the directories above it that are not there yet."""
        parent = name.rpartition("/")[0]
        if parent and parent not in self._names:
            self.add(parent, b"", stat.S_IFDIR | 0o755)
        if name in self._names:
            return
        self._names.add(name)
        path = name.encode() + b"\0"
        header = {"inode": len(self._names), "mode": mode, "user": 0, "group": 0, "links": 1, "time": 0}
        header |= {"size": len(content), "device_major": 0, "device_minor": 0}
        header |= {"node_major": device >> 8, "node_minor": device & 0xFF, "name": len(path), "checksum": 0}
        self._append(b"070701" + b"".join(b"%08X" % number for number in header.values()) + path)
        self._append(content)

    def link(self, name: str, target: str) -> None:
        """Append a symbolic link."""
        self.add(name, target.encode(), stat.S_IFLNK | 0o777)

    def _append(self, octets: bytes) -> None:
        self._octets += octets
        self._octets += bytes(-len(self._octets) % 4)

    def octets(self) -> bytes:
        """The archive, closed by its trailer; the kernel reads several of them one after the other."""
        if "TRAILER!!!" not in self._names:
            self.add("TRAILER!!!", b"", 0)
        return bytes(self._octets)


def program(name: str) -> Path:
    """
    The path of a program of this machine.

    Raises FileNotFoundError with the remedy.
    """
    found = shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin")
    if found is None:
        raise FileNotFoundError(f"{name} is not installed; run .ci/setup")
    return Path(found)


def shared_libraries(binary: Path) -> list[Path]:
    """The shared libraries, the loader among them, that a binary is linked with, directly or not."""
    listing = subprocess.run([program("ldd"), binary], capture_output=True, text=True, check=False).stdout
    return [Path(path) for path in re.findall(r"(/\S+) \(0x", listing)]


def library(name: str) -> Path:
    """The path of a shared library of this machine, as the loader's cache has it."""
    listing = subprocess.run([program("ldconfig"), "-p"], capture_output=True, text=True, check=True).stdout
    found = re.search(rf"^\s*{re.escape(name)} \([^)]*\) => (\S+)$", listing, re.MULTILINE)
    if found is None:
        raise FileNotFoundError(f"{name} is not installed; run .ci/setup")
    return Path(found[1])


def _place_in_usr(path: Path) -> str:
    """Where a file goes in a tree in which /bin, /sbin, /lib and /lib64 are links into /usr."""
    name = str(path).lstrip("/")
    return name if name.startswith("usr/") else f"usr/{name}"


@cache
def system() -> bytes:
    """
    The part of the initramfs that is the same for all jobs, compressed.

    Its size decides the time of a boot, in which firmware and kernel hash and unpack it under emulation.
    """
    archive = Archive()
    for directory in ("bin", "sbin", "lib", "lib64"):
        archive.add(f"usr/{directory}", b"", stat.S_IFDIR | 0o755)
        archive.link(directory, f"usr/{directory}")
    for directory in ("dev", "proc", "sys", "tmp", "run"):
        archive.add(directory, b"", stat.S_IFDIR | 0o755)
    archive.add("dev/console", b"", stat.S_IFCHR | 0o600, device=0x0501)
    archive.add("init", INIT.read_bytes())

    busybox, tpm2 = program("busybox"), program("tpm2")
    archive.add("usr/bin/busybox", busybox.read_bytes())
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    for name in applets:
        archive.link(f"usr/bin/{name}", "busybox")
    archive.add("usr/bin/tpm2", tpm2.read_bytes())
    for tool in sorted(tpm2.parent.glob("tpm2_*")):
        archive.link(f"usr/bin/{tool.name}", "tpm2")

    loaded = [library(name) for name in LOADED_AT_RUN_TIME]
    for path in [*loaded, *_closure([busybox, tpm2, *loaded])]:
        archive.add(_place_in_usr(path), path.read_bytes())
    return compressed(archive)


def compressed(archive: Archive) -> bytes:
    """The archive as the kernel unpacks it."""
    return gzip.compress(archive.octets(), compresslevel=6, mtime=0)


@cache
def with_programs(*paths: Path) -> bytes:
    """More programs, and plugins that they load, at the places of this machine, with their libraries."""
    archive = Archive()
    for path in [*paths, *_closure(paths)]:
        archive.add(_place_in_usr(path), path.read_bytes())
    return compressed(archive)


def _closure(binaries: Iterable[Path]) -> list[Path]:
    return sorted({path for binary in binaries for path in shared_libraries(binary)})


def with_job(job: str, *additions: bytes) -> bytes:
    """A whole initramfs, with archives added to it, that runs a shell script and powers off."""
    archive = Archive()
    archive.add("job", job.encode())
    return system() + b"".join(additions) + compressed(archive)
