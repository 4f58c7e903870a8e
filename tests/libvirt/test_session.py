"""A user's own libvirt, and a daemon of the same user: neither needs root (qemu:///session)."""

import json
import shutil
import subprocess
import uuid
from pathlib import Path

import pytest

from tests.libvirt.conftest import check_machine
from tests.libvirt.daemon import opening_of
from tests.libvirt.vm import VTPM, programs

pytestmark = pytest.mark.libvirt

USER = "games"
"""A user of every machine, who has nothing."""

DEFINITION = """<domain type='qemu'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
    {tpm}
  </devices>
</domain>
"""

EMULATED = "<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>"

COMMANDS = """
set -eu
mkdir -p "$XDG_CONFIG_HOME/libvirt"
echo stdio_handler = \\"file\\" >"$XDG_CONFIG_HOME/libvirt/qemu.conf"
libvirtd --daemon
vtpm provider init main
vtpm serve &
until [ -S "$XDG_RUNTIME_DIR/vtpm/.daemon" ]; do sleep 0.1; done
vtpm list
virsh define "$HOME/own.xml"
vtpm attach own --allow-unverified
virsh start own
vtpm status own --json
virsh destroy own
vtpm detach own
vtpm status own
virsh define "$HOME/emulated.xml"
virsh start emulated
virsh managedsave emulated
virsh start emulated
virsh destroy emulated
find "$XDG_CONFIG_HOME/libvirt/qemu/swtpm" -name "*.state"
virsh undefine emulated
find "$XDG_CONFIG_HOME/libvirt/qemu/swtpm" -name "*.state"
echo done
"""


def test_session(directory: Path) -> None:
    """A user attaches a TPM to a domain of theirs, which starts with it; so does one with an emulated TPM."""
    check_machine()
    home, identity, emulated = directory / "home", uuid.uuid4(), uuid.uuid4()
    (home / "run").mkdir(parents=True, mode=0o700)
    (home / "own.xml").write_text(DEFINITION.format(name="own", uuid=identity, tpm=""))
    (home / "emulated.xml").write_text(DEFINITION.format(name="emulated", uuid=emulated, tpm=EMULATED))
    for path in (home, *home.iterdir()):
        shutil.chown(path, USER, USER)
    variables = {
        "HOME": home,
        "XDG_CONFIG_HOME": home / "config",
        "XDG_CACHE_HOME": home / "cache",
        "XDG_DATA_HOME": home / "data",
        "XDG_RUNTIME_DIR": home / "run",
        "LIBVIRT_DEFAULT_URI": "qemu:///session",
        "PATH": f"{programs()}:{VTPM.parent}:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
    }
    user = f"setpriv --reuid {USER} --regid {USER} --clear-groups --inh-caps=-all --bounding-set=-all"
    script = f"set -e\n{opening_of(directory)}\n{user} /bin/bash -c '{COMMANDS}'\n"

    done = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "/bin/sh", "-c", script],
        env={name: str(value) for name, value in variables.items()},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    (facts,) = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert (facts["uuid"], facts["running"], facts["connected"], facts["problems"]) == (
        str(identity),
        True,
        True,
        [],
    )
    left = [line for line in done.stdout.splitlines() if line.endswith(".state")]
    assert [f"/{emulated}/" in line for line in left] == [True]
    assert facts["defined"] == f"tpm-crb, external at {home}/run/vtpm/own.sock"
