"""
swtpm's own test suite: its source package, and one process for each script and pair of sockets.

The scripts look at swtpm's state file to see whether there is a state, and at that of the volatile state.
This TPM's state lies elsewhere, so that the first is looked for there, and the second not at all.
"""

import re
import shutil
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tests.conformance.report import Report, SuiteError
from tests.conformance.source import Source
from tests.conformance.tools import report_of, run_script

SOURCE: Final = Source("swtpm", "SWTPM_SOURCE")
WORKERS: Final = 2
"""Scripts at once: some of them measure time."""

NEEDED: Final = ("swtpm_bios", "socat", "xxd", "file", "netstat")
"""Programs that the scripts run."""

INTERFACES: Final = ("socket+socket", "socket+unix", "unix+socket", "unix+unix")
"""The forms of the data channel and of the control channel."""

WITHOUT_SOCKETS: Final = frozenset({"_test_tpm2_print_capabilities", "_test_tpm2_print_states"})

OLD_STATE: Final = "goes on with states in the files of swtpm 0.1, whose format is not read"
NOT_APPLICABLE: Final = {
    "_test_tpm2_derived_keys": OLD_STATE,
    "_test_tpm2_migration_key": OLD_STATE,
    "_test_tpm2_resume_volatile": OLD_STATE,
    "_test_tpm2_file_permissions": "copies the binary of swtpm, to run it as another user",
    "_test_tpm2_print_capabilities": "wants exactly the features of swtpm 0.7, tpm-1.2 among them",
    "test_tpm2_ctrlchannel2": "wants a stored run resumed beside a permanent state that has changed since",
    "test_tpm2_partial_reads": "tests the interface cuse",
    "test_tpm2_vtpm_proxy": "needs the kernel's module tpm_vtpm_proxy",
    "test_tpm2_ibmtss2": "builds IBM's TSS from sources of the network",
    "test_tpm2_parameters": "wants --allow-signing of swtpm_setup",
    "test_tpm2_samples_create_tpmca.test": "tests swtpm-create-tpmca, whose place nothing takes",
    "test_tpm2_save_load_state_2": "wants exactly as much NV as libtpms has",
    "test_tpm2_save_load_state_2_block": "wants exactly as much NV as libtpms has, in a block device",
    "test_tpm2_save_load_state_2_linear": "wants exactly as much NV as libtpms has, in one file",
    "test_tpm2_save_load_state_3": "goes on with states in the files of swtpm 0.1, among others",
    "test_tpm2_swtpm_cert": "tests swtpm_cert, whose place nothing takes",
    "test_tpm2_swtpm_cert_ecc": "tests swtpm_cert, whose place nothing takes",
    "test_tpm2_swtpm_localca": "tests swtpm_localca, whose place nothing takes",
    "test_tpm2_swtpm_localca_pkcs11.test": "tests swtpm_localca, whose place nothing takes",
    "test_tpm2_swtpm_setup_create_cert": "wants --allow-signing of swtpm_setup",
    "test_tpm2_swtpm_setup_overwrite": "wants swtpm's state file to be overwritten, which is left alone",
}
"""The scripts for TPM 2.0 that do not apply, and why."""

CHANGES: Final = (
    (re.compile(r"^STATE_FILE=(.*)/tpm2-00\.permall$", re.MULTILINE), r"STATE_FILE=\1/states"),
    (
        re.compile(
            r"^if \[ ! -r (\$VOLATILE_STATE_FILE|\$TPMDIR/tpm2-00\.volatilestate) \]; then$", re.MULTILINE
        ),
        "if false; then",
    ),
)
"""What is changed in the scripts where the state is not swtpm's."""

PROGRAMS: Final = ("swtpm", "swtpm_ioctl", "swtpm_setup", "swtpm_bios")


def run_swtpm(work: Path, environment: dict[str, str]) -> Report:
    """Every script for TPM 2.0 that applies, over every form of the channels."""
    missing = [program for program in NEEDED if shutil.which(program) is None]
    if missing:
        raise SuiteError(f"install {', '.join(missing)}: the scripts run them")
    tests = SOURCE.fetch(work) / "tests"
    scripts = sorted(path.name for path in tests.glob("*test_tpm2_*"))
    unknown = NOT_APPLICABLE.keys() - set(scripts)
    if unknown or not scripts:
        raise SuiteError(f"{tests} has not the scripts of swtpm 0.7: {', '.join(sorted(unknown))}")
    if "VTPM_TEST_SERVER" not in environment:
        adapt(tests)
    settings = {
        **environment,
        **{program.upper(): found(program, environment) for program in PROGRAMS},
        "SWTPM_EXE": found("swtpm", environment),
        "abs_top_testdir": str(tests),
        "abs_top_builddir": str(tests.parent),
        "abs_top_srcdir": str(tests.parent),
        "SWTPM_IFACE": "socket",
        "SWTPM_SERVER_NAME": "localhost",
        "TMPDIR": str(work),
    }
    logs = work / "logs"
    logs.mkdir()

    def run(unit: tuple[str, str]) -> str | None:
        script, interface = unit
        data, control = free_ports()
        own = {"SWTPM_INTERFACE": interface, "SWTPM_SERVER_PORT": str(data), "SWTPM_CTRL_PORT": str(control)}
        return run_script(["bash", script], tests, logs / f"{script}.{interface}", {**settings, **own})

    units = list(units_of(scripts))
    with ThreadPoolExecutor(WORKERS) as pool:
        outcomes = dict(zip(units, pool.map(run, units), strict=True))
    report = report_of({Path(" ".join(unit)): outcome for unit, outcome in outcomes.items()})
    report.skipped.update(f"{script}: {reason}" for script, reason in NOT_APPLICABLE.items())
    report.skipped["the scripts for a TPM 1.2"] += 1
    return report


def units_of(scripts: list[str]) -> Iterator[tuple[str, str]]:
    """What is to be run: a script, and the channels that it is to use."""
    for script in scripts:
        if script in NOT_APPLICABLE or f"_{script}" in scripts:
            continue
        if script in WITHOUT_SOCKETS or not script.startswith("_"):
            yield script, ""
            continue
        for interface in INTERFACES:
            yield script, interface


def adapt(tests: Path) -> None:
    """Have the scripts look for the state where it is."""
    for script in tests.glob("*test_tpm2_*"):
        text = script.read_text()
        for pattern, replacement in CHANGES:
            text = pattern.sub(replacement, text)
        script.write_text(text)


def found(program: str, environment: dict[str, str]) -> str:
    """The path of a program on the suite's PATH."""
    path = shutil.which(program, path=environment["PATH"])
    if path is None:
        raise SuiteError(f"{program} is not on PATH")
    return path


def free_ports() -> tuple[int, int]:
    """Two ports at which nobody listens, for a moment at least."""
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        return first.getsockname()[1], second.getsockname()[1]
