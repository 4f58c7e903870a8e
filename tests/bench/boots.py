"""What a TPM costs a guest that boots: boots beside swtpm, and the time that they wait for their TPM."""

import os
import statistics
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from examples.guest.host import VTPM, Host
from examples.guest.machine import Firmware, Machine, choose_accelerator
from examples.guest.processes import server
from tests.bench.proxy import Record, recording
from vtpm.spec.constants import TPM_CC

LIMIT = 240.0
VM = "guest"
IMA = "ima_policy=tcb rootfstype=ramfs"
"""Linux measures all that it runs; its policy leaves out tmpfs, on which an initramfs otherwise is."""

SETUP = (
    "--vmid",
    "bench",
    "--createek",
    "--create-ek-cert",
    "--create-platform-cert",
    "--lock-nvram",
    "--pcr-banks",
    "sha256",
)

REFERENCE = "swtpm"
NOTICEABLE = 0.1
"""Milliseconds."""

Serving = Callable[[], AbstractContextManager[Path]]
"""Serves the control socket of a TPM for one boot."""


@dataclass
class Boots:
    """Boots with one TPM: seconds of each until user space, and what was seen at the TPM's sockets."""

    seconds: list[float] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)

    def waits(self) -> list[float]:
        """Seconds of each boot, from power-on to power-off, that commands took."""
        return [sum(seconds for _, seconds in record.commands) for record in self.records]

    def control(self) -> list[float]:
        """Seconds of each boot that control commands took."""
        return [sum(record.control) for record in self.records]

    def by_command(self) -> dict[int, float]:
        """Median seconds of a boot that one kind of command took, however often it came."""
        codes = {code for record in self.records for code, _ in record.commands}
        return {
            code: statistics.median(
                sum(seconds for sent, seconds in record.commands if sent == code) for record in self.records
            )
            for code in codes
        }


def pinned(core: int | None, *command: str | Path) -> list[str | Path]:
    """A command line on one core."""
    return list(command) if core is None else ["taskset", "-c", str(core), *command]


@contextmanager
def swtpm(directory: Path, program: Path, core: int | None) -> Iterator[Path]:
    """A program with swtpm's command line, as libvirt starts it for each boot."""
    socket = directory / "tpm.sock"
    state, control = f"dir={directory}", f"type=unixio,path={socket}"
    name, *arguments = pinned(core, program, "socket", "--tpm2", "--tpmstate", state, "--ctrl", control)
    with server(directory, socket, name, *arguments):
        yield socket


def set_up(directory: Path, program: Path) -> None:
    """A new TPM by a program with swtpm_setup's command line, as libvirt has it made."""
    directory.mkdir()
    command: list[str | Path] = [program, "--tpm2", "--tpmstate", directory, *SETUP]
    subprocess.run(command, check=True, capture_output=True, timeout=LIMIT)


@contextmanager
def vtpm(directory: Path, core: int | None) -> Iterator[Serving]:
    """The daemon, which goes on between boots."""
    directory.mkdir()
    host = Host(directory)
    host.vtpm("provider", "init", "bench")
    host.vtpm("create", VM, "--allow-unverified", "--banks", "sha256")
    places = ("--state-dir", host.state_dir, "--run-dir", host.run_dir)
    name, *arguments = pinned(core, VTPM, *places, "serve")

    @contextmanager
    def serving() -> Iterator[Path]:
        yield host.socket_of(VM)

    with server(directory, host.socket_of(VM), name, *arguments):
        yield serving


def measure_boots(directory: Path, rounds: int, core: int | None) -> dict[str, Boots]:
    """Boots in turn with swtpm, with this project's daemon, and with its program `swtpm`."""
    accelerator = choose_accelerator(directory)
    ours = Path(
        subprocess.run([VTPM, "compat-dir"], check=True, capture_output=True, text=True).stdout.strip()
    )
    theirs, dropped_in = directory / "swtpm", directory / "drop-in"
    set_up(theirs, Path("/usr/bin/swtpm_setup"))
    set_up(dropped_in, ours / "swtpm_setup")
    with ExitStack() as stack:
        daemon = stack.enter_context(vtpm(directory / "vtpm", core))
        servers: dict[str, Serving] = {
            REFERENCE: lambda: swtpm(theirs, Path("/usr/bin/swtpm"), core),
            "vtpm serve": daemon,
            "vtpm's swtpm": lambda: swtpm(dropped_in, ours / "swtpm", core),
        }
        machines = {}
        for number, name in enumerate(servers):
            place = directory / f"machine{number}"
            place.mkdir()
            machines[name] = Machine(place, Firmware.OVMF, accelerator=accelerator, parameters=IMA)
        boots = {name: Boots() for name in servers}
        for number in range(rounds):
            order = list(servers) if number % 2 else list(reversed(servers))
            for name in order:
                boot(machines[name], servers[name], boots[name], core)
    return boots


def boot(machine: Machine, serving: Serving, boots: Boots, core: int | None) -> None:
    """One boot; the recorder shares the TPM's core, where it sleeps while the TPM works."""
    with serving() as tpm, recording(machine.directory / "proxy.sock", tpm, core) as (socket, record):
        run = machine.boot("true", socket, LIMIT)
    boots.seconds.append(run.seconds_to_userspace)
    boots.records.append(record)


def describe_boots(rounds: int = 7, core: int | None = None) -> list[str]:
    """The figures in a table, then what the commands of a boot took, by their codes."""
    with tempfile.TemporaryDirectory(prefix="boots-", dir=os.environ.get("XDG_RUNTIME_DIR", "/tmp")) as name:
        boots = measure_boots(Path(name), rounds, core)
    figures = {
        "until user space": {name: each.seconds for name, each in boots.items()},
        "waiting for commands": {name: each.waits() for name, each in boots.items()},
        "waiting for control": {name: each.control() for name, each in boots.items()},
        "waiting in all": {
            name: [sum(both) for both in zip(each.waits(), each.control(), strict=True)]
            for name, each in boots.items()
        },
    }
    lines = [f"{'milliseconds':22}{'TPM':14}{'minimum':>10}{'median':>10}{'ratio min':>11}{'median':>8}"]
    for what, by_name in figures.items():
        lines += [line_of(what, name, seconds, by_name[REFERENCE]) for name, seconds in by_name.items()]
    return [*lines, *describe_commands(boots)]


def line_of(what: str, name: str, seconds: list[float], theirs: list[float]) -> str:
    """Minimum and median, and both as multiples of swtpm's."""
    least, median = min(seconds), statistics.median(seconds)
    ratios = f"{least / min(theirs):11.2f}{median / statistics.median(theirs):8.2f}"
    return f"{what:22}{name:14}{least * 1e3:10.1f}{median * 1e3:10.1f}{ratios}"


def describe_commands(boots: dict[str, Boots]) -> list[str]:
    """How often each command comes that takes a noticeable part of a boot, and milliseconds of each TPM."""
    counted = Counter(code for code, _ in boots[REFERENCE].records[-1].commands)
    taken = {name: each.by_command() for name, each in boots.items()}
    lines = [f"{'of them, medians':22}{'times':>8}" + "".join(f"{name:>14}" for name in boots)]
    for code in sorted(counted, key=lambda code: -taken[REFERENCE][code]):
        shown = [each.get(code, 0.0) * 1e3 for each in taken.values()]
        if max(shown) >= NOTICEABLE:
            lines.append(
                f"{TPM_CC(code).name:22}{counted[code]:8}" + "".join(f"{value:14.2f}" for value in shown)
            )
    return lines
