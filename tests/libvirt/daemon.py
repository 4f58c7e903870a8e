"""Libvirt by hand: a daemon with directories and processes of its own, beside whatever the machine runs."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from examples.guest.initramfs import program
from examples.guest.processes import ProgramFailedError, command_line

QEMU_USER = "libvirt-qemu"

DIRECTORIES = {
    "etc": "/etc/libvirt",
    "run": "/run/libvirt",
    "lib": "/var/lib/libvirt",
    "cache": "/var/cache/libvirt",
    "log": "/var/log/libvirt",
    "swtpm": "/var/log/swtpm",
    "authority": "/var/lib/swtpm-localca",
}
"""What libvirt reads and writes, and what lies there instead."""

ENVIRONMENT = """
set -e
echo host-{host} >/proc/sys/kernel/hostname
{opened}
for pair in {pairs}; do
    mkdir --parents "${{pair#*=}}"
    mount --bind "{directory}/${{pair%%=*}}" "${{pair#*=}}"
done
mount --bind "{directory}/group" /etc/group
{shared}
libvirtd --config "{directory}/etc/libvirtd.conf" --pid-file "{directory}/libvirtd.pid" &
wait
"""
"""A shell as the first process: it collects the machines that libvirt leaves to it."""

SHARED = """
mkdir --parents /var/lib/libvirt/swtpm
bindfs -o subtype=glusterfs,allow_other "{shared}" /var/lib/libvirt/swtpm
"""
"""A directory as one that libvirt takes for a file system of several hosts, by its type."""

OPENED = """
mkdir --parents "{hold}"
mount --bind "{needed}" "{hold}"
mountpoint --quiet "{closed}" || mount --types tmpfs --options mode=755 tmpfs "{closed}"
mkdir --parents "{needed}"
mount --bind "{hold}" "{needed}"
"""
"""A directory that others may not pass gives way, in these mounts alone, to what is needed below it."""

SETTINGS = """
unix_sock_rw_perms = "0777"
auth_unix_rw = "none"
auth_unix_ro = "none"
log_outputs = "2:file:{directory}/libvirtd.log"
host_uuid = "{host}"
"""

SETTINGS_OF_QEMU = """
stdio_handler = "file"
cgroup_controllers = []
security_driver = "none"
remember_owner = 0
"""
"""The owner of a disk that two of them share is remembered by neither."""

GROUP = "games"
"""A group of every machine, which QEMU's user is in where this libvirt looks, as sysusers.conf has it."""

READY_WITHIN = 30.0


class Libvirt:
    """A running libvirtd."""

    def __init__(self, directory: Path, process: int) -> None:
        self.directory = directory
        self._process = process
        self.uri = f"qemu+unix:///system?socket={directory}/run/libvirt-sock"

    def virsh(self, *words: str, status: int = 0) -> str:
        """Run a command of virsh to its expected end; what it said."""
        command = ["virsh", "--quiet", "--connect", self.uri, *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if bool(done.returncode) is not bool(status):
            raise ProgramFailedError(f"virsh {' '.join(words)}: {done.stderr or done.stdout}\n{self.log()}")
        return (done.stderr if status else done.stdout).strip()

    def enter(self) -> list[str]:
        """The start of a command line that is executed where libvirtd has its mounts."""
        (shell,) = Path(f"/proc/{self._process}/task/{self._process}/children").read_text().split()
        return [str(program("nsenter")), "--target", shell, "--mount", "--uts", "--"]

    def log(self) -> str:
        """What libvirtd complained of."""
        path = self.directory / "libvirtd.log"
        return path.read_text(errors="replace")[-4000:] if path.exists() else ""


@contextmanager
def libvirtd(
    directory: Path,
    programs: Path | None = None,
    host: str = "0" * 8,
    more: Mapping[str, str] = MappingProxyType({}),
    shared: Path | None = None,
) -> Iterator[Libvirt]:
    """
    A libvirtd that finds `programs` first; `host` are eight digits that tell it from others.

    `more` are directories that it and its hooks have besides; `shared` is where the states of emulators are.
    Its mounts and processes end with it: whatever it started is killed by the kernel.
    """
    directories = {**DIRECTORIES, **more}
    for name in directories:
        (directory / name).mkdir(mode=0o755, parents=True, exist_ok=True)
    if not (directory / "etc/libvirtd.conf").exists():
        prepare(directory, f"{host}-1c2d-4a3b-8f00-5a5a5a5a5a5a")
    pairs = " ".join(f"{name}={path}" for name, path in directories.items())
    opened = opening_of(directory) if programs else ""
    mount = "" if shared is None else SHARED.format(shared=shared)
    shell = ENVIRONMENT.format(pairs=pairs, directory=directory, opened=opened, host=host, shared=mount)
    home = directory / "home"  # as root's, which libvirt's emulators inherit and may not read
    home.mkdir(mode=0o700, exist_ok=True)
    path = os.pathsep.join(map(str, [*([programs] if programs else []), "/usr/sbin:/usr/bin:/sbin:/bin"]))
    words = [
        "--mount",
        "--uts",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "--",
        "/bin/sh",
        "-c",
        shell,
    ]
    with (
        (directory / "libvirtd.out").open("ab") as output,
        subprocess.Popen(
            command_line("unshare", *words),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={"PATH": path, "HOME": str(home), "LANG": "C.UTF-8"},
        ) as process,
    ):
        try:
            found = Libvirt(directory, process.pid)
            wait_until_ready(found, process)
            yield found
        finally:
            process.kill()  # it takes no other signal, and its child ends with it


def opening_of(directory: Path) -> str:
    """What makes this project and its Python accessible to the user that libvirt runs emulators as."""
    script = ""
    for number, needed in enumerate({Path(sys.prefix), Path(sys.base_prefix), Path(__file__).parents[2]}):
        above = [path for path in reversed(needed.parents) if not path.stat().st_mode & 0o001]
        if above:
            script += OPENED.format(hold=directory / f"held{number}", needed=needed, closed=above[0])
    return script


def prepare(directory: Path, host: str) -> None:
    """The files that libvirt expects of its package."""
    qemu = directory / "lib/qemu"
    qemu.mkdir(mode=0o750)
    shutil.chown(qemu, QEMU_USER, QEMU_USER)
    shutil.chown(directory / "authority", "tss", "tss")
    (directory / "lib").chmod(0o711)
    (directory / "swtpm/libvirt/qemu").mkdir(mode=0o730, parents=True)
    groups = Path("/etc/group").read_text()
    added = re.sub(rf"^({GROUP}:.*:)(.*)$", rf"\1\2,{QEMU_USER}", groups, flags=re.MULTILINE)
    (directory / "group").write_text(added.replace(":,", ":"))
    (directory / "etc/libvirtd.conf").write_text(SETTINGS.format(directory=directory, host=host))
    (directory / "etc/qemu.conf").write_text(SETTINGS_OF_QEMU)


def wait_until_ready(libvirt: Libvirt, process: subprocess.Popen[bytes]) -> None:
    """Wait until libvirtd answers; ProgramFailedError with what it said if it does not."""
    deadline = time.monotonic() + READY_WITHIN
    while True:
        try:
            libvirt.virsh("uri")
        except ProgramFailedError:
            said = (libvirt.directory / "libvirtd.out").read_text(errors="replace")
            if process.poll() is not None or time.monotonic() > deadline:
                raise ProgramFailedError(f"libvirtd does not answer: {said}{libvirt.log()}") from None
            time.sleep(0.05)
        else:
            return
